"""Sweeps in which every cell is trained, on token data or on text, with stages that cost nothing."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import fake_stages
import pytest
from fake_stages import make_artifact
from small_chain import write_small_stages, write_texts
from sweep_inline import InlinePool

from golfpipe.cli.app import main
from golfpipe.errors import ConfigError, GolfpipeError, UsageError
from golfpipe.sweeps import processes
from golfpipe.sweeps.grid import expand, leave_one_out, parse_grid, parse_without
from golfpipe.sweeps.plan import SweepPlan, SweepRequest, plan_sweep
from golfpipe.sweeps.words import commands

TEXT, DATA = Path("my-texts"), Path("artifacts/data/text")
LAYERS, VOCAB = "model.num_layers=4,6", "data.vocab_size=300,400"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked_stages: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path)
    make_artifact(DATA, "token_data", metrics={"train_tokens": 100, "train_bytes": 250})
    monkeypatch.setattr(processes, "ProcessPoolExecutor", InlinePool)
    monkeypatch.setattr(InlinePool, "calls", 0)


def _plan(source: Path, *grid: str, **more: Any) -> SweepPlan:
    return plan_sweep(SweepRequest(source=source, grids=[parse_grid(grid)] if grid else [], **more))


def _stages(plan: SweepPlan) -> Counter[str]:
    return Counter(step.request.stage for step in plan.steps.values())


def test_text_is_tokenized_once_for_each_vocabulary_and_every_cell_is_trained() -> None:
    plan = _plan(TEXT, VOCAB, LAYERS, seeds=(0, 1))
    assert _stages(plan) == {"data-tokenize": 2, "train": 8, "quantize": 8, "pack": 8, "evaluate": 16}
    assert len(plan.cells) == 8 and plan.folder == Path("artifacts/sweep-my-texts")
    for cell in plan.cells:
        chain = [plan.steps[identity] for identity in cell.steps]
        assert [step.parent for step in chain] == [None, *(step.id for step in chain[:-1])]
        assert {step.request.inputs.get("data", chain[0].out) for step in chain} == {chain[0].out}
        settings = chain[1].request.settings.overrides
        assert f"model.vocab_size={cell.settings['data.vocab_size']}" in settings
        assert not any("num_layers" in text for text in chain[0].request.settings.overrides)


def test_a_setting_after_training_shares_the_trainings() -> None:
    plan = _plan(DATA, LAYERS, "quantize.mlp.bits=3,4,5")
    assert _stages(plan) == {"train": 2, "quantize": 6, "pack": 6, "evaluate": 8}
    assert {cell.unquantized for cell in plan.cells} <= set(plan.steps)


def test_it_runs_goes_on_and_says_what_came_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", str(TEXT), "--grid", VOCAB, "--seeds", "0,1", "--json"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert Counter(fake_stages.CALLS)["train"] == 4
    assert [row["settings"] for row in answer["designs"]] == [{"data.vocab_size": 300}, {"data.vocab_size": 400}]
    assert (Path(answer["artifact"]) / "results.csv").is_file()
    fake_stages.CALLS.clear()
    assert main(words) == 0 and fake_stages.CALLS == []
    capsys.readouterr()
    for line in answer["cells"][2]["commands"]:  # of the cell, in a run folder of its own
        assert main([*line[1:], "-q"]) == 0
    assert main(["sweep", str(TEXT), "--grid", VOCAB, "--seeds", "0,1", "--cells", "--json"]) == 0
    fake_stages.CALLS.clear()
    for text in json.loads(capsys.readouterr().out.splitlines()[-1])["commands"]:
        assert main([*shlex.split(text)[1:], "-q"]) == 0, text
    assert fake_stages.CALLS == []  # the same work, so it was there


def test_its_folder_is_known_for_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", str(DATA), "--grid", LAYERS, "--stages", "train,evaluate", "-q"]
    assert main(words) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert main(["ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["sweep-text", "sweep"]
    assert main(["status", str(folder)]) == 2
    assert f"this is a sweep; try: golfpipe report {folder}" in " ".join(capsys.readouterr().err.split())
    assert main(["report", str(folder), "-q"]) == 0
    page = (folder / "report.html").read_text()
    assert "sweep-text (best cell)" in page and "num_layers 6" in page and "1.5000" in page
    (folder / "step_times.json").write_text("{}")
    assert main(["status", str(folder)]) == 2
    assert "this is a plan, which its own command shows again" in " ".join(capsys.readouterr().err.split())


def test_a_line_of_progress_has_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [{"model.num_layers": [n], "train.warmdown_fraction": [n / 9], "optim.matrix_lr": [n / 99]} for n in (4, 5)]
    Path("grids.yaml").write_text(json.dumps(cells))
    assert main(["sweep", str(DATA), "--grids", "grids.yaml", "--seeds", "0,1"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert len(lines) == 4 and max(map(len, lines)) <= 80
    assert lines[0].startswith("[1/4] num_layers 4, ") and lines[0].endswith("seed 0: 1.500000 bpb, 46,600 B")


def test_printed_commands_name_the_text_and_not_its_files() -> None:
    assert shlex.split(commands(_plan(TEXT, VOCAB))[0])[:5] == ["golfpipe", "data", "tokenize", "my-texts", "-o"]


def test_each_is_left_out_once_beside_everything() -> None:
    plan = {"model": {"num_layers": 4, "bigram_buckets": 64, "kv_sharing": "none"}}
    grids = leave_one_out([{"seed": [0, 1]}], {"model.bigram_buckets": 0, "model.kv_sharing": None}, plan)
    assert expand(grids) == [
        {"model.bigram_buckets": buckets, "model.kv_sharing": sharing, "seed": seed}
        for buckets, sharing in ((64, "none"), (0, "none"), (64, "all"))
        for seed in (0, 1)
    ]
    with pytest.raises(ConfigError, match="kv_sharing: is none already"):
        leave_one_out([{}], {"model.kv_sharing": "none"}, plan)
    assert parse_without(["model.bigram_buckets=0,model.kv_sharing", "train.ema_decay=0"]) == {
        "model.bigram_buckets": 0, "model.kv_sharing": None, "train.ema_decay": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "grid", "more", "error", "message"),
    [
        (DATA, VOCAB, {}, ConfigError, "data.vocab_size: decides nothing.*(?s:.*)"),
        (TEXT, "model.vocab_size=300,400", {}, ConfigError, "follows the tokenizer"),
        (TEXT, "seed=1,2", {"seeds": (0, 1)}, UsageError, "exclude each other"),
        (TEXT, "pack.coder=range", {"stages": ("quantize", "pack")}, ConfigError, "quantize takes a trained_model"),
        (Path("nothing"), LAYERS, {}, UsageError, "no such artifact"),
        (TEXT, "model.num_layers=0", {}, ConfigError, "num_layers"),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    source: Path, grid: str, more: Any, error: type[GolfpipeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        _plan(source, grid, **more)
    assert fake_stages.CALLS == []


def test_vocabularies_are_compared_on_the_same_text(tmp_path: Path) -> None:
    write_small_stages(tmp_path)  # its presets score a number of tokens, which is another text for each vocabulary
    with pytest.raises(ConfigError, match="counts tokens"):
        _plan(TEXT, VOCAB)
    assert len(_plan(TEXT, LAYERS).cells) == 2


def test_an_unknown_key_to_leave_out_is_named() -> None:
    with pytest.raises(ConfigError, match="bigram_bucket: unknown key"):
        parse_without(["model.bigram_bucket"])
