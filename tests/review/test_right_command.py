"""Tests of golfpipe/review/right_command.py. What it says to each wrong input is in tests/cli/test_wrong_inputs.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from golfpipe.errors import ArtifactError
from golfpipe.review.right_command import with_right_command
from tests.fake_run import FakeRun


def test_without_a_command_there_is_none_to_put_right(fake: FakeRun) -> None:
    trained = str(fake.build().open("train").path)
    error = ArtifactError(f"{trained}: kind trained_model", wanted=("packed_model",), path=trained)
    assert with_right_command(error, ()) is error
    assert error.hint is None
    assert "golfpipe audit" in (with_right_command(error, ("audit", trained)).hint or "")


@pytest.mark.parametrize(
    ("given", "tokenize", "rest"),
    [
        ("--preset plan-60kb --name x", "--preset plan-60kb -o artifacts/data/texts", "--preset plan-60kb --name x"),
        ("--preset tiny --name x", "", "--preset tiny --name x"),
        (
            "--set data.vocab_size=512 --name x --set train.max_steps=3",
            "--set data.vocab_size=512 -o artifacts/data/texts",
            "--name x --set train.max_steps=3",
        ),
    ],
)
def test_how_text_becomes_tokens_goes_to_the_command_that_makes_them(
    given: str, tokenize: str, rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a text")
    error = ArtifactError("texts: no manifest.json", wanted=("token_data",), path="texts")
    hint = with_right_command(error, ("run", "texts", *given.split())).hint or ""
    first, second = hint.partition("try: ")[2].split(" && ")
    assert first == f"golfpipe data tokenize texts {tokenize}".strip()
    assert second == f"golfpipe run artifacts/data/texts {rest}"
