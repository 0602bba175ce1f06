"""Each stage as one command on the smallest model, run in a child that is forked from here, where torch is loaded."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from golfpipe.cli.app import main
from golfpipe.store.arrays import metadata_from_bytes
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.files import partial_folder
from reliability.specimens import build, working_in

_DATA, _RUN = "artifacts/data/texts", "artifacts/small"
COMMANDS: dict[str, tuple[str, ...]] = {
    "data tokenize": ("texts.jsonl", "--processes", "1", "--set", "data.shard_tokens=1024"),
    "data add": ("bare",),
    "import": ("final_model.pt",),
    "train": (_DATA,),
    "quantize": (f"{_RUN}/train",),
    "pack": (f"{_RUN}/quantize",),
    "ttt": (f"{_RUN}/pack", _DATA),
    "evaluate": (f"{_RUN}/pack", _DATA),
    "submit": (f"{_RUN}/evaluate-pack",),
}
"""Every stage that works offline; `data demo` is `data tokenize` on a larger text."""
BEFORE: dict[str, tuple[str, ...]] = {
    "data tokenize": ("--set", "data.val_fraction=0.3"),
    "train": ("--set", "train.max_steps=3"),
    "quantize": ("--set", "quantize.mlp.bits=5"),
    "pack": ("--set", "pack.coder=nibble"),
    "ttt": ("--set", "ttt.cosine.epochs=2"),
    "evaluate": ("--set", "evaluate.stride=8"),
    "submit": ("--set", "submit.blurb=before"),
}
"""Settings of the artifact that the command replaces. `train` then needs --force; the two that are not here have no
settings of their own, and start from an empty place."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code or the negative signal, and what it said."""

    code: int
    text: str
    seconds: float


@contextmanager
def workplace() -> Iterator[Path]:
    """A new folder that holds the chain, in which one is within. Everything heavy is then
    loaded, and no thread runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "work"
        shutil.copytree(_built(), folder)
        with working_in(folder):
            yield folder


@functools.cache
def _built() -> Path:
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp()).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    build(folder)
    return folder


def words_of(stage: str, out: Path, *more: str) -> list[str]:
    """The stage's command, writing to `out`."""
    return [*stage.split(), *COMMANDS[stage], "-o", str(out), "--threads", "1", "-q", *more]


@contextmanager
def ready_script() -> Iterator[None]:
    """Within: `submit` takes a script as generated before, which would take longer than all the rest."""
    from golfpipe.stages import submit as stage

    with mock.patch.object(stage, "_script", lambda job, lineages: (b"x" * 100, None)):
        yield


def start(work: Callable[[], int], log: Path) -> int:
    """Fork a child that does `work` and exits with what it returns; returns its process number."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work()
    finally:
        os._exit(code)


def wait(child: int, log: Path, started: float) -> Ended:
    _, status = os.waitpid(child, 0)
    text = log.read_text(errors="replace") if log.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), text, time.perf_counter() - started)


def run_child(
    work: Callable[[], int], log: Path, *, kill_after: float | None = None, by: int = signal.SIGKILL
) -> Ended:
    """Do `work` in a child, and send it the signal `by` after so many seconds, if it still runs."""
    started = time.perf_counter()
    child = start(work, log)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, by)
    return wait(child, log, started)


def run_words(words: list[str], log: Path) -> Ended:
    """Run one command in a child."""
    return run_child(lambda: main(words), log)


def content_of(out: Path) -> tuple[str, ...] | None:
    """Key, digest and the sha256 of every content file of the artifact at `out`; None where there is none.

    Raises ArtifactError where a file is not what the manifest says: a half file under a final name.
    """
    found: Artifact | None = try_open(out)
    if found is None:
        return None
    for name in found.manifest.files:
        found.file(name)
    content = sorted(f"{name} {entry.sha256}" for name, entry in found.manifest.files.items() if entry.content)
    return (found.manifest.key, found.manifest.digest, *content)


def leftovers(out: Path) -> list[str]:
    """Hidden siblings of `out` that its command left; none may stay after it has finished."""
    return sorted(path.name for path in out.parent.glob(f".{out.name}.*"))


def steps_saved(out: Path) -> int:
    """Return the steps in the checkpoint of an unfinished training; 0 where there is none."""
    checkpoint = partial_folder(out) / "checkpoint.safetensors"
    return int(metadata_from_bytes(checkpoint.read_bytes(), "")["steps_done"]) if checkpoint.exists() else 0


def is_complete(out: Path) -> bool:
    """Return True if the unfinished folder is an artifact already, which the next command puts in place: its checkpoint
    is removed before it is renamed."""
    return (partial_folder(out) / "manifest.json").exists()
