"""Folders that other people wrote: spellings, placeholders, missing and hostile files. Never an error, never run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from golfpipe.submission.folder_fields import Fields, normal_track, seed_entries
from golfpipe.submission.read_records import read_folder, record_scores
from golfpipe.submission.script_kind import look_at_script

from golfpipe.cli.app import main
from golfpipe.review.audit import audit_path
from golfpipe.submission.train_log import read_log

LOG = """seed: {seed}
val_loader:shards pattern=./data/fineweb_val_*.bin tokens:62021632
step:7395/20000 val_loss:2.0641 val_bpb:1.2225 train_time:599035ms step_avg:81.14ms
stopping_early: wallclock_cap train_time:599035ms step:7395/20000
Serialized model: 67236226 bytes
Code size: {code} bytes
Total submission size: 67285845 bytes
Serialized model int8+zlib: 15815816 bytes (payload:17189152 raw_torch:17234444 payload_ratio:3.91x)
Total submission size int8+zlib: {total} bytes
final_int8_zlib_roundtrip val_loss:{loss:.4f} val_bpb:{bpb:.4f} eval_time:2544ms
final_int8_zlib_roundtrip_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}
"""
RECORD = {
    "author": "A", "github_id": "a", "name": "N", "blurb": "b", "date": "2026-03-18T00:05:35Z", "val_loss": 2.07374725,
    "val_bpb": 1.22818993, "bytes_total": 15_815_916, "bytes_code": 100,
}  # fmt: skip


def folder(
    path: Path, record: object = RECORD, *, script: bytes | None = b"x" * 100, logs: dict[str, str] | None = None
) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "README.md").write_text("text")
    content = record if isinstance(record, bytes) else json.dumps(record).encode()
    (path / "submission.json").write_bytes(content)
    if script is not None:
        (path / "train_gpt.py").write_bytes(script)
    own = {"train.log": LOG.format(seed=1337, code=100, total=15_815_916, loss=2.07374725, bpb=1.22818993)}
    for name, text in (own if logs is None else logs).items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    return path


def rules(path: Path) -> dict[int, str]:
    return {rule.number: rule.status for rule in audit_path(path).rules}


def evidence(path: Path, number: int) -> str:
    return audit_path(path).rules[number - 1].evidence


def test_a_plain_folder_of_the_challenge_adds_up(tmp_path):
    path = folder(tmp_path / "track_10min_16mb" / "2026-03-18_N")
    report = audit_path(path)
    status = rules(path)
    assert [number for number, value in status.items() if value == "fail"] == []
    assert [status[number] for number in (1, 2, 7, 9, 11)] == ["pass", "pass", "pass", "not checked", "pass"]
    assert report.track == "10min_16mb"
    assert (report.totals.total_bytes, report.totals.code_bytes) == (15_815_916, 100)
    assert "1 seed; 3 are usual" in report.notes


def test_the_last_total_line_counts(tmp_path):
    assert read_log(LOG.format(seed=1, code=5, total=15_000_000, loss=2, bpb=1)).total_bytes == 15_000_000
    path = folder(tmp_path / "a", {**RECORD, "bytes_total": 67_285_845})
    assert "67285845 bytes, the log says 15815916" in evidence(path, 9)


@pytest.mark.parametrize(
    ("record", "entries"),
    [
        ({"seed_results": {"42": {"val_bpb": 1.1}, "7": {"val_bpb": 1.2}}}, {"42": 1.1, "7": 1.2}),
        ({"seed_results": {"seed_42": {"val_bpb": 1.1}}}, {"42": 1.1}),
        ({"seed_results": {"42": 1.1}}, {"42": 1.1}),
        ({"seed_results": [{"seed": 42, "bpb": 1.1}]}, {"42": 1.1}),
        ({"seeds": {"42": {"val_bpb": "1.1"}}}, {"42": 1.1}),
        ({"seeds": [42, 7], "val_bpb_seeds": [1.1, 1.2]}, {"42": 1.1, "7": 1.2}),
        ({"seeds": [42], "seed_results": "see README"}, {}),
        ({"seed_results": {"mean": {"val_bpb": 1}, "note": [1]}}, {}),
    ],
)
def test_results_per_seed_have_many_forms(record, entries):
    assert {seed: Fields(entry).number("val_bpb") for seed, entry in seed_entries(record).items()} == entries


def test_three_seeds_with_logs_are_compared_each(tmp_path):
    entries = {
        str(seed): {
            "val_bpb": 1.2 + seed / 1e4,
            "val_loss": 2.0,
            "artifact_bytes": 15_900_000 + seed,
            "train_time_s": 590,
        }
        for seed in (1, 2, 3)
    }
    record = RECORD | {
        "val_bpb": 1.2002,
        "val_loss": 2.0,
        "bytes_total": 15_900_003,
        "seeds": [1, 2, 3],
        "seed_results": entries,
    }
    logs = {
        f"train_seed{n}.log": LOG.format(seed=n, code=100, total=15_900_000 + n, loss=2.0, bpb=1.2 + n / 1e4)
        for n in (1, 2, 3)
    }
    path = folder(tmp_path / "a", record, logs=logs)
    read = read_folder(path)
    assert (read.facts.log_differences, [run.seed for run in read.facts.runs]) == ((), [1, 2, 3])
    assert record_scores(path) == [1.2001, 1.2002, 1.2003]
    assert read.facts.runs[0].train_seconds == 590 and read.facts.runs[0].eval_seconds == 2.544
    record["seed_results"]["2"]["val_bpb"] = 1.19
    assert "seed 2: val_bpb 1.19000000, the log says 1.20020000" in evidence(folder(path, record, logs=logs), 9)
    (path / "train_seed3.log").unlink()
    record["seed_results"]["2"]["val_bpb"] = 1.2002
    assert read_folder(folder(path, record, logs={})).facts.log_differences is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"val_bpb": None}, "no field val_bpb"),
        (dict.fromkeys(RECORD), "no field author; no field github_id; no field name"),
        ({"val_bpb": "TBD"}, "val_bpb is 'TBD', expected a positive number"),
        ({"val_bpb": 0.0}, "val_bpb is 0.0, expected a positive number"),
        ({"val_bpb": True}, "val_bpb is True"),
        ({"val_loss": [2.0]}, "val_loss is a list"),
        ({"bytes_total": 15_863_068.5}, "bytes_total is 15863068.5, expected a number of bytes"),
        ({"bytes_total": -1}, "bytes_total is -1"),
        ({"bytes_total": 10**400}, "bytes_total is a huge number"),
        ({"author": 3}, "author is 3, expected text"),
        ({"date": "yesterday"}, "date is 'yesterday', expected YYYY-MM-DD"),
        ({"seeds": [1, 2], "seed_results": {"1": {"val_bpb": 1.2}}}, "seeds lists 2 seeds"),
    ],
)
def test_fields_that_are_missing_or_wrong_are_named(tmp_path, change, said):
    record = {key: value for key, value in (RECORD | change).items() if value is not None}
    path = folder(tmp_path / "a", record)
    assert rules(path)[11] == "fail"
    assert said in evidence(path, 11)


def test_other_spellings_are_read_and_noted(tmp_path):
    record = {
        "author_name": "A", "author_github": "a", "name": "N", "tagline": "b", "date": "2026-03-18",
        "val_bpb_mean": "1.22818993", "val_loss_mean": 2.07374725, "artifact_bytes": "15,815,916",
        "bytes_model_int8_zlib": 15_815_816, "code_bytes": 100, "track": "track_non-record-16mb",
        "wallclock_seconds": 599,
    }  # fmt: skip
    path = folder(tmp_path / "a", record)
    report = audit_path(path)
    assert report.track == "non_record_16mb"
    assert rules(path)[11] == "pass" and report.totals.total_bytes == 15_815_916
    assert any("bytes_total is called artifact_bytes" in note for note in report.notes)
    assert any("artifact_bytes is text, '15,815,916'" in note for note in report.notes)


def test_the_seeds_mean_the_sizes_and_the_script_must_agree(tmp_path):
    entries = {
        "1": {"val_bpb": 1.20, "artifact_bytes": 15_950_000},
        "2": {"val_bpb": 1.30, "artifact_bytes": 15_900_000},
    }
    path = folder(tmp_path / "a", RECORD | {"val_bpb": 1.21, "bytes_code": 90, "seed_results": entries}, logs={})
    found = read_folder(path).facts.log_differences
    assert found is not None and len(found) == 3
    assert "the mean of the seeds is 1.25000000" in found[0]
    assert "the largest seed has 15950000" in found[1]
    assert "bytes_code 90, train_gpt.py has 100" in found[2]


def test_missing_files_are_named(tmp_path):
    path = folder(tmp_path / "a", script=None, logs={})
    (path / "README.md").unlink()
    assert evidence(path, 11) == "train_gpt.py is missing; no README.md."
    assert any("no log" in note for note in audit_path(path).notes)
    assert rules(path)[9] == "not checked"


def test_over_the_caps(tmp_path):
    big = folder(tmp_path / "a", RECORD | {"bytes_total": 16_000_001, "bytes_model": 15_999_901}, logs={})
    assert rules(big)[1] == "fail"
    assert main(["audit", str(big), "-q"]) == 4
    slow = folder(tmp_path / "track_10min_16mb" / "b", RECORD | {"wallclock_seconds": 602}, logs={})
    assert rules(slow)[2] == "fail"
    assert main(["audit", str(slow), "-q"]) == 4


@pytest.mark.parametrize(
    ("code", "packing"),
    [
        (
            b"import lzma,base64\nexec(lzma.decompress(base64.b85decode(b'" + b"{Wp48S^xk9=GL" * 500 + b"')))\n",
            "lzma, base85",
        ),
        (b'import zlib as z, base64 as b\nexec(z.decompress(b.b64decode("' + b"eJzt" * 500 + b'")))\n', "zlib, base64"),
        (
            b"import brotli\nexec(brotli.decompress(open(__file__,'rb').read()[99:]))#" + bytes(range(256)) * 20,
            "brotli",
        ),
        (b"import zlib\n\ndef main():\n    return zlib.compress(b'')\n" * 90, None),
        (b"print('hello')\n", None),
        (b"", None),
        (b"\xff\xfe\x00" * 3000, None),
    ],
)
def test_scripts_that_extract_themselves_are_recognized_and_never_run(tmp_path, code, packing):
    path = tmp_path / "train_gpt.py"
    path.write_bytes(code)
    found = look_at_script(path)
    assert found is not None and (found.bytes, found.packing) == (len(code), packing)


def test_nothing_in_the_folder_is_executed(tmp_path):
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w')\n".encode()
    path = folder(tmp_path / "a", script=code)
    for name in ("conftest.py", "setup.py", "__init__.py", "sitecustomize.py"):
        (path / name).write_bytes(code)
    audit_path(path)
    assert main(["audit", str(path), "--execute", "-q"]) == 2
    assert not trap.exists()


HOSTILE = {
    "empty": b"",
    "no json": b'{"val_bpb": TODO}',
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "deep": b"[" * 100_000,
    "duplicate keys": b'{"val_bpb": 1, "val_bpb": 2}',
    "not utf-8": b"\xff\xfe\x80{}",
    "utf-16": json.dumps(RECORD).encode("utf-16"),
    "huge integer": b'{"val_bpb": 1' + b"0" * 6000 + b"}",
    "big integer": b'{"val_bpb": 1' + b"0" * 400 + b', "bytes_total": 1' + b"0" * 400 + b"}",
    "infinite": b'{"val_bpb": 1e999, "val_loss": -1e999}',
    "nan": b'{"val_bpb": NaN}',
    "odd seeds": json.dumps({"seed_results": {"-1": {}, "x": 3, "\u0663": {"val_bpb": 1}, "9" * 40: {}}}).encode(),
    "seeds in seeds": json.dumps({"seeds": [[1], {}], "seed_results": [1, None, {"seed": "a"}]}).encode(),
    "wrong everywhere": json.dumps(
        {key: {"a": [1]} for key in [*RECORD, "seeds", "seed_results", "track", "hardware"]}
    ).encode(),
    "false everywhere": json.dumps(
        dict.fromkeys([*RECORD, "seeds", "seed_results", "track", "hardware"], False)
    ).encode(),
    "escapes": json.dumps(
        RECORD | {"hardware": "\x1b[2J" * 50, "artifact_bytes_\x1b[31m": 5, "track": "\x07" * 99}
    ).encode(),
    "long text": json.dumps(RECORD | {"val_bpb": "9" * 100_000, "name": "\x1b[31m" * 5000}).encode(),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_records_are_reported(tmp_path, capsys, content):
    path = folder(tmp_path / "a", content)
    assert main(["audit", str(path)]) in (0, 4)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err and "\x1b" not in shown.out
    assert len(shown.out) < 20_000
    assert main(["audit", str(path), "--json", "-q"]) in (0, 4)
    json.loads(capsys.readouterr().out)
    assert main(["audit", str(path), "--strict", "-q"]) in (0, 4, 5)


@pytest.mark.parametrize(
    "text",
    [
        "val_loss:1.2.3 val_bpb:9.9.9\nTotal submission size: ,,,\nseed: 99999999999999999999999\n",
        "\n" * 2_000_000,
        "val_loss:" * 200_000,
        "val_loss: " + " " * 1_000_000,
        "1" * 1_000_000,
        "val_loader" * 100_000,
        "total submission size" * 50_000,
        "val_bpb:1e999 train_time:1.1.1ms eval_time:...s\n",
        "\x00\ud800".encode("utf-8", "replace").decode(),
    ],
)
def test_hostile_logs_are_read_quickly(tmp_path, text):
    folder(tmp_path / "a", logs={"train.log": text})
    read_folder(tmp_path / "a")


def test_odd_files_in_the_folder_do_no_harm(tmp_path):
    path = folder(tmp_path / "a")
    os.mkfifo(path / "train_fifo.log")
    (path / "loop").symlink_to(path)
    (path / "dangling.log").symlink_to(path / "nowhere")
    (path / "train_dir.log").mkdir()
    (path / "zero.log").symlink_to("/dev/zero")
    secret = path / "closed.log"
    secret.write_text("seed: 1")
    secret.chmod(0)
    assert audit_path(path).totals.total_bytes == 15_815_916
    (path / "train_gpt.py").unlink()
    (path / "train_gpt.py").symlink_to("/dev/zero")
    assert rules(path)[11] == "fail"


@pytest.mark.parametrize(
    ("text", "track"),
    [
        ("10min_16mb", "10min_16mb"),
        ("track_10min_16mb", "10min_16mb"),
        ("10min-16MB", "10min_16mb"),
        ("Non-record (unlimited)", "non_record_16mb"),
        ("something", "something"),
        (None, None),
    ],
)
def test_tracks_have_spellings(text, track):
    assert normal_track(text) == track
