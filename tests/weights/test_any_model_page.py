"""docs/any-model.md: every block runs as written, in order, at the end of a script as other people write them."""

import re
import runpy
import shutil
from pathlib import Path

import pytest
from shell_lines import run_line
from small_chain import ROOT

PAGE = ROOT / "docs" / "any-model.md"


def test_the_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    shutil.copy(ROOT / "tests" / "train_gpt.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path("train_gpt.py")
    blocks = re.findall(r"^```(python|shell)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [language for language, _ in blocks] == ["python"] * 4 + ["shell"]
    for language, block in blocks:
        if language == "python":
            exec(compile(block, str(PAGE), "exec"), names)
        else:
            for line in block.splitlines():
                run_line(line, capsys)
    assert 36_000 * 0.999 < len(names["data"]) <= 36_000
    before, calibrated, uncalibrated = (names[name] for name in ("before", "calibrated", "uncalibrated"))
    assert calibrated - before < 0.5 * (uncalibrated - before)
