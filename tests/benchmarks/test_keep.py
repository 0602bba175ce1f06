"""A program writes its result where it is told, and the kept results stay as they are unless it is told to record."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_chain import ROOT

from benchmarks import keep
from benchmarks.__main__ import main
from benchmarks.tables import PAGES, RESULTS, result_name

PROGRAMS = sorted(
    path
    for folder in ("benchmarks", "reliability")
    for path in (ROOT / folder).rglob("*.py")
    if "write_result(" in path.read_text() and path.name != "keep.py"
)


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    keep.add_output_options(parser)
    return parser.parse_args(words)


def test_only_record_names_the_kept_results() -> None:
    assert options().output == Path("artifacts/benchmarks")
    assert options("--output", "x").output == Path("x")
    assert options("--record").output == RESULTS
    with pytest.raises(SystemExit):
        options("--record", "--output", "x")


def test_a_result_is_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "folder"
    assert keep.read_result(folder, "a") is None
    keep.write_result(folder, "a", {"seconds": 1.5})
    assert keep.read_result(folder, "a") == {"seconds": 1.5}
    assert capsys.readouterr().err == f"result: {folder / 'a.json'}\n"


def test_recording_writes_the_tables_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table targets -->\nold\n<!-- end -->\n")
    monkeypatch.setattr("benchmarks.tables.PAGES", (page,))
    keep.write_result(tmp_path, "a", {})
    assert "old" in page.read_text()
    monkeypatch.setattr(keep, "RESULTS", tmp_path)
    keep.write_result(tmp_path, "a", {})
    assert page.read_text().startswith("<!-- table targets -->\n\n| measure | target | with AMX |")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_program_writes_nothing_but_its_result(path: Path) -> None:
    """No program has another way to the kept results than the folder of its options."""
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert "results/" not in path.read_text() and names & {"add_output_options", "study_parser"}


def test_running_one_changes_nothing_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in [*RESULTS.iterdir(), *PAGES]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "reading", "--quick"])
    assert main() == 0
    (path,) = (tmp_path / "artifacts/benchmarks").iterdir()
    kept = json.loads(path.read_text())
    assert kept["benchmark"] == "reading" and path.stem == result_name("reading", kept["machine"]["amx"])
    assert before == {path: path.read_bytes() for path in [*RESULTS.iterdir(), *PAGES]}


def test_the_profiler_says_nothing() -> None:
    code = "import torch; from benchmarks.timing import shares; print(shares(lambda: torch.ones(2) @ torch.ones(2)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("{'products_share'") and done.stderr == ""
