"""The same seed gives the same bytes: again, by single commands and by `run`, by one process or eight that tokenize,
and, where the kernels allow it, by one thread or two.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from golfpipe.cli.app import main
from reliability.stage_commands import content_of, ready_script, run_child, run_words, words_of, workplace

CHAIN = ("quantize", "pack", "ttt", "evaluate-pack")
LARGER = (
    "--config", str(Path(__file__).parents[1] / "stages.yaml"), "--preset", "demo", "--set", "train.max_steps=3",
    "--set", "train.validation_targets=1024", "--set", "evaluate.max_targets=1024", "--set", "ttt.cosine.epochs=1",
    "--set", "model.vocab_size=300",
)  # fmt: skip
"""0.9 M parameters, where kernels split their work among threads."""


def run(count: int, seed: int) -> dict[str, Any]:
    """`count` seeds, from `seed` on."""
    failures: list[str] = []
    threads: dict[str, dict[str, int]] = {"smallest": {}, "0.9 M parameters": {}}
    with workplace() as folder, ready_script():
        log = folder / "log"
        _tokenizing(folder, log, failures)
        for number in range(seed, seed + count):
            chains = {
                name: _chain(folder / f"{name}-{number}", log, "--seed", str(number)) for name in ("once", "again")
            }
            chains["run"] = _run(folder, log, f"run-{number}", "--seed", str(number))
            for name in ("again", "run"):
                failures += [
                    f"seed {number}: {step} of {name} differs"
                    for step, content in chains["once"].items() if chains[name][step] != content
                ]  # fmt: skip
            two = _chain(folder / f"two-{number}", log, "--seed", str(number), threads=2)
            _count_equal(threads["smallest"], chains["once"], two)
            larger = [
                _chain(folder / f"larger{used}-{number}", log, "--seed", str(number), *LARGER, threads=used)
                for used in (1, 2)
            ]
            _count_equal(threads["0.9 M parameters"], *larger)
    return {"seeds": count, "equal_with_1_and_2_threads": threads, "failures": failures}


def _tokenizing(folder: Path, log: Path, failures: list[str]) -> None:
    contents = []
    for processes in ("1", "8"):
        out = folder / f"tokens-{processes}"
        words = words_of("data tokenize", out)
        words[words.index("--processes") + 1] = processes
        if processes == "1":
            _checked(run_words(words, log).code, log)
        else:  # these are children themselves, started afresh
            with contextlib.redirect_stdout(io.StringIO()):
                _checked(main(words), log)
        contents.append(content_of(out))
    if contents[0] != contents[1]:
        failures.append("tokens of 1 and of 8 processes differ")


def _chain(place: Path, log: Path, *options: str, threads: int = 1) -> dict[str, tuple[str, ...] | None]:
    """Step -> content, by single commands; settings are those of training from then on."""
    manner = ["--threads", str(threads), "-q"]
    train = ["train", "artifacts/data/texts", "-o", str(place / "train"), *manner, *options]
    _checked(run_child(lambda: main(train), log).code, log)
    for command, source, out in (
        ("quantize", "train", "quantize"), ("pack", "quantize", "pack"), ("ttt", "pack", "ttt"),
        ("evaluate", "pack", "evaluate-pack"),
    ):  # fmt: skip
        words = [command, str(place / source), "-o", str(place / out), *manner]
        _checked(run_child(lambda words=words: main(words), log).code, log)
    return {step: content_of(place / step) for step in ("train", *CHAIN)}


def _run(folder: Path, log: Path, name: str, *options: str) -> dict[str, tuple[str, ...] | None]:
    """The same by `golfpipe run`."""
    words = ["run", "artifacts/data/texts", "--name", name, "--threads", "1", "-q", *options]
    _checked(run_child(lambda: main(words), log).code, log)
    return {step: content_of(folder / "artifacts" / name / step) for step in ("train", *CHAIN)}


def _count_equal(equal: dict[str, int], one: dict[str, Any], two: dict[str, Any]) -> None:
    """Step -> how often its content was the same."""
    for step, content in one.items():
        equal[step] = equal.get(step, 0) + (content == two[step])


def _checked(code: int, log: Path) -> None:
    if code:
        raise RuntimeError(log.read_text())
