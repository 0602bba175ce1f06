"""The submit stage writes the folder that docs/stages/submit.md describes, and only from manifests."""

import json
import re
import shutil
import statistics
from pathlib import Path

import pytest
from fake_run import FakeRun, submit_job

from golfpipe.cli.app import main
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.errors import ArtifactError, ConfigError, OverLimit, RuleBroken, UsageError
from golfpipe.jobs.run import run_job
from golfpipe.store.artifact import Artifact
from golfpipe.submission.records_folder import folder_name, records_folder

pytestmark = pytest.mark.usefixtures("quick_submissions")

KEYS = [
    "author", "github_id", "name", "blurb", "date", "track", "val_loss", "val_bpb", "val_loss_std", "val_bpb_std",
    "seeds", "seed_results", "bytes_total", "bytes_code", "bytes_model", "hardware", "pytorch_version",
    "technique_summary", "compliance",
]  # fmt: skip
SEED_KEYS = {"val_loss", "val_bpb", "artifact_bytes", "steps", "step_avg_ms", "train_time_s", "eval_time_s"}


def submit(runs: list[FakeRun], *overrides: str, evaluation: str = "evaluate-pack") -> Artifact:
    out = runs[0].folder.parent / "submitted"
    return run_job(submit_job([run.open(evaluation) for run in runs], out, *overrides)).artifact


def three_seeds(folder: Path, **settings: object) -> list[FakeRun]:
    return [
        FakeRun(
            folder / f"seed{seed}", seed=seed, val_bpb=2.6 + 0.01 * seed, packed_size=40_000 + seed, **settings
        ).build()
        for seed in (0, 1, 2)
    ]


def read_record(submission: Artifact) -> dict:
    return json.loads((records_folder(submission) / "submission.json").read_text())


def test_the_folder_has_the_files_and_the_place_that_the_challenge_wants(fake: FakeRun):
    submission = submit([fake], "submit.date=2026-05-01", "submit.name=My first Entry!")
    folder = records_folder(submission)
    assert folder.relative_to(submission.path) == Path("records/track_non_record_16mb/2026-05-01_My_first_Entry")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.yaml", "requirements.txt", "submission.json", "train_seed0.log",
    ]  # fmt: skip
    assert submission.manifest.provenance["records_folder"] == str(folder.relative_to(submission.path))


def test_the_json_has_every_key_and_the_numbers_of_the_manifests(tmp_path: Path):
    runs = three_seeds(tmp_path)
    record = read_record(submit(runs, "submit.author=Ada", "submit.github_id=ada", "submit.hardware=1xLaptop"))
    assert list(record) == KEYS
    scores = [run.open("evaluate-pack").manifest.metrics for run in runs]
    assert record["seeds"] == [0, 1, 2]
    for seed, (run, score) in enumerate(zip(runs, scores, strict=True)):
        entry, training = record["seed_results"][str(seed)], run.open("train").manifest.metrics
        assert set(entry) == SEED_KEYS
        assert (entry["val_loss"], entry["val_bpb"]) == (score["val_loss_nats"], score["val_bpb"])
        assert entry["artifact_bytes"] == 40_000 + seed + 46_000
        assert (entry["steps"], entry["step_avg_ms"]) == (training["steps"], training["step_avg_ms"])
        assert (entry["train_time_s"], entry["eval_time_s"]) == (training["train_seconds"], score["eval_seconds"])
    bpbs = [score["val_bpb"] for score in scores]
    assert record["val_bpb"] == statistics.fmean(bpbs)
    assert record["val_bpb_std"] == statistics.stdev(bpbs)
    assert (record["bytes_total"], record["bytes_code"], record["bytes_model"]) == (86_002, 46_000, 40_002)
    assert (record["author"], record["hardware"], record["pytorch_version"]) == ("Ada", "1xLaptop", "2.12.0+cpu")


def test_one_seed_has_no_deviation(fake: FakeRun):
    record = read_record(submit([fake]))
    assert record["val_bpb_std"] is None
    assert record["val_loss_std"] is None


def test_the_readme_begins_with_the_headline_and_holds_the_table(tmp_path: Path):
    submission = submit(three_seeds(tmp_path))
    lines = (records_folder(submission) / "README.md").read_text().splitlines()
    pattern = (
        r"\*\*val_bpb: \d\.\d{4}\*\* \(3-seed mean, std \d\.\d{4}\) \| \*\*\d+\.\d\d MB\*\* \| cpu, train .+ \+ eval .+"
    )
    assert re.fullmatch(pattern, lines[0])
    assert "| 0 | 250 | 220.5 | 2.6000 | 2.6125 | no TTT | 86,000 |" in lines
    assert "| mean |  |  | 2.6100 | 2.6225 |  | 86,002 (largest) |" in lines
    text = "\n".join(lines)
    assert "train\\_gpt.py is missing" in text
    assert "4 layers of width 128" in text


def test_scores_of_earlier_forms_are_not_invented(tmp_path: Path):
    run = FakeRun(tmp_path / "a", evaluate_earlier_forms=False).build()
    lines = (records_folder(submit([run])) / "README.md").read_text()
    assert "| 0 | 250 | 220.5 | not measured | 2.6225 | no TTT | 86,000 |" in lines


def test_a_score_in_other_windows_is_not_taken_for_an_earlier_form(tmp_path: Path):
    run = FakeRun(tmp_path / "a", evaluate_earlier_forms=False).build()
    other = FakeRun(tmp_path / "a", overrides=("evaluate.stride=32",))
    other.evaluate(run.open("train"), run.open("data"), "evaluate-train-32", 2.5)
    assert "| not measured | 2.6225 |" in (records_folder(submit([run])) / "README.md").read_text()


def test_a_score_by_compiled_code_is_an_earlier_form(tmp_path: Path):
    run = FakeRun(tmp_path / "a", evaluate_earlier_forms=False).build()
    other = FakeRun(tmp_path / "a", overrides=("evaluate.compile=on",))
    other.evaluate(run.open("train"), run.open("data"), "evaluate-train-compiled", 2.61)
    assert "| 2.6100 | 2.6225 |" in (records_folder(submit([run])) / "README.md").read_text()


def test_an_adapted_model_is_submitted_through_its_packed_model_and_stated(fake: FakeRun):
    submission = submit([fake], evaluation="evaluate-ttt")
    readme = (records_folder(submission) / "README.md").read_text()
    assert "| 0 | 250 | 220.5 | 2.6100 | 2.6225 | 2.5300 | 86,000 |" in readme
    record = read_record(submission)
    assert record["compliance"]["compliant"] is False
    assert {rule["number"] for rule in record["compliance"]["rules"] if rule["status"] == "fail"} == {3, 4, 11}
    assert any("Rule 3" in line for line in record["compliance"]["deviations"])
    assert submission.manifest.metrics["eligible"] is False
    assert record["seed_results"]["0"]["eval_time_s"] == 12.5 + 9.0


def test_the_log_is_the_training_log_and_what_followed(fake: FakeRun):
    folder = records_folder(submit([fake]))
    log = (folder / "train_seed0.log").read_text()
    assert log.startswith("seed:0\nmodel_params:")
    assert "Serialized model range: 40000 bytes\nCode size: 46000 bytes (reserved" in log
    assert log.endswith("final_packed_sliding val_loss:4.36226650 val_bpb:2.62250000 eval_time:12500ms\n")
    assert "\nTotal submission size range: 86000 bytes\n" in log


def test_a_score_first_evaluation_says_how_it_scored(tmp_path: Path):
    run = FakeRun(tmp_path / "a", overrides=("ttt.method=score_first_sgd",), adapted=False).build()
    run.evaluate(run.open("pack"), run.open("data"), "ttt", 2.5, protocol="score_first", stage="ttt")
    folder = records_folder(submit([run], evaluation="ttt"))
    assert "| 2.6100 | 2.6225 | 2.5000 | 86,000 |" in (folder / "README.md").read_text()
    assert "final_packed_score_first_sgd val_loss:" in (folder / "train_seed0.log").read_text()
    settings = load_stages(folder / "config.yaml").presets["submission"].settings
    assert "cosine" not in settings["ttt"]


def test_a_model_without_a_training_log_says_so(tmp_path: Path):
    run = FakeRun(tmp_path / "a", train_log=False).build()
    log = (records_folder(submit([run])) / "train_seed0.log").read_text()
    assert log.startswith("seed:0\nmodel_params:")
    assert "no training log" in log


def test_the_config_file_is_a_preset_that_gives_the_same_settings(fake: FakeRun):
    stages = load_stages(records_folder(submit([fake])) / "config.yaml")
    resolved = resolve_config(stages, preset="submission").config
    for section in ("model", "optim", "train", "quantize", "pack", "evaluate"):
        assert getattr(resolved, section) == getattr(fake.config, section)


def test_equal_evaluations_give_equal_digests_on_any_day(tmp_path: Path):
    run = FakeRun(tmp_path / "a").build()
    first = submit([run], "submit.date=2026-05-01").manifest
    second = submit([run], "submit.date=2026-05-02").manifest
    assert first.digest == second.digest
    assert first.key != second.key


def test_mixed_configurations_are_stated_on_one_track_and_refused_on_the_other(tmp_path: Path):
    runs = [
        FakeRun(tmp_path / "a", seed=0).build(),
        FakeRun(tmp_path / "b", seed=1, overrides=("quantize.mlp.bits=5", "train.log_every=1")).build(),
    ]
    stated = read_record(submit(runs))["compliance"]["deviations"]
    assert any("quantize.mlp.bits: 4 -> 5" in line and "log_every" not in line for line in stated)
    with pytest.raises(RuleBroken, match=r"quantize\.mlp\.bits: 4 -> 5"):
        submit(runs, "submit.track=10min_16mb")


def test_the_record_track_refuses_and_leaves_nothing_behind(fake: FakeRun):
    with pytest.raises(RuleBroken) as caught:
        submit([fake], "submit.track=10min_16mb", evaluation="evaluate-ttt")
    assert "Rule 3" in caught.value.message
    assert "Rule 11" in caught.value.message
    assert main(["submit", str(fake.folder / "evaluate-ttt"), "--track", "10min_16mb", "-q"]) == 5
    assert not list(fake.folder.parent.glob("*submitted*"))


@pytest.mark.parametrize("track", ["10min_16mb", "non_record_16mb"])
def test_over_the_byte_limit_is_refused_on_both_tracks(tmp_path: Path, track: str):
    run = FakeRun(tmp_path / "a", limit_bytes=85_999).build()
    with pytest.raises(OverLimit, match="86,000 B of 85,999 B"):
        submit([run], f"submit.track={track}")


@pytest.mark.parametrize("name", ["evaluate-train", "evaluate-quantize"])
def test_an_evaluation_of_an_unpacked_model_is_refused_with_the_way_out(fake: FakeRun, name: str):
    with pytest.raises(UsageError, match="never packed") as caught:
        submit([fake], evaluation=name)
    assert caught.value.hint is not None and "pack and evaluate" in caught.value.hint


def test_another_kind_of_artifact_is_refused(fake: FakeRun):
    with pytest.raises(ArtifactError, match="expected an evaluation"):
        submit([fake], evaluation="pack")


def test_the_same_seed_twice_is_refused(fake: FakeRun):
    with pytest.raises(UsageError, match="both come from seed 0"):
        run_job(submit_job([fake.open("evaluate-pack")] * 2, fake.folder / "submit"))


def test_a_missing_packed_model_is_named(fake: FakeRun):
    evaluation = fake.open("evaluate-pack")
    shutil.rmtree(fake.folder / "pack")
    with pytest.raises(ArtifactError, match="packed_model"):
        run_job(submit_job([evaluation], fake.folder / "submit"))


def test_moved_folders_are_found_by_digest(fake: FakeRun, tmp_path: Path):
    moved = tmp_path / "elsewhere" / "beta"
    moved.parent.mkdir()
    fake.folder.rename(moved)
    fake.folder = moved
    assert read_record(submit([fake]))["bytes_total"] == 86_000


def test_a_date_that_is_none_is_refused(fake: FakeRun):
    with pytest.raises(ConfigError, match="YYYY-MM-DD"):
        submit([fake], "submit.date=../../etc")


def test_names_cannot_leave_the_folder_or_break_the_readme(fake: FakeRun):
    assert folder_name("t", "2026-01-01", "../../x/<b>") == "records/track_t/2026-01-01_x_b"
    assert folder_name("t", "2026-01-01", "\u2603") == "records/track_t/2026-01-01_Submission"
    submission = submit([fake], "submit.name=<script>|x", "submit.blurb='[a](http://b) \n# c'")
    readme = (records_folder(submission) / "README.md").read_text()
    assert "<script>" not in readme
    assert "\n# c" not in readme
