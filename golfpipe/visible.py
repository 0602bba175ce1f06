"""Control characters as escapes that people can see: names and texts come from strangers, and a terminal obeys them."""

from __future__ import annotations

import json
import re

_HIDDEN = "".join(
    (
        r"\x00-\x08\x0b-\x1f\x7f-\x9f",  # C0 without tab and newline, DEL and C1: terminals act on them
        r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f",  # turn, break or hide what is read
        r"\ud800-\udfff",  # bytes of a name that is not UTF-8, which no text can hold
    )
)
_IN_TEXT = re.compile(f"[{_HIDDEN}]")
_IN_LINE = re.compile(f"[{_HIDDEN}\\t\\n]")


def visible(text: str) -> str:
    """Return a text of lines with '\\x1b' in place of the character ESC, and so on for all that acts unseen."""
    return _IN_TEXT.sub(_escape, text)


def visible_line(text: str) -> str:
    """Return a text as one line: the same, with newlines and tabs as escapes too."""
    return _IN_LINE.sub(_escape, text)


def visible_json(text: str) -> str:
    """Return JSON with the same characters as escapes of JSON: they can only stand inside of its texts."""
    return _IN_TEXT.sub(lambda match: "\\u007f" if match[0] == "\x7f" else json.dumps(match[0])[1:-1], text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
