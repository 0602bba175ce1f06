"""Which statement counts for each seed and quantity, and where statements differ.

Logs count before submission.json, of several logs of a seed those in which its stated score stands. Sizes: the log's
own total, the last one; then its code (compressed where it says so) plus its model; then files; then what
submission.json says of that seed. Times: the training with its calibration, and all phases of the evaluation together.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from golfpipe.records.evidence import Counted, Log, Quantity, Record, Run, Statement
from golfpipe.records.log_lines import TRAINING

_DIAGNOSTIC = re.compile(r"diagnostic|pre.?quant|post.?ema|post.?avg|pre.?ttt|ablation|baseline|before|raw_model|^ema")
_TTT = re.compile(r"ttt|adapt")
_SLIDING = re.compile(r"slid|window|stride")
_SAME_PHASE = 0.03
"""Two lines whose times differ by less are one phase that is logged twice."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code that a folder holds."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    """Its size in every form under which it may have been counted, by what has it; the one that counts first."""
    stub: bool = False
    """The script runs other files, whose bytes count too."""


@dataclass
class Counting:
    """The runs of a record, with what differs and what is worth a note."""

    runs: list[Run] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """Between submission.json and the logs, or inside of submission.json; each names both sources."""
    notes: list[str] = field(default_factory=list)
    unlogged: int = 0
    """Seeds without a log."""


def count_record(
    record: Record, logs: Mapping[int | None, Sequence[Log]], files: Counted | None, code: Code
) -> Counting:
    """Decide for every seed. `logs`: by seed, in their order; `files`: the size of model and script, where the folder
    has both; `code`: the folder's own code."""
    found = Counting()
    seeds: list[int | None] = [*dict.fromkeys([*record.seeds, *(seed for seed in logs if seed is not None)])] or [None]
    if None in logs and seeds != [None]:
        found.notes.append(f"of no seed that is known: {', '.join(dict.fromkeys(log.name for log in logs[None]))}")
    label = _score_label(record, [logs.get(seed, ()) for seed in seeds])
    for seed in seeds:
        own = _Seed(record, seed, logs.get(seed, ()), alone=len(seeds) == 1)
        found.runs.append(own.run(label, files, code))
        found.differences += own.differences
        found.notes += own.notes
        found.unlogged += not own.logs
    found.differences += _whole_record(record, found, code.sizes)
    return found


class _Seed:
    """One seed's statements."""

    def __init__(self, record: Record, seed: int | None, logs: Sequence[Log], *, alone: bool) -> None:
        self.record, self.seed, self.logs, self.alone = record, seed, tuple(logs), alone
        self.name = f"seed {seed}" if seed is not None else "the run"
        self.differences: list[str] = []
        self.notes: list[str] = []
        stated = self.stated("val_bpb")
        holding = [log for log in logs if any(stated and s.agrees(stated) for s in _final(log.of("val_bpb")))]
        self.first = holding or list(logs)
        """The logs that speak of the submitted score, or all."""
        if holding and len(holding) < len(logs):
            others = ", ".join(dict.fromkeys(log.name for log in logs if log not in holding))
            self.notes.append(f"{self.name}: its stated score does not stand in {others}, which may be of another run")

    def stated(self, quantity: Quantity) -> Statement | None:
        """What submission.json says of this seed: of the whole record only where it is the only seed."""
        own = self.record.of(quantity, self.seed) if self.seed is not None else []
        return next(iter(own or (self.record.of(quantity, None) if self.alone else [])), None)

    def said(self, *quantities: Quantity) -> list[Statement]:
        """What the logs say, those of the submitted score first; others where these are silent."""
        for logs in (self.first, self.logs):
            found = [statement for log in logs for statement in log.of(*quantities)]
            if found:
                return found
        return []

    def run(self, label: str | None, files: Counted | None, shipped: Code) -> Run:
        score, loss = self._score("val_bpb", label), self._score("val_loss", label)
        code, model = self._code(shipped), self._model()
        total = self._total(code, model, files)
        if model is None and total is not None and code is not None and total.value >= code.value:
            model = Counted(value=total.value - code.value, of=(), assumed=True)
        train, evaluation = self._training(), self._evaluation()
        return Run(
            seed=self.seed,
            logs=self.logs,
            score=score,
            loss=loss,
            total=total,
            code=code,
            model=model,
            train=self._compared("train_seconds", train, train.of if train is not None else ()),
            evaluation=self._compared("eval_seconds", evaluation, self.said("eval_seconds")),
            steps=self._compared("steps", _last(self.said("steps")), self.said("steps")),
            targets=next(iter(reversed(self.said("targets"))), None) or self.stated("targets"),
        )

    def _score(self, quantity: Quantity, label: str | None) -> Statement | None:
        """The log's number where the stated one stands in it, else the log's last result."""
        stated = self.stated(quantity)
        every = [s for log in self.logs for s in log.of(quantity)]
        final = _final([s for log in self.first for s in log.of(quantity)])
        if stated is None or not every:
            labelled = [s for s in final if s.label == label]
            return next(iter(reversed(labelled or final)), stated)
        agreeing = [s for s in _final(every) if stated.agrees(s)]
        if agreeing:
            return min(reversed(agreeing), key=lambda s: s.resolution)
        if any(stated.agrees(s) for s in every):
            self.notes.append(f"{self.name}: {quantity} {stated.value:g} stands in its log only as {TRAINING}")
            return stated
        last = final[-1] if final else every[-1]
        self._differ(stated, [last])
        return last

    def _code(self, shipped: Code) -> Counted | None:
        """What the log counted, compressed where it says so. A stub's neighbors count even if it left them out."""
        said = self.said("code_bytes")
        compressed = [s for s in said if re.search(r"(?<!un)compressed|minified|packed", s.label)]
        counted = _last(compressed or said)
        for name, size in list(shipped.sizes.items())[:1]:
            if counted is None or (shipped.stub and counted.value < min(shipped.sizes.values(), default=0) * 2):
                file = Statement(
                    quantity="code_bytes", value=size, source=name, seed=self.seed, label="size of the file"
                )
                return Counted(value=size, of=(file,))
        return counted or _last([*self.record.of("code_bytes", self.seed), *self.record.of("code_bytes", None)][:1])

    def _model(self) -> Counted | None:
        """The packed model; a bare "serialized model" is that of the training."""
        packed = [s for s in self.said("model_bytes") if s.label != "serialized model"]
        return _last(packed) or _last(self.record.of("model_bytes", self.seed)[:1])

    def _total(self, code: Counted | None, model: Counted | None, files: Counted | None) -> Counted | None:
        stated, said = self.stated("total_bytes"), self.said("total_bytes")
        own = self.record.of("total_bytes", self.seed) if self.seed is not None else []
        if said:
            total = _last(said)
            assert total is not None
            counted = _last(self.said("code_bytes"))
            if (
                code is not None
                and counted is not None
                and code.of[0].source not in [s.source for s in self.said("code_bytes")]
            ):
                total = Counted(value=total.value - counted.value + code.value, of=(*total.of, *code.of))
            if stated is not None and own and not any(stated.agrees(s) for s in total.of):
                self._differ(stated, total.of)
            return total
        if model is not None and code is not None:
            total = Counted(value=code.value + model.value, of=(*code.of, *model.of))
            if stated is not None and own and stated.value != total.value:
                self._differ(stated, total.of, total.value)
            return total
        if files is not None and self.alone:
            return files
        return Counted(value=stated.value, of=(stated,), assumed=not own) if stated is not None else None

    def _training(self) -> Counted | None:
        """The last time of the training, where the clock stopped it the time of that line; and the calibration."""
        said = self.said("train_seconds")
        if not said:
            return None
        stopped = [s for s in said if s.label.startswith("stopping")]
        trained = (stopped or said)[-1]
        calibrated = _phases(self.said("calibration_seconds"))
        return Counted(value=round(sum(s.value for s in (trained, *calibrated)), 6), of=(trained, *calibrated))

    def _evaluation(self) -> Counted | None:
        """The script's own sum; else all phases of test-time training and sliding windows; else the last pass."""
        said = [s for s in self.said("eval_seconds") if not _DIAGNOSTIC.search(s.label)]
        whole = [s for s in said if s.label == "total_eval_time"]
        if whole:
            return _last(whole)
        phases = _phases(s for s in said if _TTT.search(s.label)) + _phases(
            s for s in said if _SLIDING.search(s.label) and not _TTT.search(s.label)
        )
        if not phases:
            return _last(said)
        phases.sort(key=said.index)
        return Counted(value=round(sum(s.value for s in phases), 6), of=tuple(phases))

    def _compared(self, quantity: Quantity, counted: Counted | None, said: Sequence[Statement]) -> Counted | None:
        """The log's number, after it is compared with the stated one; without a log the stated one."""
        own = self.record.of(quantity, self.seed) if self.seed is not None else []
        stated = next(iter(own), None)
        if counted is None:
            whole = self.record.of(quantity, None)
            return _last(own[:1]) or (Counted(value=whole[0].value, of=(whole[0],), assumed=True) if whole else None)
        coarsest = max((s.resolution for s in counted.of), default=0.0)
        if stated is not None and not (
            stated.agrees(counted.value, coarsest) or any(stated.agrees(statement) for statement in said)
        ):
            self._differ(stated, counted.of, counted.value)
        return counted

    def _differ(self, stated: Statement, others: Sequence[Statement], value: float | None = None) -> None:
        self.differences.append(f"{self.name}: {difference(stated, others, value)}")


def difference(stated: Statement, others: Sequence[Statement], value: float | None = None) -> str:
    """Name two statements of one quantity that are not one number."""
    sources = " + ".join(dict.fromkeys(statement.source for statement in others))
    said = _written(others[0].value if value is None else value, min(s.resolution for s in others))
    return f"{stated.quantity} {_written(stated.value, stated.resolution)} ({stated.source}), but {said} ({sources})"


def _whole_record(record: Record, found: Counting, code_sizes: Mapping[str, int]) -> Iterator[str]:
    """What submission.json says of the whole record, against its seeds."""
    quantities: tuple[Quantity, ...] = ("val_bpb", "val_loss")
    for quantity in quantities:
        yield from _whole_score(record, quantity, found)
    totals = [run.total for run in found.runs if run.total is not None and not run.total.assumed]
    for stated in record.of("total_bytes", None):
        most = max(totals, key=lambda total: total.value, default=None)
        if (
            most is None
            or stated.value == most.value
            or not (len(totals) == len(found.runs) or stated.value < most.value)
        ):
            continue
        if any(stated.value == total.value for total in totals) or stated.value > most.value:
            found.notes.append(difference(stated, most.of, most.value))
        else:
            yield difference(stated, most.of, most.value)
    yield from _whole_code(record, found, code_sizes)
    yield from _whole_time(record, "train_seconds", [run.train for run in found.runs], found.notes)
    yield from _whole_time(record, "eval_seconds", [run.evaluation for run in found.runs], found.notes)


def _whole_time(record: Record, quantity: Quantity, times: Sequence[Counted | None], notes: list[str]) -> Iterator[str]:
    """A time of the whole record is that of a seed, or at least no less than all of them."""
    known = [time for time in times if time is not None and not time.assumed]
    for stated in record.of(quantity, None):
        parts = [part for time in known for part in (time.value, *(s.value for s in time.of))]
        if not parts or any(stated.agrees(part) for part in parts):
            continue
        least = min(known, key=lambda time: time.value)
        said = difference(stated, least.of, least.value)
        if stated.value + stated.resolution < min(parts):
            yield said
        else:
            notes.append(said)


def _whole_score(record: Record, quantity: Quantity, found: Counting) -> Iterator[str]:
    """A score of the whole record is the mean of its seeds, or stands in a log."""
    entries = [next(iter(record.of(quantity, seed)), None) for seed in record.seeds]
    counted = [run.score if quantity == "val_bpb" else run.loss for run in found.runs]
    groups = [[s for s in group if s is not None] for group in (counted, entries)]
    means = [(statistics.fmean(s.value for s in g), max(s.resolution for s in g), g) for g in groups if g]
    for stated in record.of(quantity, None):
        if not means or any(stated.agrees(mean, resolution) for mean, resolution, _ in means):
            continue
        if len(found.runs) == 1 and found.runs[0].logs:  # compared as this seed's
            continue
        every = [s for run in found.runs for log in run.logs for s in log.of(quantity)] + groups[1]
        standing = next((s for s in every if stated.agrees(s)), None)
        mean, _, members = means[0]
        said = f"{quantity} {_written(stated.value, stated.resolution)}"
        if standing is None:
            where = ", ".join(dict.fromkeys(s.source for s in members))
            yield f"{said} ({stated.source}), but the mean is {mean:.8f} ({where})"
        else:
            found.notes.append(f"{said} ({stated.source}) is that of {standing.source}; the mean is {mean:.8f}")


def _whole_code(record: Record, found: Counting, code_sizes: Mapping[str, int]) -> Iterator[str]:
    """The size of the code: that of a log, compressed or not, or that of the folder's files."""
    said = [s for run in found.runs for log in run.logs for s in log.of("code_bytes")]
    known = {int(s.value) for s in said} | set(code_sizes.values())
    for stated in record.of("code_bytes", None):
        if known and int(stated.value) not in known:
            files = [Statement(quantity="code_bytes", value=size, source=name) for name, size in code_sizes.items()]
            yield difference(stated, (said or files)[:1])
    name, size = next(iter(code_sizes.items()), ("", 0))
    if said and size and size not in {int(run.code.value) for run in found.runs if run.code is not None}:
        counted = int(said[-1].value)
        same = "the plain form of what" if any(size == s.value for s in said) else "another form than what"
        found.notes.append(
            f"{name} has {size:,} bytes: it is assumed to be {same} {said[-1].source} counted, {counted:,}"
        )


def _score_label(record: Record, logs: Sequence[Sequence[Log]]) -> str | None:
    """The label of the lines that hold the submitted score, for logs whose seeds submission.json does not list."""
    last = [{s.label: s for log in own for s in _final(log.of("val_bpb"))} for own in logs]
    labels = dict.fromkeys(label for found in last for label in reversed(found))
    for stated in record.of("val_bpb", None):
        for label in labels:
            values = [found[label] for found in last if label in found]
            mean = statistics.fmean(s.value for s in values)
            if len(values) == len(last) and stated.agrees(mean, max(s.resolution for s in values)):
                return label
        for label in labels:
            if any(stated.agrees(found[label]) for found in last if label in found):
                return label
    return None


def _final(scores: Sequence[Statement]) -> list[Statement]:
    """The results: neither lines of the training nor diagnostics, unless there is nothing else."""
    results = [s for s in scores if s.label != TRAINING]
    return [s for s in results if not _DIAGNOSTIC.search(s.label)] or results or list(scores)


def _phases(said: Iterable[Statement]) -> list[Statement]:
    """Different passes; those that are logged twice are there once."""
    phases: list[Statement] = []
    for statement in said:
        same = [p for p in phases if abs(p.value - statement.value) <= max(1.0, _SAME_PHASE * p.value)]
        if not same:
            phases.append(statement)
    return phases


def _last(statements: Sequence[Statement]) -> Counted | None:
    return Counted(value=statements[-1].value, of=(statements[-1],)) if statements else None


def _written(value: float, resolution: float = 0.0) -> str:
    """A number with the decimals that it is written with."""
    if resolution == 0 and value == int(value):
        return f"{int(value):,}"
    decimals = max(0, min(8, round(-math.log10(resolution)))) if resolution > 0 else 3
    return f"{value:,.{decimals}f}"
