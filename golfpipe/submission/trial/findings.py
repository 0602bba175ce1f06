"""What running a submission's scoring method showed: the numbers that rules 3, 4, 5, 6 and 10 are judged on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

Watcher = Literal["strace", "audit hook"]


@dataclass(frozen=True, kw_only=True)
class CutsFound:
    """What became of scores before a cut when everything that is scored after it was replaced."""

    TOLERANCE: ClassVar[float] = 4e-6
    """The largest difference in nats between equal scores, for batches of another shape."""

    cuts: int
    targets: int
    """The number of distinct targets that lie before some cut."""
    compared: int
    """The number of compared scores, over all cuts."""
    changed: int
    largest_change_nats: float
    repeat_change_nats: float
    """The largest difference between two runs on the same text, which rounding by chance causes, or what the method
    keeps from one text to the next."""
    early_repeat_change_nats: float = 0.0
    """The same among the targets that are scored first, which are half of all."""
    reordered: int = 0
    """The number of cuts at which the method's own order of what comes before the cut changed."""

    @property
    def repeats(self) -> bool:
        return self.repeat_change_nats <= self.TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Scores of the same targets, made in two ways that must not matter."""

    compared: int
    changed: int
    largest_change_nats: float


@dataclass(frozen=True, kw_only=True)
class CountFound:
    """The scores that were made and the scores that were kept."""

    targets: int
    with_score: int
    scores_made: int
    scores_computed: int
    """The scores that the network computed without learning, told or not; 0 where they were not counted."""
    nats_made: float
    nats_kept: float

    @property
    def once_each(self) -> bool:
        """True if there are as many scores as targets, none is missing, none was computed twice, and the sums
        agree."""
        close = abs(self.nats_made - self.nats_kept) <= 1e-5 * max(1.0, abs(self.nats_kept))
        return self.targets == self.with_score == self.scores_made >= self.scores_computed and close


@dataclass(frozen=True, kw_only=True)
class SumsFound:
    """Sums of probabilities over the vocabulary."""

    TOLERANCE: ClassVar[float] = 1e-5

    swapped_sum: float
    """The sum of the last target's probability, with each token of the vocabulary in its place."""
    swapped_tokens: int
    vocab_size: int
    positions: int
    """The number of positions at which the sum was also taken inside the method, after its updates."""
    largest_deviation: float

    @property
    def complete(self) -> bool:
        return self.swapped_tokens == self.vocab_size

    @property
    def swaps_exceed_one(self) -> bool:
        """True if more than one token gets what only the true one could: the target was seen before it was scored."""
        return not self.swapped_sum <= 1 + self.TOLERANCE

    @property
    def one(self) -> bool:
        swapped = self.swapped_sum <= 1 + self.TOLERANCE and (
            not self.complete or abs(self.swapped_sum - 1) <= self.TOLERANCE
        )
        return swapped and self.largest_deviation <= self.TOLERANCE


@dataclass(frozen=True, kw_only=True)
class ProbabilitiesFound:
    """Distributions that the method told, beside its scores."""

    SAME_NATS: ClassVar[float] = 1e-4
    """The largest difference in nats between a score and the told probability, for rounding in fp32."""

    positions: int
    largest_deviation: float
    """The largest deviation of a sum from 1; infinite where a probability is negative or no number."""
    largest_mismatch_nats: float
    """The largest difference between a target's score and what its distribution gives it."""
    altered: int
    """The number of positions whose own token, and everything that is scored later, was replaced."""
    changed: int
    """The number of these at which the distribution changed."""

    @property
    def agree(self) -> bool:
        return self.largest_deviation <= SumsFound.TOLERANCE and self.largest_mismatch_nats <= self.SAME_NATS


@dataclass(frozen=True, kw_only=True)
class BytesFound:
    """The byte table, or the sidecar, compared with decoded documents."""

    documents: int
    wrong_documents: int
    table_bytes: int
    decoded_bytes: int
    from_sidecar: bool = False
    tolerance: float = 0.0
    """The share of all bytes by which a sidecar may differ, where the tokenizer normalizes the text that it is of."""

    @property
    def agree(self) -> bool:
        apart = abs(self.table_bytes - self.decoded_bytes)
        return not self.wrong_documents or apart <= self.tolerance * self.decoded_bytes


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What the process opened besides code, the method's own files, tokenizer and validation shards."""

    watcher: Watcher
    files: tuple[str, ...]
    sockets: tuple[str, ...]
    """Sockets, inherited handles and other ways to data that show no file."""
    allowed_files: int
    """The number of the method's own files that were opened, the copy of the data included; 0 would mean that the
    watcher is blind."""


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """The rerun's documents compared with those that the evaluation recorded; 0 documents if none could be compared."""

    documents: int
    largest_change_nats: float
    """The largest change of a document's nats, per target."""
    tolerance_nats: float

    @property
    def same(self) -> bool:
        return self.largest_change_nats <= self.tolerance_nats


@dataclass(frozen=True, kw_only=True)
class Executed:
    """The findings on one method, run in a clean process from the packed file or from the user's own."""

    method: str
    adapts: bool
    ordered: bool = False
    """True if the method says itself in which order it scores."""
    own_bytes: int
    """The size of the packed file, or of all files that the user's method may open."""
    split_targets: int
    """The number of targets of the whole split; `count.targets` of them were tried."""
    cuts: CutsFound
    shorter: Compared
    """The text scored again without its last third."""
    restarted: Compared
    """An altered text scored in a process that never saw the other one."""
    count: CountFound
    sums: SumsFound
    probabilities: ProbabilitiesFound | None = None
    """None where the method tells scores alone."""
    bytes: BytesFound
    opened: Opened
    reproduced: Reproduced
    notes: tuple[str, ...]
    seconds: float

    @property
    def keeps_state(self) -> bool:
        """True if targets get other scores when their text comes again, but the same in a process of its own: no
        rounding by chance does that."""
        again = self.cuts.early_repeat_change_nats > CutsFound.TOLERANCE
        return again and self.restarted.compared > 0 and not self.restarted.changed

    @property
    def normalized(self) -> bool:
        """True if the probabilities sum to one, and the scores are those of the probabilities that the method tells."""
        return self.sums.one and (self.probabilities is None or self.probabilities.agree)

    @property
    def learned_early(self) -> bool:
        """True for a method that learns and whose earlier scores depend on later tokens, or on the scored one."""
        return self.adapts and (self.sums.swaps_exceed_one or (self.cuts.changed > 0 and self.cuts.repeats))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
