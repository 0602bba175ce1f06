"""The judgment of a submission as a whole: where it departs from the rules, and whether its track allows that."""

from __future__ import annotations

from dataclasses import dataclass

from golfpipe.config.submit import OTHER_TRACK, RECORD_TRACK
from golfpipe.errors import OverLimit, RuleBroken
from golfpipe.submission.facts import Facts
from golfpipe.submission.rules import TIME_RULE, RuleResult, check_rules, is_challenge_data
from golfpipe.units import format_bytes


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """The results of the rules, and the deviations to state."""

    rules: tuple[RuleResult, ...]
    deviations: tuple[str, ...]
    """The departures from the challenge's rules, one sentence each."""
    rehearsal: bool = False
    """True where the rules are judged for a run of which only the rehearsal is there, so that no number is a result."""

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        return tuple(rule for rule in self.rules if rule.status == "fail")


def judge(facts: Facts) -> Judgment:
    """Check every rule and describe each deviation in a sentence."""
    rules = check_rules(facts)
    deviations = [f"Rule {rule.number}, {rule.name}: {rule.evidence}" for rule in rules if rule.status == "fail"]
    if not all(is_challenge_data(run) for run in facts.runs):
        deviations.append("Data: the scored text is not the challenge's FineWeb validation split.")
    if not all(run.trained_here for run in facts.runs):
        deviations.append("Training: the weights were imported, so golfpipe did not see how they were trained.")
    unexplained = [run for run in facts.runs if run.eligible is False and run.protocol != "pre_eval"]
    if unexplained and all(rule.status != "fail" or rule.number != 7 for rule in rules):
        deviations.append("Score: the evaluation marks itself as not eligible.")
    return Judgment(rules=rules, deviations=tuple(deviations))


def refuse_over_limit(facts: Facts) -> None:
    """Raise OverLimit, naming every seed, where one is over its byte limit: no track takes those."""
    over = [
        f"seed {run.seed}: {format_bytes(run.total_bytes)} of {format_bytes(run.limit_bytes)}, so the weights would"
        f" have to give {format_bytes(run.total_bytes - run.limit_bytes)}"
        for run in facts.runs
        if run.over_limit and run.total_bytes is not None
    ]
    if over:
        raise OverLimit(
            f"over the byte limit ({'; '.join(over)})",
            hint="quantize with fewer bits (--set quantize.mlp.bits=3) or train a smaller model;"
            " golfpipe audit shows where the bytes are",
        )


def refuse_broken_rules(judgment: Judgment, track: str) -> None:
    """On the record track, raise RuleBroken with all failed rules and deviations, or OverLimit where only the time
    limit is exceeded. The other track takes every submission that states its deviations."""
    if track != RECORD_TRACK or not judgment.deviations:
        return
    error = (
        OverLimit
        if [rule.number for rule in judgment.failed] == [TIME_RULE] and len(judgment.deviations) == 1
        else RuleBroken
    )
    raise error(
        f"track {track} does not take this submission:\n" + "\n".join(f"  {line}" for line in judgment.deviations),
        hint=f"--set submit.track={OTHER_TRACK} writes the folder and states each deviation",
    )
