"""The rules that only running a method can show, as functions of the facts: order and number of scores, what they may
know, sums, bytes, and what was opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.submission.trial.findings import BytesFound, Executed
from golfpipe.submission.trial.sentences import (
    changed_scores,
    cut_sentence,
    knows_too_much,
    order_sentence,
    sum_sentence,
    tried_share,
)
from golfpipe.units import format_bytes

Status = Literal["pass", "fail", "not applicable", "not checked"]
Finding = tuple[Status, str]
"""What a rule says, and one sentence with the numbers."""

NO_EVALUATION: Finding = ("not applicable", "No evaluation belongs to this artifact.")
_MIN_CUT_TARGETS = 1000
_EXECUTE = "`golfpipe audit --execute`"


def scored_first(facts: Facts) -> Finding:
    if not is_evaluated(facts):
        return NO_EVALUATION
    failed = _first(_executed(facts), lambda run: not run.count.once_each or run.learned_early)
    if failed is not None:
        count = failed.count
        if count.scores_computed > count.targets:
            return (
                "fail",
                f"{failed.method}: the network computed {count.scores_computed:,} scores for {count.targets:,} targets"
                f" and {count.scores_made:,} were told, so some were scored more than once.",
            )
        if not count.once_each:
            return (
                "fail",
                f"{failed.method}: {count.scores_made:,} scores were made for {count.targets:,} targets, of which"
                f" {count.with_score:,} have one.",
            )
        return "fail", f"{failed.method}: {knows_too_much(failed)}."
    if "pre_eval" in _protocols(facts):
        return "fail", "The model was trained on the validation tokens before they were scored (protocol pre_eval)."
    if not _all_executed(facts):
        return (
            "not checked",
            f"Protocol {'/'.join(_protocols(facts)) or 'unknown'}, {counted(facts.runs[0])} targets scored;"
            f" a counter per target is executed by {_EXECUTE}.",
        )
    if doubtful := _first(_executed(facts), lambda run: run.adapts and not run.sums.complete):
        return "not checked", f"{doubtful.method}: {sum_sentence(doubtful)}, too slow to try them all."
    first = _executed(facts)[0]
    updates = ", and no update came before the scores that it could help" if first.adapts else ""
    return "pass", f"{_ran(facts)}: a counter of exactly 1 for each{updates}."


def causal(facts: Facts) -> Finding:
    if not is_evaluated(facts):
        return NO_EVALUATION
    executed = _executed(facts)
    if (early := _knows_later_tokens(executed)) is not None:
        return early
    if failed := _first(executed, lambda run: not run.reproduced.same):
        return (
            "fail",
            f"{failed.method}: run from the packed file, the first {failed.reproduced.documents} documents score"
            f" otherwise than the evaluation recorded, by up to {failed.reproduced.largest_change_nats:.2g} nats"
            " per token.",
        )
    if "pre_eval" in _protocols(facts):
        return "fail", "Weights that learned from the whole split score its early tokens (protocol pre_eval)."
    if not _all_executed(facts):
        return (
            "not checked",
            f"Tokens after a cut are replaced, and every score before it compared, by {_EXECUTE}.",
        )
    if doubtful := _first(executed, lambda run: not run.cuts.repeats):
        return (
            "not checked",
            f"{doubtful.method}: the same text scored twice differs by {doubtful.cuts.repeat_change_nats:.2g} nats, so"
            " a change would not show: this device rounds by chance (execute it on another one), or the method keeps"
            " something between texts.",
        )
    if short := _first(executed, lambda run: run.cuts.targets < _MIN_CUT_TARGETS):
        return (
            "not checked",
            f"{cut_sentence(short)}; {_MIN_CUT_TARGETS:,} targets are needed, the text is too short.",
        )
    documents = executed[0].reproduced.documents
    shorter = executed[0].shorter.compared
    ends = f"; {shorter:,} stay without the text's last third" if shorter else ""
    same = f"; the recorded scores of the first {documents} documents come out again" if documents else ""
    order = order_sentence(executed[0])
    return "pass", f"{_ran(facts)}: {cut_sentence(executed[0])}, also in a process of its own{ends}{same}{order}."


def _knows_later_tokens(executed: Sequence[Executed]) -> Finding | None:
    """Return the failure of a method whose scores show what they must not know; None where none does."""
    if failed := _first(executed, lambda run: run.keeps_state):
        return (
            "fail",
            f"{failed.method}: the same text scored twice differs by {failed.cuts.early_repeat_change_nats:.2g} nats,"
            " and a new process scores it as the first time: something is kept from one text to the next.",
        )
    judged = [run for run in executed if run.cuts.repeats]
    if failed := _first(judged, lambda run: run.cuts.changed > 0):
        return "fail", f"{failed.method}: {cut_sentence(failed)}."
    if failed := _first(judged, lambda run: run.cuts.reordered > 0):
        return (
            "fail",
            f"{failed.method}: order() looks at text that is scored later: with everything replaced after a cut, it"
            f" gives another order before it at {failed.cuts.reordered} of {failed.cuts.cuts} cuts.",
        )
    if failed := _first(judged, lambda run: run.probabilities is not None and run.probabilities.changed > 0):
        assert failed.probabilities is not None
        return (
            "fail",
            f"{failed.method}: probabilities() knows the token that it is asked for, or later ones: at"
            f" {failed.probabilities.changed} of {failed.probabilities.altered} positions it changes with them.",
        )
    if failed := _first(judged, lambda run: run.restarted.changed > 0):
        return (
            "fail",
            f"{failed.method}: where a process finds other tokens from a cut on, in its file and from its start,"
            f" {changed_scores(failed.restarted)}: something was read or kept from the whole text.",
        )
    if failed := _first(judged, lambda run: run.shorter.changed > 0):
        return (
            "fail",
            f"{failed.method}: without the last third of the text, {changed_scores(failed.shorter)}: they depend on"
            " where the text ends.",
        )
    return None


def normalized(facts: Facts) -> Finding:
    if not is_evaluated(facts):
        return NO_EVALUATION
    executed = _executed(facts)
    if failed := _first(executed, lambda run: not run.normalized):
        return "fail", f"{failed.method}: {sum_sentence(failed)}."
    if not _all_executed(facts):
        return "not checked", f"The probabilities over the vocabulary are summed by {_EXECUTE}."
    if slow := _first(executed, lambda run: not run.sums.complete):
        return "not checked", f"{slow.method}: {sum_sentence(slow)}, too slow to try them all."
    return "pass", f"{_ran(facts)}: {sum_sentence(executed[0])}."


def byte_table(facts: Facts) -> Finding:
    if not is_evaluated(facts):
        return NO_EVALUATION
    executed = _executed(facts)
    if failed := _first(executed, lambda run: not run.bytes.agree):
        found = failed.bytes
        return (
            "fail",
            f"The {_counter(found)} counts {found.table_bytes:,} bytes, the decoded text has {found.decoded_bytes:,};"
            f" {found.wrong_documents:,} of {found.documents:,} documents differ.",
        )
    runs = [run for run in facts.runs if run.scored_bytes is not None and run.split_bytes is not None]
    for run in runs:
        if run.whole_split and run.scored_bytes != run.split_bytes:
            return (
                "fail",
                f"The scored targets count {run.scored_bytes:,} bytes, the decoded split has {run.split_bytes:,}.",
            )
    if _all_executed(facts) and executed[0].bytes.documents:
        found = executed[0].bytes
        return (
            "pass",
            f"Executed{_of_seeds(facts)}: the {_counter(found)} sums to the bytes of the decoded text in"
            f" {found.documents - found.wrong_documents:,} of {found.documents:,} documents"
            f" ({format_bytes(found.decoded_bytes)}){_apart(found)}.",
        )
    if len(runs) == len(facts.runs) and all(run.whole_split for run in runs):
        return (
            "pass",
            f"The scored targets count {runs[0].scored_bytes:,} bytes, as many as the validation split had"
            " when it was decoded document by document.",
        )
    return "not checked", "Not the whole split was scored, or the data artifact that knows its bytes was not found."


def _counter(found: BytesFound) -> str:
    return "sidecar" if found.from_sidecar else "byte table"


def _apart(found: BytesFound) -> str:
    if not found.wrong_documents:
        return ""
    apart = abs(found.table_bytes - found.decoded_bytes)
    return f"; {apart:,} bytes apart, which the tokenizer's normalization explains"


def sealed(facts: Facts) -> Finding:
    if not is_evaluated(facts):
        return NO_EVALUATION
    executed = _executed(facts)
    if failed := _first(executed, lambda run: bool(run.opened.files or run.opened.sockets)):
        found = [*failed.opened.files, *failed.opened.sockets]
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return "fail", f"{failed.method} opened {', '.join(found[:5])}{more} (seen by {failed.opened.watcher})."
    if not _all_executed(facts):
        return "not checked", f"The files and sockets that an evaluation opens are watched by {_EXECUTE}."
    opened = executed[0].opened
    return (
        "pass",
        f"{_ran(facts)}, watched by {opened.watcher}: of files only the code, and {opened.allowed_files} of the"
        " method's own files, the tokenizer and the validation shards; no socket.",
    )


def _executed(facts: Facts) -> list[Executed]:
    return [run.executed for run in facts.runs if run.executed is not None]


def _all_executed(facts: Facts) -> bool:
    return len(_executed(facts)) == len(facts.runs)


def _ran(facts: Facts) -> str:
    """Return the beginning of a sentence whose numbers are those of the first seed, with the share that was tried."""
    return f"Executed{_of_seeds(facts)} on {tried_share(_executed(facts)[0])}"


def _of_seeds(facts: Facts) -> str:
    return "" if len(facts.runs) == 1 else f" for {len(facts.runs)} seeds, here the first"


def _first(executed: Sequence[Executed], condition: Callable[[Executed], bool]) -> Executed | None:
    return next((run for run in executed if condition(run)), None)


def _protocols(facts: Facts) -> list[str]:
    return sorted({run.protocol for run in facts.runs if run.protocol})


def counted(run: RunFacts) -> str:
    scored = f"{run.scored_targets:,}" if run.scored_targets is not None else "an unknown number"
    return f"{scored} of {run.split_targets:,}" if run.split_targets is not None else scored


def is_evaluated(facts: Facts) -> bool:
    return bool(facts.runs) and all(run.evaluated or run.executed is not None for run in facts.runs)
