"""Short versions of `reliability`: damaged and forged files, bombs, attacks, texts of strangers, odd settings and
texts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from reliability import attacks, bombs, byte_counts, configurations, injections, mutants
from reliability.attack_list import all_attacks
from reliability.specimens import SmallRun, build

SHORT_ATTACKS = (
    "pickle in a checkpoint: os.system", "zip with two data.pkl", "stages.yaml: !!python/object/apply:os.system",
    "manifest lists '../../../outside/secret'", "a step named ../../../outside/x", "the unfinished output is a link",
    "a temporary file is a link", "the log of an interrupted run is a hard link", "manifest is a pipe",
    "the only tokenizer is a pipe", "records script that would run", "markup in a manifest",
)  # fmt: skip
SHORT_INJECTIONS = {
    "pip as value of manifest.json: provenance.packages.torch (lines)",
    "Python as value of manifest.json: provenance.packages.numpy (lines)",
    "SLURM as value of manifest.json: metrics.stop_reason (lines)",
    "YAML as value of manifest.json: config.submit.blurb (lines)",
    "Markdown as value of manifest.json: provenance.device_name (lines)",
    "HTML as value of submission.json: author (lines)",
    "shell as name of run (lines)",
    "terminal as value of .train.lock: host (lines)",
    "terminal as value of manifest.json: stage (json)",
    "terminal as value of manifest.json: metrics.method (terminal)",
    "terminal as name of manifest.json: files.train.log (lines)",
    "everything as name of manifest.json: config.pack.code_bytes_reserve (lines)",
    "everything as name of manifest.json: digest (lines)",
    "HTML as value of report.json: tensors.*.name (lines)",
    "everything as name of report.json: tensors (lines)",
}


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
    assert any(mutants.break_part(small, 100, seed).failures for seed in range(1, 16))


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


@pytest.fixture
def held(small):
    injections.hold(small.folder)
    return small.folder


@pytest.mark.parametrize("part", range(3))
def test_texts_of_strangers_come_to_nothing(held, tmp_path, part):
    every = injections.all_injections(held)
    chosen = [one for one in every if str(one) in SHORT_INJECTIONS]
    assert len(chosen) == len(SHORT_INJECTIONS) and len(every) > 3000
    # A file of the records folder, whose name has the date of the day in it.
    chosen.append(next(one for one in every if str(one).startswith("pip as name") and "submission.json" in str(one)))
    found = injections.run_on(held, tmp_path, chosen[part::3])
    assert found["failures"] == []
    assert {"README.md", "report.html"} <= found["files_changed"].keys()
    assert part > 0 or {"launch_modal.py", "requirements.txt"} <= found["files_changed"].keys()


def test_a_text_that_gets_through_is_found_out(held, tmp_path, monkeypatch):
    monkeypatch.setattr("golfpipe.visible._IN_LINE", re.compile("(?!)"))
    monkeypatch.setattr("golfpipe.store.metric_values._VERSION", re.compile("(?s).*"))
    packages = ("manifest.json", ("provenance", "packages", "torch"))
    chosen = [injections.Injection(packages, "value", "pip"), injections.Injection("run", "name", "terminal")]
    found = injections.run_on(held, tmp_path, chosen)["failures"]
    assert any(one.startswith("pip as value") and "a generated file cannot be parsed" in one for one in found)
    assert any(one.startswith("terminal as name of run") and "control characters" in one for one in found)


def test_no_configuration_ends_in_a_traceback():
    assert configurations.run(120, seed=1)["failures"] == []


def test_bytes_of_texts_in_many_scripts():
    found = byte_counts.run(80, seed=1)
    assert found["failures"] == []
    assert found["outcomes"]["300 pieces"] == {"equal": 80}
    assert found["outcomes"]["no byte pieces"]["refused, piece named"] > 40
