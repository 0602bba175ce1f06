"""The head of the page: the score, the bytes against the limit, the size of the model, the time."""

from __future__ import annotations

from collections.abc import Sequence

from golfpipe.config.schema import PipelineConfig, build_config
from golfpipe.errors import ConfigError
from golfpipe.loading.lineage import effective_config, trace
from golfpipe.report.markup import Content, Html, el, join, table
from golfpipe.report.run_data import RunData
from golfpipe.report.sections import MISSING, or_missing, section
from golfpipe.store.metric_values import count, number, text
from golfpipe.submission.technique import one_line
from golfpipe.units import LIMIT_BYTES, format_bytes, format_count, format_seconds

FORM_NAMES = {
    "trained_model": "trained weights",
    "quantized_model": "quantized",
    "packed_model": "packed file",
    "adapted_model": "after test-time training",
}


def overview(runs: Sequence[RunData]) -> Html:
    """Title and the few numbers that people look for first."""
    names = ", ".join(run.name for run in runs)
    lede = _lede(runs[0]) if len(runs) == 1 else "Several runs side by side; differences of configuration first."
    head = el("header", el("p", "golfpipe report", class_="overline"), el("h1", names), el("p", lede, class_="lede"))
    return join(head, _numbers(runs[0]) if len(runs) == 1 else _comparison(runs))


def run_config(run: RunData) -> PipelineConfig | None:
    """The settings that produced the run, each section from the stage that used it; None where they cannot be read."""
    newest = run.headline or run.stages[-1]
    try:
        return build_config(effective_config(trace(newest)))
    except ConfigError:
        return None


def form_name(metrics: dict[str, object]) -> str:
    """What an evaluation scored, in words."""
    if metrics.get("protocol") in ("score_first", "pre_eval"):
        return FORM_NAMES["adapted_model"]
    return FORM_NAMES.get(text(metrics, "model_kind") or "", "model")


def _lede(run: RunData) -> str:
    config = run_config(run)
    return f"{one_line(config)}." if config is not None else ""


def _numbers(run: RunData) -> Html:
    trained = run.first("trained_model")
    training = trained.manifest.metrics if trained is not None else {}
    parameters, seconds = count(training, "parameters"), number(training, "train_seconds")
    steps, tokens = count(training, "steps"), count(training, "tokens")
    return el(
        "dl",
        _score(run),
        _bytes(run),
        _figure("parameters", format_count(parameters) if parameters is not None else MISSING, ""),
        _figure(
            "training",
            format_seconds(seconds) if seconds is not None else MISSING,
            f"{steps:,} steps, {format_count(tokens)} tokens" if steps is not None and tokens is not None else "",
        ),
        class_="figures",
    )


def _score(run: RunData) -> Html:
    evaluation = run.headline
    metrics = evaluation.manifest.metrics if evaluation is not None else {}
    source = form_name(metrics)
    if evaluation is None and (trained := run.first("trained_model")) is not None:
        metrics, source = trained.manifest.metrics, "trained weights, validation during training"
    bpb, loss = number(metrics, "val_bpb"), number(metrics, "val_loss_nats")
    notes: list[Content] = [source]
    if loss is not None:
        notes.append(f" \u00b7 {loss:.4f} nats per token")
    if metrics.get("whole_split") is False:
        notes.append(" \u00b7 a part of the split")
    if metrics.get("eligible") is False:
        notes.append(join(" \u00b7 ", el("span", "not eligible", class_="flag")))
    return _figure("bits per byte", or_missing(bpb, "{:.4f}"), join(*notes))


def _bytes(run: RunData) -> Html:
    packed = run.first("packed_model")
    if packed is None:
        return _figure("bytes against the limit", MISSING, "nothing is packed yet", wide=True)
    metrics = packed.manifest.metrics
    model, code, total = (count(metrics, key) for key in ("packed_bytes", "code_bytes", "total_bytes"))
    limit = count(metrics, "limit_bytes") or LIMIT_BYTES
    if model is None or code is None or total is None:
        return _figure("bytes against the limit", MISSING, "sizes are not recorded", wide=True)
    over = total > limit
    scale = 100 / max(limit, total)
    meter = el(
        "span",
        el("i", style=f"width:{model * scale:.3f}%"),
        el("i", style=f"width:{code * scale:.3f}%", class_="code"),
        class_="meter over" if over else "meter",
        title=f"{total} of {limit} bytes",
    )
    source = text(metrics, "code_bytes_source") or "unknown"
    room: Content = f"{format_bytes(limit - total)} left of {format_bytes(limit)}"
    if over:
        room = el("span", f"{format_bytes(total - limit)} over the limit of {format_bytes(limit)}", class_="flag")
    parts = f"{format_bytes(model)} weights + {format_bytes(code)} code ({source})"
    value = join(f"{total:,}", el("span", " B", class_="unit"))
    return _figure("bytes against the limit", value, join(meter, room, el("br"), parts), wide=True)


def _figure(name: str, value: Content, note: Content, *, wide: bool = False) -> Html:
    return el(
        "div",
        el("dt", name),
        el("dd", value),
        el("dd", note, class_="sub") if note else None,
        class_="wide" if wide else None,
    )


def _comparison(runs: Sequence[RunData]) -> Html:
    rows: list[list[Content]] = []
    for run in runs:
        trained, packed, headline = run.first("trained_model"), run.first("packed_model"), run.headline
        training = trained.manifest.metrics if trained is not None else {}
        scores = headline.manifest.metrics if headline is not None else {}
        sizes = packed.manifest.metrics if packed is not None else {}
        seconds = number(training, "train_seconds")
        rows.append(
            [
                run.name,
                join(
                    or_missing(number(scores, "val_bpb"), "{:.4f}"),
                    el("small", form_name(scores)) if headline is not None else None,
                ),
                or_missing(count(sizes, "total_bytes"), "{:,}"),
                or_missing(count(training, "parameters"), "{:,}"),
                format_seconds(seconds) if seconds is not None else MISSING,
            ]
        )
    header: list[Content] = ["run", "bits per byte", "total bytes", "parameters", "training"]
    return section(
        "Runs",
        "The score that counts for each run.",
        table(header, rows, numeric=frozenset({1, 2, 3, 4}), fold=frozenset({3})),
    )
