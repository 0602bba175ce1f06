"""Paths as text in JSON. A name may hold bytes that are not UTF-8, and JSON that every reader takes may not.

Python keeps a byte that the system's encoding does not have as a lone surrogate, U+DC80 to U+DCFF. In JSON, such bytes
are what they are in UTF-8, and U+EF80 to U+EFFF for those that are nothing there, as in the encoding OPTU-8.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

_UNDECODED = re.compile("[\udc80-\udcff]+")
_KEPT = re.compile("[\uef80-\uefff]")


def well_formed_json(value: Any) -> str:
    """Return `value` as JSON in which texts hold no lone surrogates that stand for bytes. Raises ValueError for NaN."""
    return _UNDECODED.sub(_decoded, json.dumps(value, ensure_ascii=False, allow_nan=False))


def recorded_path(text: str) -> Path:
    """Return the path that a text of such JSON names on this system."""
    undecoded = _KEPT.sub(lambda match: chr(ord(match[0]) - 0xEF00 + 0xDC00), text)
    try:
        return Path(os.fsdecode(undecoded.encode("utf-8", "surrogateescape")))
    except UnicodeEncodeError:  # a text that is no path anywhere
        return Path(text)


def _decoded(match: re.Match[str]) -> str:
    text = match[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return _UNDECODED.sub(lambda found: "".join(chr(ord(byte) - 0xDC00 + 0xEF00) for byte in found[0]), text)
