"""The model of evidence: what is stated about a record, by whom, and which statement counts.

A statement is one number that submission.json, a log or a file's size gives for one quantity. Several may speak of the
same thing; `counting` decides which one counts and names those that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Quantity = Literal[
    "val_bpb",
    "val_loss",
    "total_bytes",
    "code_bytes",
    "model_bytes",
    "train_seconds",
    "eval_seconds",
    "calibration_seconds",
    "targets",
    "steps",
]
UNITS: dict[Quantity, str] = {
    "val_bpb": "bits per byte",
    "val_loss": "nats per token",
    "total_bytes": "bytes",
    "code_bytes": "bytes",
    "model_bytes": "bytes",
    "train_seconds": "seconds",
    "eval_seconds": "seconds",
    "calibration_seconds": "seconds",
    "targets": "tokens",
    "steps": "steps",
}
_SHOWN = 60
_TRUNCATED = 1e-4
"""People cut a score of at least four decimals instead of rounding it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One number, with its source."""

    quantity: Quantity
    value: float
    source: str
    """'train_seed42.log:14', 'submission.json: seed_results.42.val_bpb', or 'train_gpt.py'."""
    resolution: float = 0.0
    """The unit of the last digit that is written; 0 for counts, which are exact."""
    seed: int | None = None
    """None: it is said of the whole record, or of nobody in particular."""
    label: str = ""
    """What the line calls it, without its numbers."""

    def agrees(self, said: Statement | float, resolution: float = 0.0) -> bool:
        """Return True if the two are one number, at the precision with which they are written."""
        value = said.value if isinstance(said, Statement) else said
        unit = max(self.resolution, said.resolution if isinstance(said, Statement) else resolution)
        if abs(self.value - value) <= 0.5 * unit + 1e-9 * max(1.0, abs(value)):
            return True
        cut = self.quantity in ("val_bpb", "val_loss") and 0 < self.resolution <= _TRUNCATED
        return cut and 0 <= value - self.value < self.resolution

    def as_json(self, counts: bool) -> dict[str, Any]:
        """Return the statement for scripts. `counts`: whether a verdict rests on it."""
        return {
            "seed": self.seed,
            "quantity": self.quantity,
            "value": int(self.value) if self.resolution == 0 else self.value,
            "unit": UNITS[self.quantity],
            "source": self.source,
            "label": self.label,
            "counts": counts,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """The value that counts for one quantity, and the statements that it is the sum of."""

    value: float
    of: tuple[Statement, ...]
    assumed: bool = False
    """True: nothing says it of this seed; it is the record's number, or comes from the sizes of files."""

    @property
    def sources(self) -> str:
        return " + ".join(dict.fromkeys(statement.source for statement in self.of))


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """One run inside of a log file: everything that its lines state."""

    name: str
    seed: int | None
    statements: tuple[Statement, ...]
    capped: bool = False
    """It was stopped by its wallclock cap."""
    vocab_size: int | None = None
    complete: bool = True
    """False: the file is so large that only its ends were read."""

    def of(self, *quantities: Quantity) -> list[Statement]:
        return [statement for statement in self.statements if statement.quantity in quantities]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What submission.json, or the file in its place, states."""

    name: str | None = None
    """Of the file; None where there is none."""
    fields: dict[str, str] = field(default_factory=dict)
    """author, github_id, name, blurb, date, track, hardware: those that are there."""
    statements: tuple[Statement, ...] = ()
    seeds: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    """Why it cannot be read, or what is wrong inside of it."""

    def of(self, quantity: Quantity, seed: int | None) -> list[Statement]:
        return [s for s in self.statements if s.quantity == quantity and s.seed == seed]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One seed: its logs, and what counts. None: nothing states it."""

    seed: int | None
    logs: tuple[Log, ...] = ()
    score: Statement | None = None
    loss: Statement | None = None
    total: Counted | None = None
    code: Counted | None = None
    model: Counted | None = None
    train: Counted | None = None
    evaluation: Counted | None = None
    steps: Counted | None = None
    targets: Statement | None = None

    @property
    def name(self) -> str:
        return f"seed {self.seed}" if self.seed is not None else "the run"

    @property
    def capped(self) -> bool:
        return any(log.capped for log in self.logs)

    @property
    def counted(self) -> Iterable[Statement]:
        """Every statement that a verdict rests on."""
        sums = (self.total, self.code, self.model, self.train, self.evaluation, self.steps)
        yield from (found for found in (self.score, self.loss, self.targets) if found is not None)
        yield from (statement for found in sums if found is not None for statement in found.of)


def largest(values: Sequence[Counted | None]) -> Counted | None:
    """Return the largest of the known ones."""
    return max((value for value in values if value is not None), key=lambda found: found.value, default=None)


def printable(text: str, most: int = _SHOWN) -> str:
    """Return text out of a file so that it may go to a terminal: short, on one line, without anything to act on."""
    plain = "".join(character if character.isprintable() else " " for character in text[:most])
    return plain + "..." if len(text) > most else plain
