"""What is known of the challenge's own validation split, by which one that was cut short shows."""

from __future__ import annotations

CHALLENGE_TARGETS = {
    62_021_632: "sp1024",
    63_779_840: "sp1024, first export",
    40_540_802: "sp8192",
    47_853_343: "case-transformed sp8192",
    47_851_520: "case-transformed sp8192, whole sequences",
}
"""Targets of the split, by what it is cut into tokens with. That of sp1024 is of the challenge's own logs, which drop
the ragged end."""
VOCABULARY_TARGETS = {1024: (62_021_632,), 8192: (40_540_802, 47_853_343)}
"""Vocabulary -> targets of the whole split; the larger one is of transformed text."""
SPLIT_BYTES = (151_074_500, 151_078_222)
"""Bytes of the split's text, as it is counted with a case transform and without."""
BYTES_TOLERANCE = 1e-4
"""Share of bytes by which the split may differ: tokenizers normalize a little differently."""


def split_sentence(file_name: str, targets: int, num_bytes: int, vocab_size: int) -> str | None:
    """Say how much of the challenge's validation split a file of its name begins; None for other names.

    The bytes tell at any vocabulary. Where they are within the tolerance, targets tell of the last documents.
    """
    if not file_name.startswith("fineweb_val_"):
        return None
    least, most = SPLIT_BYTES[0] * (1 - BYTES_TOLERANCE), SPLIT_BYTES[1] * (1 + BYTES_TOLERANCE)
    if num_bytes < least:
        share = num_bytes / SPLIT_BYTES[1]
        return f"cut short: {num_bytes:,} of the {SPLIT_BYTES[1]:,} bytes of the challenge's split ({share:.2%})"
    if num_bytes > most:
        return f"not the challenge's split: it has {SPLIT_BYTES[1]:,} bytes, this {num_bytes:,}"
    if targets in CHALLENGE_TARGETS:
        return f"the challenge's split: {targets:,} targets ({CHALLENGE_TARGETS[targets]})"
    missing = min((known - targets for known in VOCABULARY_TARGETS.get(vocab_size, ()) if known > targets), default=0)
    if 0 < missing <= BYTES_TOLERANCE * targets:
        return f"cut short: {missing:,} targets fewer than the challenge's split has at {vocab_size:,} pieces"
    return f"the challenge's split, by its {num_bytes:,} bytes"
