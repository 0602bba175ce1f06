"""Every command that a message, a hint or a docstring names is one that the command line's own parser takes.

In prose a command stands in backquotes; without them it goes to the end of the line, or to a semicolon.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from printed_commands import commands_in, parse
from small_chain import ROOT

PACKAGE = ROOT / "golfpipe"
EXPLAINED = {PACKAGE / "cli" / "torchrun.py"}
"""A file whose docstring is about the command line itself: `golfpipe WORDS`."""


def texts(path: Path) -> Iterator[str]:
    """Every string of a source file; what an f-string fills in is a 1, which is a path, a name and a number."""
    tree = ast.parse(path.read_text())
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in EXPLAINED]
FOUND = sorted({(str(path.relative_to(PACKAGE)), command) for path in SOURCES for text in texts(path)
                for command in commands_in(text) if " import " not in command})  # fmt: skip


def test_there_are_many() -> None:
    assert len({command for _, command in FOUND}) > 100


@pytest.mark.parametrize("file", sorted({file for file, _ in FOUND}))
def test_every_command_in_the_sources_parses(file: str) -> None:
    for _, command in (found for found in FOUND if found[0] == file):
        parse(command)


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")))
def test_every_command_in_the_docs_parses(page: Path) -> None:
    """Those in backquotes; test_docs.py runs the blocks."""
    for line in re.findall(r"`(golfpipe [^`\n]*)`", (ROOT / page).read_text()):
        for command in line.split(" && "):
            parse(command)


@pytest.mark.parametrize("wrong", ["trian x", "pack a b", "run --bogus", "data x", "pack --json --nproc 2", "ls -j x"])
def test_a_command_that_does_not_parse_is_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|unexpected"):
        parse(f"golfpipe {wrong}")


def test_commands_are_found_in_text() -> None:
    text = "as `golfpipe ls` tells; try: golfpipe data add a --tokenizer 'b c' && golfpipe run a; and golfpipe is\n"
    assert commands_in(text) == ["golfpipe ls", "golfpipe data add a --tokenizer 'b c'", "golfpipe run a"]
