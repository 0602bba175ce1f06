"""Values put into a template stay values, in every kind of file, and what a template says stays as it is."""

from __future__ import annotations

import ast
import shlex

import pytest
from markdown_it import MarkdownIt
from markupsafe import Markup

from golfpipe.submission.quoting import (
    bare_word,
    html_text,
    markdown_code,
    markdown_text,
    python_literal,
    shell_words,
)

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
        "- a",
        "+ a",
        "---",
        "===",
        "1. a",
        "2) a",
    ],
)
def test_text_stays_text(text: str) -> None:
    paragraph, table = (
        PARSER.parse(markdown_text(text)),
        PARSER.parse(f"| a | b |\n| --- | --- |\n| {markdown_text(text)} | |\n"),
    )
    assert [token.type for token in paragraph] == ["paragraph_open", "inline", "paragraph_close"]
    cells = [token for token in table if token.type == "inline"]
    for inline in (paragraph[1], cells[2]):
        shown = inline.children or []
        assert {token.type for token in shown} <= {"text", "text_special"}
        assert "".join(token.content for token in shown) == text
    assert len(cells) == 4


def test_line_breaks_become_spaces() -> None:
    assert markdown_text("a\n\n  b") == "a b"


def test_markdown_of_templates_stays() -> None:
    assert markdown_text(Markup("**a**")) == "**a**"
    assert markdown_text(3) == "3"


def test_code_spans() -> None:
    assert markdown_code("train_gpt.py") == "`train_gpt.py`"
    assert markdown_code("a`b|c\nd") == "`abc d`"


def test_numbers_and_sentences_stay_readable() -> None:
    assert [markdown_text(text) for text in ("-0.5", "3.11.7", "16 layers", "- a")] == [
        "-0.5",
        "3.11.7",
        "16 layers",
        "\\- a",
    ]


HOSTILE = [
    "plain",
    """2"];__import__("os").system("x");x=['""",
    "' \" \\ \"\"\" '''",
    "$(touch x) `touch x` ${HOME} ; & | > x",
    "1.26\n--index-url=http://x\n#SBATCH --wrap=x",
    "</pre><script>x</script><img src=x onerror=x>",
    "\x1b]0;x\x07\x9b31m\u202e",
    "{{ 7 * 7 }}{% raw %}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_is_one_value_in_every_language(text: str) -> None:
    assert ast.literal_eval(python_literal(text)) == text
    (word,) = shlex.split(shell_words(text))
    assert word.isprintable() and (word == text or not text.isprintable())
    assert len(shlex.split(shell_words((text, 1, text)))) == 3
    assert not {"<", ">", '"', "'", "\x1b", "\x9b", "\u202e"} & set(html_text(text))
    assert "\n" not in markdown_text(text) and "\x1b" not in markdown_text(text)


def test_what_has_no_quoting_is_refused() -> None:
    assert bare_word("00:45:00") == "00:45:00"
    for text in HOSTILE[1:]:
        with pytest.raises(ValueError, match="is not a word"):
            bare_word(text)
    with pytest.raises(TypeError):
        python_literal((object(),))
