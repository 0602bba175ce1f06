"""The challenge's rules (docs/rules.md) as functions of the facts.

Each returns a status and one sentence with the numbers. `pass` needs evidence, from the manifests or, for what only
running the method can show, from a run (`golfpipe.submission.trial`). Without it such a rule is `not checked`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from golfpipe.config.submit import RECORD_TRACK
from golfpipe.data.challenge_split import VOCABULARY_TARGETS
from golfpipe.submission.executed_rules import (
    NO_EVALUATION,
    Finding,
    Status,
    byte_table,
    causal,
    counted,
    is_evaluated,
    normalized,
    scored_first,
    sealed,
)
from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.units import LIMIT_BYTES, exact_seconds, format_bytes

TIME_LIMIT_SECONDS = 600.0
CHALLENGE_VOCAB_SIZE = 1024
CHALLENGE_TARGETS = VOCABULARY_TARGETS[CHALLENGE_VOCAB_SIZE][0]
TIME_RULE = 2
EXECUTED_RULES = (3, 4, 5, 10)
"""The rules that only running the scoring method shows."""

_NO_PACKED: Finding = ("not applicable", "No packed model belongs to this artifact, so no bytes count yet.")


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    number: int
    """The number of the rule: 1 to 10 as in the challenge's list; 11 is about the script."""
    name: str
    status: Status
    evidence: str


def check_rules(facts: Facts) -> tuple[RuleResult, ...]:
    """Check every rule, in order."""
    return named_rules({number: rule(facts) for number, (_, rule) in enumerate(_RULES, start=1)})


def named_rules(findings: Mapping[int, Finding]) -> tuple[RuleResult, ...]:
    """Return results by the rules' numbers as they are listed; `findings` has one for every number."""
    return tuple(
        RuleResult(number=number, name=name, status=findings[number][0], evidence=findings[number][1])
        for number, (name, _) in enumerate(_RULES, start=1)
    )


def not_applicable(reason: str) -> tuple[RuleResult, ...]:
    """Return every rule as not applicable, for an artifact that none of them is about."""
    return named_rules(dict.fromkeys(range(1, len(_RULES) + 1), ("not applicable", reason)))


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
        return "not checked", f"{sentence}: it fits if the script keeps to the reserve; submit writes and measures it."
    if len(known) < len(facts.runs):
        return "not checked", f"{sentence}; {len(facts.runs) - len(known)} seeds have no known size."
    return "pass", f"{sentence}."


def _times(facts: Facts) -> Finding:
    if all(run.train_seconds is None and run.eval_seconds is None for run in facts.runs):
        return "not checked", "No manifest holds a training or evaluation time."
    parts, unknown, over = [], [], []
    for label, seconds in (
        ("training", [run.whole_train_seconds for run in facts.runs]),
        ("evaluation", [run.whole_eval_seconds for run in facts.runs]),
    ):
        known = [value for value in seconds if value is not None]
        if len(known) < len(seconds):
            unknown.append(label)
        if known:
            parts.append(f"{label} {exact_seconds(max(known))}")
            if max(known) > TIME_LIMIT_SECONDS:
                over.append(label)
    machines = [name for run in facts.runs for name in (run.device, run.eval_device) if name]
    devices = ", ".join(dict.fromkeys(machines)) or "an unnamed device"
    sentence = f"{' and '.join(parts)} of {TIME_LIMIT_SECONDS:.0f} s each, measured on {devices}{_largest_of(facts)}"
    if over:
        return "fail", f"{sentence}: {' and '.join(over)} took too long."
    if unknown:
        return "not checked", f"{sentence}; {' and '.join(unknown)} time is not known."
    if not all(_on_challenge_hardware(run) for run in facts.runs):
        return "not checked", f"{sentence}: not comparable, since the limits are those of 8 x H100."
    return "pass", f"{sentence}."


def _on_challenge_hardware(run: RunFacts) -> bool:
    """Return True if the seconds were measured on the challenge's 8 H100 GPUs. An evaluation may have used fewer of
    them, which only takes longer."""
    trained = re.fullmatch(r"8 ?x ?(NVIDIA )?H100\b.*", run.device or "") is not None
    return trained and re.search(r"\bH100\b|xH100\b", run.eval_device or run.device or "") is not None


def _whole_split(facts: Facts) -> Finding:
    if not is_evaluated(facts):
        return NO_EVALUATION
    for run in facts.runs:
        sentence = (
            f"Scored {counted(run)} targets; the challenge counts {CHALLENGE_TARGETS:,} on its own split at sp1024"
        )
        if run.scored_targets == CHALLENGE_TARGETS:
            continue
        if run.whole_split is None:
            return "not checked", f"{sentence}; whether that is the whole split is not recorded."
        if not run.whole_split:
            return "fail", f"{sentence}: a part of the split."
        if facts.track == RECORD_TRACK and not is_challenge_data(run):
            return "fail", f"{sentence}: this is another text than the challenge's."
    other = "" if all(is_challenge_data(run) for run in facts.runs) else ", so this is another text"
    return "pass", f"{sentence}{other}."


def is_challenge_data(run: RunFacts) -> bool:
    """Return True if the scored split can be the challenge's, which its size tells at the challenge's vocabulary of
    1024. Other vocabularies have no published count."""
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


def _script(facts: Facts) -> Finding:
    if not facts.has_folder:
        return "not applicable", "A script belongs to a records folder, not to this artifact."
    if facts.script_bytes is None:
        return "fail", "; ".join(["train_gpt.py is missing", *facts.folder_problems]) + "."
    script = f"train_gpt.py has {format_bytes(facts.script_bytes)}"
    if facts.folder_problems:
        return "fail", f"{script}, but {'; '.join(facts.folder_problems)}."
    return "pass", f"{script}; the other files and the fields of submission.json are there."


_RULES: tuple[tuple[str, Callable[[Facts], Finding]], ...] = (
    ("code + weights within 16,000,000 bytes", _size),
    ("training and evaluation within 600 s each", _times),
    ("each token scored once, before any update that saw it", scored_first),
    ("scores depend on earlier tokens only", causal),
    ("probabilities sum to one", normalized),
    ("byte table equals the decoded text", byte_table),
    ("the whole validation split is scored", _whole_split),
    ("no calibration on validation data", _calibration),
    ("one configuration for all seeds, json equals logs", _one_configuration),
    ("no network, no training data at evaluation", sealed),
    ("the folder is complete, with the script", _script),
)


def _largest_of(facts: Facts) -> str:
    return f" (largest of {len(facts.runs)} seeds)" if len(facts.runs) > 1 else ""
