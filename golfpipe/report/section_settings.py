"""Rules, settings that differ from the defaults, and where everything came from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from golfpipe.config.schema import PipelineConfig, Plain, plain_config
from golfpipe.loading.lineage import effective_config, trace
from golfpipe.report.run_data import RunData
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import mapping, number, text
from golfpipe.submission.facts import device_of, gather
from golfpipe.submission.records_folder import SUBMISSION_FILE
from golfpipe.submission.rules import EXECUTED_RULES, TIME_RULE, RuleResult, check_rules

LONGEST_VALUE = 120
"""Characters of a value on the page at most."""


class SettingRow(NamedTuple):
    """A setting: its default, and its value in each run; None where it has none."""

    key: str
    default: str | None
    values: list[str | None]


class Differences(NamedTuple):
    """Settings that are not golfpipe's defaults: those in which the runs differ, and those that they share."""

    apart: list[SettingRow]
    shared: list[SettingRow]


class StageOrigin(NamedTuple):
    """Where and when a stage ran, and on what."""

    name: str
    digest: str
    inputs: str
    device: str | None
    started: str | None


class Provenance(NamedTuple):
    """The origin of a run."""

    name: str
    versions: list[tuple[str, str]]
    commands: list[str]
    stages: list[StageOrigin]


def run_rules(run: RunData) -> tuple[RuleResult, ...]:
    """Return the rules as the submission recorded them, or judged now on the evaluation that counts."""
    submission = run.first("submission")
    if submission is not None:
        return _recorded(submission)
    if run.headline is None:
        return ()
    return check_rules(gather([trace(run.headline)]))


def open_rules(run: RunData, rules: Sequence[RuleResult]) -> list[str]:
    """Say which rules nobody has judged, and why: the limits of time are those of other hardware than the run's, and
    some show only where the scoring is run."""
    unknown = [rule.number for rule in rules if rule.status == "not checked"]
    device = device_of(run.first("trained_model")) or device_of(run.headline) or "unknown"
    sentences = []
    if TIME_RULE in unknown:
        sentences.append(
            f"The machine of this run ({device}) cannot judge rule {TIME_RULE}: its seconds are those of 8 x H100."
        )
    by_running = [str(number) for number in EXECUTED_RULES if number in unknown]
    if by_running:
        sentences.append(
            f"Rules {', '.join(by_running)} are judged by running the scoring, on any machine:"
            f" {shlex.join(['golfpipe', 'audit', str(run.folder), '--execute'])}"
        )
    return sentences


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


def differences(runs: Sequence[RunData], longest: int = LONGEST_VALUE) -> Differences:
    """Return the settings that are not golfpipe's defaults in every run. Values are cut after `longest` characters."""
    default = flatten(plain_config(PipelineConfig()))
    settings = [flatten(effective_config(trace(run.headline or run.stages[-1]))) for run in runs]
    found = Differences([], [])
    for key, value in default.items():
        if any(key in s and s[key] != value for s in settings):
            is_apart = len({_written(s.get(key)) for s in settings}) > 1
            row = SettingRow(key, _shown(value, longest), [_shown(s.get(key), longest) for s in settings])
            (found.apart if is_apart else found.shared).append(row)
    return found


def flatten(tree: Plain, prefix: str = "") -> Plain:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    flat: Plain = {}
    for key, value in tree.items():
        if isinstance(value, dict) and not (set(value) <= {"last"} and value):  # {last: N} is a value, not a section
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _shown(value: Any, longest: int) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else _written(value)
    return text if len(text) <= longest else f"{text[:longest]} ..."


def provenance(run: RunData) -> Provenance:
    """Return the run's digests, machines, versions and commands."""
    about = run.stages[0].manifest.provenance
    versions = [
        ("golfpipe", " ".join(filter(None, (text(about, "golfpipe"), text(about, "commit"))))),
        ("machine", ", ".join(filter(None, (text(about, "host"), text(about, "platform"))))),
        ("python", text(about, "python") or ""),
        ("packages", ", ".join(f"{name} {version}" for name, version in mapping(about, "packages").items())),
    ]
    commands = dict.fromkeys(
        shlex.join(["golfpipe", *map(str, argv)])
        for stage in run.stages
        if isinstance(argv := stage.manifest.provenance.get("argv"), list) and argv
    )
    return Provenance(run.name, versions, list(commands), [_origin(stage) for stage in run.stages])


def _origin(stage: Artifact) -> StageOrigin:
    manifest = stage.manifest
    started = number(manifest.provenance, "started_unix")
    device = text(manifest.provenance, "device_used") or text(manifest.provenance, "device")
    return StageOrigin(
        name=stage.path.name,
        digest=manifest.digest[:12],
        inputs=", ".join(f"{ref.role} {ref.digest[:12]}" for ref in manifest.inputs),
        device=device if device != "auto" else None,
        started=_utc(started) if started is not None else None,
    )


def _utc(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "unknown"
