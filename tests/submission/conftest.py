"""Makes tests/fake_run.py importable and offers one finished run."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from executed_numbers import HONEST
from fake_run import FakeRun


@pytest.fixture(scope="module", autouse=True)
def no_fsync() -> Iterator[None]:
    """Nothing here is about durability, and a fake run waits for the disk 40 times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def honest_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record track runs the scoring methods, and a fake run has no weights to run."""
    monkeypatch.setattr("golfpipe.stages.submit.execute", lambda lineage, **more: HONEST)


@pytest.fixture(autouse=True)
def no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generating the script takes seconds; tests/bundle does it. Here submissions have none, and must say so."""
    monkeypatch.setattr("golfpipe.stages.submit.script_obstacle", lambda config: "a fake run has none")


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "artifacts" / "alpha").build()
