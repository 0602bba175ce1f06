"""Fixtures that several packages' tests share."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import fake_stages
import pytest
from executed_numbers import HONEST
from fake_run import FakeRun
from small_chain import write_small_stages, write_texts
from stage_chain import Chain, packed_chain

from golfpipe.cli.app import main
from golfpipe.data.demo_corpus import demo_documents
from golfpipe.jobs.registry import STAGES


@pytest.fixture(scope="session", autouse=True)
def no_waiting() -> Iterator[None]:
    """Nothing waits for the disk (reliability/ is about that), and the text that comes with Python is parsed once."""
    documents = functools.cache(demo_documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        patch.setattr("golfpipe.stages.data_demo.demo_documents", lambda: list(documents()))
        yield


@pytest.fixture
def faked_stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every stage is a fake one; returns the list of those that ran."""
    for name, stage in STAGES.items():
        monkeypatch.setitem(STAGES, name, replace(stage, module="fake_stages"))
    fake_stages.CALLS.clear()
    return fake_stages.CALLS


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my-texts, artifacts/data/{demo,x} and the runs artifacts/{demo,a}: train, quantize, pack, evaluate-pack."""
    folder = tmp_path_factory.mktemp("finished")
    write_small_stages(folder)
    write_texts(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            ["data", "demo", "-q"],
            ["data", "tokenize", "my-texts", "-o", "artifacts/data/x", "-q"],
            ["train", "artifacts/data/demo", "--preset", "demo", "--name", "demo", "--threads", "1", "-q"],
            ["quantize", "artifacts/demo/train", "-q"],
            ["pack", "artifacts/demo/quantize", "-q"],
            ["evaluate", "artifacts/demo/pack", "-q"],
        ):
            assert main(words) == 0
    shutil.copytree(folder / "artifacts" / "demo", folder / "artifacts" / "a")
    return folder


@pytest.fixture
def run_folder(finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished runs, which becomes the working directory."""
    folder = tmp_path / "work"
    shutil.copytree(finished_runs, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """data -> train -> quantize -> pack, made once."""
    return packed_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def fresh(chain: Chain, tmp_path: Path) -> Callable[[str], str]:
    """A path for an output of this test alone."""
    return lambda name: str(tmp_path / name)


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    """A finished run, whose files were written and not computed."""
    return FakeRun(tmp_path / "artifacts" / "alpha").build()


@pytest.fixture
def quick_submissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submissions without what takes seconds: a generated script (they have none, and must say so), and the trial of
    the scoring method (a fake run has no weights)."""
    monkeypatch.setattr("golfpipe.stages.submit.execute", lambda lineage, **more: HONEST)
    monkeypatch.setattr("golfpipe.stages.submit.script_obstacle", lambda config: "a fake run has none")
