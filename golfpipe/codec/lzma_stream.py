"""Raw LZMA2 streams: what the payload's header is compressed with, and the plain coder's codes."""

from __future__ import annotations

import lzma

from golfpipe.errors import ArtifactError

# Spelled out instead of a preset: the filter is part of the format and the reader must know it.
_LZMA_FILTERS = [
    {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 23, "lc": 3, "lp": 0, "pb": 2},
]


def compress_lzma(data: bytes) -> bytes:
    """Return a raw LZMA2 stream: no container, no checksum (the payload has its own)."""
    return lzma.compress(data, format=lzma.FORMAT_RAW, filters=_LZMA_FILTERS)


def decompress_lzma(data: bytes, *, max_bytes: int) -> bytes:
    """Return the bytes of an LZMA2 stream, at most max_bytes of them. ArtifactError for more, for damage, for a cut."""
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_LZMA_FILTERS)
    try:
        # One byte of room beyond the limit: it tells "too long" apart, and the end marker is read too.
        out = decoder.decompress(data, max_length=max_bytes + 1)
    except lzma.LZMAError as error:
        raise ArtifactError(f"lzma stream is damaged: {error}") from error
    if len(out) > max_bytes:
        raise ArtifactError(f"lzma stream holds more than {max_bytes} bytes")
    if not decoder.eof or decoder.unused_data:
        raise ArtifactError("lzma stream is cut off or has bytes left over")
    return out
