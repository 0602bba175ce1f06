"""Rules, settings that differ from the defaults, and where everything came from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from golfpipe.config.schema import PipelineConfig, Plain, plain_config
from golfpipe.loading.lineage import effective_config, trace
from golfpipe.report.markup import Content, Html, el, join, table
from golfpipe.report.run_data import RunData
from golfpipe.report.sections import MISSING, section
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import mapping, number, text
from golfpipe.submission.facts import gather
from golfpipe.submission.records_folder import SUBMISSION_FILE
from golfpipe.submission.rules import RuleResult, check_rules

_MARKS = {
    "pass": ("\u2713 pass", "pass"),
    "fail": ("\u2717 fail", "fail"),
    "not checked": ("\u25cb not checked", "open"),
}
_LONGEST_VALUE = 120


def rules_section(runs: Sequence[RunData]) -> Html | None:
    """Each rule of the challenge with its evidence."""
    parts: list[Content] = []
    for run in runs:
        rules = run_rules(run)
        if not rules:
            continue
        rows: list[list[Content]] = [[f"{rule.number}. {rule.name}", status(rule.status)] for rule in rules]
        evidence: list[str | None] = [rule.evidence for rule in rules]
        parts += [el("h3", run.name) if len(runs) > 1 else None, table(["rule", "status"], rows, notes=evidence)]
    if not parts:
        return None
    return section(
        "Rules",
        "What the manifests show about the challenge's rules. What only running the model can show is not checked.",
        *parts,
    )


def status(value: str) -> Html:
    """A mark and a word: color is never alone."""
    words, kind = _MARKS.get(value, (value, "off"))
    return el("span", words, class_=f"status {kind}")


def run_rules(run: RunData) -> tuple[RuleResult, ...]:
    """As the submission recorded them, else judged on the evaluation that counts."""
    submission = run.first("submission")
    if submission is not None:
        return _recorded(submission)
    if run.headline is None:
        return ()
    return check_rules(gather([trace(run.headline)]))


def _recorded(submission: Artifact) -> tuple[RuleResult, ...]:
    name = next((name for name in submission.manifest.files if name.endswith(f"/{SUBMISSION_FILE}")), None)
    record = submission.read_json(name) if name is not None else {}
    rules = mapping(record if isinstance(record, dict) else {}, "compliance").get("rules")
    return tuple(
        RuleResult(
            number=int(number(rule, "number") or 0),
            name=str(rule.get("name", "")),
            status=rule.get("status", "not checked"),
            evidence=str(rule.get("evidence", "")),
        )
        for rule in (rules if isinstance(rules, list) else [])
        if isinstance(rule, dict)
    )


def differences_section(runs: Sequence[RunData]) -> Html | None:
    """Settings that are not golfpipe's defaults; with several runs, those in which the runs differ come first."""
    default = flatten(plain_config(PipelineConfig()))
    settings = [run_settings(run) for run in runs]
    keys = [key for key in default if any(key in s and s[key] != default[key] for s in settings)]
    apart = [key for key in keys if len({written(s.get(key)) for s in settings}) > 1]
    shared = [key for key in keys if key not in apart]
    header: list[Content] = ["setting", "default", *(run.name if len(runs) > 1 else "this run" for run in runs)]

    def rows(chosen: list[str]) -> list[list[Content]]:
        return [[el("code", key), _value(default[key]), *(_value(s.get(key)) for s in settings)] for key in chosen]

    parts: list[Content] = []
    if apart:
        parts += [el("h3", "Where the runs differ"), table(header, rows(apart))]
    if shared:
        parts += [el("h3", "Shared by all") if apart else None, table(header, rows(shared))]
    if not parts:
        parts = [el("p", "Every setting has its default.", class_="note")]
    return section("Configuration", "Settings that differ from golfpipe's defaults.", *parts)


def flatten(tree: Plain, prefix: str = "") -> Plain:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    flat: Plain = {}
    for key, value in tree.items():
        if isinstance(value, dict) and not (set(value) <= {"last"} and value):  # {last: N} is a value, not a section
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def run_settings(run: RunData) -> Plain:
    return flatten(effective_config(trace(run.headline or run.stages[-1])))


def written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _value(value: Any) -> Content:
    if value is None:
        return MISSING
    shown = value if isinstance(value, str) else written(value)
    return el("code", shown if len(shown) <= _LONGEST_VALUE else shown[:_LONGEST_VALUE] + " ...")


def provenance_section(runs: Sequence[RunData]) -> Html:
    """Digests, machines, versions, commands."""
    parts: list[Content] = []
    for run in runs:
        parts += [el("h3", run.name) if len(runs) > 1 else None, _versions(run), _artifacts(run, len(runs) > 1)]
    return section("Provenance", "Artifacts name their inputs by digest, so the chain can be checked.", *parts)


def _versions(run: RunData) -> Html:
    provenance = run.stages[0].manifest.provenance
    packages = mapping(provenance, "packages")
    pairs = [
        ("golfpipe", " ".join(filter(None, (text(provenance, "golfpipe"), text(provenance, "commit"))))),
        ("machine", ", ".join(filter(None, (text(provenance, "host"), text(provenance, "platform"))))),
        ("python", text(provenance, "python") or ""),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
    ]
    commands = dict.fromkeys(
        shlex.join(["golfpipe", *map(str, argv)])
        for stage in run.stages
        if isinstance(argv := stage.manifest.provenance.get("argv"), list) and argv
    )
    listed = [part for name, value in pairs if value for part in (el("dt", name), el("dd", value))]
    if commands:
        listed += [el("dt", "commands"), el("dd", el("pre", "\n".join(commands)))]
    return el("dl", *listed, class_="pairs")


def _artifacts(run: RunData, several: bool) -> Html:
    rows: list[list[Content]] = []
    for stage in run.stages:
        manifest = stage.manifest
        started = number(manifest.provenance, "started_unix")
        device = text(manifest.provenance, "device_used") or text(manifest.provenance, "device")
        inputs = ", ".join(f"{ref.role} {ref.digest[:12]}" for ref in manifest.inputs)
        rows.append(
            [
                stage.path.name,
                join(el("code", manifest.digest[:12]), el("small", f"from {inputs}") if inputs else None),
                device if device not in (None, "auto") else MISSING,
                _utc(started) if started is not None else MISSING,
            ]
        )
    return table(["stage", "digest", "device", "started (UTC)"], rows)


def _utc(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "unknown"
