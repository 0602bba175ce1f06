"""The conclusions of a sweep, in words, from rows that anybody may have written."""

from __future__ import annotations

import shlex
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from golfpipe.report.sweep_summary import difference_text, summarize

JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.just({"a": 1})
NAMES = (
    "settings", "val_bpb", "unquantized_bpb", "difference", "low", "high", "total_bytes", "packed_bytes", "limit_bytes",
    "fits", "pareto", "knee", "commands", "no_noise",
)  # fmt: skip


def _row(bits: int, bpb: float | None, size: int | None, **more: Any) -> dict[str, Any]:
    packed = size - 46_000 if size is not None else None
    return {"settings": {"quantize.mlp.bits": bits}, "val_bpb": bpb, "total_bytes": size, "packed_bytes": packed,
            "limit_bytes": 700_000, "fits": size <= 700_000 if size is not None else None, **more}  # fmt: skip


COMMANDS = [["golfpipe", "quantize", "a b/train"], ["golfpipe", "pack", "x"]]
ROWS = [
    _row(6, 1.7551, 724_346),
    _row(5, 1.7574, 690_346, difference=0.0017, low=0.0012, high=0.0022),
    _row(4, 1.7605, 583_310, knee=True, commands=COMMANDS),
    _row(9, None, None),
]


def test_the_best_that_fits_and_the_knee_against_it() -> None:
    found = summarize(ROWS)
    assert found.packed == (
        "4 cells, 3 packed: 583,310 to 724,346 B, 46,000 B of them for the code, 1 over the limit of 700,000 B"
    )
    beside = "+0.0017 +-0.0005 bpb against the unquantized weights"
    assert found.best == f"mlp.bits 5: 1.7574 bpb, 690,346 B, {beside}"
    assert found.knee == "mlp.bits 4: 583,310 B, +0.0031 bpb against the best, 107,036 B smaller"
    assert found.commands == ["golfpipe quantize 'a b/train'", "golfpipe pack x"]


def test_a_knee_that_is_the_best_says_so() -> None:
    assert summarize([_row(4, 1.5, 100, knee=True)]).knee == "the only cell: the best itself"


def test_without_results_nothing_is_concluded() -> None:
    found = summarize([_row(4, None, None)])
    assert (found.packed, found.best, found.knee, found.commands) == ("1 cell, none packed", None, None, [])


@given(st.lists(st.text(max_size=20), max_size=5))
def test_a_shell_sees_only_words_of_golfpipe(words: list[str]) -> None:
    row = _row(4, 1.5, 100, knee=True, commands=[["golfpipe", *words], ["rm", "-rf"], words, "golfpipe; rm"])
    shown = summarize([row]).commands
    assert all(shlex.split(line)[0] == "golfpipe" for line in shown)
    assert shlex.split(shown[0])[1:] == words


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), JUNK), max_size=4))
def test_no_row_stops_it(rows: list[dict[str, Any]]) -> None:
    summarize(rows)
    for row in rows:
        difference_text(row)
