"""The rules as experiments on a scorer: alter what comes later, end the text sooner, swap a target, count scores,
decode."""

# Shapes: N targets, V vocabulary

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from operator import ne

import numpy as np

from golfpipe.data.shard_format import SIDECAR_TOLERANCE
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.scoring.documents import document_starts
from golfpipe.submission.trial.findings import (
    BytesFound,
    Compared,
    CountFound,
    CutsFound,
    ProbabilitiesFound,
    SumsFound,
)
from golfpipe.submission.trial.scorer import Scorer, Trial

NUM_CUTS = 8
MIN_TARGETS = 1000
"""The number of earlier targets that the last cut leaves to compare."""
AFTER_LAST_CUT = 24
SWAP_TARGETS = 24
SWAP_SECONDS = 120.0
NUM_DOCUMENTS = 3
"""The number of documents that end in the text on trial, unless it would have to be twice as long for that."""
BYTE_TOKENS = 5_000_000
"""The most tokens that are decoded for the byte table; more would say nothing new."""
TOLD_POSITIONS = 100
"""The number of positions at which a method is asked for its probabilities."""
SAME_PROBABILITY = 1e-5
"""The largest difference between equal probabilities, for batches of another shape."""
DOCUMENT_ENDS_EVERY = 32
"""The mean distance of the BOS tokens in altered text whose documents move."""
FIRST_END_WITHIN = 8
"""The distance from the cut within which the first of these BOS tokens comes."""


def silent(count: int, nats: float) -> None:
    """An OnScored that ignores what it is told."""


def needed_targets(scorer: Scorer, tokens: np.ndarray) -> int:
    """Return the length of the beginning of `tokens` on which to try the scorer: everything that it does has happened
    there, and a few documents have ended."""
    wanted = max(MIN_TARGETS + AFTER_LAST_CUT + 1, scorer.wanted_targets)
    ends = document_starts(tokens, scorer.bos_id)[1 : NUM_DOCUMENTS + 1]
    with_documents = int(ends[-1]) + AFTER_LAST_CUT if len(ends) else wanted
    return min(max(wanted, min(with_documents, 2 * wanted)), len(tokens) - 1)


def cut_points(num_targets: int) -> list[int]:
    """Return the positions of the first altered token: six spread over the text, two after the last update."""
    last = num_targets - AFTER_LAST_CUT
    spread = [round(last * (k + 0.5) / NUM_CUTS) + k for k in range(NUM_CUTS - 2)]
    return sorted({max(2, cut) for cut in (*spread, num_targets - 4 * AFTER_LAST_CUT - 1, last)})


def altered(
    tokens: np.ndarray, order: np.ndarray, cut: int, trial: Trial, scorer: Scorer, source: np.random.Generator
) -> np.ndarray:
    """Return `tokens` with other ones for all targets but the first `cut - 1` in the order of scoring. In the order of
    the stream these are all tokens from position `cut` on. BOS tokens stay or move, as `trial` says."""
    places = np.sort(order[cut - 1 :]) + 1
    tail = tokens[places].astype(np.int64)
    others = (tail + source.integers(1, scorer.vocab_size, len(tail))) % scorer.vocab_size
    next_id = (scorer.bos_id + 1) % scorer.vocab_size
    others[others == scorer.bos_id] = next_id
    if trial.moves_documents:
        others[source.random(len(tail)) < 1 / DOCUMENT_ENDS_EVERY] = scorer.bos_id
        # The document with the cut ends soon after it. Whether its earlier scores show that is the question.
        others[int(source.integers(1, FIRST_END_WITHIN)) : FIRST_END_WITHIN][:1] = scorer.bos_id
    else:
        others[tail == scorer.bos_id] = scorer.bos_id
    other = tokens.copy()
    other[places] = others
    return other


def check_cuts(scorer: Scorer, tokens: np.ndarray, *, first_nats: np.ndarray | None = None, seed: int = 0) -> CutsFound:
    """Score the text, then again with everything replaced that is scored after a cut: no score before the cut may
    change, nor the order of what comes before it. first_nats: its scores when it was the first text of all [N]."""
    source = np.random.default_rng(seed)
    compared, changed, reordered, largest, noise, early_noise = 0, 0, 0, 0.0, 0.0, 0.0
    cuts, order = cut_points(len(tokens) - 1), scorer.order(tokens)
    for trial in scorer.trials():
        before = trial.score(tokens, silent)
        again = [trial.score(tokens, silent), *([first_nats] if first_nats is not None else [])]
        first_nats = None  # which is of the first way to score only
        noise = max(noise, *(_largest_difference(before, nats) for nats in again))
        early = order[: len(order) // 2]
        early_noise = max(early_noise, *(_largest_difference(before[early], nats[early]) for nats in again))
        for cut in cuts:
            other = altered(tokens, order, cut, trial, scorer, source)
            # Target i is token i + 1. So the first cut - 1 targets, and all tokens that they may depend on, are as
            # before.
            first = order[: cut - 1]
            difference = _differences(before[first], trial.score(other, silent)[first])
            reordered += not np.array_equal(scorer.order(other)[: cut - 1], first)
            compared += len(difference)
            changed += int((difference > CutsFound.TOLERANCE).sum())
            largest = max(largest, float(difference.max(initial=0.0)))
    return CutsFound(
        cuts=len(cuts),
        targets=cuts[-1] - 1,
        compared=compared,
        changed=changed,
        largest_change_nats=largest,
        repeat_change_nats=noise,
        early_repeat_change_nats=early_noise,
        reordered=reordered,
    )


def compare(before: np.ndarray, after: np.ndarray, targets: int, tolerance: float) -> Compared:
    """Compare the first targets' scores."""
    difference = _differences(before[:targets], after[:targets])
    changed, largest = int((difference > tolerance).sum()), float(difference.max(initial=0.0))
    return Compared(compared=len(difference), changed=changed, largest_change_nats=largest)


def check_shorter(scorer: Scorer, tokens: np.ndarray) -> Compared:
    """Score the text, and then without its last third: where a text ends, and how long it is, is known only later than
    its scores."""
    score = scorer.trials()[-1].score
    fewer = (len(tokens) - 1) * 2 // 3
    comparable = min(fewer, scorer.comparable_targets(fewer))
    if not comparable:
        return Compared(compared=0, changed=0, largest_change_nats=0.0)
    after = score(tokens[: fewer + 1], silent)
    return compare(score(tokens, silent), after, comparable, scorer.same_nats)


def restart_text(scorer: Scorer, tokens: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the text with the half of it altered that is scored last, for a process that never saw the other one, and
    the cut."""
    cut = len(tokens) // 2
    return altered(tokens, scorer.order(tokens), cut, scorer.trials()[0], scorer, np.random.default_rng(1)), cut


def scores_in_order(scorer: Scorer, tokens: np.ndarray, nats: np.ndarray) -> np.ndarray:
    """Return the scores of a text, the first one scored at the front."""
    in_order: np.ndarray = nats[scorer.order(tokens)]
    return in_order


def check_count(scorer: Scorer, tokens: np.ndarray) -> tuple[CountFound, np.ndarray]:
    """Count the scores and the targets that have one: N scores on N targets, none left out, are one each.

    Returns the nats [N], too.
    """
    made, total = 0, 0.0

    def count(targets: int, nats: float) -> None:
        nonlocal made, total
        made += targets
        total += nats

    before = scorer.scores_computed
    nats = np.asarray(scorer.score(tokens, count), dtype=np.float64)
    targets = len(tokens) - 1
    scored = int(np.isfinite(nats).sum()) if nats.shape == (targets,) else 0
    kept = float(nats[np.isfinite(nats)].sum())
    found = CountFound(
        targets=targets,
        with_score=scored,
        scores_made=made,
        scores_computed=scorer.scores_computed - before,
        nats_made=total,
        nats_kept=kept,
    )
    return found, nats


def check_sums(scorer: Scorer, tokens: np.ndarray, *, seconds: float = SWAP_SECONDS) -> SumsFound:
    """Sum the probability of every token of the vocabulary as the last target of a short text.

    Each token is really put there. So a method that looks at the target, or learns from it, before it scores is caught:
    more than one token then gets the probability that only the true one could have. `seconds` bounds the work; an
    incomplete sum can only show a failure.
    """
    text = np.array((_longest_document(scorer, tokens) if scorer.ordered else tokens)[: SWAP_TARGETS + 1])
    started, total, tried = time.perf_counter(), 0.0, 0
    for token in np.random.default_rng(0).permutation(scorer.vocab_size):
        text[-1] = token
        total += float(np.exp(-float(scorer.score(text, silent)[-1])))
        tried += 1
        if time.perf_counter() - started > seconds:
            break
    during = scorer.probability_sums
    return SumsFound(
        swapped_sum=total,
        swapped_tokens=tried,
        vocab_size=scorer.vocab_size,
        positions=len(during),
        largest_deviation=max((abs(value - 1) for value in during), default=0.0),
    )


def check_probabilities(scorer: Scorer, tokens: np.ndarray, nats: np.ndarray) -> ProbabilitiesFound | None:
    """Compare the distributions that the method tells with 1, with its scores, and with those that it tells where the
    token itself, and everything scored later, is another one. nats: its scores [N]."""
    order = scorer.order(tokens)
    targets = np.unique(np.linspace(0, len(order) - 1, min(len(order), TOLD_POSITIONS)).astype(np.int64))
    told = scorer.probabilities(tokens, targets)
    if told is None:
        return None
    sums = np.where((told >= 0).all(axis=1), told.sum(axis=1), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = -np.log(told[np.arange(len(targets)), tokens[targets + 1]])
    source, changed = np.random.default_rng(2), 0
    cuts = [cut for cut in cut_points(len(order)) if cut <= len(order)]
    for cut in cuts:
        target = order[cut - 1 : cut]
        other = altered(tokens, order, cut, scorer.trials()[0], scorer, source)
        before, after = (scorer.probabilities(text, target) for text in (tokens, other))
        assert before is not None and after is not None
        changed += not np.allclose(before, after, rtol=0, atol=SAME_PROBABILITY)
    return ProbabilitiesFound(
        positions=len(targets),
        largest_deviation=float(_differences(sums, np.ones(len(sums))).max(initial=0.0)),
        largest_mismatch_nats=_largest_difference(own, nats[targets]),
        altered=len(cuts),
        changed=changed,
    )


def check_bytes(scorer: Scorer, tokens: np.ndarray) -> BytesFound:
    """Compare the bytes that the targets count for with those of the decoded text, document by document."""
    tokens = tokens[:BYTE_TOKENS]
    documents, wrong, counted, decoded = 0, 0, 0, 0
    for start, end in _whole_documents(tokens, scorer.bos_id):
        ids = tokens[start:end]
        table, text = int(np.sum(scorer.sizes(ids), dtype=np.int64)), scorer.decoded_bytes(ids)
        documents += 1
        wrong += table != text
        counted += table
        decoded += text
    return BytesFound(documents=documents, wrong_documents=wrong, table_bytes=counted, decoded_bytes=decoded)


def check_sidecar(tokens: np.ndarray, sizes: np.ndarray, tokenizer: Tokenizer) -> BytesFound:
    """Compare the bytes of a sidecar, those of each target [N] of `tokens` [N + 1], with those of the decoded text,
    document by document."""
    counted, decoded = [], []
    for start, end in _whole_documents(tokens[:BYTE_TOKENS], tokenizer.bos_id):
        counted.append(int(sizes[start : end - 1].sum(dtype=np.int64)))
        decoded.append(len(tokenizer.decode(tokens[start:end], cut=True).encode("utf-8")))
    return BytesFound(
        documents=len(counted),
        wrong_documents=sum(map(ne, counted, decoded)),
        table_bytes=sum(counted),
        decoded_bytes=sum(decoded),
        from_sidecar=True,
        tolerance=0.0 if tokenizer.keeps_characters else SIDECAR_TOLERANCE,
    )


def document_sums(nats: np.ndarray, tokens: np.ndarray, bos_id: int, *, within: int) -> list[float]:
    """Return the nats of the documents that end within the first `within` targets, as `evaluate` has them."""
    starts = document_starts(tokens[:-1], bos_id)
    ends = [int(end) for end in starts[1:] if end <= within]
    return [float(nats[start:end].sum()) for start, end in zip(starts.tolist(), ends, strict=False)]


def _longest_document(scorer: Scorer, tokens: np.ndarray) -> np.ndarray:
    """A text whose last target is scored last in any order of documents."""
    starts = document_starts(tokens, scorer.bos_id)
    return max(np.split(tokens, starts[1:]), key=len)


def _whole_documents(tokens: np.ndarray, bos_id: int) -> Iterator[tuple[int, int]]:
    """Yield the places at which documents, BOS first, begin and end. The last one, which may be cut off, counts only
    if it is the only one."""
    starts = document_starts(tokens, bos_id).tolist()
    ends: Sequence[int] = [*starts[1:], len(tokens)] if len(starts) == 1 else starts[1:]
    for start, end in zip(starts, ends, strict=False):
        if tokens[start] == bos_id:
            yield start, end


def _differences(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return absolute differences; infinite where one of two is not a number."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(before.astype(np.float64) - after.astype(np.float64))
    difference[np.isnan(before) & np.isnan(after)] = 0.0
    return np.where(np.isnan(difference), np.inf, difference)


def _largest_difference(before: np.ndarray, after: np.ndarray) -> float:
    return float(_differences(before, after).max(initial=0.0))
