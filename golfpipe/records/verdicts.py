"""What the rules say about a records folder of somebody else, on what it states about itself.

A rule that only running the method could show stays `not checked`, with the places in the script to look at; nothing
of such a folder is run.
"""

from __future__ import annotations

from collections.abc import Sequence

from golfpipe.data.challenge_split import CHALLENGE_TARGETS, VOCABULARY_TARGETS
from golfpipe.records.evidence import Counted, Run, largest
from golfpipe.records.folder import Reading
from golfpipe.records.hints import find_hints, hint_sentence
from golfpipe.submission.executed_rules import Finding
from golfpipe.submission.records_folder import README_FILE, SCRIPT_FILE, SUBMISSION_FILE
from golfpipe.submission.rules import TIME_LIMIT_SECONDS, RuleResult, named_rules
from golfpipe.units import LIMIT_BYTES, exact_seconds, format_bytes

_FEWEST_TARGETS = 30_000_000
"""A split of 151 MB has more at any vocabulary that fits the limit."""
_BATCHES = [unit << power for unit in (1, 3) for power in range(8, 20)]
_NOT_RUN = "Only running the method shows this, and nothing of somebody else's folder is run."


def judge(reading: Reading) -> tuple[RuleResult, ...]:
    """Return a result for every rule."""
    runs = reading.counting.runs
    hints = find_hints(reading.script) if reading.script is not None else ()
    findings: dict[int, Finding] = {
        1: _size(reading),
        2: _times(runs),
        7: _targets(runs),
        9: _agreement(reading),
        11: _complete(reading),
    }
    for number in (3, 4, 5, 6, 8, 10):
        findings[number] = ("not checked", _NOT_RUN + hint_sentence(hints, number))
    return named_rules(findings)


def _size(reading: Reading) -> Finding:
    runs = reading.counting.runs
    if reading.script is not None and reading.script.kind == "empty":
        return (
            "fail",
            f"{reading.script.name} is empty, so the code that ran is not here and its bytes cannot be counted.",
        )
    most = largest([run.total for run in runs])
    if most is None:
        return "not checked", f"Neither a log nor {SUBMISSION_FILE} states a size."
    run = next(run for run in runs if run.total is most)
    assumed = ", assumed, because no log says it" if most.assumed else ""
    code = f"; code {format_bytes(int(run.code.value))} ({run.code.sources})" if run.code is not None else ""
    of = f"of {format_bytes(LIMIT_BYTES)}{_largest_of(runs)}"
    sentence = f"{format_bytes(int(most.value))} {of} ({most.sources}{assumed}){code}"
    if most.value > LIMIT_BYTES:
        return "fail", f"{sentence}: {format_bytes(int(most.value) - LIMIT_BYTES)} too many."
    unknown = sum(run.total is None for run in runs)
    if unknown:
        return "not checked", f"{sentence}; {unknown} seeds have no known size."
    if most.assumed and len(runs) > 1:
        return "not checked", f"{sentence}; it is not said of every seed."
    return "pass", f"{sentence}."


def _times(runs: Sequence[Run]) -> Finding:
    """Seconds are shown as they are: 600.038 s is not 10 minutes."""
    parts, unknown, over, capped = [], [], [], []
    for label, counted in (("training", [r.train for r in runs]), ("evaluation", [r.evaluation for r in runs])):
        most = largest(counted)
        if most is None or None in counted:
            unknown.append(label)
        if most is None:
            continue
        parts.append(f"{label} {exact_seconds(most.value)}{_largest_of(runs)} ({_sum(most)})")
        for run, seconds in zip(runs, counted, strict=True):
            if seconds is None or seconds.value <= TIME_LIMIT_SECONDS:
                continue
            if label == "training" and _within_one_step(run):
                capped.append(run.name)
            else:
                over.append(label)
    if not parts:
        return "not checked", f"Neither a log nor {SUBMISSION_FILE} states a time."
    kept = f"; the cap stopped {', '.join(capped)} within one step of it, which is kept" if capped else ""
    sentence = f"{' and '.join(parts)} of {TIME_LIMIT_SECONDS:.0f} s each{kept}"
    if over:
        return "fail", f"{sentence}: {' and '.join(dict.fromkeys(over))} took too long."
    if unknown:
        return "not checked", f"{sentence}; {' and '.join(unknown)} time is not known of every seed."
    return "pass", f"{sentence}."


def _within_one_step(run: Run) -> bool:
    """The clock is looked at after each step, so a capped run ends up to a step later."""
    if run.train is None or run.steps is None or not run.capped:
        return False
    return run.train.value <= TIME_LIMIT_SECONDS + run.train.value / run.steps.value


def _sum(counted: Counted) -> str:
    """The lines that were added, or the one source."""
    if len(counted.of) == 1:
        return counted.sources
    return " + ".join(f"{exact_seconds(s.value)} {s.label}, {s.source}" for s in counted.of)


def _targets(runs: Sequence[Run]) -> Finding:
    known = [(run, run.targets) for run in runs if run.targets is not None]
    if not known:
        return "not checked", "No log says how many validation tokens were scored."
    worst: Finding | None = None
    for run, targets in known:
        assert targets is not None
        count = int(targets.value)
        said = f"{count:,} validation tokens ({targets.source})"
        whole = next((size for size in CHALLENGE_TARGETS if _is_whole(count, size)), None)
        if whole is not None:
            worst = worst or (
                "pass",
                f"{said}: the challenge's {whole:,} ({CHALLENGE_TARGETS[whole]}), cut to whole batches.",
            )
            continue
        vocabulary = next((log.vocab_size for log in run.logs if log.vocab_size is not None), None)
        sizes = VOCABULARY_TARGETS.get(vocabulary or 0, ())
        if sizes and count < max(sizes):
            size = min((size for size in sizes if size > count), default=max(sizes))
            return (
                "fail",
                f"{said}: {100 * count / size:.2g} % of the challenge's {size:,} at a vocabulary of {vocabulary:,}.",
            )
        if count < _FEWEST_TARGETS:
            size = min(CHALLENGE_TARGETS)
            return "fail", f"{said}: a part of the split, {100 * count / size:.2g} % of the {size:,} at sp8192."
        worst = "not checked", f"{said}: the challenge's own count at this vocabulary is not known."
    assert worst is not None
    if len(known) < len(runs) and worst[0] == "pass":
        return "not checked", f"{worst[1]} {len(runs) - len(known)} seeds do not say it."
    return worst


def _is_whole(count: int, size: int) -> bool:
    """The split itself, or what is left of it in whole sequences or batches."""
    uncut = 0 <= count - size < 2048 and size == 62_021_632
    return uncut or any(count == size // batch * batch for batch in (1, *_BATCHES))


def _agreement(reading: Reading) -> Finding:
    counting, record = reading.counting, reading.record
    if counting.differences:
        return "fail", f"Statements differ: {'; '.join(counting.differences)}."
    if not record.statements:
        return "not checked", f"There is no {SUBMISSION_FILE} with numbers to hold against the logs."
    if not reading.has_logs:
        return "not checked", f"There is no log to hold {record.name} against."
    if counting.unlogged:
        return "not checked", f"{record.name} holds the numbers of the logs; {counting.unlogged} seeds have no log."
    if len(counting.runs) == 1:
        return "pass", f"{record.name} holds the numbers of the log."
    held = f"{record.name} holds the numbers of the logs of {len(counting.runs)} seeds"
    return "pass", f"{held}. Whether they share one configuration is not shown."


def missing_parts(reading: Reading) -> list[str]:
    """Return what the challenge asks for and the folder lacks, the script aside; what is merely usual is a note."""
    record = reading.record
    missing = list(record.problems)
    if record.name is None:
        missing.append(f"no {SUBMISSION_FILE}")
    elif record.statements or record.fields:
        missing += [] if {"author", "name"} & record.fields.keys() else ["no name or author"]
        missing += [] if "github_id" in record.fields else ["no github_id"]
    missing += [] if reading.has_readme else [f"no {README_FILE}"]
    return missing + ([] if reading.has_logs else ["no training log"])


def _complete(reading: Reading) -> Finding:
    script, missing = reading.script, missing_parts(reading)
    if script is None:
        missing.append(f"no {SCRIPT_FILE}")
    elif script.kind == "empty":
        missing.append(f"{script.name} is empty")
    if missing or script is None:
        return "fail", f"The folder lacks what the challenge asks for: {'; '.join(missing)}."
    return "pass", f"README, {reading.record.name}, log and script are there; {script.sentence}."


def usual_notes(reading: Reading) -> list[str]:
    """Return what other records have and this one lacks, which breaks no rule."""
    lacking = [name for name in ("name", "author", "blurb", "date") if name not in reading.record.fields]
    notes = [f"without the usual {', '.join(lacking)}"] if reading.record.name is not None and lacking else []
    seeds = len(reading.counting.runs)
    if seeds < 3:
        notes.append(f"{seeds} seed{'s' * (seeds != 1)}; 3 are usual")
    return notes


def _largest_of(runs: Sequence[Run]) -> str:
    return f" (largest of {len(runs)} seeds)" if len(runs) > 1 else ""
