"""The version has one home, golfpipe/version.py: the changelog and the command line follow it."""

from __future__ import annotations

import re

import pytest
from small_chain import ROOT

from golfpipe.cli.app import main
from golfpipe.version import __version__


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__ and len(set(headings)) == len(headings)


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"golfpipe {__version__}\n"
