"""What the shell completes, through typer's own protocol, and `config show --origin`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from golfpipe.cli.app import main
from golfpipe.cli.completion import complete_preset, complete_setting


def _completed(words: str) -> list[str]:
    environment = os.environ | {
        "_GOLFPIPE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "golfpipe"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_asks_and_is_answered() -> None:
    assert _completed("golfpipe qua") == ["quantize"]
    assert _completed("golfpipe train --preset ti") == ["tiny"]
    assert "quantize.mlp.bits=" in _completed("golfpipe quantize x --set quantize.mlp.")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("golfpipe sweep x --grid pack.coder = r", ["range"]),
        ("golfpipe sweep x --grid pack.coder =", ["range", "nibble"]),
        ("golfpipe train --preset = ti", ["tiny"]),
    ],
)
def test_bash_takes_an_equals_sign_for_the_end_of_a_word(words: str, completed: list[str]) -> None:
    assert _completed(words.replace(" ", "\n")) == completed


def test_settings_complete_to_keys_and_choices() -> None:
    assert complete_setting("pack.cod") == ["pack.coder=", "pack.code_bytes_reserve="]
    assert complete_setting("pack.coder=") == ["pack.coder=range", "pack.coder=nibble"]
    assert complete_setting("train.ema_bias_correction=t") == ["train.ema_bias_correction=true"]
    assert complete_setting("model.kv_sharing=") == ["model.kv_sharing=none", "model.kv_sharing=all"]
    assert complete_setting("train.max_steps=") == complete_setting("nothing.at.all=") == []


def test_presets_come_with_their_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dict(complete_preset(""))
    assert "16-layer" in names["16l"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages.yaml").write_text("presets: {")
    assert complete_preset("") == []  # a broken file must not print a traceback into the shell


def test_origins_of_what_is_not_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--preset", "tiny", "--set", "train.max_steps=7", "--origin"]) == 0
    rows = capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]
    assert rows[0].split() == ["train.max_steps", "7", "--set"]
    assert all(row.endswith(("--set", "preset tiny")) for row in rows) and len(rows) > 10
