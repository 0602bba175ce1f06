"""Every command with every kind of input that it does not take: one answer, whose command parses and runs.

docs/inputs.md holds the answers, and is compared with what the commands say.
"""

from __future__ import annotations

import io
import itertools
import shlex
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import fake_stages
import pytest
import torch
from executed_numbers import HONEST
from printed_commands import commands_in, parse
from small_chain import ROOT

from golfpipe.cli.app import COMMANDS, GROUPS, main
from golfpipe.jobs.registry import STAGES
from golfpipe.submission.trial.file_scorer import TEMPLATE

INPUTS = {
    "a text file": "my-texts/3.txt",
    "a folder of texts": "my-texts",
    "a folder of shards": "shards",
    "a run": "artifacts/demo",
    "token data": "artifacts/data/x",
    "a trained model": "artifacts/demo/train",
    "a quantized model": "artifacts/demo/quantize",
    "a packed model": "artifacts/demo/pack",
    "an evaluation": "artifacts/demo/evaluate-pack",
    "a checkpoint of torch.save": "final_model.pt",
    "an empty folder": "empty",
    "nothing": "nowhere",
    "a mistake of writing": "artifacts/dmeo/train",
}
ARTIFACTS = tuple(list(INPUTS)[4:9])
MODELS = ARTIFACTS[1:4]
TEXT = ("a text file", "a folder of texts")
TAKES: dict[str, tuple[str, ...]] = {
    "plan PATH --bytes 14e3 --seconds 1": (*TEXT, "token data"),
    "run PATH": ("token data",),
    "data tokenize PATH": (*TEXT, "a checkpoint of torch.save"),  # it reads a file of any name, see below
    "data add PATH": ("a folder of shards",),
    "data inspect PATH": ("token data", "a folder of shards"),
    "train PATH": ("token data",),
    "train artifacts/data/x --name more --init PATH": MODELS,
    "train artifacts/data/x --name more --replay PATH": ("a trained model",),
    "import PATH": ("a checkpoint of torch.save",),
    "quantize PATH": ("a trained model",),
    "pack PATH": ("a quantized model",),
    "ttt PATH": MODELS,
    "evaluate PATH": (*MODELS, "an evaluation"),
    "evaluate artifacts/demo/pack PATH": ("token data",),
    "evaluate merge PATH": (),
    "submit PATH": ("an evaluation",),
    "ls PATH": (*tuple(list(INPUTS)[1:9]), "an empty folder"),
    "status PATH": ("a run",),
    "sweep PATH --grid quantize.mlp.bits=4 --dry-run": (*TEXT, *ARTIFACTS[:4]),
    "diff PATH artifacts/a": ("a run", *ARTIFACTS),
    "compare PATH artifacts/a/evaluate-pack": ("an evaluation",),
    "audit PATH": ("a run", *ARTIFACTS),
    "trial scorer.py PATH": ("token data",),
    "generate PATH --tokens 2": MODELS,
    "unpack PATH": ("a packed model",),
    "clean PATH": ("a run", *ARTIFACTS),
    "report PATH": ("a run", *ARTIFACTS[1:]),
    "config show PATH": ARTIFACTS,
}
"""Each command, and what it takes; on the rest it must answer."""
PATHLESS = {
    *("data demo", "data fetch", "config docs", "config init", "presets", "doctor"),
    *("vendor decompress", "vendor compress"),
}


LOOKS = ("generate", "compare", "unpack", "report", "audit", "diff", "sweep", "trial")
DRY = (["data", "tokenize"], ["data", "add"], ["data", "demo"])


@dataclass(frozen=True)
class Answer:
    command: str
    given: str
    code: int
    hint: str
    """What stands after "hint: "."""

    @property
    def lines(self) -> list[str]:
        return commands_in(self.hint)


def prepare(folder: Path) -> None:
    """One of each kind of input, beside the finished runs."""
    shards = folder / "shards"
    shards.mkdir()
    data = folder / "artifacts/data/demo"
    for path in (*data.glob("*.bin"), *data.glob("*.model")):
        shutil.copy(path, shards)
    (folder / "empty").mkdir()
    shutil.copy(TEMPLATE, folder / "scorer.py")
    torch.save({"weight": torch.zeros(3)}, folder / "final_model.pt")


@pytest.fixture(scope="module")
def work(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory of this file, with stages that cost nothing."""
    folder = tmp_path_factory.mktemp("inputs") / "work"
    shutil.copytree(finished_runs, folder)
    prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, stage in STAGES.items():
            if name != "data-add":
                patch.setitem(STAGES, name, replace(stage, module="fake_stages"))
        patch.setattr("golfpipe.review.trial.execute_file", lambda file, data, **more: HONEST)
        yield folder


@pytest.fixture(scope="module")
def answers(work: Path) -> list[Answer]:
    fake_stages.CALLS.clear()
    found = []
    for command, given in itertools.product(TAKES, INPUTS):
        if given in TAKES[command]:
            continue
        code, said = run(shlex.split(command.replace("PATH", INPUTS[given])))
        assert code, (command, given)
        error, *hints = [line for line in said.splitlines() if line.startswith(("error: ", "hint: "))]
        assert error.startswith("error: "), (command, given, error)
        assert len(hints) == 1 and hints[0].startswith("hint: "), (command, given, error, hints)
        found.append(Answer(command, given, code, hints[0].removeprefix("hint: ")))
    assert fake_stages.CALLS == [], "an input of a wrong kind was worked on"
    return found


def run(words: list[str]) -> tuple[int, str]:
    """The exit code of a command, and what it wrote to stderr."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        return main(words), said.getvalue()


def test_every_command_that_takes_a_path_is_here() -> None:
    sections = {id(group): f"{name} " for group, name, _ in GROUPS}
    names = {f"{sections.get(id(app), '')}{name}" for app, name, _, _ in COMMANDS}
    assert names - PATHLESS == {name for name in names for command in TAKES if command.startswith(f"{name} ")}


def test_the_answer_leads_to_what_was_meant(answers: list[Answer]) -> None:
    hints = {(answer.command, answer.given): answer.hint.partition("; try: ")[2] for answer in answers}
    for (command, given), hint in hints.items():
        if given == "a run" and "PATH" in command and not command.startswith(("import", "evaluate merge", "data")):
            takes = TAKES[command]
            assert any(INPUTS[kind] in hint for kind in takes) or "artifacts/data/demo" in hint, (command, hint)
            assert hint.count("golfpipe") == 1
        if given == "a mistake of writing" and "a trained model" in TAKES[command] and command != "report PATH":
            assert hint == f"golfpipe {command.replace('PATH', 'artifacts/demo/train')}"


def page(answers: list[Answer]) -> Iterator[str]:
    """The text of docs/inputs.md."""
    yield PAGE_START
    for given, group in itertools.groupby(
        sorted(answers, key=lambda a: list(INPUTS).index(a.given)), lambda a: a.given
    ):
        taken = [f"`{command.replace('PATH', INPUTS[given])}`" for command, takes in TAKES.items() if given in takes]
        yield f"\n## {given[0].upper()}{given[1:]}: `{INPUTS[given]}`\n"
        if taken:
            yield f"Taken by {', '.join(taken)}.\n"
        yield "| command | exit code | what it tells you to do |\n|---|---|---|"
        for answer in group:
            command = answer.command.replace("PATH", INPUTS[given])
            yield f"| `{command}` | {answer.code} | {_in_quotes(answer.hint)} |"


def _in_quotes(hint: str) -> str:
    start, separator, line = hint.rpartition(": ")
    return f"{start}{separator}<br>`{line}`" if line.startswith("golfpipe ") else hint


PAGE_START = """# What every command says to a wrong input

A path that a command cannot use is answered with the line that leads on: the commands that make what is missing, and
then your own command with the right path in it. The page shows the answer of every command to every kind of input, in
a folder with the run `artifacts/demo`, its copy `artifacts/a`, and the token data `artifacts/data/{demo,x}`. A test
gives all these inputs to all these commands, compares the answers with this page, and runs them."""


def test_the_page_holds_the_answers(answers: list[Answer], tmp_path: Path) -> None:
    text = "\n".join(page(answers)) + "\n"
    made = tmp_path / "inputs.md"
    made.write_text(text)
    assert (ROOT / "docs" / "inputs.md").read_text() == text, f"{made} is the page as it should be"


def test_each_answer_is_a_line_of_commands_that_run(answers: list[Answer], work: Path) -> None:
    ran: set[tuple[str, ...]] = set()
    looked: set[str] = set()
    for answer in answers:
        assert answer.code in (2, 3), answer
        assert answer.lines, answer
        for line in answer.lines:
            parse(line)
        if tuple(answer.lines) not in ran:
            ran.add(tuple(answer.lines))
            _run(answer, looked)
    assert len(ran) > 80


def _run(answer: Answer, looked: set[str]) -> None:
    """Run the commands, those of stages with --dry-run; what they would make is put there from the finished runs. A
    command that reads what is in artifacts runs once."""
    for line in answer.lines:
        words = shlex.split(line)[1:]
        if words[0] in ("import", "trial") or words[:2] == ["data", "fetch"]:
            return
        code, said = run(
            [*words, "--dry-run"] if words[0] in STAGES or words[:2] in DRY or words[0] == "run" else words
        )
        assert code == 0, (answer, line, said)
        if words[:2] == ["data", "tokenize"]:
            shutil.copytree("artifacts/data/x", f"artifacts/data/{Path(words[2]).stem}", dirs_exist_ok=True)
        elif words[:2] == ["data", "add"]:
            assert run(words)[0] == 0
        elif words[0] == "run" and line != answer.lines[-1]:
            shutil.copytree("artifacts/demo", f"artifacts/{words[words.index('--name') + 1]}", dirs_exist_ok=True)
