from __future__ import annotations

import re

import pytest

from golfpipe.data.challenge_split import CHALLENGE_TARGETS, SPLIT_BYTES, VOCABULARY_TARGETS, split_sentence


@pytest.mark.parametrize(
    ("targets", "num_bytes", "vocab_size", "said"),
    [
        (62_021_632, 151_078_222, 1024, r"^the challenge's split: 62,021,632 targets \(sp1024\)"),
        (47_851_520, 151_074_500, 8192, "whole sequences"),
        (599_000, 1_450_000, 1024, r"^cut short: 1,450,000 of the 151,078,222 bytes .* \(0\.96%\)"),
        (10_000_000, 30_215_000, 8192, r"\(20\.00%\)"),
        (40_540_002, 151_075_000, 8192, "^cut short: 800 targets fewer than the challenge's split has at 8,192 pieces"),
        (47_000_000, 151_078_222, 4096, "^the challenge's split, by its 151,078,222 bytes"),
        (62_000_000, 160_000_000, 1024, "^not the challenge's split"),
    ],
)
def test_counts_tell_what_the_split_is(targets: int, num_bytes: int, vocab_size: int, said: str) -> None:
    sentence = split_sentence("fineweb_val_000000.bin", targets, num_bytes, vocab_size)
    assert sentence is not None
    assert re.search(said, sentence)
    assert split_sentence("val_000000.bin", targets, num_bytes, vocab_size) is None


def test_the_known_counts_fit_each_other() -> None:
    assert {targets for known in VOCABULARY_TARGETS.values() for targets in known} <= CHALLENGE_TARGETS.keys()
    assert SPLIT_BYTES[1] / SPLIT_BYTES[0] - 1 < 1e-4
