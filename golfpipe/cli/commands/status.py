"""`golfpipe status FOLDER`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, settings_of
from golfpipe.cli.options import ConfigOptions
from golfpipe.cli.table import format_table, paragraphs
from golfpipe.cli.terminal import print_message
from golfpipe.errors import ArtifactError
from golfpipe.store.metric_values import measured, number
from golfpipe.units import format_count, format_seconds

if TYPE_CHECKING:
    from golfpipe.review.progress import TrainingProgress
    from golfpipe.review.status import RunStatus, StatusLine

MOST_REASONS = 3
WATCH_SECONDS = 5.0
"""The time between two looks at the log of a running training."""


def status(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A run, such as artifacts/demo.")],
    options: ConfigOptions,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file, and compare it with its sha256.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow a running training until it ends, from any terminal.")
    ] = False,
) -> Answer:
    """Show which steps of a run exist, their key numbers, what is stale and why.

    Reads the artifacts of one run folder. Writes nothing. A step is stale where its input was made again with another
    result; with --preset or --set, also where `golfpipe run` with these settings would make it again. With --verify all
    files are read, those of the data included; a damaged one is named with the command that makes it again, and the
    exit code is 3. With --watch a running training is shown first: step, loss, rate, time left.

    \b
    Examples:
      golfpipe status artifacts/demo
      golfpipe status artifacts/demo --set quantize.mlp.bits=5
      golfpipe status artifacts/demo --verify
      golfpipe status artifacts/demo --watch
    """
    from golfpipe.review.status import run_status, status_fields

    path = input_path(folder)
    if watch:
        _watch(path, quiet=options.quiet)
    found = run_status(path, settings_of(options), verify=verify)
    lines = [_row(line) for line in found.lines if line.in_pipeline]
    others = [_row(line) for line in found.lines if not line.in_pipeline]
    lines += [["", "", "", ""], *others] if lines and others else others
    return Answer(
        lines=paragraphs([str(found.folder), *format_table(["step", "state", "", "why"], lines)], [_summary(found)]),
        path=found.folder,
        kind="run",
        up_to_date=not found.stale and not found.damaged,
        error=_damage(found) if verify else None,
        extra={"stages": [status_fields(line) for line in found.lines]},
    )


def _damage(found: RunStatus) -> ArtifactError | None:
    """Return the error that names the first damaged artifact."""
    for line in found.damaged:
        return ArtifactError(
            "; ".join(line.reasons[:1]) or f"{line.path}: damaged", hint="; ".join(line.reasons[1:]) or None,
            path=str(line.path),
        )  # fmt: skip
    return None


def _watch(folder: Path, *, quiet: bool) -> None:
    """Show the running training of the folder on stderr until it ends, in a line every few seconds."""
    from golfpipe.review.progress import running_training, watch_training

    out = running_training(folder)
    if out is None:
        print_message(f"{folder}: no training is running here")
        return
    shown = None
    for progress in watch_training(out, WATCH_SECONDS):
        text = progress_text(progress)
        if not quiet and text != shown:
            print_message(text)
        shown = text


def progress_text(progress: TrainingProgress) -> str:
    """Return the line that shows how far a training has come."""
    if progress.step is None:
        return "training starts"
    parts = [f"step {progress.step:,}" + (f" of {progress.max_steps:,}" if progress.max_steps is not None else "")]
    if progress.train_loss_nats is not None:
        parts.append(f"loss {progress.train_loss_nats:.4f}")
    if progress.steps_per_second is not None:
        parts.append(f"{progress.steps_per_second:.3g} steps/s")
    if progress.seconds_left is not None:
        parts.append(f"{format_seconds(progress.seconds_left)} left")
    return ", ".join(parts)


def _row(line: StatusLine) -> list[str]:
    from golfpipe.loading.lineage import shown_metrics

    reasons = list(line.reasons[:MOST_REASONS])
    if len(line.reasons) > MOST_REASONS:
        reasons.append(f"and {len(line.reasons) - MOST_REASONS} more")
    numbers = key_numbers(line.artifact.manifest.kind, shown_metrics(line.artifact)) if line.artifact else ""
    return [line.name, line.state, numbers, "; ".join(reasons)]


def key_numbers(kind: str, metrics: dict[str, Any]) -> str:
    """Return the few numbers by which people know a step, in words."""
    known = {name: value for name in metrics if (value := measured(metrics, name)) is not None}
    templates = {
        "token_data": ("{train_tokens} train tokens", "{val_tokens} val"),
        "weights": ("{values} values", "{tensors} tensors"),
        "trained_model": ("{parameters} parameters", "{steps} steps", "val_bpb {val_bpb:.4f}"),
        "quantized_model": ("relative error {relative_mse:.2%}",),
        "packed_model": ("{total_bytes:,} B of {limit_bytes:,} B",),
        "adapted_model": ("loss {last_epoch_loss_nats:.4f} after {epochs} epochs",),
        "evaluation": ("val_bpb {val_bpb:.6f}", "{method}", "{scored_targets} targets"),
        "submission": ("val_bpb {val_bpb:.6f}", "{total_bytes:,} B"),
    }
    names = ("train_tokens", "val_tokens", "parameters", "values", "scored_targets")
    counts = {name: format_count(value) for name in names if (value := number(metrics, name)) is not None}
    parts = []
    for template in templates.get(kind, ()):
        try:
            parts.append(template.format(**(known | counts)))
        except (KeyError, ValueError):  # the metric is missing, or of another type
            continue
    if known.get("whole_split") is False:
        parts.append("a part of the split")
    if known.get("eligible") is False:
        parts.append("not eligible")
    if known.get("fits") is False:
        parts.append("over the limit")
    return ", ".join(parts)


def _summary(found: RunStatus) -> str:
    stale, missing = len(found.stale), sum(line.state == "missing" for line in found.lines)
    damaged = len(found.damaged)
    if not stale and not missing and not damaged:
        return "everything is up to date"
    parts = [f"{count} {word}" for count, word in ((stale, "stale"), (missing, "missing")) if count]
    if damaged:
        return " and ".join([f"{damaged} damaged", *parts])
    return f"{' and '.join(parts)}; `golfpipe run` with this run's name and settings brings them up to date"
