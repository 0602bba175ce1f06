"""Makes tests/fake_run.py importable and offers one finished run."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fake_run import FakeRun


@pytest.fixture(scope="module", autouse=True)
def no_script() -> Iterator[None]:
    """Generating the script takes seconds; tests/script does it. Here submissions have none, and must say so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("golfpipe.stages.submit.script_obstacle", lambda config: "a fake run has none")
        yield


@pytest.fixture
def fake(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "artifacts" / "alpha").build()
