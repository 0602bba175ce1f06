"""The last screen of a run: 80 x 24, one next command."""

import html
import shlex
from pathlib import Path

import pytest

from golfpipe.cli.app import main
from golfpipe.cli.ending import ending, worth_table
from golfpipe.report.verdict import Numbers, Verdict
from golfpipe.submission.rules import RuleResult, Status

STEPS = ["step      val_loss   val_bpb      bytes  seconds  scored in"] + [
    f"{name:<8}  3.270911  1.761509    993,576      0.1        1.8  up to date"
    for name in ("data", "train", "quantize", "pack", "ttt*", "submit", "* not eligible")
]
NUMBERS = Numbers(
    form="after test-time training",
    val_bpb=1.761509,
    unquantized_bpb=1.761138,
    baselines={"xz -9": 2.5204},
    total_bytes=647_369,
    limit_bytes=16_000_000,
    unquantized_bytes=3_315_576,
)
NEXT = "golfpipe sweep artifacts/demo/train --grid quantize.target_bytes=301e3,451e3"
RECORDS = Path("artifacts/demo/submit/records/track_non_record_16mb/2026-11-30_demo")
WRONG = "The squared error of the weights is 59% of their squares, and quantizing costs 1.6 bits per byte. Bearable."


def told(*wrong: str) -> Verdict:
    return Verdict(good=(), wrong=wrong, command=NEXT, purpose="shows how small it can be")


def rules(*statuses: Status) -> list[RuleResult]:
    return [
        RuleResult(number=number, name=f"rule {number}", status=status, evidence=f"evidence {number}")
        for number, status in enumerate(statuses, 1)
    ]


@pytest.mark.parametrize("wrong", [(), (WRONG,), (WRONG, WRONG)])
def test_it_fits_the_terminal_and_ends_with_the_one_command(wrong, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = ending(STEPS, NUMBERS, told(*wrong), rules(*["pass"] * 6, *["not checked"] * 5), RECORDS, Path("r.html"))
    assert len(found) <= 23  # and the prompt below
    assert all(len(line) <= 80 for line in found if str(RECORDS) not in line)  # a path is never cut
    assert found[-1] == NEXT and "how small it can be" in found[-2]
    assert sum("golfpipe " in line for line in found) == 1
    assert ("1 more" in " ".join(found)) == (len(wrong) == 2)
    assert any("Nothing looks wrong" in line for line in found) == (not wrong)


def test_the_rules_are_counted_and_the_first_that_is_broken_is_told():
    statuses = ["pass", "fail", "not checked", "not applicable", "fail", "pass", "pass"]
    found = ending([], None, None, rules(*statuses), None, None)
    assert "rules     3 hold, 1 not checked, 2 broken: 2. evidence 2" in found


def test_the_worth_is_beside_xz_and_the_unquantized_model():
    header, *rows = worth_table(NUMBERS)
    assert "bits per byte" in header
    assert [row.split("  ")[0] for row in rows] == ["after test-time training", "unquantized", "xz -9"]
    assert "1.761509" in rows[0] and "647,369" in rows[0] and "16,000,000" in rows[0]
    assert "1.761138" in rows[1] and "3,315,576" in rows[1] and "2.520400" in rows[2]


def test_what_is_not_known_is_left_out():
    assert worth_table(Numbers()) == []
    assert len(worth_table(Numbers(unquantized_bytes=5))) == 2
    assert ending(["x"], None, None, [], None, None) == ["x", "", "report    not made"]


def test_a_real_run_ends_on_one_screen_and_its_next_command_works(run_folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["run", "--name", "demo", "--threads", "1"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "" and len(lines[1:]) <= 23, captured.out  # and the prompt below
    assert all(len(line) <= 80 or "records" in line for line in lines[:-1])
    assert any(line.startswith("ttt*") for line in lines)
    assert [line for line in lines if line.startswith("golfpipe ")] == lines[-1:]
    warnings = [line for line in captured.err.splitlines() if "warning" in line]
    assert all("the whole validation split is scored" in line for line in warnings)  # these settings score a part
    assert main([*shlex.split(lines[-1])[1:], "--threads", "1", "-q"]) == 0
    assert lines[-1] in html.unescape(Path("artifacts/demo/report.html").read_text())
