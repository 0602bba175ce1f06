"""What strangers hand in ends in a finding or one clear line: never in an error, and never run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from records_folders import RECORD, SCRIPT, Case, log, write

from golfpipe.cli.app import main
from golfpipe.records.folder import read_folder
from golfpipe.records.log_lines import MOST_BYTES, read_log
from golfpipe.review.audit import audit_path

ESCAPES = "\x1b[2J\x07" * 40
HOSTILE = {
    "empty": b"",
    "no json": b'{"val_bpb": TODO}',
    "a list": b"[1, 2]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "duplicate keys": b'{"val_bpb": 1.1, "val_bpb": 1.2}',
    "not utf-8": b"\xff\xfe\x80{}",
    "utf-16": json.dumps(RECORD).encode("utf-16"),
    "huge integer": b'{"val_bpb": 1' + b"0" * 6000 + b"}",
    "big integers": b'{"val_bpb": 1' + b"0" * 400 + b', "bytes_total": 1' + b"0" * 400 + b"}",
    "infinite": b'{"val_bpb": 1e999, "val_loss": -1e999, "bytes_total": 1e99999999999}',
    "nan": b'{"val_bpb": NaN, "bytes_total": Infinity}',
    "odd seeds": json.dumps({"seed_results": {"-1": {}, "x": 3, "\u0663": {"val_bpb": 1}, "9" * 40: {}}}).encode(),
    "seeds in seeds": json.dumps({"seeds": [[1], {}], "seed_results": [1, None, {"seed": "a"}]}).encode(),
    "lists everywhere": json.dumps({key: {"a": [1]} for key in [*RECORD, "seeds", "results"]}).encode(),
    "false everywhere": json.dumps(dict.fromkeys([*RECORD, "seeds", "seed_results", "results"], False)).encode(),
    "nested seeds": json.dumps({"seeds": {"1": {"seeds": {"2": {"seeds": {"3": {"val_bpb": 1.1}}}}}}}).encode(),
    "escapes": json.dumps(RECORD | {"hardware": ESCAPES, f"artifact_bytes_{ESCAPES}": 5, "track": ESCAPES}).encode(),
    "escapes in seeds": json.dumps({"seed_results": {f"1_{ESCAPES}": {"val_bpb": 1.2, f"bpb_{ESCAPES}": 3}}}).encode(),
    "long text": json.dumps(RECORD | {"val_bpb": "9" * 100_000, "name": ESCAPES * 50}).encode(),
    "many keys": json.dumps(RECORD | {f"seed_{n}": {"val_bpb": 1.1} for n in range(3000)}).encode(),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = write(tmp_path, Case(None, {"submission.json": content, "train.log": log()}, {}))
    assert main(["audit", str(path)]) == 0
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err and "\x1b" not in shown.out and "\x07" not in shown.out
    assert main(["audit", str(path), "--json", "-q"]) == 0
    json.loads(capsys.readouterr().out)
    assert main(["audit", str(path), "--strict", "-q"]) in (0, 5)


@pytest.mark.parametrize(
    "text",
    [
        "val_loss:1.2.3 val_bpb:9.9.9\nTotal submission size: ,,,\nseed: 99999999999999999999999\n",
        "\n" * 2_000_000,
        "val_loss:" * 200_000,
        "val_bpb: " + " " * 1_000_000,
        "val_bpb:1.1 " * 200_000,
        "1" * 1_000_000,
        "val_loader" * 100_000,
        "Total submission size" * 50_000,
        "\r".join("val_bpb:1.1 elapsed=1s" for _ in range(100_000)),
        "val_bpb:1e999 train_time:1.1.1ms eval_time:...s\nstep:0/0 val_bpb:1.0 train_time:1ms\n",
        "seed:1\nval_bpb:1.1\n" * 20_000,
        "\x00\ud800\x1b]0;title\x07val_bpb".encode("utf-8", "replace").decode(),
    ],
)
def test_hostile_logs_are_read_quickly(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, Case(RECORD, {"train.log": text}, {}))
    start = time.process_time()
    audit_path(path)
    assert time.process_time() - start < 3


def test_a_huge_log_is_read_at_its_ends(tmp_path: Path) -> None:
    path = write(tmp_path, Case(RECORD, {"train.log": log()}, {}))
    with (path / "train.log").open("r+b") as stream:
        stream.truncate(5 * MOST_BYTES)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\nfinal_exact val_loss:2.3457 val_bpb:1.09310000\n")
    report = audit_path(path)
    assert report.rules[8].status == "pass" and report.totals.total_bytes is not None
    assert any("its beginning and its end are read" in note for note in report.notes)


def test_lines_of_a_dense_log_keep_their_numbers() -> None:
    text = "seed:5\n" + "step:1/2 val_loss:2.0 val_bpb:1.2 train_time:1ms\n" * 5000 + "final val_bpb:1.1000\n"
    (found,) = read_log(text.encode(), "a.log")
    assert found.seed == 5 and found.statements[-1].source == "a.log:5002"


def test_odd_files_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, Case(RECORD, {"train.log": log()}, {}))
    os.mkfifo(path / "train_fifo.log")
    (path / "loop").symlink_to(path)
    (path / "dangling.log").symlink_to(path / "nowhere")
    (path / "zero.log").symlink_to("/dev/zero")
    (path / "train_dir.log").mkdir()
    (path / "\x1b[31mred.log").write_text(log(99))
    report = audit_path(path)
    assert report.totals.total_bytes == RECORD["bytes_total"]
    (path / "train_gpt.py").unlink()
    (path / "train_gpt.py").symlink_to("/dev/zero")
    (path / "submission.json").unlink()
    (path / "submission.json").symlink_to("/dev/zero")
    report = audit_path(path)
    assert report.rules[10].status == "fail" and "\x1b" not in "".join(rule.evidence for rule in report.rules)


def test_nothing_is_executed(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w')\n".encode()
    files = dict.fromkeys(("conftest.py", "setup.py", "__init__.py", "sitecustomize.py"), code)
    path = write(tmp_path, Case(RECORD, {"train.log": log(), **files}, {}, code))
    audit_path(path)
    assert main(["audit", str(path), "--execute", "-q"]) == 2
    assert not trap.exists()


def test_no_rule_advises_what_is_refused(tmp_path: Path) -> None:
    report = audit_path(write(tmp_path, Case(RECORD, {"train.log": log()}, {})))
    assert not [rule for rule in report.rules if "--execute" in rule.evidence or rule.status == "not applicable"]
    assert [rule.number for rule in report.rules if rule.status == "not checked"] == [3, 4, 5, 6, 7, 8, 10]


def test_two_statements_name_both_sources(tmp_path: Path) -> None:
    path = write(tmp_path, Case(RECORD | {"bytes_total": 1_000_000}, {"train.log": log()}, {}))
    (said,) = read_folder(path).counting.differences
    assert said == "total_bytes 1,000,000 (submission.json: bytes_total), but 15,812,345 (train.log:6)"


def test_a_broken_artifact_is_no_records_folder(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    (tmp_path / "train.log").write_text(log())
    (tmp_path / "ema.safetensors").write_bytes(SCRIPT.encode())
    assert main(["audit", str(tmp_path), "-q"]) == 3
