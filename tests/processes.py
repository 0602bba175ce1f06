"""Functions run in several real processes that have met through gloo, as torchrun's would; and one in a terminal."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
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


def in_terminal(words: Sequence[str], steps: Sequence[tuple[bytes, bytes]], seconds: float = 60) -> tuple[bytes, int]:
    """Run the command in a terminal of its own, and for each step wait for a text to be shown, then type the other one.
    Returns all that was shown, and the exit code."""
    import pty  # not on every system

    process, terminal = pty.fork()
    if process == 0:
        os.execvp(words[0], list(words))
    shown, seen, waiting = b"", 0, list(steps)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 4096)
                except OSError:  # Linux says so that the command has left the terminal
                    break
            if waiting and waiting[0][0] in shown[seen:]:
                os.write(terminal, waiting.pop(0)[1])
                seen = len(shown)
        else:
            os.kill(process, signal.SIGKILL)
    finally:
        os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


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
