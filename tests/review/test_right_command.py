"""Tests of golfpipe/review/right_command.py. What it says to each wrong input is in tests/cli/test_wrong_inputs.py."""

from __future__ import annotations

from golfpipe.errors import ArtifactError
from golfpipe.review.right_command import with_right_command
from tests.fake_run import FakeRun


def test_without_a_command_there_is_none_to_put_right(fake: FakeRun) -> None:
    trained = str(fake.build().open("train").path)
    error = ArtifactError(f"{trained}: kind trained_model", wanted=("packed_model",), path=trained)
    assert with_right_command(error, ()) is error
    assert error.hint is None
    assert "golfpipe audit" in (with_right_command(error, ("audit", trained)).hint or "")
