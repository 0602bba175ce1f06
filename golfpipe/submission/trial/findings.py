"""What running a submission's scoring method showed: numbers that rules 3, 4, 5, 6 and 10 are judged on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

Watcher = Literal["strace", "audit hook"]


@dataclass(frozen=True, kw_only=True)
class CutsFound:
    """Tokens after a cut replaced, scores before it compared."""

    TOLERANCE: ClassVar[float] = 1e-6
    """Nats. Scores are equal, or within this where a batch has another shape."""

    cuts: int
    targets: int
    """Distinct targets that lie before some cut."""
    compared: int
    """Over all cuts."""
    changed: int
    largest_change_nats: float
    repeat_change_nats: float
    """Largest difference between two runs on the same text: rounding that depends on nothing but chance."""

    @property
    def repeats(self) -> bool:
        return self.repeat_change_nats <= self.TOLERANCE


@dataclass(frozen=True, kw_only=True)
class CountFound:
    """Scores made against scores kept."""

    targets: int
    with_score: int
    scores_made: int
    nats_made: float
    nats_kept: float

    @property
    def once_each(self) -> bool:
        """As many scores as targets, none without, and their sums agree."""
        close = abs(self.nats_made - self.nats_kept) <= 1e-5 * max(1.0, abs(self.nats_kept))
        return self.targets == self.with_score == self.scores_made and close


@dataclass(frozen=True, kw_only=True)
class SumsFound:
    """Probabilities over the vocabulary."""

    TOLERANCE: ClassVar[float] = 1e-5

    swapped_sum: float
    """Of the last target's probability, with each token of the vocabulary in its place."""
    swapped_tokens: int
    vocab_size: int
    positions: int
    """Where the sum was also taken inside the method, after its updates."""
    largest_deviation: float

    @property
    def complete(self) -> bool:
        return self.swapped_tokens == self.vocab_size

    @property
    def swaps_exceed_one(self) -> bool:
        """More than one token gets what only the true one could: the target was seen before it was scored."""
        return not self.swapped_sum <= 1 + self.TOLERANCE

    @property
    def one(self) -> bool:
        swapped = self.swapped_sum <= 1 + self.TOLERANCE and (
            not self.complete or abs(self.swapped_sum - 1) <= self.TOLERANCE
        )
        return swapped and self.largest_deviation <= self.TOLERANCE


@dataclass(frozen=True, kw_only=True)
class BytesFound:
    """The byte table against decoded documents."""

    documents: int
    wrong_documents: int
    table_bytes: int
    decoded_bytes: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Files and sockets that the process opened besides artifact, code, tokenizer and validation shards."""

    watcher: Watcher
    files: tuple[str, ...]
    sockets: tuple[str, ...]
    allowed_files: int
    """Of the submission itself that were opened, so that silence is not taken for innocence."""


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """Documents of the rerun against those that the evaluation recorded; 0 documents: none could be compared."""

    documents: int
    largest_change_nats: float
    """Per target."""
    tolerance_nats: float

    @property
    def same(self) -> bool:
        return self.largest_change_nats <= self.tolerance_nats


@dataclass(frozen=True, kw_only=True)
class Executed:
    """One evaluation's method, run in a clean process from the packed file."""

    method: str
    adapts: bool
    packed_bytes: int
    cuts: CutsFound
    count: CountFound
    sums: SumsFound
    bytes: BytesFound
    opened: Opened
    reproduced: Reproduced
    notes: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
