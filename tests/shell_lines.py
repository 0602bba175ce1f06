"""Command lines as a reader would paste them, run in this process."""

from __future__ import annotations

import glob
import re
import shlex

import pytest

from golfpipe.cli.app import main


def run_line(line: str, capture: pytest.CaptureFixture[str]) -> str:
    """Run `golfpipe ...` with what the shell does to it: `$(golfpipe ...)`, wildcards, comments. Returns its stdout."""
    words = shlex.split(_substituted(line, capture), comments=True)
    assert words[0] == "golfpipe", line
    words = [path for word in words[1:] for path in (sorted(glob.glob(word)) or [word])]
    capture.readouterr()
    code = main(words)
    captured = capture.readouterr()
    assert code == 0, f"{line}\n{captured.out}\n{captured.err}"
    assert captured.out.strip(), line
    return captured.out


def _substituted(line: str, capture: pytest.CaptureFixture[str]) -> str:
    return re.sub(r"\$\((golfpipe [^)]*)\)", lambda match: run_line(match[1], capture).strip(), line)
