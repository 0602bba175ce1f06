"""A machine changes how work is cut, and neither keys nor results; what it may not set is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from golfpipe.cli.app import main
from golfpipe.cli.options import SharedOptions
from golfpipe.cli.torchrun import wanted_processes
from golfpipe.config.machines import Machine, read_machine
from golfpipe.config.resolve import load_stages
from golfpipe.errors import ConfigError
from golfpipe.jobs.key import job_key
from golfpipe.jobs.registry import STAGES
from golfpipe.pipeline.estimate import step_operations, training_time
from golfpipe.pipeline.settings import Settings
from golfpipe.review.overview import preset_facts
from golfpipe.training.config import TrainConfig

OWN = load_stages()


@pytest.mark.parametrize("machine", list(OWN.machines))
@pytest.mark.parametrize("preset", ["tiny", "16l-fit"])
def test_a_machine_leaves_the_key_of_every_stage_as_it_is(preset: str, machine: str) -> None:
    plain, on_machine = (Settings(preset=preset, machine=name).resolve().config for name in (None, machine))
    assert on_machine.train.forward_tokens == OWN.machines[machine].settings["train"]["forward_tokens"]
    for stage in STAGES.values():
        assert job_key(stage, plain, {}) == job_key(stage, on_machine, {})
    assert plain.model == on_machine.model


def test_what_the_user_sets_stands_over_the_machine() -> None:
    resolved = Settings(machine="laptop", overrides=("train.forward_tokens=512",)).resolve()
    assert resolved.config.train.forward_tokens == 512
    assert Settings(machine="laptop").resolve().origin["train.forward_tokens"] == "machine laptop"


@pytest.mark.parametrize(
    "setting",
    [
        "train: {batch_tokens: 4096}",
        "train: {precision: bf16}",
        "model: {num_layers: 2}",
        "seed: 3",
        "ttt: {score_first_lora: {chunk_tokens: 64}}",
    ],
)
def test_what_decides_a_result_is_no_setting_of_a_machine(setting: str, tmp_path: Path) -> None:
    file = tmp_path / "stages.yaml"
    file.write_text(f"pipeline: {{data: {{}}}}\nmachines: {{mine: {{tflops: 1, {setting}}}}}\n")
    with pytest.raises(ConfigError, match=r"machine mine: .* decides a result"):
        Settings(config_file=file, machine="mine").resolve()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"processes": 1}, "tflops=None must be a number above 0"),
        ({"tflops": 0}, "tflops=0 must be"),
        ({"tflops": 1, "processes": 0}, "processes=0 must be"),
        ({"tflops": 1, "least_step_ms": -1}, "least_step_ms=-1 must be"),
    ],
)
def test_a_machine_that_makes_no_sense_is_refused(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"machine x: {message}"):
        read_machine("x", body, Path("stages.yaml"))


def test_an_unknown_machine_gets_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--machine", "labtop"]) == 2
    assert "did you mean laptop?" in capsys.readouterr().err


def test_eight_gpus_are_eight_processes_unless_the_user_says_otherwise() -> None:
    assert wanted_processes(SharedOptions(machine="gpus-8x80gb")) == 8
    assert wanted_processes(SharedOptions(machine="gpus-8x80gb", nproc=2)) == 2
    assert wanted_processes(SharedOptions(machine="laptop")) == wanted_processes(SharedOptions()) == 1


def test_the_time_follows_from_operations_rate_and_clock() -> None:
    machine = Machine(
        name="m", about="", device="cuda", processes=1, tflops=2.0, least_step_ms=500, basis="", settings={}
    )
    assert machine.step_seconds(8e12) == 4.0
    assert machine.step_seconds(1e9) == 0.5
    endless = TrainConfig(max_steps=100, max_seconds=0)
    assert (training_time(endless, 4.0).seconds, training_time(endless, 4.0).steps) == (400.0, 100)
    capped = training_time(TrainConfig(max_steps=100, max_seconds=30), 4.0)
    assert (capped.seconds, capped.steps) == (32.0, 8)  # the step in which the time runs out is finished
    assert training_time(TrainConfig(max_steps=5, max_seconds=30), 4.0).steps == 5


def test_operations_of_a_step_are_six_per_weight_and_token() -> None:
    config = Settings(preset="16l").resolve().config
    weights, attention = 42.6e6, 16 * 512 * 2048  # docs/speed-tables.md: 6 N + 6 L d T
    assert step_operations(config) == pytest.approx(6 * (weights + attention) * 786_432, rel=0.01)


def test_presets_tell_the_seconds_on_every_machine() -> None:
    facts = {fact["name"]: fact["training"] for fact in preset_facts(Settings())}
    assert facts["16l"].keys() == OWN.machines.keys()
    assert facts["pr951"] == {}  # settings of quantize alone: it trains nothing
    steps = [facts["16l"][name]["steps"] for name in ("laptop", "gpu-24gb", "gpu-80gb", "gpus-8x80gb")]
    assert steps == sorted(steps)
    assert facts["16l"]["gpus-8x80gb"]["seconds"] == pytest.approx(600, rel=0.01)


def test_the_basis_of_every_figure_is_said() -> None:
    for machine in OWN.machines.values():
        assert machine.basis.startswith("measured" if machine.device == "cpu" else "estimated")
