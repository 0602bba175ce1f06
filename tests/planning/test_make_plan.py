"""`golfpipe plan`: the list within a screen, and a search with real trainings that goes on where it was."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from recording_reporter import RecordingReporter
from sweep_inline import in_this_process

from golfpipe.cli.app import main
from golfpipe.loading.document_scores import read_document_scores
from golfpipe.planning import trials
from golfpipe.planning.plan import _kept_seconds
from golfpipe.planning.trials import Trial, half_scores, round_sizes, search
from golfpipe.stages import training_measure
from golfpipe.store.artifact import open_artifact

WORDS = ["plan", "my-texts", "--bytes", "14e3", "--seconds", "1", "--preset", "tiny"]
TRY = [*WORDS, "--vary", "layers=2,3", "--vary", "vocab=384", "--hardware", "this", "--try", "5", "--set",
       "data.val_fraction=0.3"]  # fmt: skip


def _json(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_rounds_halve_the_designs_and_double_the_steps() -> None:
    assert round_sizes(1) == [(1, 1.0)]
    assert round_sizes(2) == [(2, 0.5), (1, 1.0)]
    assert round_sizes(4) == [(4, 0.25), (2, 0.5), (1, 1.0)]
    assert round_sizes(8) == [(8, 0.25), (3, 0.5), (1, 1.0)]


def test_the_better_half_goes_on_and_what_was_stopped_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Designs are numbers here, and the scores are theirs; the leader of a round goes first."""
    said = RecordingReporter()
    rounds: list[tuple[float, list[int]]] = []

    def tried(designs: list[Any], share: float, ground: Any, curves: Any) -> list[Trial]:
        rounds.append((share, [design.number for design in designs]))
        return [
            Trial(design=design, share=share, stopped="behind the leader")
            if design.number in stopped
            else Trial(design=design, share=share, chosen=(float(design.number),))
            for design in designs
        ]

    monkeypatch.setattr(trials, "_tried", tried)
    monkeypatch.setattr(trials, "_curves", lambda leader, ground: {})
    ground: Any = SimpleNamespace(context=SimpleNamespace(reporter=said), folder=Path())
    designs: list[Any] = [SimpleNamespace(number=number, steps=100) for number in (3, 1, 4, 2)]
    stopped: set[int] = set()

    def pick(seen: Sequence[Trial], number: int) -> list[Any]:
        assert len(seen) in (0, 2)
        return designs[len(seen) : len(seen) + number]

    found = search(pick, 4, ground)
    assert rounds == [(0.25, [3, 1]), (0.25, [4, 2]), (0.5, [1]), (0.5, [2]), (1.0, [1]), (1.0, [])]
    assert (found[-1].bpb, found[-1].share) == (1.0, 1.0) and "25 steps" in said.warnings[0]
    assert [trial.bpb for trial in found] == [4.0, 3.0, 2.0, 1.0, 2.0, 1.0, 1.0]
    rounds.clear()
    stopped = {1, 2, 4}
    assert search(pick, 4, ground)[-1].bpb == 3.0
    assert rounds == [(0.25, [3, 1]), (0.25, [4, 2]), (1.0, [3]), (1.0, [])]


def test_the_halves_are_of_whole_documents_and_together_the_whole() -> None:
    draws = np.random.default_rng(0)
    nats_D, bytes_D = draws.random(99) * 100, draws.integers(1, 50, 99)
    chosen, reported = half_scores(nats_D, bytes_D)
    cut = next(n for n in range(99) if 2 * bytes_D[:n].sum() + bytes_D[n] > bytes_D.sum())
    for found, half in ((chosen, slice(0, cut)), (reported, slice(cut, None))):
        assert found == pytest.approx(nats_D[half].sum() / math.log(2) / bytes_D[half].sum())
    assert abs(bytes_D[:cut].sum() - bytes_D.sum() / 2) <= bytes_D.max()


def test_the_list_is_one_screen_and_its_commands_parse(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = _json(WORDS, capsys)
    assert not Path("artifacts/plan-my-texts").exists() and answer["trials"] == []
    estimates = [design["estimate_bpb"] for design in answer["designs"]]
    assert estimates == sorted(estimates) and all(design["bytes"] <= 14000 for design in answer["designs"])
    assert main([*WORDS, "--commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [design["command"] for design in answer["designs"]]
    monkeypatch.setenv("COLUMNS", "80")
    assert main(WORDS) == 0
    text = capsys.readouterr().out.splitlines()
    assert len(text) <= 24 and max(map(len, text[:-1])) <= 80


def test_the_command_of_a_design_trains_it_to_its_bytes(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--vary", "layers=3", "--vary", "vocab=384", "--hardware", "laptop"]
    first = _json(words, capsys)["designs"][0]
    short = ["--set", "train.max_steps=4", "--set", "evaluate.max_targets=300", "--until", "pack", "-q"]
    for words in first["command"].split(" && "):
        assert main([*shlex.split(words)[1:], *(short if " run " in words else ["-q"])]) == 0
    (pack,) = Path("artifacts").glob("plan-my-texts-*/pack")
    packed = open_artifact(pack).manifest
    assert packed.metrics["packed_bytes"] == pytest.approx(first["bytes"], rel=0.01)
    assert (packed.model or {})["num_layers"] == 3


def test_each_design_has_a_name_and_its_own_token_data(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--vary", "vocab=300,384", "--vary", "data.transform=none,caps", "--hardware", "laptop"]
    commands = [design["command"] for design in _json(words, capsys)["designs"]]
    assert len(commands) == len({command.split(" --name ")[1].split()[0] for command in commands}) == 4
    assert len({command.split(" && ")[0].split(" -o ")[1].split()[0] for command in commands}) == 4
    for command in commands:
        tokenize, run = command.split(" && ")
        assert "data.transform=" in tokenize and "data." not in run.replace("artifacts/data/", "")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"of": "a", "seconds": [0.5, 1.5]}', [0.5, 1.5]), ('{"of": "b", "seconds": [0.5, 1.5]}', None),
        ('{"of": "a", "seconds": [0.5]}', None), ('{"of": "a", "seconds": [0.5, "x"]}', None),
        ('{"of": "a", "seconds": [0.5, 0.0]}', None), ("[]", None), ('{"of": "a", "sec', None), (None, None),
    ],
)  # fmt: skip
def test_step_times_that_cannot_be_read_are_measured_again(
    tmp_path: Path, content: str | None, found: list[float] | None
) -> None:
    path = tmp_path / "step_times.json"
    if content is not None:
        path.write_text(content)
    assert _kept_seconds(path, "a", 2) == found


def test_a_dry_run_writes_nothing(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run_folder.rglob("*"))
    assert _json([*TRY, "--hardware", "this", "--dry-run"], capsys)["trials"] == []
    assert sorted(run_folder.rglob("*")) == before


def test_the_text_of_a_transform_is_counted_in_its_own_tokens(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(monkeypatch)
    monkeypatch.setattr(training_measure, "measured_step_seconds", lambda job: 0.01)
    words = [*WORDS, "--vary", "vocab=384", "--vary", "layers=2,3", "--vary", "data.transform=none,caps"]
    answer = _json([*words, "--hardware", "this"], capsys)
    made = [open_artifact(path).manifest.metrics for path in Path("artifacts/plan-my-texts/cells").iterdir()]
    counted = {data.get("transform", "none"): data["train_bytes"] / data["train_tokens"] for data in made}
    assert counted["none"] != counted["caps"] and len(answer["designs"]) == 4
    step_tokens = [
        design["text_bytes"] / design["steps"] / counted[design["settings"]["data.transform"]]
        for design in answer["designs"]
    ]
    assert step_tokens == pytest.approx([round(step_tokens[0])] * 4, rel=1e-4)


def test_the_search_goes_on_and_reports_on_the_other_half(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(monkeypatch)
    measure = training_measure.measured_step_seconds
    # Steps are measured for real, but times that differ would make trainings of other lengths, and one may be stopped.
    monkeypatch.setattr(training_measure, "measured_step_seconds", lambda job: 0.01 if measure(job) > 0 else 0.0)
    answer = _json(TRY, capsys)
    folder = Path(answer["artifact"])
    assert [trial["share"] for trial in answer["trials"]] == [0.5, 0.5, 1.0]
    winner = answer["trials"][-1]
    assert len(winner["chosen_bpb"]) == 2 and answer["trials"][1]["settings"] == winner["settings"]
    evaluations = [open_artifact(path) for path in sorted(folder.glob("cells/evaluate-*"))]
    halves = [half_scores(found["nats"], found["bytes"]) for found in map(read_document_scores, evaluations)]
    wholes = [open_artifact(path).manifest.metrics["val_bpb"] for path in sorted(folder.glob("cells/evaluate-*"))]
    for trial in answer["trials"]:
        for pair in zip(trial["chosen_bpb"], trial["reported_bpb"], strict=True):
            assert pair in halves
        pairs = zip(trial["chosen_bpb"], trial["reported_bpb"], trial["whole_bpb"], strict=True)
        for chosen, reported, whole in pairs:
            assert min(chosen, reported) < whole < max(chosen, reported) and whole in wholes
    assert (folder / "plan.png").read_bytes().startswith(b"\x89PNG")
    made = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/manifest.json")}
    again = _json(TRY, capsys)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/manifest.json")} == made
    assert again["trials"] == answer["trials"] and again["designs"] == answer["designs"]
    assert main(TRY) == 0
    text = capsys.readouterr().out
    finished = sum(bool(trial["chosen_bpb"]) for trial in answer["trials"])  # others fell behind and were stopped
    assert "winner: " in text and f"ranked by the law and {finished} trainings" in text
    assert len(text.splitlines()) <= 24
    assert main(["status", str(folder)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "this is a plan, which its own command shows again; try: golfpipe ls artifacts/plan-my-texts" in said
    assert main(["ls", str(folder)]) == 0 and "plan-my-texts  plan " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "my-texts", "--bytes", "100", "--seconds", "60"], "the smallest takes"),
        (["plan", "artifacts/data/x", "--bytes", "9e3", "--seconds", "9", "--vary", "vocab"], "give the text"),
        ([*WORDS, "--hardware", "gpu-80gb", "--try", "2"], "--hardware this"),
        ([*WORDS, "--hardware", "abacus"], "valid: this, laptop"),
        ([*WORDS, "--hardware", "thsi"], "did you mean this?"),
        (["plan", "artifacts/a/pack", "--bytes", "9e3", "--seconds", "9"], "expected token_data"),
    ],
)
def test_what_cannot_be_planned_is_said(
    words: list[str], message: str, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) in (2, 3)
    assert message in capsys.readouterr().err
