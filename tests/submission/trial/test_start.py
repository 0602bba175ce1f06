"""The clean process: what it finds, what it is seen opening, and what the audit says of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golfpipe.cli.app import main
from golfpipe.errors import ArtifactError, StageFailed, UsageError
from golfpipe.loading.lineage import trace
from golfpipe.submission.trial.room import Room
from golfpipe.submission.trial.start import execute, execute_file
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


def quick_room(**more) -> Room:
    return Room(device="cpu", threads=1, **more)


def test_the_audit_executes_and_every_rule_that_needs_it_passes(chain, evaluation, capsys):
    assert main(["audit", str(evaluation.path), "--execute", "--threads", "1", "--device", "cpu", "--json", "-q"]) == 0
    answer = json.loads(capsys.readouterr().out)
    rules = {rule["number"]: rule for rule in answer["rules"]}
    assert {number: rules[number]["status"] for number in (3, 4, 5, 6, 10)} == dict.fromkeys((3, 4, 5, 6, 10), "pass")
    assert "a counter of exactly 1" in rules[3]["evidence"]
    assert re.search(r"Executed on 1,\d+ of 8,444 targets \(0\.13 of the split\)", rules[4]["evidence"])
    assert re.search(
        r"all [\d,]+ scores of 1,\d+ targets stay as they were, also in a process of", rules[4]["evidence"]
    )
    assert re.search(r"7\d\d stay without the text's last third", rules[4]["evidence"])
    assert "the recorded scores of the first 2 documents come out again" in rules[4]["evidence"]
    assert ", watched by strace" in rules[10]["evidence"] or not HAS_STRACE
    assert any("Context crosses document boundaries" in note for note in answer["notes"])


@pytest.mark.parametrize(
    "use_strace", [pytest.param(True, marks=pytest.mark.skipif(not HAS_STRACE, reason="no strace")), False]
)
def test_forbidden_files_and_sockets_are_seen(chain, evaluation, use_strace):
    answers = chain.data.path.parent / "answers.json"
    answers.write_text("{}")
    build = f"cheats.opens_things({str(answers)!r})"
    found = execute(trace(evaluation), room=quick_room(program=child_with(build), use_strace=use_strace))
    assert found.opened.watcher == ("strace" if use_strace else "audit hook")
    names = {Path(path).name for path in found.opened.files}
    assert "answers.json" in names and any("train_" in name for name in names)
    assert any(name.startswith("golfpipe-test-") for name in names) or not use_strace  # gone by now, which hides it
    assert found.opened.sockets
    assert ({"AF_INET", f"AF_UNIX {answers}.socket"} <= set(found.opened.sockets)) == use_strace
    if not use_strace:  # what a new process opens would stay unseen
        assert any("starts a process" in line for line in found.opened.sockets)
    assert found.opened.allowed_files == 2  # the validation shard and its manifest
    assert (found.method, found.cuts.changed, found.sums.one) == ("uniform", 0, True)


@pytest.mark.skipif(not HAS_STRACE, reason="no strace")
def test_processes_that_share_what_they_made_themselves_may(chain, evaluation):
    program = child_with("cheats.shares_with_its_own_processes")
    found = execute(trace(evaluation), room=quick_room(program=program))
    assert (found.opened.watcher, found.opened.sockets) == ("strace", ())
    assert not [path for path in found.opened.files if path.startswith("/dev/shm")]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no shared memory")
def test_a_temporary_folder_in_shared_memory_is_the_trials_own(chain, evaluation, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        assert execute(trace(evaluation), room=quick_room()).opened.files == ()


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
    empty = {
        "method": "sliding",
        "adapts": False,
        "ordered": False,
        "probabilities": None,
        "seconds": 1.0,
        "restart_cut": 5,
    }
    same = {"compared": 9, "changed": 0, "largest_change_nats": 0.0}
    parts = {
        "cuts": {
            "cuts": 8,
            "targets": 1000,
            "compared": 4189,
            "changed": 0,
            "largest_change_nats": 0.0,
            "repeat_change_nats": 0.0,
        },
        "shorter": same,
        "count": {
            "targets": 1025,
            "with_score": 1025,
            "scores_made": 1025,
            "scores_computed": 1025,
            "nats_made": 1.0,
            "nats_kept": 1.0,
        },
        "sums": {
            "swapped_sum": 1.0,
            "swapped_tokens": 384,
            "vocab_size": 384,
            "positions": 0,
            "largest_deviation": 0.0,
        },
        "probabilities": None,
        "bytes": {"documents": 1, "wrong_documents": 0, "table_bytes": 1, "decoded_bytes": 1},
    }

    def run(processes, name, request):
        np.save(processes.scratch / f"{name}.npy", np.zeros(9))
        return empty | parts | {"document_nats": document_nats}

    monkeypatch.setattr("golfpipe.submission.trial.room.CleanProcesses.run", run)
    return execute(lineage, room=Room(use_strace=False))


def test_a_process_that_fails_says_why(chain, evaluation):
    program = [sys.executable, "-I", "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(StageFailed, match="ended with 1: no such thing"):
        execute(trace(evaluation), room=Room(program=program, use_strace=False))


def test_what_the_user_gave_wrong_is_told_apart_from_what_failed(tmp_path, chain):
    scorer = tmp_path / "scorer.py"
    scorer.write_text("def scores(tokens): return 0")
    with pytest.raises(UsageError, match=r"expected a function score\(tokens, \.\.\.\), found None") as caught:
        execute_file(scorer, chain.data, room=Room(targets=64, use_strace=False))
    assert "--example" in caught.value.hint


def test_what_is_not_packed_or_has_no_data_is_refused(chain, evaluation):
    with pytest.raises(UsageError, match="no packed model"):
        execute(trace(chain.trained))
    with pytest.raises(ArtifactError, match="not found near by"):
        execute(replace(trace(evaluation), data=None))
    assert main(["audit", str(chain.trained.path), "--execute", "-q"]) == 2


STRACE = """
openat(AT_FDCWD</work>, "data/x.bin", O_RDONLY) = 3</work/data/x.bin>
12 openat(5</work/data>, "y\\303\\251.bin", O_RDONLY|O_CLOEXEC) = 4</work/data/y.bin>
12 openat(AT_FDCWD</moved>, "z.bin", O_RDONLY) = 4</moved/z.bin>
openat(AT_FDCWD, "/missing", O_RDONLY) = -1 ENOENT (No such file or directory)
open("/etc/hosts", O_RDONLY) = 7
[pid 3] <... openat resumed>) = 9
21 openat(AT_FDCWD</work>, "/a/one", O_RDONLY|O_CLOEXEC <unfinished ...>
22 openat(AT_FDCWD</work>, "/a/two", O_RDONLY <unfinished ...>
23 openat(AT_FDCWD</work>, "/a/none", O_RDONLY <unfinished ...>
22 <... openat resumed>)             = 4</a/two>
23 <... openat resumed>) = -1 ENOENT (No such file or directory)
21 <... openat resumed>) = 3</a/one>
21 openat(AT_FDCWD</work>, "/dev/shm/own", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</dev/shm/own>
21 openat(AT_FDCWD</work>, "/dev/shm/own", O_RDONLY) = 3</dev/shm/own>
21 openat(AT_FDCWD</work>, "/dev/shm/other", O_RDWR|O_CREAT, 0600) = 3</dev/shm/other>
21 link("/dev/shm/own", "/dev/shm/sem.own") = 0
22 openat(AT_FDCWD</work>, "/dev/shm/sem.own", O_RDWR|O_NOFOLLOW) = 3</dev/shm/sem.own>
21 linkat(AT_FDCWD</work>, "/answers", AT_FDCWD</work>, "mine", 0) = 0
21 link("/dev/shm/own", "/dev/shm/taken") = -1 EEXIST (File exists)
21 openat(AT_FDCWD</work>, "mine", O_RDONLY) = 3</work/mine>
21 openat(AT_FDCWD</work>, "/dev/shm/taken", O_RDWR) = 3</dev/shm/taken>
""".splitlines()


def test_strace_lines_tell_what_was_opened_also_where_threads_cut_them_in_two():
    assert parse_strace(STRACE, "/work").files == (
        "/work/data/x.bin", "/work/data/y\u00e9.bin", "/moved/z.bin", "/etc/hosts", "/a/two", "/a/one",
        "/dev/shm/other", "/work/mine", "/dev/shm/taken",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 8"], ("AF_INET",)),
        (["socket(AF_UNIX, SOCK_DGRAM, 0)          = 9<socket:[7]>"], ("AF_UNIX",)),
        (["socket(AF_UNIX, SOCK_STREAM, 0) = -1 EPERM (Operation not permitted)"], ()),
        (
            ["5 socket(AF_UNIX, SOCK_STREAM, 0 <unfinished ...>", "5 <... socket resumed>) = 9<socket:[7]>",
             '5 connect(9<socket:[7]>, {sa_family=AF_UNIX, sun_path="/tmp/answers"}, 110) = 0'],
            ("AF_UNIX /tmp/answers",),
        ),
        (
            ["socket(AF_UNIX, SOCK_STREAM, 0) = 9<socket:[7]>",
             'connect(9<socket:[7]>, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (x)'],
            (),
        ),
        (
            ["socket(AF_UNIX, SOCK_STREAM, 0) = 9<socket:[7]>",
             'bind(9<socket:[7]>, {sa_family=AF_UNIX, sun_path="/work/pymp-1/listener"}, 110) = 0',
             'connect(9<socket:[7]>, {sa_family=AF_UNIX, sun_path="/work/../answers"}, 110) = 0'],
            ("AF_UNIX /work/../answers",),
        ),
        (['sendto(9, "x", 1, 0, {sa_family=AF_UNIX, sun_path=@"hidden"}, 9) = 1'], ("AF_UNIX @hidden",)),
        (["io_uring_setup(8, {flags=0}) = 5<anon_inode:[io_uring]>"], ("io_uring_setup",)),
        (["io_uring_setup(8, {flags=0}) = -1 ENOSYS (Function not implemented)"], ()),
        (["open_by_handle_at(3</>, {handle_bytes=8}, O_RDONLY) = 4</secret>"], ("open_by_handle_at",)),
        (["shmat(5, NULL, 0) = 0x7f0000000000"], ("shmat",)),
    ],
)  # fmt: skip
def test_strace_lines_tell_of_sockets_and_other_ways(lines, found):
    assert parse_strace(lines, "/work").sockets == found


def test_a_clean_process_inherits_no_handle_and_one_that_does_is_told(tmp_path):
    code = "from golfpipe.submission.trial.watcher import inherited_handles; print(inherited_handles())"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    with (tmp_path / "answers").open("wb") as kept:
        for handles in ((), (kept.fileno(),)):
            told = subprocess.run(command, capture_output=True, text=True, pass_fds=handles, check=True).stdout
            assert ("answers" in told) == bool(handles) and (told == "[]\n") == (not handles)


def test_a_process_that_takes_too_long_is_stopped(chain, evaluation):
    started = time.monotonic()
    with pytest.raises(StageFailed, match=r"took more than 1\.5 s and was stopped") as caught:
        execute(
            trace(evaluation),
            room=Room(seconds=1.5, program=child_with("cheats.takes_for_ever"), use_strace=False),
        )
    assert "--seconds" in (caught.value.hint or "") and time.monotonic() - started < 60


def test_what_is_kept_from_the_whole_file_shows_in_another_process(chain, evaluation):
    found = execute(trace(evaluation), room=quick_room(program=child_with("cheats.keeps_it_in_a_module")))
    assert found.restarted.changed > 400 and found.restarted.largest_change_nats > 1e-3
    assert found.cuts.repeats and found.cuts.changed == 0  # one process alone does not show it


def test_the_trial_can_take_the_whole_split(chain, evaluation, capsys):
    quick = ["--threads", "1", "--device", "cpu", "--json", "-q"]
    assert main(["audit", str(evaluation.path), "--execute", "--targets", "all", *quick]) == 0
    rules = {rule["number"]: rule for rule in json.loads(capsys.readouterr().out)["rules"]}
    assert [rules[number]["status"] for number in (3, 4, 5, 6, 10)] == ["pass"] * 5
    assert "on the whole split" in rules[3]["evidence"]


@pytest.mark.parametrize("words", ["0", "-3", "many", "1e3", "9" * 20])
def test_a_length_that_is_none_is_refused(evaluation, capsys, words):
    assert main(["audit", str(evaluation.path), "--execute", f"--targets={words}", "-q"]) == 2
    assert "--targets" in capsys.readouterr().err
