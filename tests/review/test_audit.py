"""The audit adds up, follows the chain, and notices what was altered."""

import json
import shutil
from pathlib import Path

import pytest
from fake_run import FakeRun, submit_job

from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.run import run_job
from golfpipe.model.config import parameter_count
from golfpipe.review.audit import audit_path
from golfpipe.submission.records_folder import records_folder

pytestmark = pytest.mark.usefixtures("quick_submissions")


@pytest.fixture
def submitted(fake: FakeRun) -> FakeRun:
    run_job(submit_job([fake.open("evaluate-pack")], fake.folder / "submit"))
    return fake


@pytest.mark.parametrize("name", ["pack", "evaluate-pack", "ttt", "evaluate-ttt", "submit"])
def test_rows_of_a_packed_model_add_up_to_the_file(submitted: FakeRun, name: str):
    report = audit_path(submitted.folder / name)
    assert report.basis == "packed file"
    assert sum(row.bytes for row in report.rows) == 40_000
    assert sum(row.count for row in report.rows) == parameter_count(submitted.config.model)
    assert sum(row.share for row in report.rows) == pytest.approx(1)
    assert all(row.bits_per_weight == 8 * row.bytes / row.count for row in report.rows if row.count)
    totals = report.totals
    assert (totals.packed_bytes, totals.code_bytes, totals.total_bytes, totals.room) == (
        40_000,
        46_000,
        86_000,
        15_914_000,
    )
    assert totals.code_bytes_source == "reserved"
    assert not report.over_limit


def test_rows_are_in_the_order_of_the_classes(fake: FakeRun):
    names = [row.name for row in audit_path(fake.folder / "pack").rows]
    assert names == ["mlp", "attention", "ngram", "token_table", "small", "coder header", "file framing"]


@pytest.mark.parametrize(("name", "basis"), [("train", "fp32 weights"), ("quantize", "entropy estimate")])
def test_what_is_not_packed_shows_what_is_known(fake: FakeRun, name: str, basis: str):
    report = audit_path(fake.folder / name)
    assert report.basis == basis
    assert sum(row.count for row in report.rows) == parameter_count(fake.config.model)
    assert report.totals.total_bytes is None
    assert {rule.status for rule in report.rules} == {"not applicable"}
    if name == "train":
        assert sum(row.bytes for row in report.rows) == 4 * parameter_count(fake.config.model)


def test_data_has_no_size_limit(fake: FakeRun):
    report = audit_path(fake.folder / "data")
    assert report.rows == ()
    assert {rule.status for rule in report.rules} == {"not applicable"}


def test_a_submission_shows_the_script_as_failed_and_the_rest_judged(submitted: FakeRun):
    report = audit_path(submitted.folder / "submit")
    assert [rule.number for rule in report.failed_rules] == [11]
    assert report.rules[8].status == "pass"
    assert report.notes == ()


def test_the_records_folder_inside_is_the_submission(submitted: FakeRun):
    report = audit_path(records_folder(submitted.open("submit")))
    assert report.kind == "submission"
    assert report.totals.total_bytes == 86_000


def test_a_records_folder_alone_is_taken_at_its_word(submitted: FakeRun, tmp_path: Path):
    alone = tmp_path / "records_alone"
    shutil.copytree(records_folder(submitted.open("submit")), alone)
    report = audit_path(alone)
    assert report.kind == "records_folder"
    assert report.totals.total_bytes == 86_000
    assert report.notes
    assert [rule.number for rule in report.failed_rules] == [11]
    record = json.loads((alone / "submission.json").read_text())
    record["seed_results"]["0"]["val_bpb"] = 1.0
    (alone / "submission.json").write_text(json.dumps(record))
    assert [rule.number for rule in audit_path(alone).failed_rules] == [9, 11]


def test_inputs_that_are_gone_leave_a_note(submitted: FakeRun):
    shutil.rmtree(submitted.folder / "pack")
    report = audit_path(submitted.folder / "submit")
    assert "packed_model" in report.notes[0]
    assert report.totals.total_bytes == 86_000


def test_the_largest_seed_is_shown(tmp_path: Path):
    runs = [FakeRun(tmp_path / f"s{n}", seed=n, packed_size=40_000 + 10 * n).build() for n in range(3)]
    run_job(submit_job([run.open("evaluate-pack") for run in runs], tmp_path / "submit"))
    assert audit_path(tmp_path / "submit").totals.packed_bytes == 40_020


def test_over_the_limit(tmp_path: Path):
    report = audit_path(FakeRun(tmp_path / "a", limit_bytes=50_000).build().folder / "pack")
    assert report.over_limit
    assert report.totals.room == -36_000


def test_a_long_run_is_over_time_on_the_record_track_alone(tmp_path: Path):
    run = FakeRun(tmp_path / "a", train_seconds=900.0).build()
    run_job(submit_job([run.open("evaluate-pack")], tmp_path / "submit"))
    report = audit_path(tmp_path / "submit")
    assert [rule.number for rule in report.failed_rules] == [2, 11]
    assert not report.over_time


@pytest.mark.parametrize(
    "name",
    ["pack/packed.safetensors", "pack/sizes.json", "train/ema.safetensors", "evaluate-pack/documents.safetensors"],
)
def test_an_altered_file_anywhere_in_the_chain_is_noticed(fake: FakeRun, name: str):
    path = fake.folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="altered"):
        audit_path(fake.folder / "evaluate-pack")


def test_an_altered_record_is_noticed(submitted: FakeRun):
    path = records_folder(submitted.open("submit")) / "submission.json"
    path.write_text(path.read_text().replace("2.6225", "1.6225"))
    with pytest.raises(ArtifactError):
        audit_path(submitted.folder / "submit")


def test_no_such_path(tmp_path: Path):
    with pytest.raises(UsageError):
        audit_path(tmp_path / "nothing")


def test_a_run_folder_stands_for_its_furthest_form(submitted: FakeRun):
    folder = submitted.folder
    shutil.copytree(folder / "pack", folder / "a-pack")  # of several, the one in the step's own folder
    for name in ("submit", "pack", "quantize", "train"):
        report = audit_path(folder)
        assert report.path == folder / name and report.rules == audit_path(folder / name).rules
        for path in folder.glob(f"*{name}"):
            if not path.name.startswith("evaluate"):
                shutil.rmtree(path)
    with pytest.raises(ArtifactError):
        audit_path(folder)
