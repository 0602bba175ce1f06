"""Files and functions of the package stay short enough to be read at once, and docstrings are sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from small_chain import ROOT

FILES = sorted((ROOT / "golfpipe").rglob("*.py"))
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
"""The signature and the docstring count."""
_FRAGMENT = re.compile(r"(Of|Whether|Without|With|From|By|In|On|At|As|Where|After|Before|Within|For|To) ")


def _functions() -> Iterator[tuple[str, int]]:
    """(path:line name, number of lines) of every function."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    assert [(name, count) for name, count in _functions() if count > MOST_LINES_OF_A_FUNCTION] == []


def test_docstrings_are_sentences() -> None:
    """A docstring that begins with a preposition is a fragment, unless a main clause follows behind a comma."""
    fragments = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {text.splitlines()[0]}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node))
        if _FRAGMENT.match(text) and "," not in text.partition(".")[0]
    ]
    assert fragments == []
