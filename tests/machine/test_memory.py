"""The peak of memory is that since the reset, and every stage records it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from golfpipe.machine.memory import keep_freed_memory, peak_memory_bytes, reset_peak
from golfpipe.store.artifact import open_artifact

MEBIBYTE = 2**20


def _touch(mebibytes: int) -> None:
    np.ones(mebibytes * MEBIBYTE, dtype=np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anew")
@pytest.mark.parametrize("prepare", [lambda: None, keep_freed_memory], ids=["as found", "kept memory"])
def test_the_peak_is_counted_from_the_reset(prepare) -> None:
    prepare()
    _touch(96)
    reset_peak()
    before = peak_memory_bytes()
    assert before is not None
    _touch(32)
    small = peak_memory_bytes()
    assert small is not None and 24 * MEBIBYTE < small - before < 72 * MEBIBYTE


def test_a_stage_records_its_peak(chain: object) -> None:
    packed: Path = chain.packed.path  # type: ignore[attr-defined]
    peak = open_artifact(packed).manifest.provenance["peak_memory_bytes"]
    assert 20 * MEBIBYTE < peak < 20_000 * MEBIBYTE
