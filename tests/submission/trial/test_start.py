"""The clean process: what it finds, what it is seen opening, and what the audit says of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from golfpipe.cli.app import main
from golfpipe.errors import ArtifactError, StageFailed, UsageError
from golfpipe.loading.lineage import trace
from golfpipe.submission.trial.start import execute
from golfpipe.submission.trial.strace_log import parse_strace, strace_command

ROOT = Path(__file__).resolve().parents[3]
HAS_STRACE = strace_command(Path("/dev/null")) is not None


def child_with(build: str) -> list[str]:
    paths = [str(ROOT), str(ROOT / "tests" / "submission" / "trial")]
    code = (
        f"import sys; sys.path[:0] = {paths}; import cheats;"
        f" from golfpipe.submission.trial.process import main; main({build})"
    )
    return [sys.executable, "-I", "-c", code]


def test_the_audit_executes_and_every_rule_that_needs_it_passes(chain, evaluation, capsys):
    assert main(["audit", str(evaluation.path), "--execute", "--threads", "1", "--device", "cpu", "--json", "-q"]) == 0
    answer = json.loads(capsys.readouterr().out)
    rules = {rule["number"]: rule for rule in answer["rules"]}
    assert {number: rules[number]["status"] for number in (3, 4, 5, 6, 10)} == dict.fromkeys((3, 4, 5, 6, 10), "pass")
    assert "a counter of exactly 1" in rules[3]["evidence"]
    assert "at 8 cuts, all 4,189 scores of 1,000 targets stay" in rules[4]["evidence"]
    assert "the recorded scores of the first 2 documents come out again" in rules[4]["evidence"]
    assert "Executed, watched by strace" in rules[10]["evidence"] or not HAS_STRACE
    assert any("Context crosses document boundaries" in note for note in answer["notes"])


@pytest.mark.parametrize(
    "use_strace", [pytest.param(True, marks=pytest.mark.skipif(not HAS_STRACE, reason="no strace")), False]
)
def test_forbidden_files_and_sockets_are_seen(chain, evaluation, use_strace):
    answers = chain.data.path.parent / "answers.json"
    answers.write_text("{}")
    found = execute(
        trace(evaluation), device="cpu", threads=1, program=child_with("cheats.opens_things"), use_strace=use_strace
    )
    assert found.opened.watcher == ("strace" if use_strace else "audit hook")
    names = {Path(path).name for path in found.opened.files}
    assert "answers.json" in names and any("train_" in name for name in names)
    assert found.opened.sockets
    assert ("AF_INET" in found.opened.sockets) == use_strace
    if not use_strace:  # what a new process opens would stay unseen
        assert any("starts a process" in line for line in found.opened.sockets)
    assert found.opened.allowed_files == 2  # the validation shard and its manifest
    assert (found.method, found.cuts.changed, found.sums.one) == ("uniform", 0, True)


def test_scores_of_other_weights_than_the_packed_ones_are_noticed(chain, evaluation, monkeypatch):
    other = chain.run("evaluate", "a/evaluate-train", inherit=chain.trained, model=chain.trained, data=chain.data)
    lineage = replace(trace(evaluation), evaluation=other)
    found = _result_of(
        monkeypatch, lineage, document_nats=evaluation.read_tensors("documents.safetensors")["nats"].tolist()
    )
    assert found.reproduced.documents > 2 and not found.reproduced.same
    right = _result_of(
        monkeypatch, trace(evaluation), document_nats=evaluation.read_tensors("documents.safetensors")["nats"].tolist()
    )
    assert right.reproduced.same


def _result_of(monkeypatch, lineage, *, document_nats):
    """What `execute` makes of a process that ended with these scores."""
    empty = {"files": [], "sockets": [], "method": "sliding", "adapts": False, "seconds": 1.0}
    parts = {
        "cuts": {
            "cuts": 8,
            "targets": 1000,
            "compared": 4189,
            "changed": 0,
            "largest_change_nats": 0.0,
            "repeat_change_nats": 0.0,
        },
        "count": {"targets": 1025, "with_score": 1025, "scores_made": 1025, "nats_made": 1.0, "nats_kept": 1.0},
        "sums": {
            "swapped_sum": 1.0,
            "swapped_tokens": 384,
            "vocab_size": 384,
            "positions": 0,
            "largest_deviation": 0.0,
        },
        "bytes": {"documents": 1, "wrong_documents": 0, "table_bytes": 1, "decoded_bytes": 1},
    }
    monkeypatch.setattr(
        "golfpipe.submission.trial.start._run",
        lambda command, request, scratch: empty | parts | {"document_nats": document_nats},
    )
    return execute(lineage, use_strace=False)


def test_a_process_that_fails_says_why(chain, evaluation):
    program = [sys.executable, "-I", "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(StageFailed, match="ended with 1: no such thing"):
        execute(trace(evaluation), program=program, use_strace=False)


def test_what_is_not_packed_or_has_no_data_is_refused(chain, evaluation):
    with pytest.raises(UsageError, match="no packed model"):
        execute(trace(chain.trained))
    with pytest.raises(ArtifactError, match="not found near by"):
        execute(replace(trace(evaluation), data=None))
    assert main(["audit", str(chain.trained.path), "--execute", "-q"]) == 2


def test_strace_lines():
    lines = [
        'openat(AT_FDCWD</work>, "data/x.bin", O_RDONLY) = 3</work/data/x.bin>',
        '12 openat(5</work/data>, "y\\303\\251.bin", O_RDONLY|O_CLOEXEC) = 4</work/data/y.bin>',
        'openat(AT_FDCWD, "/missing", O_RDONLY) = -1 ENOENT (No such file or directory)',
        'open("/etc/hosts", O_RDONLY) = 7',
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 8",
        "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 9",
        "[pid 3] <... openat resumed>) = 9",
    ]
    traced = parse_strace(lines, "/work")
    assert traced.files == ("/work/data/x.bin", "/work/data/y\u00e9.bin", "/etc/hosts")
    assert traced.sockets == ("AF_INET",)
