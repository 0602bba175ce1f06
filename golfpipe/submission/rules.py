"""The challenge's rules (SPEC section 8) as functions of the facts.

Each returns a status and one sentence with the numbers. `pass` needs evidence in the manifests; what only running the
model can show is `not checked`, with the run that will show it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.units import LIMIT_BYTES, format_bytes, format_seconds

Status = Literal["pass", "fail", "not applicable", "not checked"]
Finding = tuple[Status, str]

TIME_LIMIT_SECONDS = 600.0
CHALLENGE_TARGETS = 62_021_632
"""Targets that the challenge's own logs count on its sp1024 validation split, the ragged end dropped."""
CHALLENGE_VOCAB_SIZE = 1024
TIME_RULE = 2
SCRIPT_RULE = 11

_NO_EVALUATION: Finding = ("not applicable", "No evaluation belongs to this artifact.")
_NO_PACKED: Finding = ("not applicable", "No packed model belongs to this artifact, so no bytes count yet.")


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    number: int
    """1..10 as in the challenge's list; 11 is the script."""
    name: str
    status: Status
    evidence: str


def check_rules(facts: Facts) -> tuple[RuleResult, ...]:
    """Every rule, in order."""
    results = []
    for number, (name, rule) in enumerate(_RULES, start=1):
        status, evidence = rule(facts)
        results.append(RuleResult(number=number, name=name, status=status, evidence=evidence))
    return tuple(results)


def not_applicable(reason: str) -> tuple[RuleResult, ...]:
    """Every rule, for an artifact that none of them is about."""
    return tuple(
        RuleResult(number=number, name=name, status="not applicable", evidence=reason)
        for number, (name, _) in enumerate(_RULES, start=1)
    )


def _size(facts: Facts) -> Finding:
    known = [(run, run.total_bytes) for run in facts.runs if run.total_bytes is not None]
    if not known:
        return _NO_PACKED
    largest, total = max(known, key=lambda item: item[1] or 0)
    assert total is not None
    code = "measured" if largest.code_measured else "reserved"
    sentence = (
        f"{format_bytes(largest.packed_bytes or 0)} weights + {format_bytes(largest.code_bytes or 0)} code ({code})"
        f" = {format_bytes(total)} of {format_bytes(LIMIT_BYTES)}{_largest_of(facts)}"
    )
    if total > LIMIT_BYTES:
        return "fail", f"{sentence}: {format_bytes(total - LIMIT_BYTES)} too many."
    if not largest.code_measured:
        return "not checked", f"{sentence}: it fits if the script, which does not exist yet, keeps to the reserve."
    if len(known) < len(facts.runs):
        return "not checked", f"{sentence}; {len(facts.runs) - len(known)} seeds have no known size."
    return "pass", f"{sentence}."


def _times(facts: Facts) -> Finding:
    if all(run.train_seconds is None and run.eval_seconds is None for run in facts.runs):
        return "not checked", "No manifest holds a training or evaluation time."
    parts, unknown, over = [], [], []
    for label, limit_part in (("training", _training_seconds), ("evaluation", _evaluation_seconds)):
        seconds = [limit_part(run) for run in facts.runs]
        known = [value for value in seconds if value is not None]
        if len(known) < len(seconds):
            unknown.append(label)
        if known:
            parts.append(f"{label} {format_seconds(max(known))}")
            if max(known) > TIME_LIMIT_SECONDS:
                over.append(label)
    devices = ", ".join(sorted({run.device for run in facts.runs if run.device})) or "an unnamed device"
    sentence = f"{' and '.join(parts)} of {TIME_LIMIT_SECONDS:.0f} s each, measured on {devices}{_largest_of(facts)}"
    if over:
        return "fail", f"{sentence}: {' and '.join(over)} took too long."
    if unknown:
        return "not checked", f"{sentence}; {' and '.join(unknown)} time is not known."
    return "pass", f"{sentence}."


def _training_seconds(run: RunFacts) -> float | None:
    return None if run.train_seconds is None else run.train_seconds + run.calibration_seconds


def _evaluation_seconds(run: RunFacts) -> float | None:
    return run.whole_eval_seconds


def _scored_first(facts: Facts) -> Finding:
    if not _evaluated(facts):
        return _NO_EVALUATION
    if "pre_eval" in _protocols(facts):
        return "fail", "The model was trained on the validation tokens before they were scored (protocol pre_eval)."
    run = facts.runs[0]
    return (
        "not checked",
        f"Protocol {'/'.join(_protocols(facts)) or 'unknown'}, {_counted(run)} targets scored;"
        " a counter per target will be executed (audit --execute, a later version).",
    )


def _causal(facts: Facts) -> Finding:
    if not _evaluated(facts):
        return _NO_EVALUATION
    if "pre_eval" in _protocols(facts):
        return "fail", "Weights that learned from the whole split score its early tokens (protocol pre_eval)."
    return (
        "not checked",
        "Will be executed by changing the tokens after a cut and comparing every score before it (audit --execute).",
    )


def _normalized(facts: Facts) -> Finding:
    if not _evaluated(facts):
        return _NO_EVALUATION
    return "not checked", "Will be executed by summing the probabilities over the vocabulary (audit --execute)."


def _byte_table(facts: Facts) -> Finding:
    if not _evaluated(facts):
        return _NO_EVALUATION
    runs = [run for run in facts.runs if run.scored_bytes is not None and run.split_bytes is not None]
    for run in runs:
        if run.whole_split and run.scored_bytes != run.split_bytes:
            return (
                "fail",
                f"The scored targets count {run.scored_bytes:,} bytes, the decoded split has {run.split_bytes:,}.",
            )
    if len(runs) == len(facts.runs) and all(run.whole_split for run in runs):
        return (
            "pass",
            f"The scored targets count {runs[0].scored_bytes:,} bytes, as many as the validation split had"
            " when it was decoded document by document.",
        )
    return "not checked", "Not the whole split was scored, or the data artifact that knows its bytes was not found."


def _whole_split(facts: Facts) -> Finding:
    if not _evaluated(facts):
        return _NO_EVALUATION
    for run in facts.runs:
        sentence = (
            f"Scored {_counted(run)} targets; the challenge counts {CHALLENGE_TARGETS:,} on its own split at sp1024"
        )
        if run.scored_targets == CHALLENGE_TARGETS:
            continue
        if run.whole_split is None:
            return "not checked", f"{sentence}; whether that is the whole split is not recorded."
        if not run.whole_split:
            return "fail", f"{sentence}: a part of the split."
        if facts.track == "10min_16mb" and not is_challenge_data(run):
            return "fail", f"{sentence}: this is another text than the challenge's."
    other = "" if all(is_challenge_data(run) for run in facts.runs) else ", so this is another text"
    return "pass", f"{sentence}{other}."


def is_challenge_data(run: RunFacts) -> bool:
    """Whether the scored split can be the challenge's: at its vocabulary of 1024 the size tells. Other vocabularies
    have no published count."""
    if run.vocab_size != CHALLENGE_VOCAB_SIZE or run.split_targets is None:
        return True
    return 0 <= run.split_targets - CHALLENGE_TARGETS < 2048


def _calibration(facts: Facts) -> Finding:
    sources = sorted({run.calibration for run in facts.runs})
    if all(run.packed_bytes is None for run in facts.runs):
        return _NO_PACKED
    if "validation data" in sources:
        return "fail", "Quantization was calibrated on validation data."
    if "unknown" in sources:
        return "not checked", "The quantized model was not found, or it does not say what it was calibrated on."
    if sources == ["none"]:
        return "pass", "Quantization read the weights alone: its manifest names no data and no calibration."
    return "pass", f"Quantization was calibrated on {' and '.join(sources)}, as its manifest records."


def _one_configuration(facts: Facts) -> Finding:
    if not facts.has_folder:
        return "not applicable", "Judged on a records folder: submit compares the seeds and the logs."
    if facts.configuration_differences:
        return "fail", f"The seeds differ in more than the seed: {'; '.join(facts.configuration_differences)}."
    if facts.log_differences:
        return "fail", f"submission.json and the logs disagree: {'; '.join(facts.log_differences)}."
    if facts.configuration_differences is None:
        return "not checked", "The evaluations of the seeds were not found."
    if facts.log_differences is None:
        return "not checked", "There is no log to compare submission.json with."
    seeds = f"{len(facts.runs)} seeds share one configuration" if len(facts.runs) > 1 else "There is one seed"
    return "pass", f"{seeds}, and submission.json holds the numbers of the logs."


def _sealed(facts: Facts) -> Finding:
    if not _evaluated(facts):
        return _NO_EVALUATION
    return (
        "not checked",
        "Will be executed by tracing the files and sockets that an evaluation opens (audit --execute).",
    )


def _script(facts: Facts) -> Finding:
    if not facts.has_folder:
        return "not applicable", "A script belongs to a records folder, not to this artifact."
    if facts.script_bytes is None:
        return "fail", "train_gpt.py is missing: this version of golfpipe does not generate it yet."
    return "pass", f"train_gpt.py has {format_bytes(facts.script_bytes)}."


_RULES: tuple[tuple[str, Callable[[Facts], Finding]], ...] = (
    ("code + weights within 16,000,000 bytes", _size),
    ("training and evaluation within 600 s each", _times),
    ("each token scored once, before any update that saw it", _scored_first),
    ("scores depend on earlier tokens only", _causal),
    ("probabilities sum to one", _normalized),
    ("byte table equals the decoded text", _byte_table),
    ("the whole validation split is scored", _whole_split),
    ("no calibration on validation data", _calibration),
    ("one configuration for all seeds, json equals logs", _one_configuration),
    ("no network, no training data at evaluation", _sealed),
    ("the script is in the folder", _script),
)


def _evaluated(facts: Facts) -> bool:
    return bool(facts.runs) and all(run.evaluated for run in facts.runs)


def _protocols(facts: Facts) -> list[str]:
    return sorted({run.protocol for run in facts.runs if run.protocol})


def _counted(run: RunFacts) -> str:
    scored = f"{run.scored_targets:,}" if run.scored_targets is not None else "an unknown number"
    return f"{scored} of {run.split_targets:,}" if run.split_targets is not None else scored


def _largest_of(facts: Facts) -> str:
    return f" (largest of {len(facts.runs)} seeds)" if len(facts.runs) > 1 else ""
