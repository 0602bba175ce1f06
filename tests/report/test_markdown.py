"""`report --markdown`: tables that hold, and nothing of a stranger's that becomes markup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import FakeRun

from golfpipe.cli.app import main
from golfpipe.codec.config import PackConfig
from golfpipe.report.markdown import markdown_report


def test_one_run(tmp_path: Path) -> None:
    FakeRun(tmp_path / "a").build()
    text = markdown_report([tmp_path / "a"])
    assert "**val_bpb: 2.6225** (packed file)" in text
    total = 40_000 + PackConfig().code_bytes_reserve
    assert f"{total:,} B, {16_000_000 - total:,} B left" in text
    assert "| evaluate-ttt, not eligible |" in text
    assert "`model.num_layers`" in text and "<details><summary>Rules" in text
    assert text.isascii() and text.endswith("\n")
    for block in text.split("\n\n"):
        if block.startswith("| "):
            lines = block.splitlines()
            assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_several_runs_show_where_they_differ_first(tmp_path: Path) -> None:
    FakeRun(tmp_path / "a").build()
    FakeRun(tmp_path / "b", overrides=("quantize.mlp.bits=3",)).build()
    text = markdown_report([tmp_path / "a", tmp_path / "b"])
    table = text[text.index("| setting |") :].splitlines()
    assert table[0] == "| setting | a | b | default |"
    assert table[2].startswith("| `quantize.mlp.bits` | 4 | 3 |")


def test_the_best_cells_of_a_sweep(tmp_path: Path) -> None:
    FakeRun(tmp_path / "a").build()
    (tmp_path / "a" / "sweep").mkdir()
    rows = [
        {"settings": {"pack.coder": coder}, "val_bpb": 2.5, "total_bytes": size, "pareto": coder == "range",
         "knee": coder == "range", "unquantized_bpb": 2.25, "difference": 0.25, "low": 0.24, "high": 0.26,
         "commands": [["golfpipe", "pack", "a|`b"]]}
        for coder, size in (("range", 900), ("nibble", 1000))
    ]  # fmt: skip
    (tmp_path / "a" / "sweep" / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = markdown_report([tmp_path / "a"])
    assert "Sweep: 2 cells, 2 packed: 900 to 1,000 B." in text and "Knee: coder range: the best itself" in text
    assert "* `golfpipe pack 'ab'`" in text and "the unquantized weights with 2.2500 bits/byte" in text
    assert "| coder range | 2.5000 | +0.2500 +-0.0100 | 900 |" in text and "nibble" not in text.split("Rules")[0]


def test_names_and_settings_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "a|b <i>*"
    FakeRun(folder).build()
    text = markdown_report([folder])
    assert text.startswith("### a\\|b \\<i\\>\\*\n") and "| setting | a\\|b \\<i\\>\\* | default |" in text


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FakeRun(tmp_path / "a").build()
    assert main(["report", str(tmp_path / "a"), "--markdown"]) == 0
    assert capsys.readouterr().out == markdown_report([tmp_path / "a"])
    assert main(["report", str(tmp_path / "a"), "--markdown", "-o", str(tmp_path / "x.md"), "-q"]) == 0
    assert (tmp_path / "x.md").read_text() == markdown_report([tmp_path / "a"])
    assert not (tmp_path / "a" / "report.html").exists()
