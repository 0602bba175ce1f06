"""The one command to go on with after a run: the remedy of what looks wrong, else the step that is missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from golfpipe.loading.lineage import trace
from golfpipe.loading.warning_signs import Rise
from golfpipe.report.run_data import SWEEP_RESULTS, RunData
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, mapping

LONGER = 4
"""How many times as many steps a model gets that has not learned enough."""
_SECRETIVE = {"--resume", "--replay"}
"""Options of a training whose settings are not in its command."""
_WITHOUT_VALUE = {"-q", "--quiet", "-v", "--verbose", "--json", "--force", "--dry-run"}
_REPLACED = {"--name", "-o", "--out", "--from", "train.max_steps"}
"""The options, and the setting of --set, that the new training has otherwise."""

Next = tuple[str, str]
"""A command, and what it is for as a part of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What of a run looks wrong, as far as a command can help."""

    over_limit: bool = False
    unlearned: bool = False
    """A general compressor needs no more bits than the unquantized model."""
    rise: Rise | None = None
    bearable_bytes: int | None = None
    coarse: bool = False
    saturated: bool = False


def next_command(run: RunData, standing: Standing) -> Next:
    """Return the command and its purpose."""
    return _missing_step(run) or _remedy(run, standing) or _further(run)


def _missing_step(run: RunData) -> Next | None:
    """Return the next step of the chain where the run has no score of a packed model yet."""
    quantized, packed = run.first("quantized_model"), run.first("packed_model")
    trained = run.first("trained_model")
    if packed is None and quantized is None and trained is not None:
        return _words("quantize", _shown(run, trained)), "makes the weights small"
    if packed is None and quantized is not None:
        return _words("pack", _shown(run, quantized)), "makes the file whose bytes count"
    if packed is not None and run.headline is None and packed.manifest.model is not None:
        return _words("evaluate", _shown(run, packed)), "scores the packed model"
    return None


def _remedy(run: RunData, standing: Standing) -> Next | None:
    trained = _trained(run)
    if trained is None:
        return None
    steps = count(trained.manifest.metrics, "steps") or 0
    if standing.unlearned and (again := _train_again(run, trained, LONGER * steps)) is not None:
        return again, "trains longer"
    if standing.rise is not None and (again := _train_again(run, trained, standing.rise.best.step)) is not None:
        return again, "stops where the validation loss was best"
    if standing.bearable_bytes is not None:
        thousands = f"{standing.bearable_bytes / 1000:g}"
        again = _quantize_again(run, trained, f"{thousands}k", f"target_bytes={thousands}e3")
        return again, "takes as many bytes as the model needs"
    if standing.over_limit:
        return _quantize_again(run, trained, "limit", "target_bytes=limit"), "makes it fit"
    if standing.saturated:
        return _quantize_again(run, trained, "wide", "clip_grid=wide"), "tries smaller clip ratios, too"
    if standing.coarse and (size := _packed_bytes(run)) is not None:
        return _sweep(run, trained, size, (1.0, 1.5)), "shows what more bytes gain"
    return None


def _further(run: RunData) -> Next:
    """Return what to do with a run in which nothing looks wrong."""
    trained, size = _trained(run), _packed_bytes(run)
    if trained is not None and size is not None and not _has_target(run) and not (run.sweep / SWEEP_RESULTS).is_file():
        return _sweep(run, trained, size, (0.5, 0.75)), "shows how small it can be"
    if run.first("submission") is None and run.headline is not None and size is not None:
        return _words("submit", _shown(run, run.headline)), "makes the records folder"
    return _words("audit", run.folder, "--execute"), "runs the scoring for the rules that only running it shows"


def _train_again(run: RunData, trained: Artifact, steps: int) -> str | None:
    """Return the command of the training with another number of steps, and a name that says so. None for a training
    whose command is not known."""
    argv = trained.manifest.provenance.get("argv")
    words = [str(word) for word in argv] if isinstance(argv, list) else []
    if not steps or words[:1] not in (["run"], ["train"]) or _SECRETIVE & set(words):
        return None
    name = f"{run.name.partition('/')[0]}-{steps}"  # of a run of several seeds without the seed
    return _words(*_kept_words(words), "--name", name, "--set", f"train.max_steps={steps}")


def _kept_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command without those that say how it prints, and without what _REPLACED names."""
    kept: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        value = waiting[:1] if word.startswith("-") and "=" not in word and word not in _WITHOUT_VALUE else []
        waiting = waiting[len(value) :]
        name, _, joined = word.partition("=")
        setting = (value[0] if value else joined).partition("=")[0]
        if word not in _WITHOUT_VALUE and not {name, setting if name == "--set" else ""} & _REPLACED:
            kept += [word, *value]
    return kept


def _quantize_again(run: RunData, trained: Artifact, name: str, setting: str) -> str:
    out = run.folder.with_name(f"{run.folder.name}-{name}") / "quantize"
    return _words("quantize", _shown(run, trained), "-o", out, "--set", f"quantize.{setting}")


def _sweep(run: RunData, trained: Artifact, size: int, shares: tuple[float, ...]) -> str:
    sizes = ",".join(f"{float(f'{share * size:.2g}') / 1000:g}e3" for share in shares)
    return _words("sweep", _shown(run, trained), "--grid", f"quantize.target_bytes={sizes}")


def _words(*words: object) -> str:
    return shlex.join(["golfpipe", *map(str, words)])


def _shown(run: RunData, artifact: Artifact) -> Path:
    """Return the artifact's folder as the user named the run's."""
    return run.folder / artifact.path.name if artifact in run.stages else artifact.path


def _trained(run: RunData) -> Artifact | None:
    return run.first("trained_model") or trace(run.headline or run.stages[-1]).trained


def _packed_bytes(run: RunData) -> int | None:
    packed = run.first("packed_model")
    return count(packed.manifest.metrics, "packed_bytes") if packed is not None else None


def _has_target(run: RunData) -> bool:
    quantized = run.first("quantized_model")
    settings = mapping(quantized.manifest.config, "quantize") if quantized is not None else {}
    return settings.get("target_bytes", "none") != "none" or bool(settings.get("target_bits"))
