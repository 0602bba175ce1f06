"""Artifacts appear whole or not at all, and readers notice every change."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from fake_stages import make_artifact

from golfpipe.errors import ArtifactError, StageFailed, UsageError
from golfpipe.store.artifact import Artifact, open_artifact, try_open
from golfpipe.store.artifact_writer import ArtifactWriter, begin, finish, finish_interrupted
from golfpipe.store.files import old_folder, partial_folder, recover, write_file
from golfpipe.store.lock import output_lock
from golfpipe.store.manifest import FileEntry, InputRef, Manifest, Result, is_plain_name, parse_manifest, timeless
from golfpipe.store.search import find_all, find_artifact


def test_written_artifact_reads_back(tmp_path: Path) -> None:
    made = make_artifact(tmp_path / "a", "evaluation", metrics={"val_bpb": 1.5})
    opened = open_artifact(tmp_path / "a", "evaluation")
    assert opened.manifest == made.manifest
    assert opened.read("content.txt") == b"content"
    assert opened.file("content.txt").read_bytes() == b"content"
    assert not partial_folder(tmp_path / "a").exists()


def test_manifest_is_the_last_file_and_a_failure_keeps_the_old_artifact(tmp_path: Path) -> None:
    old = make_artifact(tmp_path / "a", "evaluation", metrics={"val_bpb": 1.0})
    writer = begin(tmp_path / "a")
    writer.write("content.txt", b"half done")
    assert open_artifact(tmp_path / "a").manifest == old.manifest
    assert not (writer.folder / "manifest.json").exists()


def test_digest_ignores_times_side_files_and_paths(tmp_path: Path) -> None:
    def build(name: str, seconds: float, log: bytes) -> str:
        writer = begin(tmp_path / name)
        writer.write("x", b"same")
        writer.write("log", log, content=False)
        result = Result(kind="evaluation", metrics={"val_bpb": 1.0, "eval_seconds": seconds, "step_avg_ms": seconds})
        return finish(
            writer, tmp_path / name, result, stage="s", key="k", config={}, inputs=(), provenance={"host": name}
        ).digest

    assert build("a", 1.0, b"one") == build("b", 2.0, b"two")
    assert timeless({"seconds": 1, "n": {"x_seconds": 2, "y": 3}}) == {"n": {"y": 3}}


@pytest.mark.parametrize("change", [b"contenT", b"conten", b"content!"])
def test_altered_files_are_refused(tmp_path: Path, change: bytes) -> None:
    artifact = make_artifact(tmp_path / "a", "evaluation")
    (tmp_path / "a" / "content.txt").write_bytes(change)
    for read in (artifact.read, artifact.file):
        with pytest.raises(ArtifactError, match=r"content\.txt"):
            read("content.txt")


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a", "evaluation")
    (tmp_path / "elsewhere").write_bytes(b"content")
    (tmp_path / "a" / "content.txt").unlink()
    (tmp_path / "a" / "content.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="plain file"):
        artifact.read("content.txt")


def _edited(path: Path, change: dict[str, object]) -> bytes:
    raw = json.loads((path / "manifest.json").read_bytes())
    return json.dumps(raw | change).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"kind": "model"},
        {"schema": "1"},
        {"schema": 1},
        {"schema": 3},
        {"config": {"train": {"max_steps": 7}}},
        {"provenance": {"host": "elsewhere"}},
        {"checksum": None},
        {"kind_version": 9},
        {"metrics": {"val_bpb": 0.5}},
        {"digest": "0" * 64},
        {"files": {"../outside": {"sha256": "0" * 64, "bytes": 1, "content": True}}},
        {"files": {"/etc/passwd": {"sha256": "0" * 64, "bytes": 1, "content": True}}},
        {"files": {"content.txt": {"sha256": "0" * 64, "bytes": -1, "content": True}}},
        {"inputs": [{"role": "model"}]},
        {"model": []},
    ],
)
def test_edited_manifests_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    make_artifact(tmp_path / "a", "evaluation", metrics={"val_bpb": 1.0})
    (tmp_path / "a" / "manifest.json").write_bytes(_edited(tmp_path / "a", change))
    with pytest.raises(ArtifactError) as caught:
        open_artifact(tmp_path / "a")
    assert "manifest.json" in caught.value.message
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"x"', b"null", b'{"schema":1,"schema":1}', b'{"schema":NaN}', b"[" * 100_000, b"\xff\xfe"],
)
def test_broken_manifests_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        parse_manifest(content, "manifest.json")


def test_paths_that_are_no_artifacts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    partial_folder(tmp_path / "unfinished").mkdir()
    make_artifact(tmp_path / "a", "evaluation")
    for name, error in [
        ("nowhere", UsageError),
        ("file", UsageError),
        ("empty", ArtifactError),
        ("unfinished", ArtifactError),
    ]:
        with pytest.raises(error, match=name):
            open_artifact(tmp_path / name)
        assert try_open(tmp_path / name) is None
    with pytest.raises(ArtifactError, match="kind evaluation, expected trained_model or packed_model"):
        open_artifact(tmp_path / "a", "trained_model", "packed_model")


@pytest.mark.parametrize("name", ["", ".", "..", "a/../b", "/a", "a//b", "a/", "./a", "a\\b"])
def test_names_that_leave_the_folder(name: str) -> None:
    assert not is_plain_name(name)


def test_nested_plain_names() -> None:
    assert is_plain_name("records/track/x.json")


@pytest.mark.parametrize("setup", ["file", "folder", "link"])
def test_other_peoples_files_are_never_replaced(tmp_path: Path, setup: str) -> None:
    out = tmp_path / "out"
    if setup == "file":
        out.write_text("mine")
    elif setup == "folder":
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    else:
        (tmp_path / "target").mkdir()
        out.symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match="out"):
        begin(out)
    assert out.exists()


def test_a_crash_between_the_renames_is_undone(tmp_path: Path) -> None:
    out = tmp_path / "a"
    made = make_artifact(out, "evaluation")
    os.replace(out, old_folder(out))
    assert open_artifact(out).manifest == made.manifest  # a reader undoes it
    os.replace(out, old_folder(out))
    make_artifact(out, "evaluation", metrics={"val_bpb": 2.0})
    old_folder(out).mkdir()
    recover(out)
    assert not old_folder(out).exists()


def test_what_was_complete_is_put_in_place(tmp_path: Path) -> None:
    out = tmp_path / "a"
    make_artifact(out, "evaluation", key="old")
    made = make_artifact(tmp_path / "b", "evaluation", key="new")
    os.replace(made.path, partial_folder(out))
    (partial_folder(out) / "checkpoint").write_bytes(b"of the work")
    (partial_folder(out) / ".x.tmp").write_bytes(b"half")
    assert finish_interrupted(out, "other", partial_folder(out)) is None
    assert finish_interrupted(out, "new", partial_folder(out)) == made.manifest
    assert sorted(path.name for path in out.iterdir()) == ["content.txt", "manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_was_complete_and_is_damaged_is_not(tmp_path: Path) -> None:
    out = tmp_path / "a"
    os.replace(make_artifact(tmp_path / "b", "evaluation", key="new").path, partial_folder(out))
    (partial_folder(out) / "content.txt").write_bytes(b"CONTENT")
    assert finish_interrupted(out, "new", partial_folder(out)) is None
    begin(out, keep_partial=True)
    assert not (partial_folder(out) / "manifest.json").exists()


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = tmp_path / "a", os.replace
    old = make_artifact(out, "evaluation", key="old")

    def fail(source: Path, target: Path) -> None:
        if Path(target) == out and Path(source) == partial_folder(out):
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StageFailed, match=r"a: cannot be written: Input/output error"):
        make_artifact(out, "evaluation", key="new")
    assert out.is_dir() and open_artifact(out).manifest == old.manifest


def test_a_reader_does_not_disturb_a_replacement_in_progress(tmp_path: Path) -> None:
    out = tmp_path / "a"
    make_artifact(out, "evaluation")
    with output_lock(out):
        os.replace(out, old_folder(out))
        assert try_open(out) is None
        assert old_folder(out).exists()


def test_full_disk_says_what_was_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    write_file(target, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StageFailed, match="1,000 B were needed"):
        write_file(target, bytes(1000))
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_token_data_may_point_to_a_folder(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "train_000000.bin").write_bytes(b"tokens")
    (shards / "notes.txt").write_text("not listed")
    writer = begin(tmp_path / "a")
    writer.write("sp.model", b"tokenizer")
    result = Result(kind="token_data", metrics={}, location=str(shards), files=("train_000000.bin", "sp.model"))
    manifest = finish(writer, tmp_path / "a", result, stage="s", key="k", config={}, inputs=(), provenance={})
    artifact = Artifact(tmp_path / "a", manifest)
    assert sorted(manifest.files) == ["sp.model", "train_000000.bin"]
    assert artifact.read("train_000000.bin") == b"tokens"
    assert artifact.read("sp.model") == b"tokenizer"


def test_finding_by_digest_after_a_move(tmp_path: Path) -> None:
    model = make_artifact(tmp_path / "runs" / "a" / "train", "trained_model")
    reference = model.reference("model")
    (tmp_path / "runs" / "a").rename(tmp_path / "runs" / "b")
    near = tmp_path / "runs" / "b" / "quantize"
    assert find_artifact(reference, near).path.name == "train"
    assert [artifact.manifest.kind for artifact in find_all(tmp_path)] == ["trained_model"]
    with pytest.raises(ArtifactError, match="neither at"):
        find_artifact(InputRef(role="model", kind="trained_model", digest="0" * 64, path="/nowhere"), near)


def test_writer_refuses_names_outside(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        ArtifactWriter(tmp_path).path("../x")


def test_manifest_json_is_canonical() -> None:
    manifest = Manifest(
        schema=2, kind="evaluation", kind_version=1, stage="s", key="k", digest="d", config={"b": 1, "a": 2}, inputs=(),
        files={"x": FileEntry(sha256="0", bytes=1, content=True)}, model=None, metrics={}, provenance={},
    )  # fmt: skip
    assert manifest.to_json().startswith(b'{"checksum":null,"config":{"a":2,"b":1},"digest":"d",')
