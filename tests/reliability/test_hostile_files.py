"""Short versions of benchmarks/reliability: damaged and forged files, bombs, attacks, odd settings and texts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from reliability import attacks, bombs, byte_counts, configurations, mutants
from reliability.attack_list import all_attacks
from reliability.specimens import SmallRun, build

SHORT_ATTACKS = (
    "pickle in a checkpoint: os.system", "zip with two data.pkl", "stages.yaml: !!python/object/apply:os.system",
    "manifest lists '../../../outside/secret'", "a step named ../../../outside/x", "the unfinished output is a link",
    "a temporary file is a link", "the log of an interrupted run is a hard link", "manifest is a pipe",
    "the only tokenizer is a pipe", "records script that would run", "markup in a manifest",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("reliability") / "base"
    folder.mkdir()
    build(folder)
    return folder


@pytest.fixture
def small(finished: Path, tmp_path: Path) -> SmallRun:
    shutil.copytree(finished, tmp_path / "run")
    return SmallRun(tmp_path / "run")


def test_no_mutant_gets_through(small):
    found = mutants.summary([mutants.break_part(small, 300, seed=1)])
    assert found["failures"] == []
    assert found["mutants"] == 300
    assert (
        sum(count for outcomes in found["outcomes"].values() for name, count in outcomes.items() if "exit" in name)
        > 100
    )


def test_a_reader_that_looks_away_is_found_out(small, monkeypatch):
    monkeypatch.setattr("golfpipe.store.manifest._checksum", lambda fields: fields.get("checksum"))
    monkeypatch.setattr("golfpipe.store.artifact.Artifact._check_size", lambda self, path, entry: None)
    assert mutants.break_part(small, 1500, seed=1).failures


def test_bombs_are_refused_before_they_go_off(small):
    found = bombs.run_on(small, bombs.all_bombs()[::5])
    assert found["failures"] == []
    assert found["peak_bytes_over_baseline"] < bombs.MEMORY_BYTES


def test_attacks_come_to_nothing(finished, tmp_path):
    chosen = [attack for attack in all_attacks() if attack.name.startswith(SHORT_ATTACKS)]
    assert len(chosen) >= len(SHORT_ATTACKS)
    assert attacks.run_on(finished, tmp_path, chosen)["failures"] == []


def test_an_attack_that_works_is_found_out(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("golfpipe.store.artifact_writer._refuse_links", lambda partial: None)
    chosen = [attack for attack in all_attacks() if attack.name.startswith("the log of an interrupted run is a")]
    assert len(attacks.run_on(finished, tmp_path, chosen)["failures"]) == len(chosen) == 2


def test_no_configuration_ends_in_a_traceback():
    assert configurations.run(120, seed=1)["failures"] == []


def test_bytes_of_texts_in_many_scripts():
    found = byte_counts.run(80, seed=1)
    assert found["failures"] == []
    assert found["outcomes"]["300 pieces"] == {"equal": 80}
    assert found["outcomes"]["no byte pieces"]["refused, piece named"] > 40
