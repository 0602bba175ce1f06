"""Paths and locales that few people have stop nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeRun

from golfpipe.cli.app import main
from golfpipe.store.recorded_path import recorded_path
from reliability.forged_fields import fill

ROOT = Path(__file__).resolve().parents[2]


def test_a_working_folder_that_is_not_utf8(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = tmp_path / "w\udcfc"
    try:
        shutil.copytree(finished_runs, folder)
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    monkeypatch.chdir(folder)
    here = str(folder / "artifacts")
    for words in (
        ["data", "tokenize", "my-texts", "-o", f"{here}/data/y"],
        ["train", f"{here}/data/y", "--preset", "demo", "-o", f"{here}/b/train", "--threads", "1"],
        ["quantize", "artifacts/b/train"],
        ["pack", f"{here}/b/quantize"],
        ["evaluate", f"{here}/b/pack"],
        ["status", "artifacts/b"],
        ["report", f"{here}/b"],
        ["report", f"{here}/b", "--markdown"],
        ["submit", f"{here}/b/evaluate-pack"],
        ["audit", f"{here}/b/submit"],
        ["generate", f"{here}/b/pack", "--prompt", "g\udcfc", "--tokens", "2"],
    ):
        assert main(words) == 0, words
    assert b"no such artifact" not in capfdbinary.readouterr().out
    manifest = json.loads((folder / "artifacts/b/train/manifest.json").read_text())
    assert recorded_path(manifest["inputs"][0]["path"]) == folder / "artifacts/data/y"
    assert main(["quantize", f"{here}/b/train", "-q"]) == 0
    assert capfdbinary.readouterr().out == os.fsencode(f"{here}/b/quantize\n")


def test_an_ascii_locale_and_a_path_with_umlauts(finished_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_runs, tmp_path / "w")
    (tmp_path / "w" / "artifacts" / "a").rename(tmp_path / "w" / "artifacts" / "r\u00fcn")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    script = (
        "set -e; $GOLFPIPE status artifacts/r\u00fcn; $GOLFPIPE report artifacts/r\u00fcn;"
        " $GOLFPIPE evaluate artifacts/r\u00fcn/quantize --set evaluate.max_targets=100 -q"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path / "w",
        env=os.environ | ascii_only | {"GOLFPIPE": f"{sys.executable} -m golfpipe"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("artifacts/r\u00fcn/evaluate-quantize\n".encode())
    manifest = json.loads((tmp_path / "w/artifacts/r\u00fcn/evaluate-quantize/manifest.json").read_text())
    assert manifest["inputs"][0]["path"].endswith("artifacts/r\u00fcn/quantize")


@pytest.mark.parametrize("path", ["/nowhere/" + "a" * 256, "a\0b", "/" * 5000, "\ud800", "\uef80", "/proc/1/root/x"])
def test_an_input_path_that_no_system_has(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    run = FakeRun(tmp_path / "a", adapted=False).build().folder
    fill(run, ("manifest.json", ("inputs", "*", "path")), path)
    for words in (["status", run], ["report", run], ["audit", run / "evaluate-pack"], ["clean", run]):
        code = main(list(map(str, words)))
        said = capsys.readouterr()
        assert "bug" not in said.err
        assert code == 0 or path == "\ud800", said.err


@pytest.mark.parametrize("path", ["a" * 256, "a" * 256 + "/b", "b/" * 3000])
def test_a_given_path_that_is_too_long(capsys: pytest.CaptureFixture[str], path: str) -> None:
    for words in (["quantize", path], ["status", path], ["audit", path], ["evaluate", path], ["report", path]):
        assert main(words) in (1, 2)
        said = capsys.readouterr().err
        assert "File name too long" in said and "bug" not in said and "writable" not in said


def test_what_may_not_be_entered_beside_a_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = FakeRun(tmp_path / "a", adapted=False).build().folder
    (run / "theirs").mkdir()
    real = Path.lstat

    def lstat(self: Path) -> Any:
        if "theirs" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "lstat", lstat)
    assert main(["status", str(run)]) == 0


@pytest.mark.parametrize("seed", ["-1", "123456789012345678901", "9" * 5000])
def test_seeds_beyond_64_bits(capsys: pytest.CaptureFixture[str], seed: str) -> None:
    for words in (
        ["config", "show", "--seed", seed],
        ["config", "show", "--set", f"seed={seed}"],
        ["generate", "x", "--seed", seed],
    ):
        assert main(words) == 2
        assert "bug" not in capsys.readouterr().err
    assert main(["config", "show", "--seed", str(2**63 - 1), "-q"]) == 0
