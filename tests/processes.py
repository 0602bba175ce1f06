"""Functions run in several real processes that have met through gloo, as torchrun's would."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent


def in_processes(function: Callable[..., Any], folder: Path, size: int = 2) -> list[Any]:
    """function(ProcessGroup) in `size` processes of one thread each; what each returned, by rank.

    `function` is at the top of a test module. A process that fails ends the test with what it printed.
    """
    words = [str(Path(__file__)), function.__module__, function.__name__, str(folder)]
    finished = run_processes(words, size)
    assert all(process.returncode == 0 for process in finished), "\n".join(process.stderr for process in finished)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(size)]


def run_processes(
    words: Sequence[str], size: int = 2, cwd: Path | None = None
) -> list[subprocess.CompletedProcess[str]]:
    """`python WORDS` in `size` processes with the environment that torchrun would give them, by rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = os.environ | {
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS), *sys.path]),
    }
    started = [
        subprocess.Popen(
            [sys.executable, *words],
            cwd=cwd,
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    printed = [process.communicate(timeout=120) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, out, err)
        for process, (out, err) in zip(started, printed, strict=True)
    ]


def _main(module: str, name: str, folder: str) -> None:
    import importlib

    from golfpipe.jobs.processes import join_processes

    group = join_processes("cpu")
    result = getattr(importlib.import_module(module), name)(group)
    Path(folder, f"{group.rank}.pickle").write_bytes(pickle.dumps(result))
    group.leave()
    # A gloo thread that outlives the group can abort the process at its end.
    left = [task for task in Path("/proc/self/task").glob("*/comm") if "gloo" in task.read_text()]
    assert not left, "gloo threads are left"


if __name__ == "__main__":
    _main(*sys.argv[1:])
