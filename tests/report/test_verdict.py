"""What is told about a run, and the one command to go on with."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import FakeRun
from fake_stages import make_artifact

from golfpipe.cli.app import COMMANDS
from golfpipe.loading.warning_signs import MOST_EDGE_SHARE, Rise, Validation
from golfpipe.report.page import write_report
from golfpipe.report.run_data import read_run
from golfpipe.report.verdict import (
    MOST_COST,
    Numbers,
    gather_numbers,
    gravest,
    verdict,
    what_is_good,
    what_looks_wrong,
)

FINE = Numbers(
    form="packed file",
    val_bpb=1.76,
    unquantized_bpb=1.76,
    quantized_bpb=1.7604,
    baselines={"gzip -9": 2.75, "bzip2 -9": 2.44, "xz -9": 2.52},
    total_bytes=650_000,
    limit_bytes=16_000_000,
    fell_to_the_end=True,
    relative_error=0.002,
    edge_share=0.01,
)
BAD = {
    "over the limit": {"total_bytes": 16_000_001},
    "bzip2 -9 needs": {"val_bpb": 2.45, "unquantized_bpb": 2.449, "quantized_bpb": 2.45},
    "rose from": {"rise": Rise(Validation(100, 3.0), Validation(400, 3.4)), "fell_to_the_end": False},
    "are bearable": {"relative_error": 0.59, "bearable_bytes": 190_000},
    "Quantizing costs": {"quantized_bpb": 1.76 * (1 + 1.01 * MOST_COST)},
    "saturate": {"edge_share": MOST_EDGE_SHARE + 0.01},
    "left out": {"skipped_steps": 3},
    "a part of": {"is_partial": True},
}


def test_nothing_looks_wrong_where_every_number_is_fine():
    assert what_looks_wrong(FINE) == []
    assert len(what_is_good(FINE)) == 4


@pytest.mark.parametrize("sign", BAD)
def test_each_sign_alone_is_told_once(sign):
    told = what_looks_wrong(replace(FINE, **BAD[sign]))
    assert len(told) == 1 and sign in told[0]


def test_all_signs_are_told_together():
    numbers = FINE
    for change in BAD.values():
        numbers = replace(numbers, **change)
    numbers = replace(numbers, quantized_bpb=3.0)
    told = what_looks_wrong(numbers)
    assert len(told) == len(BAD) - 1  # the size that is bearable says what quantizing costs, too
    assert what_is_good(numbers) == []


def test_what_is_not_known_is_not_judged():
    assert what_looks_wrong(Numbers()) == [] and what_is_good(Numbers()) == []


@pytest.mark.parametrize("change", [{}, *BAD.values()])
def test_the_next_command_is_one_that_exists(fake: FakeRun, change, monkeypatch):
    monkeypatch.chdir(fake.folder.parent.parent)
    told = verdict(read_run(fake.folder), replace(FINE, **change))
    words = shlex.split(told.command)
    assert words[0] == "golfpipe" and "\n" not in told.command
    assert words[1] in {name for _, name, _, _ in COMMANDS}
    assert told.purpose


def missing(run: FakeRun, *names: str) -> list[str]:
    for name in names:
        shutil.rmtree(run.folder / name)
    return shlex.split(verdict(read_run(run.folder), Numbers()).command)


def test_the_next_command_is_the_step_that_is_missing(fake: FakeRun, monkeypatch):
    monkeypatch.chdir(fake.folder.parent.parent)
    scores = [path.name for path in fake.folder.glob("evaluate-*")]
    assert missing(fake, *scores) == ["golfpipe", "evaluate", "artifacts/alpha/pack"]
    assert missing(fake, "pack", "ttt") == ["golfpipe", "pack", "artifacts/alpha/quantize"]
    assert missing(fake, "quantize") == ["golfpipe", "quantize", "artifacts/alpha/train"]


def test_a_remedy_names_a_place_of_its_own(fake: FakeRun, monkeypatch):
    monkeypatch.chdir(fake.folder.parent.parent)
    run = read_run(fake.folder)
    words = shlex.split(verdict(run, replace(FINE, **BAD["are bearable"])).command)
    assert words == [
        "golfpipe", "quantize", "artifacts/alpha/train", "-o", "artifacts/alpha-190k/quantize",
        "--set", "quantize.target_bytes=190e3",
    ]  # fmt: skip
    words = shlex.split(verdict(run, replace(FINE, **BAD["rose from"])).command)
    assert words == [
        "golfpipe", "run", "--preset", "tiny", "--name", "alpha-100", "--set", "train.max_steps=100",
    ]  # fmt: skip


def test_a_model_that_quantizing_spoiled_is_quantized_again_and_not_trained_longer(fake: FakeRun):
    spoiled = replace(FINE, val_bpb=3.0, quantized_bpb=3.0, **BAD["are bearable"])
    assert [" quantize " in verdict(read_run(fake.folder), spoiled).command, spoiled.has_learned] == [True, True]
    assert "quantizing lost what it had learned" in " ".join(what_looks_wrong(spoiled))
    unlearned = replace(spoiled, unquantized_bpb=2.9)
    assert "train.max_steps=1000" in verdict(read_run(fake.folder), unlearned).command  # four times as many


def test_the_numbers_are_those_of_the_artifacts(fake: FakeRun):
    numbers = gather_numbers(read_run(fake.folder), baselines=True)
    assert numbers.unquantized_bpb == pytest.approx(2.61) and numbers.val_bpb == pytest.approx(2.6225)
    assert numbers.quantization_cost == pytest.approx(0.0125)
    assert numbers.baselines == {}  # the shards of a fake run are none
    assert numbers.rise is None and numbers.fell_to_the_end


def test_a_rising_validation_is_on_the_page(tmp_path: Path):
    run = FakeRun(tmp_path / "a", extra_train_metrics={"steps": 300, "val_loss_nats": 9.9}).build()
    numbers = gather_numbers(read_run(run.folder), baselines=False)
    assert numbers.rise is not None and not numbers.fell_to_the_end
    assert (numbers.rise.best.step, numbers.rise.last) == (250, Validation(300, 9.9))
    page = write_report([run.folder], tmp_path / "report.html").read_text()
    assert what_looks_wrong(numbers)[0] in page and "train.max_steps=250" in page


def test_of_several_runs_the_one_with_most_trouble_is_told(tmp_path: Path):
    fine = FakeRun(tmp_path / "a").build()
    over = FakeRun(tmp_path / "b", limit_bytes=50_000, extra_train_metrics={"skipped_steps": 2}).build()
    runs = [read_run(fine.folder), read_run(over.folder)]
    numbers, told = gravest(runs)
    assert numbers.over_limit and len(told.wrong) == 2
    assert gravest(runs[:1])[1].wrong == ()


def test_the_script_of_a_submission_counts_instead_of_the_reserve(fake: FakeRun) -> None:
    def total() -> int | None:
        return gather_numbers(read_run(fake.folder), baselines=False).total_bytes

    assert total() == fake.packed_size + fake.config.pack.code_bytes_reserve
    sizes = {"packed_bytes": fake.packed_size, "code_bytes": 29_186, "total_bytes": fake.packed_size + 29_186}
    make_artifact(fake.folder / "submit", "submission", metrics=sizes)
    assert total() == fake.packed_size + 29_186
    shutil.rmtree(fake.folder / "submit")
    make_artifact(fake.folder / "submit", "submission", metrics=sizes | {"packed_bytes": 1})  # of another packed model
    assert total() == fake.packed_size + fake.config.pack.code_bytes_reserve
