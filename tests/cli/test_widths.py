"""What every command shows fits a terminal of 80 columns, and is readable at 40: no line is wider and no word is cut.

Two things stay whole, since people copy them: a word, such as a path or a digest, and a command. Each has a line of
its own where it is wider than the terminal.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import on_terminal

from golfpipe.cli.app import COMMANDS, GROUPS, main
from golfpipe.cli.layout import Table, fitted, table_lines, wrapped
from golfpipe.cli.table import format_table

_SECTIONS = {id(group): f"{name} " for group, name, _ in GROUPS}
HELPS = ["--help", *(f"{name} --help" for _, name, _ in GROUPS)]
HELPS += [f"{_SECTIONS.get(id(app), '')}{name} --help" for app, name, _, _ in COMMANDS]
ANSWERS = [
    "run --dry-run",
    "run --dry-run --set quantize.mlp.bits=5",
    "status artifacts/demo",
    "status artifacts/demo --set quantize.mlp.bits=5 --set train.max_steps=7",
    "ls",
    "diff artifacts/demo artifacts/five",
    "compare artifacts/demo/evaluate-pack artifacts/a/evaluate-pack",
    "sweep artifacts/demo/train --grid quantize.mlp.bits=3,4 --dry-run",
    "audit artifacts/demo/pack",
    "audit artifacts/demo artifacts/a artifacts/demo/train",
    "report artifacts/demo -o report.html",
    "config show --origin",
    "config docs quantize.mlp.bits",
    "config docs optim",
    "config init -o mine.yaml --force",
    "data inspect artifacts/data/x",
    "doctor",
    "presets",
    "clean artifacts/demo",
    "evaluate artifacts/demo/pack",
    "evaluate artifacts/demo/pack --dry-run",
    "unpack artifacts/demo/pack",
    "pack my-texts",
    "train artifacts/dmeo",
    "quantize nowhere --set quantize.mlp.bit=3",
    "train artifacts/data/demo --set train.batch_tokens=100",
    "frobnicate",
    "data",
]
_BETWEEN = re.compile(r"[\s,;<>|=\[\]\u2500-\u257f]+")
"""What is between words, the boxes of the help among it."""
_OWN_HEADINGS = {"", "Arguments", "and", "options:", "Commands:"}
"""The headings of the help in its narrow form, which the wide one has in its boxes."""
_WHOLE = re.compile(r"\s*(\S+|golfpipe .*)")


@pytest.fixture(scope="module")
def work(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("widths") / "work"
    shutil.copytree(finished_runs, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        five = ["-o", "artifacts/five/quantize", "--set", "quantize.mlp.bits=5"]
        assert main(["quantize", "artifacts/demo/train", *five, "-q"]) == 0
        yield folder


def words(lines: list[str]) -> set[str]:
    return {word for line in lines for word in _BETWEEN.split(line)} - _OWN_HEADINGS


@pytest.mark.parametrize("line", [*ANSWERS, *HELPS])
def test_no_line_is_wider_and_no_word_is_cut(line: str, work: Path) -> None:
    wide = on_terminal(shlex.split(line), 2000)
    assert len(wide) > 1, wide
    for columns in (80, 40):
        shown = on_terminal(shlex.split(line), columns)
        for text in shown:
            assert len(text) <= columns or _WHOLE.fullmatch(text), (columns, text)
        cut = {word for word in words(shown) - words(wide) if not _is_new(word)}
        assert not cut, (columns, cut)
        assert "\u2026" not in "".join(shown)


def _is_new(word: str) -> bool:
    """A word that differs between two calls: a size, a time."""
    return word[0].isdigit()


def test_prose_is_wrapped_at_words() -> None:
    text = "a sentence with several words in it"
    assert wrapped(text, 80) == [text]
    assert wrapped(text, 16) == ["a sentence with", "  several words", "  in it"]
    assert wrapped("  name              a value of several words", 40) == [
        "  name              a value of several",
        "                    words",
    ]
    path = "artifacts/a-long-name/with/many/folders"
    assert wrapped(f"see {path} there", 20) == ["see", f"  {path}", "  there"]


@pytest.mark.parametrize("width", [20, 40, 60])
def test_commands_stay_whole(width: int) -> None:
    command = "golfpipe data tokenize my-texts && golfpipe run artifacts/data/my-texts"
    assert wrapped(f"hint: these are texts; try: {command}", width)[-1] == f"  {command}"
    assert any(
        "`golfpipe run x`" in line for line in wrapped("some words before it, `golfpipe run x` and after", width)
    )


ROWS = [["alpha", "1,000", "a few words that say what it is"], ["beta", "2", "more"]]


def test_a_table_wraps_its_words_then_goes_row_by_row() -> None:
    lines = format_table(["name", "bytes", "about"], ROWS)
    assert lines[1] == "alpha  1,000  a few words that say what it is"
    assert fitted(lines, 80) == lines
    assert fitted(lines, 34) == [
        "name   bytes  about",
        "alpha  1,000  a few words that say",
        "              what it is",
        "beta       2  more",
    ]
    assert fitted(lines, 28) == [
        "alpha",
        "  bytes  1,000",
        "  about  a few words that",
        "         say what it is",
        "beta",
        "  bytes  2",
        "  about  more",
    ]


@pytest.mark.parametrize("width", range(12, 90, 7))
def test_every_cell_is_shown_at_every_width(width: int) -> None:
    table = Table(["name", "bytes", "about"], ROWS, [False, True, False])
    shown = " ".join(" ".join(table_lines(table, width)).split())
    assert all(word in shown for row in ROWS for cell in row for word in cell.split())


@pytest.mark.parametrize("line", HELPS)
def test_help_has_80_columns_in_a_pipe_however_wide_the_terminal_beside_it_is(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda number=0: os.terminal_size((200, 50)))
    assert main(line.split()) == 0
    assert 70 < max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_pipes_get_lines_as_they_are(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) > 80
