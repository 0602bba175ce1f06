"""Values put into Markdown stay text, and what a template says stays Markdown."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markupsafe import Markup

from golfpipe.submission.markdown import code, escaped

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    "text",
    [
        "*a* _b_ ~~c~~ `d`",
        "[x](y) ![x](y) <http://x>",
        "<script>alert(1)</script>",
        "a | b",
        "&amp; &lt; &#42;",
        "\\* \\",
        "# a",
    ],
)
def test_text_stays_text(text: str) -> None:
    paragraph, table = PARSER.parse(escaped(text)), PARSER.parse(f"| a | b |\n| --- | --- |\n| {escaped(text)} | |\n")
    assert [token.type for token in paragraph] == ["paragraph_open", "inline", "paragraph_close"]
    cells = [token for token in table if token.type == "inline"]
    for inline in (paragraph[1], cells[2]):
        shown = inline.children or []
        assert {token.type for token in shown} <= {"text", "text_special"}
        assert "".join(token.content for token in shown) == text
    assert len(cells) == 4


def test_line_breaks_become_spaces() -> None:
    assert escaped("a\n\n  b") == "a b"


def test_markdown_of_templates_stays() -> None:
    assert escaped(Markup("**a**")) == "**a**"
    assert escaped(3) == "3"


def test_code_spans() -> None:
    assert code("train_gpt.py") == "`train_gpt.py`"
    assert code("a`b|c\nd") == "`abc d`"
