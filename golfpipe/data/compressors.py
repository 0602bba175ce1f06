"""What general compressors make of a text: the numbers that a language model has to beat."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda text: gzip.compress(text, 9, mtime=0),
    "bzip2 -9": lambda text: bz2.compress(text, 9),
    "xz -9": lambda text: lzma.compress(text, preset=9),
}
"""Compressors with the options of their commands."""


def compressed_bits(text: bytes) -> dict[str, float]:
    """Return the bits that each compressor needs for a byte of the text, in the order of COMPRESSORS; none for an empty
    text."""
    return {name: 8 * len(compress(text)) / len(text) for name, compress in COMPRESSORS.items()} if text else {}
