"""docs/any-model.md: every block runs as written, in order, at the end of a script as other people write them."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from shell_lines import run_line
from small_chain import ROOT

PAGE = ROOT / "docs" / "any-model.md"


def test_the_page_states_the_measured_times_and_memory_and_they_keep_the_limits() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "any_model_speed.json").read_text())
    plain, calibrated = results["bank36m"], results["bank36m calibrated"]
    for found in (plain["compress"], calibrated["compress"]):
        assert found["values"] > 35e6 and found["seconds"] < 180 and found["peak_memory_bytes"] < 3e9
        assert found["target_bytes"] * 0.999 <= found["payload_bytes"] <= found["target_bytes"]
    stated = [
        f"{plain['compress']['seconds']:.0f} s of it",
        f"{plain['compress']['peak_memory_bytes'] / 1e9:.2f} GB",
        f"calibrated {calibrated['compress']['seconds']:.0f} s",
        f"{calibrated['compress']['peak_memory_bytes'] / 1e9:.1f} GB",
    ]
    seconds = [*plain["decompress"]["seconds"], *calibrated["decompress"]["seconds"]]
    stated.append(f"{min(seconds):.1f} to {max(seconds):.1f} s")
    assert max(seconds) < 2
    text = " ".join(PAGE.read_text().split())
    assert [number for number in stated if number not in text] == []


def test_the_page_states_the_measured_vendored_files() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "vendored.json").read_text())
    files = results["files"]
    package = files.pop("package")
    rows = {
        name: f"| `{name}` | {row['bytes']:,.0f} | {row['decompress_seconds']:.3f} s |"
        + (f" {row['compress_seconds']:.2f} s |" if "compress_seconds" in row else "  |")
        for name, row in files.items()
    }
    for name, row in files.items():
        assert "--pure" in name or row["decompress_seconds"] <= 1.1 * package["decompress_seconds"]
    assert round(files["compress"]["compress_seconds"] / package["compress_seconds"]) == 6
    assert "take it six times as long" in PAGE.read_text()
    assert files["decompress --compressed"]["bytes"] <= 9_000 and files["compress --compressed"]["bytes"] <= 22_000
    stated = [*rows.values(), f"{package['decompress_seconds']:.3f} s | {package['compress_seconds']:.2f} s |"]
    pure = min(row["large_seconds"] for row in files.values() if "large_seconds" in row)
    stated.append(f"takes {pure:.1f} s for the 36 M values")
    stated.append(f"the package takes {package['large_seconds']:.1f} s")
    text = PAGE.read_text()
    assert [line for line in stated if line not in text] == []


def test_the_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    shutil.copy(ROOT / "tests" / "train_gpt.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])  # the vendored files add to it
    for name in ("codec", "compressor"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    names = runpy.run_path("train_gpt.py")
    blocks = re.findall(r"^```(python|shell)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [language for language, _ in blocks] == ["python"] * 4 + ["shell", "shell", "python"]
    for language, block in blocks:
        if language == "python":
            exec(compile(block, str(PAGE), "exec"), names)
        else:
            for line in block.splitlines():
                run_line(line, capsys)
    assert 36_000 * 0.999 < len(names["data"]) <= 36_000
    before, calibrated, uncalibrated = (names[name] for name in ("before", "calibrated", "uncalibrated"))
    assert calibrated - before < 0.5 * (uncalibrated - before)
