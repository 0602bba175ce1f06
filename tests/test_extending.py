"""The files and lines of docs/extending.md, added to a copy of golfpipe, work in every command; without them, what they
made is refused by name."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_chain import ROOT
from warm_process import warm_process

from golfpipe.cli.app import main
from golfpipe.store.artifact import open_artifact

PAGE = (ROOT / "docs" / "extending.md").read_text()
COMMANDS = {
    command.split()[1]: command
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for command in block.splitlines()
}


def blocks(opening: str) -> list[tuple[str, str]]:
    """(path, text) of the page's blocks whose first line ends with `opening`=path."""
    return re.findall(rf"^```\w+ {opening}=(\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with golfpipe's package, to which the page's files and lines are added and nothing else."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "golfpipe", folder / "golfpipe", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "stages.yaml", folder)
    for path, text in blocks("file"):
        assert not (folder / path).exists()
        (folder / path).write_text(text)
    for path, line in blocks("line"):
        assert line.count("\n") == 1
        table = (folder / path).read_text()
        first = re.search(r'^.*"golfpipe\.', table, re.MULTILINE)
        assert first is not None
        (folder / path).write_text(table[: first.start()] + line + table[first.start() :])
    return folder


@pytest.fixture(scope="module")
def golfpipe(extended: Path) -> Iterator[Callable[[str, Path], str]]:
    """Run a command of the extended package in a folder; returns what it printed."""
    with warm_process({"PYTHONPATH": str(extended)}) as process:

        def run(command: str, folder: Path) -> str:
            done = process.run(shlex.split(command)[1:], folder)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            return done.stdout

        yield run


@pytest.fixture(scope="module")
def made(golfpipe: Callable[[str, Path], str], finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's commands ran, except the two that look at what the others made."""
    folder = tmp_path_factory.mktemp("mine") / "work"
    shutil.copytree(finished_runs, folder)
    for command in COMMANDS.values():
        if command not in (COMMANDS["audit"], COMMANDS["submit"]):
            golfpipe(command, folder)
    return folder


def test_there_is_one_file_and_one_line_of_each_kind() -> None:
    assert len(blocks("file")) == len(blocks("line")) == 3


def test_what_is_added_works_in_the_stages(made: Path) -> None:
    assert list(COMMANDS) == ["quantize", "pack", "evaluate", "ttt", "audit", "submit"]
    mine = made / "artifacts/mine"
    plain, adapted = (json.loads((mine / f / "manifest.json").read_text()) for f in ("evaluate-pack", "ttt"))
    assert adapted["kind"] == "evaluation" and adapted["metrics"]["eligible"] is True
    assert adapted["metrics"]["val_bpb"] != plain["metrics"]["val_bpb"]


def test_the_audit_executes_what_is_added(made: Path, golfpipe: Callable[[str, Path], str]) -> None:
    said = golfpipe(COMMANDS["audit"], made)
    for number in (3, 4, 5, 6):
        assert re.search(rf"^pass +{number}\. ", said, re.MULTILINE), said


def test_the_script_holds_what_is_added(made: Path, extended: Path, golfpipe: Callable[[str, Path], str]) -> None:
    assert "train_gpt.py alone gives the stages' numbers to the last digit" in golfpipe(COMMANDS["submit"], made)
    (readme,) = (made / "artifacts/mine/submit").rglob("README.md")
    assert "to the last digit" in readme.read_text()  # by the script, which holds the three files
    for path, _ in blocks("file"):
        (about,) = re.findall(r'about = "(.*)"', (extended / path).read_text())
        assert about in readme.read_text()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("unpack artifacts/mine/pack", 3, "unknown coder 2"),
        ("evaluate artifacts/mine/pack --set evaluate.stride=16", 3, "unknown coder 2"),
        ("submit artifacts/mine/ttt -o artifacts/mine/again", 2, "unknown"),
        ("audit artifacts/mine/ttt --execute", 2, "ttt.method: unknown test-time training method score_first_gains"),
        ("ttt artifacts/demo/pack --set ttt.method=score_first_gains", 2, "unknown test-time training method"),
        ("quantize artifacts/demo/train --set quantize.method=toward_zero", 2, "unknown quantizer toward_zero"),
        ("pack artifacts/demo/quantize --set pack.coder=zlib", 2, "unknown coder zlib"),
    ],
)
def test_without_it_what_it_made_is_refused_by_name(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(made)
    assert main(shlex.split(command)) == code
    assert message in capsys.readouterr().err


def test_settings_carried_by_a_model_choose_nothing_else_where_they_are_unknown(
    golfpipe: Callable[[str, Path], str], run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantize = "golfpipe quantize artifacts/demo/train -o artifacts/b/quantize --set ttt.method=score_first_gains"
    golfpipe(quantize, run_folder)
    golfpipe("golfpipe pack artifacts/b/quantize", run_folder)
    assert main(["ttt", "artifacts/b/pack"]) == 2
    assert "ttt.method: unknown test-time training method score_first_gains" in capsys.readouterr().err
    assert main(["evaluate", "artifacts/b/pack"]) == 0  # which does not heed it
    assert main(["ttt", "artifacts/b/pack", "--set", "ttt.method=score_first_sgd"]) == 0
    assert open_artifact(Path("artifacts/b/ttt")).manifest.config["ttt"]["method"] == "score_first_sgd"
