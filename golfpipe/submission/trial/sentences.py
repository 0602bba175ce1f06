"""What a trial found, in the words in which the rules tell it."""

from __future__ import annotations

from golfpipe.submission.trial.findings import Compared, CutsFound, Executed


def knows_too_much(run: Executed) -> str:
    """Return how it shows that a method knows more than it may."""
    if run.sums.swaps_exceed_one:
        return (
            "has seen a token before it scores it: put in the target's place one after the other,"
            f" {run.sums.swapped_tokens:,} tokens get probabilities that sum to {run.sums.swapped_sum:.7f}"
        )
    return f"its scores know tokens that come later: {cut_sentence(run.cuts)}"


def changes(found: Compared) -> str:
    """Return how many scores differ, and by how much."""
    return f"{found.changed:,} of {found.compared:,} scores change, by up to {found.largest_change_nats:.2g} nats"


def cut_sentence(cuts: CutsFound) -> str:
    """Return what replacing all tokens after a cut did to the scores before it."""
    how = (
        f"{cuts.changed:,} of {cuts.compared:,} scores change, by up to {cuts.largest_change_nats:.2g} nats"
        if cuts.changed
        else f"all {cuts.compared:,} scores of {cuts.targets:,} targets stay as they were"
        + (f" within {cuts.largest_change_nats:.2g} nats" if cuts.largest_change_nats else "")
    )
    return f"with all tokens after a cut replaced, at {cuts.cuts} cuts, {how}"


def sum_sentence(run: Executed) -> str:
    """Return what the probabilities of all tokens sum to."""
    sums = run.sums
    inside = (
        f"; inside the method, at {sums.positions} positions, sums within {sums.largest_deviation:.1e} of 1"
        if sums.positions
        else ""
    )
    tried = f"{sums.swapped_tokens:,}" if sums.complete else f"{sums.swapped_tokens:,} of {sums.vocab_size:,}"
    swapped = f"the probabilities sum to {sums.swapped_sum:.7f}{inside}"
    return f"with each of {tried} tokens put in the target's place, {swapped}"
