"""The user's own scorers: honest ones of each kind pass, and each way to break a rule is caught and named."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import file_scorers
import numpy as np
import pytest

from golfpipe.cli.app import main
from golfpipe.data.token_data import load_tokenizer
from golfpipe.errors import StageFailed, UsageError
from golfpipe.review.trial import METHOD_RULES
from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.submission.rules import check_rules
from golfpipe.submission.trial import process
from golfpipe.submission.trial.data_copy import copy_data
from golfpipe.submission.trial.experiments import compare, silent
from golfpipe.submission.trial.file_scorer import TEMPLATE, FileScorer
from golfpipe.submission.trial.findings import CutsFound, Opened
from golfpipe.submission.trial.room import findings_of
from golfpipe.submission.trial.strace_log import strace_command

HAS_STRACE = strace_command(Path("/dev/null")) is not None
NOTHING = Opened(watcher="audit hook", files=(), sockets=(), allowed_files=2)
QUICK = ["--threads", "1", "--device", "cpu", "-q"]


@pytest.fixture
def alone(monkeypatch, tmp_path, chain):
    """What a clean process has to itself: import path, modules, settings of torch, and the copy of the data."""
    copy_data(chain.data, tmp_path / "data", 0)
    monkeypatch.setenv("GOLFPIPE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("torch.use_deterministic_algorithms", lambda *arguments, **more: None)
    yield
    sys.modules.pop("scorer", None)


def judged(source: str, folder: Path) -> dict[int, tuple[str, str]]:
    """Put the file on trial, its two processes one after the other in this one; rule -> (status, evidence)."""
    file = folder / "scorer.py"
    file.write_text(source)
    request = {
        "file": str(file), "data": str(folder / "data"), "threads": 1, "targets": None,
    }  # fmt: skip
    first = request | {"restarted": False, "scores": str(folder / "first.npy")}
    second = request | {"restarted": True, "scores": str(folder / "second.npy")}
    found, _ = [process.put_on_trial(asked, process.file_scorer) for asked in (first, second)]
    nats = [np.load(asked["scores"]) for asked in (first, second)]
    executed = findings_of(
        json.loads(json.dumps(found)),
        restarted=compare(*nats, found["restart_cut"] - 1, CutsFound.TOLERANCE),
        opened=NOTHING,
        own_bytes=file.stat().st_size,
        split_targets=8444,
    )
    rules = check_rules(Facts(runs=(RunFacts(executed=executed),)))
    return {rule.number: (rule.status, rule.evidence) for rule in rules if rule.number in METHOD_RULES}


@pytest.mark.parametrize("what", file_scorers.HONEST)
def test_honest_scorers_pass(alone, tmp_path, what):
    source = file_scorers.HONEST[what]
    rules = judged(source, tmp_path)
    assert {number: status for number, (status, _) in rules.items()} == dict.fromkeys(METHOD_RULES, "pass")
    assert "a counter of exactly 1 for each" in rules[3][1]
    ordered = "def plan" in source
    assert ("scores depend on the order that order() gives" in rules[4][1]) == ordered
    assert ("everything replaced that is scored after a cut" in rules[4][1]) == ordered
    assert ("stay without the text's last third" in rules[4][1]) != ordered
    assert ("probabilities() at 100 positions" in rules[5][1]) == (what == "counts that learn after each score")


@pytest.mark.parametrize("what", file_scorers.DISHONEST)
def test_dishonest_scorers_are_caught(alone, tmp_path, what):
    source, number, evidence = file_scorers.DISHONEST[what]
    status, said = judged(source, tmp_path)[number]
    assert status == "fail" and re.search(evidence, said), said


def scorer_of(source: str, folder: Path, chain) -> FileScorer:
    file = folder / "scorer.py"
    file.write_text(source)
    return FileScorer(file, load_tokenizer(chain.data))


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("", UsageError, r"scorer\.py: expected a function score\(tokens, \.\.\.\), found None"),
        ("score = 3", UsageError, r"found 3"),
        ("def score(tokens): return 0\norder = 'x'", UsageError, r"expected a function order"),
        ("1 / 0", StageFailed, r"scorer\.py, line 1: the file raised ZeroDivisionError: division by zero"),
        ("\ndef score(tokens:", StageFailed, r"scorer\.py, line 2: the file raised SyntaxError"),
        ("raise SystemExit(3)", StageFailed, r"raised SystemExit: 3"),
    ],
)
def test_a_file_that_is_no_scorer_is_refused_with_its_line(alone, tmp_path, chain, source, error, words):
    with pytest.raises(error, match=words):
        scorer_of(source, tmp_path, chain)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def score(tokens):\n    return tokens['x']", r"line 2: score\(\) raised IndexError"),
        ("def score(tokens): return 'many'", r"score\(\) gave no numbers but str"),
        ("def score(tokens): return 1.5", r"score\(\) gave shape \[\], expected 1 axes"),
        ("def score(tokens): return tokens[1:]\ndef order(tokens): return [0, 0, 1]", r"order\(\) gave 3 numbers"),
        ("def score(tokens): return tokens[1:]\ndef order(tokens): return [0.5, 1, 2]", r"each of 0 to 2 once"),
        (
            "def score(tokens): return tokens[1:]\ndef probabilities(tokens, targets): return tokens[None]",
            r"probabilities\(\) gave \[1, 4\], expected \[2, 384\]",
        ),
    ],
)
def test_what_a_function_gives_wrongly_is_told(alone, tmp_path, chain, source, words):
    scorer, tokens = scorer_of(source, tmp_path, chain), np.array([1, 5, 6, 7], dtype=np.uint16)
    with pytest.raises(StageFailed, match=words):
        scorer.score(tokens, silent)
        scorer.order(tokens)
        scorer.probabilities(tokens, np.array([0, 2]))


def test_tensors_of_torch_are_numbers_and_the_text_is_the_scorers_own_copy(alone, tmp_path, chain):
    source = "import torch\ndef score(tokens):\n    tokens[:] = 0\n    return torch.ones(3, requires_grad=True)\n"
    tokens = np.array([1, 5, 6, 7], dtype=np.uint16)
    told: list[tuple[int, float]] = []
    nats = scorer_of(source, tmp_path, chain).score(tokens, lambda count, total: told.append((count, total)))
    assert nats.tolist() == [1.0, 1.0, 1.0] and told == [(3, 3.0)] and tokens.tolist() == [1, 5, 6, 7]


def test_the_example_passes_as_it_is_printed(chain, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["trial", "--example"]) == 0
    printed = capsys.readouterr().out
    assert printed == TEMPLATE.read_text()
    Path("scorer.py").write_text(printed)
    assert main(["trial", "scorer.py", str(chain.data.path), "--json", "--strict", *QUICK]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {rule["number"]: rule["status"] for rule in answer["rules"]} == dict.fromkeys(METHOD_RULES, "pass")
    assert answer["metrics"]["own_bytes"] == len(printed) and answer["metrics"]["targets"] >= 1025
    assert 0 < answer["metrics"]["val_loss_nats"] < np.log(384) * 1.2
    assert any("Python is not sandboxed: scorer.py ran with your rights" in note for note in answer["notes"])


OPENS_THINGS = """
import socket

import shapes_of_it

WEIGHTS = np.load(Path(__file__).with_name("weights.npy"))
Path({validation!r}).read_bytes()
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
"""


def test_the_validation_data_and_a_socket_are_seen_and_own_files_are_not(chain, tmp_path, capsys):
    """One that is told with --allow is no finding, unless it is the data's own."""
    validation = str(next(chain.data.path.rglob("*val_*.bin")))
    np.save(tmp_path / "weights.npy", np.zeros(4))
    (tmp_path / "shapes_of_it.py").write_text("WIDTH = 3\n")
    (tmp_path / "scorer.py").write_text(file_scorers.COUNTS + OPENS_THINGS.format(validation=validation))
    allowed = [word for name in ("weights.npy", "shapes_of_it.py") for word in ("--allow", str(tmp_path / name))]
    command = ["trial", str(tmp_path / "scorer.py"), str(chain.data.path), *allowed, "--allow", validation]
    assert main([*command, "--targets", "1025", "--json", "--strict", *QUICK]) == 5
    answer = json.loads(capsys.readouterr().out)
    opened = answer["findings"]["opened"]
    assert opened["files"] == [str(Path(validation).resolve())]
    assert ("AF_INET" in opened["sockets"]) == HAS_STRACE and opened["sockets"]
    rules = {rule["number"]: rule for rule in answer["rules"]}
    assert rules[10]["status"] == "fail" and "val_" in rules[10]["evidence"]
    assert [rules[number]["status"] for number in (3, 4, 5, 6)] == ["pass"] * 4


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "expected SCORER.py and DATA"),
        (["missing.py", "{data}"], 2, "missing.py: there is no such file"),
        (["{data}", "{data}"], 2, "expected a Python file"),
        (["scorer.py", "{data}", "--allow", "no-weights.pt"], 2, "no-weights.pt: there is no such file"),
        (["scorer.py", "{packed}"], 3, "expected token_data"),
        (["scorer.py", "{data}", "--targets", "none"], 2, "--targets"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_runs(chain, tmp_path, monkeypatch, capsys, words, code, said):
    monkeypatch.chdir(tmp_path)
    Path("scorer.py").write_text("raise AssertionError")
    places = {"data": chain.data.path, "packed": chain.packed.path}
    assert main(["trial", *(word.format(**places) for word in words), "-q"]) == code
    assert said in capsys.readouterr().err
