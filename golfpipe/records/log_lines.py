"""A training log, whoever wrote it: every number that counts, with its line.

Lines are found by parts of their words from the end of the file backwards, so that a log of any size and content costs
a few passes over its bytes. Scripts print their own source, times before every line, several scores and sizes.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from golfpipe.records.evidence import Log, Quantity, Statement, printable

MOST_BYTES = 32_000_000
"""A larger log is read at its two ends, which hold the settings and the results."""
_MOST_LINES = 400
"""Looked at for each word, the last ones first."""
_WORDS = (b"al_bpb", b"eed", b"ize", b"ytes", b"okens", b"argets", b"rain_time", b"raining", b"val_time", b"lapsed",
          b"alib", b"essian")  # fmt: skip
"""Without the first letter, which may be a capital."""
_HEAD = 1_000_000
"""Bytes in which lines are looked for again: the seed and the settings stand at the beginning."""
_LONGEST_LINE = 2000

_VALUE = r"[ \t]{0,3}[:=]?[ \t]{0,3}(\d{1,4}(?:\.\d{1,20})?(?:e[-+]?\d{1,3})?)(?![\d.]*\.\d)"
_TIME = r"[ \t]{0,3}(\d{1,9}(?:\.\d{1,9})?)[ \t]?(ms|milliseconds|s|sec|secs|seconds|m|min|minutes|h)\b"
_COUNT = r"[ \t]{0,3}[:=][ \t]{0,3}(\d{1,3}(?:[,_]\d{3}){1,5}|\d{1,18})(?![\d.]*\.\d)(?:[ \t]{0,3}(bytes|b)\b)?"
_BEFORE = re.compile(
    r"\s*(?:(?:\d{9,13}(?:\.\d{1,9})?|\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d:\d\d\S{0,12})?|\d\d:\d\d:\d\d\S{0,12}"
    r"|\[[^\]\n]{1,40}\]|[IWE]\d{4} [\d:.]{8,15} {1,3}\d{1,9} [^\]\n]{1,60}\]|(?:INFO|DEBUG|rank ?\d+)\b)"
    r"[ \t:|-]*){0,4}"
)
"""Times and names that a logger puts before every line."""
_SEED = re.compile(
    r"(?:^|[-\s,;|({])[\"']?(?:random_|global_)?seed[\"']?(?:[ \t]{0,3}[:=][ \t]{0,3}|[ \t])(\d{1,18})\b(?!\.\d)",
    re.I,
)
_SCORE = re.compile(r"val_?bpb" + _VALUE, re.I)
_LOSS = re.compile(r"val_?loss" + _VALUE, re.I)
_SCORE_TIME = re.compile(r"(?:eval_?time|elapsed|time|took|wall(?:clock)?|\bt|\bin)[ \t]{0,3}[:=]?" + _TIME, re.I)
_TOTAL_EVAL = re.compile(r"total_?(?:eval|evaluation)(?:uation)?_?time[ \t]{0,3}[:=]?" + _TIME, re.I)
_TRAIN_TIME = re.compile(r"(?:train|training)[_ ]time[ \t]{0,3}[:=]?" + _TIME, re.I)
_TRAIN_DONE = re.compile(r"training (?:complete|done|finished|took)[^\n\d]{0,40}" + _TIME, re.I)
_PHASE = re.compile(
    r"(?:ttt|eval|sliding)[^\n]{0,80}?(?:done|complete|finished|total)[^\n]{0,60}?elapsed[ \t]{0,3}[:=]?" + _TIME, re.I
)
_STEP = re.compile(r"(?:step[ \t]{0,3}[:=]?[ \t]{0,3})(\d{1,9})(?:/\d{1,9})?\b|^(\d{1,9})/\d{1,9}\b", re.I)
_TOTAL = re.compile(
    r"(?:total[_ ])?(?:submission|artifact)[_ ](?:size|bytes)([^:=\n]{0,60})" + _COUNT
    + r"|(?:bytes_total|total_bytes|total_(?:submission|artifact)_(?:size_)?bytes)()" + _COUNT, re.I
)  # fmt: skip
_MODEL = re.compile(r"(?:serialized|quantized|compressed|packed)[_ ]model([^:=\n]{0,60})" + _COUNT, re.I)
_CODE = re.compile(r"\bcode[_ ](?:size|bytes)([^:=\n]{0,60})" + _COUNT, re.I)
_CALIBRATION = re.compile(
    r"(?:collect|calibrat|hessian)[^\n]{0,120}?(?:\bin|took|time|elapsed)[ \t]{0,3}[:=]?" + _TIME, re.I
)
_NO_CALIBRATION = re.compile(r"generat|self.?gen|autoreg|\bAR\b|warmup|reserv|val", re.I)
_TARGETS = re.compile(
    r"(?:val_?tokens|val_?targets|target_tokens|scored_(?:tokens|targets)|total_targets|val_loader[^\n]{0,400}?\btokens)"
    + _COUNT,
    re.I,
)
_VOCABULARY = re.compile(r"\bvocab_size[ \t]{0,3}[:=][ \t]{0,3}(\d{1,7})\b|\bsp(\d{3,5})\b", re.I)
_LIMIT = re.compile(r"limit|\bcap\b|budget|headroom|margin|under|raw", re.I)
_TRAINING_LINE = re.compile(r"train_time|^(?:step\b|\d+/\d+)|chunk|progress|running|\[\d+/\d+\]", re.I)
_COLORS = re.compile(r"\x1b\[[\d;]{0,20}[A-Za-z]")
_FACTORS = {"ms": 0.001, "milliseconds": 0.001, "m": 60.0, "min": 60.0, "minutes": 60.0, "h": 3600.0}

TRAINING = "a line of the training"
"""Label of scores that were measured on the way."""


class _Line(NamedTuple):
    number: int | None
    text: str


@dataclass
class _Section:
    """The lines of one run, while they are read."""

    seed: int | None = None
    statements: list[Statement] = field(default_factory=list)
    capped: bool = False
    vocab_size: int | None = None
    scored: bool = False

    def next_run(self) -> _Section:
        """A new run, which takes the lines that stand before its seed: what validation data there is."""
        last = max(i for i, s in enumerate(self.statements) if s.quantity in ("val_bpb", "eval_seconds"))
        before = [s for s in self.statements[last:] if s.quantity == "targets"]
        self.statements = [s for s in self.statements if s not in before]
        return _Section(statements=before)


def read_log(content: bytes, name: str, *, complete: bool = True) -> list[Log]:
    """Return what a log states, one entry for each run that it holds. A run ends where a score has been printed and
    another seed begins. `complete`: False for the two ends of a larger file."""
    sections = [_Section()]
    for line in _lines(_as_utf8(content), complete):
        seed = _seed(line.text)
        if seed is not None and seed != sections[-1].seed:
            if sections[-1].scored:
                sections.append(sections[-1].next_run())
            sections[-1].seed = seed
        section = sections[-1]
        source = f"{name}:{line.number}" if line.number is not None else f"{name} (near its end)"
        section.capped |= "wallclock_cap" in line.text
        vocabulary = _VOCABULARY.search(line.text)
        if vocabulary is not None and section.vocab_size is None:
            section.vocab_size = int(vocabulary[1] or vocabulary[2])
        found = list(_statements(line.text, source))
        section.scored |= any(s.quantity == "val_bpb" and s.label != TRAINING for s in found)
        section.statements += found
    return [
        Log(
            name=name,
            seed=section.seed,
            statements=tuple(section.statements),
            capped=section.capped,
            vocab_size=section.vocab_size,
            complete=complete,
        )
        for section in sections
    ]


def _as_utf8(content: bytes) -> bytes:
    """Windows shells write UTF-16."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace").encode("utf-8", "replace")
    return content


def _lines(data: bytes, complete: bool) -> Iterator[_Line]:
    """Lines that hold one of the words, in order, each once."""
    starts: set[int] = set()
    for word, stop in itertools.product(_WORDS, {len(data), min(len(data), _HEAD)}):
        end = stop
        for _ in range(_MOST_LINES):
            at = data.rfind(word, 0, end)
            if at < 0:
                break
            first = max(0, at - _LONGEST_LINE // 2)  # bounded, or a log of one line would be read a thousand times
            start = max(first - 1, data.rfind(b"\n", first, at), data.rfind(b"\r", first, at)) + 1
            starts.add(start)
            end = max(start - 1, 0)
    position = number = 0
    for start in sorted(starts):
        number += data.count(b"\n", position, start)
        position = start
        text = data[start : start + _LONGEST_LINE].decode("utf-8", "replace")
        text = _COLORS.sub("", re.split(r"[\r\n]", text, maxsplit=1)[0])
        known = complete or start < MOST_BYTES // 4
        yield _Line(number + 1 if known else None, text[_BEFORE.match(text).end() :] if text else text)  # type: ignore[union-attr]


def _seed(text: str) -> int | None:
    """The seed that a line names; code that mentions one is no such line."""
    found = _SEED.search(text)
    if found is None or re.search(r"\bdef |\bimport |[\w.]\(|#", text[: found.start()]):
        return None
    return int(found[1])


def _statements(text: str, source: str) -> Iterator[Statement]:
    score = _SCORE.search(text)
    training = _TRAINING_LINE.search(text) is not None
    if score is not None:
        yield from _scores(text, score, source, training=training)
    elif (phase := _PHASE.search(text)) is not None and not re.search("warmup|compile", text, re.I):
        yield _time("eval_seconds", phase, source, _label(text[: phase.start(1)]))
    if (whole := _TOTAL_EVAL.search(text)) is not None:
        yield _time("eval_seconds", whole, source, "total_eval_time")
    if (trained := _TRAIN_TIME.search(text) or _TRAIN_DONE.search(text)) is not None:
        measured = text.startswith("step") or text[:1].isdigit()
        yield _time("train_seconds", trained, source, TRAINING if measured else _label(text[: trained.start(1)]))
        step = _STEP.search(text)
        if step is not None:
            yield _count("steps", step[1] or step[2], source, "step")
        return
    calibrated = _CALIBRATION.search(text)
    if calibrated is not None and _NO_CALIBRATION.search(text) is None:
        yield _time("calibration_seconds", calibrated, source, _label(text[: calibrated.start(1)]))
    yield from _sizes(text, source)
    if (targets := _TARGETS.search(text)) is not None:
        yield _count("targets", targets[1], source, _label(targets[0]))


def _scores(text: str, score: re.Match[str], source: str, *, training: bool) -> Iterator[Statement]:
    """A score, its loss, and how long it took."""
    loss = _LOSS.search(text)
    first = min(score.start(), loss.start() if loss is not None else score.start())
    label = TRAINING if training else _label(text[:first]) or "val_bpb"
    yield _value("val_bpb", score[1], source, label)
    if loss is not None:
        yield _value("val_loss", loss[1], source, label)
    took = _SCORE_TIME.search(text, first) if not training else None
    if took is not None:
        kind = " stride" if "stride" in text and "slid" not in label else ""
        yield _time("eval_seconds", took, source, label + kind)


def _sizes(text: str, source: str) -> Iterator[Statement]:
    quantities: tuple[tuple[Quantity, re.Pattern[str]], ...] = (
        ("total_bytes", _TOTAL), ("model_bytes", _MODEL), ("code_bytes", _CODE))  # fmt: skip
    for quantity, pattern in quantities:
        found = pattern.search(text)
        if found is None or _LIMIT.search(found[0]):
            continue
        digits = next(part for part in reversed(found.groups()) if part and re.fullmatch(r"\d[\d,_]*", part))
        if int(re.sub(r"[,_]", "", digits)) > 0:
            yield _count(quantity, digits, source, _label(found[0].split(digits)[0]))
            return


def _value(quantity: Quantity, text: str, source: str, label: str) -> Statement:
    number = text.lower().partition("e")[0]
    resolution = 10.0 ** -len(number.partition(".")[2]) if "e" not in text.lower() else 1e-9
    return Statement(quantity=quantity, value=float(text), resolution=resolution, source=source, label=label)


def _time(quantity: Quantity, found: re.Match[str], source: str, label: str) -> Statement:
    number, unit = found[1], found[2].lower()
    factor = _FACTORS.get(unit, 1.0)
    resolution = factor * 10.0 ** -len(number.partition(".")[2])
    return Statement(
        quantity=quantity, value=round(float(number) * factor, 9), resolution=resolution, source=source, label=label
    )


def _count(quantity: Quantity, digits: str, source: str, label: str) -> Statement:
    return Statement(quantity=quantity, value=int(re.sub(r"[,_]", "", digits)), source=source, label=label)


def _label(text: str) -> str:
    return printable(text.strip(" \t:=|-,").lower())
