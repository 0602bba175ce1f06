"""A picture is the same whatever the user told matplotlib, and one that fails costs nothing but itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from fake_run import FakeRun

from golfpipe.cli.app import main
from golfpipe.report.canvas import render_svg
from golfpipe.report.figures import Rung, ladder_figure

RUNGS = [Rung(label="packed $x$", val_bpb=2.5, eligible=True), Rung(label="trained", val_bpb=2.4, eligible=True)]
DRAW = f"""
from golfpipe.report.figures import Rung, ladder_figure
from golfpipe.report.pareto import pareto_png
from golfpipe.report.sweep_points import sweep_points
import os, sys
before = dict(os.environ), os.getcwd()
sys.stdout.write(ladder_figure({RUNGS!r}, "wide"))
assert pareto_png(sweep_points([]))[1:4] == b"PNG"
assert (dict(os.environ), os.getcwd()) == before
"""


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        (b"", {"MPLBACKEND": "nonsense"}),
        (b"", {"MPLBACKEND": "qtagg", "DISPLAY": ""}),
        (b"text.usetex: True\nfont.size: 30\nsvg.fonttype: path\n", {}),
        (b"backend: nonsense\nno settings at all\naxes.facecolor: 12: 13\n", {}),
        (b"text.usetex: True\n\xff\xfe: \n", {}),
        (b"\xff\xfe", {"MATPLOTLIBRC": ".", "MPLBACKEND": "nonsense"}),
        (b"", {"MATPLOTLIBRC": "/nowhere/at/all"}),
    ],
)
def test_what_a_user_told_matplotlib_changes_nothing(
    tmp_path: Path, settings: bytes, environment: dict[str, str]
) -> None:
    (tmp_path / "matplotlibrc").write_bytes(settings)
    root = str(Path(__file__).resolve().parents[2])
    drawn = subprocess.run(
        [sys.executable, "-c", DRAW], cwd=tmp_path, env={**os.environ, "PYTHONPATH": root, **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == ladder_figure(RUNGS, "wide")


def test_settings_of_the_process_change_nothing_and_stay() -> None:
    wanted = ladder_figure(RUNGS, "wide")
    with matplotlib.rc_context({"text.usetex": True, "lines.linewidth": 9, "text.parse_math": True}):
        before = dict.copy(matplotlib.rcParams)
        assert ladder_figure(RUNGS, "wide") == wanted
        with pytest.raises(ZeroDivisionError):
            render_svg(lambda figure: print(1 / 0), "wide", 1.0)
        assert dict.copy(matplotlib.rcParams) == before


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> str:
        raise ValueError("alpha must be\nbetween <0> and 1")

    for module in ("figures", "pareto"):
        monkeypatch.setattr(f"golfpipe.report.{module}.render_svg", fail)


def test_a_picture_that_fails_is_a_warning(
    fake: FakeRun, no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (fake.folder / "sweep").mkdir()
    row = {"settings": {"pack.coder": "range"}, "val_bpb": 2.5, "total_bytes": 900}
    (fake.folder / "sweep" / "results.jsonl").write_text(json.dumps(row))
    assert main(["report", str(fake.folder)]) == 0
    page, warnings = (fake.folder / "report.html").read_text(), capsys.readouterr().err
    assert page.count("The picture could not be drawn: ValueError: alpha must be between &lt;0&gt; and 1") == 5
    assert "<figure>" not in page and "2.6225" in page
    assert warnings.count("warning: ") == 5 and "Loss over training steps" in warnings
