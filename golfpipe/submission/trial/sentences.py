"""What an execution showed, in clauses with its numbers, from which the rules make their evidence."""

from __future__ import annotations

from golfpipe.submission.trial.findings import Compared, CutsFound, Executed


def tried_share(run: Executed) -> str:
    """Return how much of the split was tried, as '1,025 of 8,444 targets (0.12 of the split)'."""
    tried, whole = run.count.targets, run.split_targets
    return "the whole split" if tried == whole else f"{tried:,} of {whole:,} targets ({tried / whole:.2g} of the split)"


def knows_too_much(run: Executed) -> str:
    """Say what a method that learned early has seen."""
    if run.sums.swaps_exceed_one:
        return (
            "has seen a token before it scores it: put in the target's place one after the other,"
            f" {run.sums.swapped_tokens:,} tokens get probabilities that sum to {run.sums.swapped_sum:.7f}"
        )
    return f"its scores know tokens that come later: {cut_sentence(run)}"


def changed_scores(found: Compared | CutsFound) -> str:
    """Say how many scores changed that must not, and by how much."""
    return f"{found.changed:,} of {found.compared:,} scores change, by up to {found.largest_change_nats:.2g} nats"


def cut_sentence(run: Executed) -> str:
    """Say what became of the scores before the cuts."""
    cuts = run.cuts
    how = (
        changed_scores(cuts)
        if cuts.changed
        else f"all {cuts.compared:,} scores of {cuts.targets:,} targets stay as they were"
        + (f" within {cuts.largest_change_nats:.2g} nats" if cuts.largest_change_nats else "")
    )
    replaced = "everything replaced that is scored after a cut" if run.ordered else "all tokens after a cut replaced"
    return f"with {replaced}, at {cuts.cuts} cuts, {how}"


def order_sentence(run: Executed) -> str:
    """Say what it means for the scores that a method chooses the order."""
    return (
        "; scores depend on the order that order() gives: documents keep their places here, so the method knows their"
        " lengths before it scores"
        if run.ordered
        else ""
    )


def sum_sentence(run: Executed) -> str:
    """Say what the probabilities over the vocabulary sum to."""
    sums = run.sums
    inside = (
        f"; inside the method, at {sums.positions} positions, sums within {sums.largest_deviation:.1e} of 1"
        if sums.positions
        else ""
    )
    tried = f"{sums.swapped_tokens:,}" if sums.complete else f"{sums.swapped_tokens:,} of {sums.vocab_size:,}"
    swapped = f"the probabilities sum to {sums.swapped_sum:.7f}{inside}{_told_sentence(run)}"
    return f"with each of {tried} tokens put in the target's place, {swapped}"


def _told_sentence(run: Executed) -> str:
    """Say how the distributions that the method tells agree with 1 and with its scores."""
    told = run.probabilities
    if told is None:
        return ""
    return (
        f"; probabilities() at {told.positions} positions sums within {told.largest_deviation:.1e} of 1, and gives the"
        f" targets their scores within {told.largest_mismatch_nats:.1e} nats"
    )
