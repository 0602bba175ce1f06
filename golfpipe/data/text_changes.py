"""What a tokenizer makes of a text that it does not give back as it was, in bytes and in words.

Scores count the bytes of the decoded text. Where these are not those of the source, the difference is divided among the
steps in which SentencePiece changes a text; the parts add up to it exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from golfpipe.data.tokenizer import Tokenizer
from golfpipe.scoring.byte_table import SPACE_MARK

STEPS = {
    "marks": f"the character U+{ord(SPACE_MARK):04X} becomes a space",
    "characters": "characters take a plain or compatible form (full width, ligatures, white space) or are dropped",
    "white_space": "runs of white space become one space, and none is left around a document",
    "rest": "other changes",
}
LINE_BREAKS = "line_breaks"
"""Line breaks that are gone: characters, not bytes."""


def text_changes(source: str, decoded: str, tokenizer: Tokenizer) -> Counter[str]:
    """Return the bytes that the source lost (negative: gained) in each of STEPS that changed it, and LINE_BREAKS."""
    changes: Counter[str] = Counter()
    before = source
    stages = {"marks": source.replace(SPACE_MARK, " ")}
    stages["characters"] = tokenizer.replace_characters(stages["marks"])
    stages["white_space"] = tokenizer.normalize(stages["marks"])
    stages["rest"] = decoded
    for step, after in stages.items():
        if after != before:
            changes[step] = len(before.encode("utf-8")) - len(after.encode("utf-8"))
        before = after
    if lost := source.count("\n") - decoded.count("\n"):
        changes[LINE_BREAKS] = lost
    return changes


def sentences(changes: Mapping[str, int]) -> list[str]:
    """Return the changes in words."""
    lines = [f"{text}: {_bytes(changes[step])}" for step, text in STEPS.items() if step in changes]
    if lost := changes.get(LINE_BREAKS):
        lines.append(f"{lost:,} line break{'' if lost == 1 else 's'} gone, so that generated text will have none")
    return lines


def _bytes(lost: int) -> str:
    if lost == 0:
        return "as many bytes"
    return f"{abs(lost):,} byte{'' if abs(lost) == 1 else 's'} {'fewer' if lost > 0 else 'more'}"
