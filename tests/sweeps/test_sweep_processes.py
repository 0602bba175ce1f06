"""A sweep in real processes: the same digests as the single commands, and nothing lost when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golfpipe.cli.app import main
from golfpipe.report.page import write_report
from golfpipe.store.artifact import Artifact, open_artifact

GRID = ["--grid", "quantize.mlp.bits=3,4", "--grid", "pack.coder=range,nibble", "--set", "evaluate.max_targets=500"]


def _finished(folder: Path) -> dict[str, int]:
    """Step -> when its manifest was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("cells/*/manifest.json")}


def _kill_midway(words: list[str], folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "golfpipe", *words], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(_finished(folder)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
def test_killed_and_run_again_it_redoes_at_most_what_was_in_flight(
    chain: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: Artifact = chain.trained  # type: ignore[attr-defined]
    words = ["sweep", str(trained.path), *GRID, "-o", str(tmp_path / "a" / "sweep"), "-j", "2"]
    folder = tmp_path / "a" / "sweep"
    _kill_midway(words, folder)
    time.sleep(1.5)  # workers whose parent was killed end by themselves
    before = _finished(folder)
    assert 3 <= len(before) < 11
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    after = _finished(folder)
    assert len(after) == 11
    assert {name: after[name] for name in before} == before
    rows = answer["cells"]
    assert all(row["state"] in ("done", "up to date") and row["val_bpb"] > 0 for row in rows)
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    _check_digests(rows[0], trained, tmp_path)
    _check_second_run(words, folder, capsys)
    page = write_report([folder], tmp_path / "page.html").read_text()  # of the run around the model, wherever -o was
    assert "<h2>Sweep</h2>" in page and "coder nibble" in page and "<h2>Stages</h2>" in page


def _check_digests(row: dict[str, object], trained: Artifact, tmp_path: Path) -> None:
    """Those of the single commands with the same number of threads."""
    quantized, single = str(tmp_path / "single" / "quantize"), str(tmp_path / "single" / "pack")
    assert main(["quantize", str(trained.path), "-o", quantized, "--set", "quantize.mlp.bits=3", "--threads", "1"]) == 0
    assert main(["pack", quantized, "-o", single, "--threads", "1"]) == 0
    in_sweep = open_artifact(Path(row["artifacts"]["pack"]))  # type: ignore[index]
    assert open_artifact(Path(single)).manifest.digest == in_sweep.manifest.digest


def _check_second_run(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {path: path.read_bytes() for path in folder.glob("*.*")}
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["up_to_date"] is True
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == files


def test_the_report_shows_the_sweep_beside_the_run(chain: object, tmp_path: Path) -> None:
    trained: Artifact = chain.trained  # type: ignore[attr-defined]
    run = tmp_path / "a"
    run.mkdir()
    (run / "train").symlink_to(trained.path)
    sweep = run / "sweep"
    sweep.mkdir()
    rows = [
        {"settings": {"quantize.mlp.bits": bits, "pack.coder": coder}, "state": "done", "val_bpb": 2.0 + 1 / bits,
         "total_bytes": 1000 * bits + 100 * (coder == "nibble"), "limit_bytes": 4500, "fits": bits < 4,
         "pareto": coder == "range", "unquantized_bpb": 2.2, "difference": 0.05, "low": 0.04, "high": 0.06,
         "knee": bits == 3 and coder == "range", "commands": [["golfpipe", "quantize", "a b"], ["rm", "x"]]}
        for bits in (3, 4) for coder in ("range", "nibble")
    ]  # fmt: skip
    rows.append({"settings": {"quantize.mlp.bits": 9}, "state": "failed", "error": "bits must <lie> in 2..8"})
    (sweep / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n")
    page = write_report([run], tmp_path / "page.html").read_text()
    assert "<h2>Sweep</h2>" in page
    assert "mlp.bits 3, coder range" in page
    assert "bits must &lt;lie&gt; in 2..8" in page
    assert "over the limit" in page
    assert "<pre><code>golfpipe quantize &#39;a b&#39;</code></pre>" in page
    assert "5 cells, 4 packed: 3,000 to 4,100 B" in page
    assert "<td>unquantized</td>" in page and "+0.0500 \u00b10.0100" in page and "yes, the knee" in page
