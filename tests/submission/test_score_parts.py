"""The parts of a score sum to it exactly, whatever was measured, and what is not names its command."""

from __future__ import annotations

import itertools
import math
import random
import shlex
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from fake_run import FakeRun, submit_job

from golfpipe.jobs.run import run_job
from golfpipe.loading.lineage import trace
from golfpipe.report.markdown import markdown_report
from golfpipe.report.page import write_report
from golfpipe.submission.records_folder import records_folder
from golfpipe.submission.score_parts import Scores, mean_parts, parts_of, score_parts

SCORES = Scores(
    final=1.25,
    final_nats=3.0 * math.log(2),
    trained=1.375,
    packed=1.5,
    window_change=Fraction(-1, 8),
    adapted=True,
)


def _bpb(scores: Scores) -> dict[str, Fraction | None]:
    return {part.name: part.bpb for part in score_parts(scores)}


def test_each_part_is_what_its_name_says() -> None:
    # 3 bits a token and 1.25 a byte make 2.4 bytes a token; without wider windows the trained weights had 1.5 a byte.
    found = _bpb(SCORES)
    assert {name: round(float(bpb), 12) for name, bpb in found.items() if bpb is not None} == {
        "model": 3.6,
        "tokenizer": -2.1,
        "window": -0.125,
        "quantization": 0.125,
        "test-time training": -0.25,
    }


def test_parts_sum_to_the_score_exactly() -> None:
    source = random.Random(0)
    for missing in itertools.product([False, True], repeat=3):
        for adapted in (False, True):
            draw = [source.uniform(0.3, 4) for _ in range(4)]
            scores = Scores(
                final=draw[0],
                final_nats=draw[0] * source.uniform(0.5, 9),
                trained=None if missing[0] else draw[1],
                packed=None if missing[1] else draw[2],
                window_change=None if missing[2] else Fraction(draw[3]) - Fraction(draw[1]),
                adapted=adapted,
            )
            parts = _bpb(scores)
            assert sum(bpb for bpb in parts.values() if bpb is not None) == Fraction(scores.final)
            assert (parts["window"] is None) == missing[2]
            assert (parts["quantization"] is None) == (missing[0] or (missing[1] and adapted))


def test_without_test_time_training_it_adds_nothing() -> None:
    found = _bpb(replace(SCORES, adapted=False, packed=None))
    assert found["test-time training"] == 0
    assert found["quantization"] == Fraction(1.25) - Fraction(1.375)


def test_the_mean_of_seeds_sums_to_the_mean_score_and_leaves_out_what_one_lacks() -> None:
    other = replace(SCORES, final=1.3, packed=1.6, trained=None)
    parts = mean_parts([SCORES, other])
    assert sum(part.bpb for part in parts if part.bpb is not None) == (Fraction(1.25) + Fraction(1.3)) / 2
    assert next(part.bpb for part in parts if part.name == "quantization") is None


def _side_by_side(run: FakeRun, model: str, val_bpb: float) -> None:
    windows = replace(run.config.evaluate, method="chunked", stride=256)
    run.config = replace(run.config, evaluate=windows)
    run.evaluate(run.open(model), run.open("data"), f"evaluate-{model}-side-by-side", val_bpb)


@pytest.mark.parametrize("model", ["train", "pack"])
def test_evaluations_of_a_run_are_found(fake: FakeRun, model: str) -> None:
    scored = {"train": fake.val_bpb, "pack": fake.val_bpb + 0.0125}[model]
    _side_by_side(fake, model, scored + 0.05)
    parts = {part.name: part.bpb for part in parts_of([trace(fake.open("evaluate-pack"))])}
    assert parts["window"] == Fraction(scored) - Fraction(scored + 0.05)
    assert parts["quantization"] == Fraction(fake.val_bpb + 0.0125) - Fraction(fake.val_bpb)
    assert sum(bpb for bpb in parts.values() if bpb is not None) == Fraction(fake.val_bpb + 0.0125)


def test_a_score_in_windows_side_by_side_owes_nothing_to_them(fake: FakeRun) -> None:
    _side_by_side(fake, "pack", 2.7)
    parts = {part.name: part for part in parts_of([trace(fake.open("evaluate-pack-side-by-side"))])}
    assert parts["window"].bpb == 0
    assert parts["quantization"].bpb is None  # the trained weights were scored in other windows


def test_what_is_not_measured_names_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = FakeRun(Path("artifacts/a b"), evaluate_earlier_forms=False, overrides=("evaluate.stride=16",)).build()
    abouts = {part.name: part.about for part in parts_of([trace(run.open("evaluate-pack"))])}
    assert shlex.split(abouts["quantization"]) == ["golfpipe", "evaluate", "artifacts/a b/train"]
    assert shlex.split(abouts["window"]) == [
        *("golfpipe", "evaluate", "artifacts/a b/train", "-o", "artifacts/a b/evaluate-train-side-by-side"),
        *("--set", "evaluate.method=chunked"),
    ]
    run.config = replace(run.config, evaluate=replace(run.config.evaluate, stride=8))
    run.evaluate(run.open("pack"), run.open("data"), "evaluate-pack", 2.6)
    abouts = {part.name: part.about for part in parts_of([trace(run.open("evaluate-pack"))])}
    assert abouts["quantization"].endswith("artifacts/a b/train' --set evaluate.stride=8")
    run.evaluate(run.open("ttt"), run.open("data"), "evaluate-ttt", 2.5, protocol="pre_eval")
    run.evaluate(run.open("train"), run.open("data"), "evaluate-train", 2.55)
    (run.folder / "evaluate-pack" / "manifest.json").unlink()
    abouts = {part.name: part.about for part in parts_of([trace(run.open("evaluate-ttt"))])}
    assert "artifacts/a b/pack" in abouts["quantization"]  # which is a part of test-time training until then


@pytest.mark.usefixtures("quick_submissions")
def test_report_and_records_readme_show_the_parts(fake: FakeRun, tmp_path: Path) -> None:
    _side_by_side(fake, "train", 2.66)
    run_job(submit_job([fake.open("evaluate-pack")], fake.folder / "submit"))
    readme = (records_folder(fake.open("submit")) / "README.md").read_text()
    for line in ("| window | -0.0500 |  |", "| quantization | +0.0125 |  |", "| score | 2.6225 | |"):
        assert line in readme
    page = write_report([fake.folder], tmp_path / "report.html").read_text()
    assert "The score taken apart" in page and "\u22120.0500" in page
    assert markdown_report([fake.folder])
