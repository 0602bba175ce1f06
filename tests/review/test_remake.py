"""Files whose bits have changed: who says so, and the command that makes the artifact again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from golfpipe.cli.app import main
from golfpipe.review.remake import remake_command
from golfpipe.store.artifact import open_artifact

READS_IT = {
    "quantize": ["pack", "artifacts/demo/quantize", "-o", "artifacts/demo/again"],
    "pack": ["evaluate", "artifacts/demo/pack", "-o", "artifacts/demo/again"],
    "evaluate-pack": ["audit", "artifacts/demo/evaluate-pack"],
    "train": ["quantize", "artifacts/demo/train", "-o", "artifacts/demo/again"],
}


def _rot(folder: Path) -> None:
    """Turn one bit of the artifact's largest content file."""
    files = open_artifact(folder).manifest.files
    name = max((name for name, entry in files.items() if entry.content), key=lambda name: files[name].bytes)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("step", ["quantize", "pack", "evaluate-pack"])
def test_bit_rot_is_found_and_the_command_makes_the_same_again(
    run_folder: Path, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    folder = Path("artifacts/demo") / step
    before = open_artifact(folder).manifest.digest
    _rot(folder)
    assert main(["status", "artifacts/demo"]) == 0  # sizes and dates do not show it
    capsys.readouterr()
    assert main(["status", "artifacts/demo", "--verify", "--json"]) == 3
    out, err = capsys.readouterr()
    states = {line["name"]: (line["state"], line["reasons"]) for line in json.loads(out)["stages"]}
    assert [name for name, (state, _) in states.items() if state == "damaged"] == [step]
    assert "sha256 differs" in states[step][1][0]
    assert main(READS_IT[step]) == 3
    hint = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("hint: "))
    assert hint.removeprefix("hint: ") == states[step][1][1] and hint in err
    words = shlex.split(hint.partition("again, the same to the byte: ")[2])
    assert words[0] == "golfpipe" and "train" not in words[1:2]
    assert main([*words[1:], "-q"]) == 0
    assert open_artifact(folder).manifest.digest == before
    assert main(["status", "artifacts/demo", "--verify", "-q"]) == 0


def test_the_command_has_the_settings_that_the_inputs_do_not(run_folder: Path) -> None:
    own = ["--set", "quantize.mlp.bits=5", "--set", "quantize.clip_grid=[1.0, 0.9]"]
    assert main(["quantize", "artifacts/demo/train", "-o", "artifacts/demo/five", *own, "-q"]) == 0
    assert main(["ttt", "artifacts/demo/pack", "-o", "artifacts/demo/t", "--set", "ttt.method=cosine",
                 "--seed", "7", "-q"]) == 0  # fmt: skip
    for name in ("five", "t"):
        folder = Path("artifacts/demo") / name
        before = open_artifact(folder)
        command = remake_command(before)
        assert command is not None
        _rot(folder)
        assert main([*shlex.split(command)[1:], "-q"]) == 0
        assert open_artifact(folder).manifest.digest == before.manifest.digest


def test_a_trained_model_is_not_made_again_without_training(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _rot(Path("artifacts/demo/train"))
    assert main(READS_IT["train"]) == 3
    assert "only training again" in capsys.readouterr().err
