"""What kind of script a records folder has, told from its text: its size counts, and it is never run or unpacked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LOOKED_AT = 1_000_000
_COMPRESSORS = ("lzma", "zlib", "brotli", "bz2", "gzip", "zstandard", "zipfile")
_ENCODINGS = {"b85decode": "base85", "a85decode": "base85", "b64decode": "base64", "latin": "raw bytes"}


@dataclass(frozen=True, slots=True)
class Script:
    bytes: int
    packing: str | None
    """How a script is packed that extracts itself, such as 'lzma, base85'; None for readable code."""


def look_at_script(path: Path) -> Script | None:
    """Look at a script, but not through a link. Return None where there is no file, or it cannot be read."""
    try:
        if path.is_symlink() or not path.is_file():
            return None
        size = path.stat().st_size
        with path.open("rb") as stream:
            content = stream.read(_LOOKED_AT)
    except OSError:
        return None
    # The possessive quantifier is safe, since the body cannot hold the closing quote; backtracking into a megabyte of
    # literal would take a gigabyte.
    code = re.sub(rb"""(['"])(?:(?!\1)[^\\\n]|\\.){300,}+\1""", b"''", content).decode("latin-1")
    binary = len(re.findall(rb"[^\t\n\r -~]", content)) * 4 > len(content)
    if re.search(r"\b(exec|eval)\s*\(|runpy|types\.ModuleType", code) is None:
        return Script(size, None)
    packers = [name for name in _COMPRESSORS if re.search(rf"\b{name}\b", code)]
    encodings = list(dict.fromkeys(name for call, name in _ENCODINGS.items() if call in code))
    # Code whose text is mostly one literal is packed; a script that merely uses zlib and exec somewhere is not.
    mostly_literal = len(content) >= 2 * len(code) and len(code) <= 20_000
    if not packers or not (mostly_literal or binary):
        return Script(size, None)
    return Script(size, ", ".join([*packers, *encodings]))
