"""A self-extracting script taken apart for reading: never executed, and never more than a bound of bytes.

The code around the payload is not followed. Every long literal, and what lies behind the code as raw bytes, is tried
with each encoding and each compressor until readable text comes out.
"""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec

MOST_SOURCE = 4_000_000
"""Bytes of source that are unpacked at most."""
_LAYERS = 3
_LONG = 200
"""Characters of a literal that may be a payload."""
_MEMORY = 256_000_000
# Possessive, and one alternative per kind of quote: no text makes the search quadratic.
_LITERAL = re.compile(
    r"[bBrRuU]{0,2}(?:\"\"\"(?:[^\"\\]|\\.|\"(?!\"\"))*+\"\"\"|'''(?:[^'\\]|\\.|'(?!''))*+'''"
    r"|\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+')",
    re.DOTALL,
)
_BETWEEN = re.compile(r"[\s\\+]*")
_MAGIC = re.compile(rb"\xfd7zXZ\x00|\x5d\x00\x00.{2}\x00|\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|BZh\d", re.DOTALL)
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*+")
_BASE92 = {ord("!"): 0} | {35 + i: i + 1 for i in range(61)} | {97 + i: i + 62 for i in range(29)}


class TooLarge(Exception):
    """It unpacks to more than MOST_SOURCE bytes."""


def unpack(content: bytes) -> tuple[str, bytes] | None:
    """Return ('lzma, base85', the source), or None where nothing readable comes out. Raises TooLarge."""
    packings: list[str] = []
    for _ in range(_LAYERS):
        found = _layer(content)
        if found is None:
            break
        packing, content = found
        packings.append(packing)
    return (", then ".join(packings), content) if packings else None


def payload_share(content: bytes) -> float:
    """Return the share of a script that lies in long literals which are no text: those with hardly a space."""
    found = (literal[0] for literal in _LITERAL.finditer(content.decode("latin-1")) if len(literal[0]) >= _LONG)
    return sum(len(text) for text in found if len(text.split()) * 20 < len(text)) / max(1, len(content))


def _layer(content: bytes) -> tuple[str, bytes] | None:
    for payload in _payloads(content):
        for encoding, decode in _ENCODINGS.items():
            try:
                packed = decode(payload)
            except (ValueError, binascii.Error):
                continue
            for compressor, decompress in _COMPRESSORS.items():
                source = _tried(decompress, packed)
                if source is not None:
                    return f"{compressor}, {encoding}", source
    return None


def _tried(decompress: Callable[[bytes], bytes], packed: bytes) -> bytes | None:
    """The text that comes out, if it is one."""
    try:
        source = decompress(packed)
    except (ValueError, EOFError, OSError, MemoryError, lzma.LZMAError, zlib.error):
        return None
    if len(source) > MOST_SOURCE:
        raise TooLarge
    is_text = len(source) >= 20 and _TEXT.fullmatch(source) is not None and re.search(rb"[=(]", source) is not None
    return source if is_text else None


def _payloads(content: bytes) -> Iterator[bytes]:
    """The longest literals (adjacent ones joined) and what may be raw bytes in the file, longest first."""
    text = content.decode("latin-1")
    joined: list[str] = []
    last_end = -1
    for found in _LITERAL.finditer(text):
        value = _literal(found[0])
        if last_end >= 0 and _BETWEEN.fullmatch(text, last_end, found.start()) and joined:
            joined[-1] += value
        else:
            joined.append(value)
        last_end = found.end()
    long = sorted((value for value in joined if len(value) >= _LONG), key=len, reverse=True)[:4]
    yield from (value.encode("latin-1", "replace") for value in long)
    yield from (content[found.start() :] for _, found in zip(range(4), _MAGIC.finditer(content), strict=False))
    for offset in re.findall(rb"\[\s*(\d{1,7})\s*:", content)[:4]:
        yield content[int(offset) :]
    code_end = content.find(b"\n", content.rfind(b"exec("))
    if code_end > 0 and len(content) - code_end > _LONG:
        yield content[code_end + 1 :].lstrip(b"#")


def _literal(token: str) -> str:
    """What a literal stands for; the token itself where it is none."""
    prefix = token[: token.index(token.lstrip("bBrRuU")[0])].lower()
    body = token.lstrip("bBrRuU")
    width = 3 if body[:3] in ('"""', "'''") else 1
    if "\\" not in body or "r" in prefix:
        return body[width:-width]
    try:
        value = ast.literal_eval(token if "b" in prefix else f"b{body}" if body.isascii() else body)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return body[width:-width]
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _base92(text: bytes) -> bytes:
    """Pairs of 91 characters hold 13 bits, a last single one 6. Raises ValueError."""
    try:
        values = [_BASE92[character] for character in text.strip()]
    except KeyError as error:
        raise ValueError("not base 92") from error
    bits, count, out = 0, 0, bytearray()
    for index in range(0, len(values), 2):
        pair = values[index : index + 2]
        bits, count = (
            (bits << 13 | pair[0] * 91 + pair[1], count + 13) if len(pair) == 2 else (bits << 6 | pair[0], count + 6)
        )
        while count >= 8:
            count -= 8
            out.append(bits >> count & 255)
        bits &= (1 << count) - 1
    return bytes(out)


def _lzma(packed: bytes) -> bytes:
    return lzma.LZMADecompressor(memlimit=_MEMORY).decompress(packed, MOST_SOURCE + 1)


def _raw_lzma(packed: bytes) -> bytes:
    """LZMA2 without a header, whose chunks bring their own settings; then LZMA1 with the usual ones."""
    for settings in ({"id": lzma.FILTER_LZMA2}, {"id": lzma.FILTER_LZMA1}, {"id": lzma.FILTER_LZMA1, "pb": 0}):
        try:
            decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{**settings, "dict_size": 1 << 26}])
            return decompressor.decompress(packed, MOST_SOURCE + 1)
        except lzma.LZMAError:
            continue
    raise ValueError("no raw LZMA")


def _zlib(packed: bytes) -> bytes:
    return zlib.decompressobj(47).decompress(packed, MOST_SOURCE + 1)


def _deflate(packed: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(packed, MOST_SOURCE + 1)


def _bz2(packed: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(packed, MOST_SOURCE + 1)


def _brotli(packed: bytes) -> bytes:
    """In small pieces, because one piece may unpack to megabytes."""
    if find_spec("brotli") is None:
        raise ValueError("brotli is not installed")
    import brotli

    decompressor, out = brotli.Decompressor(), bytearray()
    try:
        for start in range(0, len(packed), 16):
            out += decompressor.process(packed[start : start + 16])
            if len(out) > MOST_SOURCE:
                break
    except brotli.error as error:
        raise ValueError("no brotli") from error
    return bytes(out)


_ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "base85": lambda text: base64.b85decode(b"".join(text.split())),
    "base64": lambda text: base64.b64decode(b"".join(text.split()), validate=True),
    "base92": _base92,
    "ascii85": lambda text: base64.a85decode(text, adobe=text.startswith(b"<~")),
    "raw bytes": lambda text: text,
}
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "lzma": _lzma,
    "zlib": _zlib,
    "bz2": _bz2,
    "raw lzma": _raw_lzma,
    "brotli": _brotli,
    "deflate": _deflate,
}
