"""What the files that golfpipe generates do, by the parser of each language: the same for any text inside of them."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from typing import Any

import yaml
from markdown_it import MarkdownIt
from packaging.requirements import Requirement

from golfpipe.records.log_lines import read_log

REFUSED = "refused"
"""In place of a file that a command did not write."""
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def trees(made: Mapping[str, str]) -> dict[str, Any]:
    """File name -> the tree of the file's text. Raises what the parser of a language raises."""
    return {name: PARSERS[os.path.splitext(name)[1]](text) for name, text in made.items() if text != REFUSED}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[Any] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attributes]))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.append("comment")


def _html(text: str) -> Any:
    parser = _Tags()
    parser.feed(text)
    return parser.tags


def python_tree(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def _shell(text: str) -> Any:
    """The comments, which may be options of a scheduler, and the number of words."""
    if subprocess.run(["bash", "-n"], input=text.encode(), check=False, capture_output=True).returncode:
        raise SyntaxError("bash cannot parse it")
    comments = [line.partition("=")[0] for line in text.splitlines() if line.startswith("#")]
    return comments, len(shlex.split(text, comments=True))


def _markdown(text: str) -> Any:
    return [
        (token.type, [child.type for child in token.children or () if child.type not in ("text", "text_special")])
        for token in _MARKDOWN.parse(text)
    ]


def _requirements(text: str) -> Any:
    found = [Requirement(line) for line in text.splitlines()]
    return [(one.name, one.url, one.marker, one.extras) for one in found]


def _plain(value: Any) -> Any:
    """A value with every text replaced by its type."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else type(value)


def _log_values(text: str) -> list[Any]:
    """Return what a records reader finds in a log, without the text of the lines that it quotes as the source."""
    return [(made.quantity, made.value) for log in read_log(text.encode(), "log") for made in log.statements]


PARSERS: dict[str, Callable[[str], Any]] = {
    ".html": _html,
    ".md": _markdown,
    ".py": python_tree,
    ".sh": _shell,
    ".json": lambda text: _plain(json.loads(text)),
    ".yaml": lambda text: _plain(yaml.load(text, yaml.CSafeLoader)),
    ".txt": _requirements,
    ".log": lambda text: (len(text.splitlines()), _log_values(text)),
}
