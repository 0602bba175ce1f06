"""Every command in docs/ runs as written, on a very small scale, and the worked examples are real.

Each page starts in a folder with my-texts, artifacts/data/{demo,x}, and the finished runs artifacts/{demo,a}.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell_lines import run_line
from small_chain import ROOT

from golfpipe.jobs.registry import STAGES

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip() and line[0] != "#"]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_run_as_written(page: str, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(page):
        run_line(command, capsys)


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(STAGES)
    yield
    STAGES.update(before)


def test_the_worked_examples_run(run_folder: Path, monkeypatch: pytest.MonkeyPatch, registry: None) -> None:
    monkeypatch.syspath_prepend(str(run_folder))
    named = re.findall(
        r"^```python file=(\S+)\n(.*?)^```", (DOCS / "extending.md").read_text(), re.MULTILINE | re.DOTALL
    )
    found: dict[str, dict[str, Any]] = {}
    for name, content in named:
        (run_folder / name).write_text(content)
        if name.startswith("try_"):
            found[name] = runpy.run_path(name)
    for name, _ in named:
        sys.modules.pop(name.removesuffix(".py"), None)
    assert found["try_quantizer.py"]["score"].manifest.metrics["val_bpb"] > 0
    sizes = found["try_coder.py"]["sizes"]
    assert sizes["entropy"] < sizes["range"] < sizes["zlib"]
    assert found["try_method.py"]["adapted"].manifest.metrics["eligible"] is True
    assert found["try_method.py"]["verdict"].documents > 1


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
