"""The README of a records folder: the headline, the table per seed, what it does, and where it leaves the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from golfpipe.submission.judgment import Judgment
from golfpipe.submission.record import Heading
from golfpipe.submission.seed_results import SeedResult, Spread, largest, spread
from golfpipe.submission.significance import Significance
from golfpipe.units import format_bytes, format_seconds

NOT_MEASURED = "not measured"
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#"})


def readme_text(
    heading: Heading,
    results: Sequence[SeedResult],
    technique: Sequence[str],
    judgment: Judgment,
    *,
    code_measured: bool,
    verification: Mapping[str, Any] | None = None,
    files: Sequence[tuple[str, str]],
    compared: Significance | None = None,
) -> str:
    """Markdown. `files`: name and purpose of each file beside the README."""
    parts = [
        headline(heading, results),
        f"# {plain(heading.name)}",
        *([plain(heading.blurb)] if heading.blurb else []),
        _seed_table(results),
        _size_sentence(results, code_measured) + _verification_sentence(verification),
        *(["## Significance\n\n" + _significance(compared)] if compared is not None else []),
        "## Technique\n\n" + _bullets(map(plain, technique)),
        "## Deviations from the track's rules\n\n" + _deviations(heading, judgment),
        "## Rules\n\n" + _rule_table(judgment),
        "## Files\n\n" + _bullets(f"`{name}`: {purpose}" for name, purpose in files),
    ]
    return "\n\n".join(parts) + "\n"


def headline(heading: Heading, results: Sequence[SeedResult]) -> str:
    """First line of every record: score, seeds, size, hardware, time."""
    bpb = spread([result.val_bpb for result in results])
    return (
        f"**val_bpb: {bpb.mean:.4f}** ({len(results)}-seed mean, std {_deviation(bpb)})"
        f" | **{largest(results).artifact_bytes / 1e6:.2f} MB** | {plain(heading.hardware)}, {_times(results)}"
    )


def plain(text: str) -> str:
    """Text on one line, with nothing in it that Markdown or HTML would act on."""
    return " ".join(text.split()).translate(_MARKDOWN)


def _deviation(value: Spread) -> str:
    return f"{value.deviation:.4f}" if value.deviation is not None else "n/a"


def _times(results: Sequence[SeedResult]) -> str:
    training = [r.train_seconds for r in results if r.train_seconds is not None]
    evaluation = [r.eval_seconds for r in results if r.eval_seconds is not None]
    parts = [
        f"{label} {format_seconds(max(seconds))}"
        for label, seconds in (("train", training), ("eval", evaluation))
        if seconds
    ]
    return " + ".join(parts) or "times not recorded"


def _seed_table(results: Sequence[SeedResult]) -> str:
    header = (
        "Seed",
        "Steps",
        "ms/step",
        "Pre-quantisation bpb",
        "Post-quantisation bpb",
        "Post-TTT bpb",
        "Artifact bytes",
    )
    rows = [
        [
            str(result.seed),
            f"{result.steps:,}" if result.steps is not None else NOT_MEASURED,
            f"{result.step_avg_ms:.1f}" if result.step_avg_ms is not None else NOT_MEASURED,
            _bpb(result.before_quantization_bpb),
            _bpb(result.after_quantization_bpb),
            _bpb(result.after_adaptation_bpb) if result.adapted else "no TTT",
            f"{result.artifact_bytes:,}",
        ]
        for result in results
    ]
    if len(results) > 1:
        columns = (
            [result.before_quantization_bpb for result in results],
            [result.after_quantization_bpb for result in results],
            [result.after_adaptation_bpb for result in results],
        )
        total = f"{largest(results).artifact_bytes:,} (largest)"
        rows.append(["mean", "", "", *(_mean(column) for column in columns), total])
    return _table(header, rows, numeric_from=1)


def _bpb(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else NOT_MEASURED


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return _bpb(spread(known).mean) if len(known) == len(values) else ""


def _size_sentence(results: Sequence[SeedResult], code_measured: bool) -> str:
    biggest = largest(results)
    code = "the script" if code_measured else "a reserve for the script, which is not in this folder"
    return (
        f"The largest artifact is {format_bytes(biggest.model_bytes)} of packed weights plus"
        f" {format_bytes(biggest.code_bytes)} of code ({code})."
    )


def _significance(compared: Significance) -> str:
    name = f" ({plain(compared.record_name)})" if compared.record_name else ""
    worse = " worse" if compared.difference_bpb < 0 else " better"
    of = f"the mean of {len(compared.record_bpb)} seeds" if len(compared.record_bpb) > 1 else "one number"
    sentence = (
        f"Against {compared.record_mean_bpb:.4f} bpb{name}, {of}: the mean of {compared.seeds} here,"
        f" {compared.mean_bpb:.4f}, is {abs(compared.difference_bpb):.4f} bpb or {abs(compared.difference_nats):.4f}"
        f" nats per token{worse} ({compared.nats_per_bpb:.4f} nats per token to the bit per byte). The challenge asks"
        f" for a margin at p < {compared.level:g}; later reviews asked for none."
    )
    rows = [
        (
            f"{tested.margin_nats:g} nats, {tested.margin_bpb:.4f} bpb",
            label,
            f"{test.t:.3f}",
            f"{test.degrees_of_freedom:.2f}",
            f"{test.p:.2g}",
        )
        for tested in compared.margins
        for label, test in (
            ("Welch: not better than the record's seeds by the margin", tested.welch),
            ("One sample: not below the record minus the margin", tested.one_sample),
        )
        if test is not None
    ]
    header = ("Margin", "One-sided test, null hypothesis", "t", "Degrees of freedom", "p")
    table = [_table(header, rows, numeric_from=2)]
    return "\n\n".join([sentence, *(table if rows else []), *(tested.verdict for tested in compared.margins)])


def _verification_sentence(verification: Mapping[str, Any] | None) -> str:
    if verification is None:
        return ""
    settings = ", ".join(f"{key}={value}" for key, value in verification["settings"].items()) or "its own settings"
    if verification["equal"]:
        return (
            f" The script, run alone in a clean process, gives golfpipe's own numbers to the last digit ({settings}:"
            f" packed sha256 {verification['script']['packed_sha256'][:12]},"
            f" val_bpb {verification['script']['val_bpb']})."
        )
    return f" **The script gives other numbers than golfpipe** ({settings}): {'; '.join(verification['differences'])}."


def _deviations(heading: Heading, judgment: Judgment) -> str:
    if judgment.deviations:
        return f"Track {heading.track}. This submission does not keep every rule of the challenge:\n\n" + _bullets(
            map(plain, judgment.deviations)
        )
    open_rules = [rule for rule in judgment.rules if rule.status == "not checked"]
    if open_rules:
        return f"Track {heading.track}. None is known; {len(open_rules)} rules below are not checked yet."
    return f"Track {heading.track}. None."


def _rule_table(judgment: Judgment) -> str:
    rows = [
        (
            str(rule.number),
            rule.name,
            f"**{rule.status}**" if rule.status == "fail" else rule.status,
            plain(rule.evidence),
        )
        for rule in judgment.rules
    ]
    return _table(("#", "Rule", "Status", "Evidence"), rows)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numeric_from: int | None = None) -> str:
    numeric = len(header) if numeric_from is None else numeric_from
    rule = ["---:" if column >= numeric else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
