"""Every command in docs/ runs as written, on a very small scale; test_extending.py runs the worked examples.

Each page starts in a folder with my-texts, artifacts/data/{demo,x}, and the finished runs artifacts/{demo,a}; the
tutorial in a folder with none of these.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from shell_lines import run_line
from small_chain import ROOT, write_small_stages
from sweep_inline import in_this_process

from golfpipe.cli.app import main

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip() and line[0] != "#"]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) and page != "tutorial.md"])
def test_commands_run_as_written(
    page: str, run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(monkeypatch)
    for command in commands(page):
        run_line(command, capsys)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's folder after its first run."""
    folder = tmp_path_factory.mktemp("tutorial")
    write_small_stages(folder)
    (texts,) = blocks("tutorial.md", "python")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(texts, {})
        for command in parts_of_the_tutorial()["first"]:
            assert main(shlex.split(command)[1:]) == 0
    return folder


def parts_of_the_tutorial() -> dict[str, list[str]]:
    """Its commands in parts; each but the first needs what the first made, and no more."""
    lines = commands("tutorial.md")
    marks = (" status ", " sweep ", "--seeds")
    status, sweep, seeds = (next(n for n, line in enumerate(lines) if mark in line) for mark in marks)
    return {"first": lines[:status], "look": lines[status:sweep], "size": lines[sweep:seeds], "seeds": lines[seeds:]}


@pytest.mark.parametrize("part", ["look", "size", "seeds"])
def test_the_tutorial_from_nothing_to_a_submission(
    part: str, tutorial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tutorial, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    in_this_process(monkeypatch)
    for command in parts_of_the_tutorial()[part]:
        run_line(command, capsys)
    run = {"look": "first", "size": "chosen", "seeds": "both"}[part]
    (submission,) = Path("artifacts", run).rglob("submission.json")
    assert json.loads(submission.read_text())["bytes_total"] > 0


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (DOCS / page).read_text()):
        if "://" not in target:
            assert (DOCS / page).parent.joinpath(target).exists(), target


def test_the_readme_links_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([^)#]+)", (ROOT / "README.md").read_text()))
    assert linked >= set(PAGES)


def test_every_stage_has_its_page() -> None:
    pages = {Path(page).stem for page in PAGES if page.startswith("stages/")}
    assert pages >= {"data", "train", "quantize", "pack", "ttt", "evaluate", "submit"}
