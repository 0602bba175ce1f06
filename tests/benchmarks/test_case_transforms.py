"""Tokens per byte by transform: counted on a small text, and what docs/stages/data.md says of the real one."""

from __future__ import annotations

import json

from benchmarks.case_transforms import RESULT, TRANSFORMS, count_tokens, table
from benchmarks.tables import DOCS


def test_the_same_bytes_are_counted_in_each_form() -> None:
    sentence = "The Cat sat on the Mat, and the Dog sat on the LOG."
    results = count_tokens([f"{sentence} {number}" for number in range(30)], [sentence, "A mat"], [300])
    assert [row["transform"] for row in results.values()] == list(TRANSFORMS)
    assert {row["bytes"] for row in results.values()} == {len(sentence) + 5}
    assert [row["markers"] for row in results.values()] == [0, 6, 6]
    assert "| +0.0% | " in table(results).splitlines()[2]


def test_the_page_says_what_was_counted() -> None:
    results = json.loads(RESULT.read_text())["results"]
    assert table(results) in (DOCS / "stages" / "data.md").read_text()
