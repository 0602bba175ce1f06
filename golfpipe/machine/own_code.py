"""golfpipe's own C++: built for this machine when it is first needed, in seconds, and kept in a cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-std=c++20", "-shared", "-fPIC")


def built_library(source: Path, options: Sequence[str], compiler: str, cache: Path) -> ctypes.CDLL:
    """Return the library that the compiler makes of the source, or made of it before.

    Raises RuntimeError or OSError where it cannot be built or loaded.
    """
    command, cache = [compiler, *FLAGS, str(source), *options], cache.resolve()
    made_of = (source.read_text(encoding="ascii"), command, _instructions())
    built = cache / f"{source.stem}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}.so"
    if not built.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:  # other processes may be building it, too
            unfinished = Path(folder, source.stem + ".so")
            _compile([*command, "-o", str(unfinished)])
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())  # loading a file that lacks its end would end the process
            unfinished.replace(built)
    return ctypes.CDLL(str(built))


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        said = next((line for line in lines if "error" in line), lines[-1])
        raise RuntimeError(f"{command[0]} exits {done.returncode}: {said}")


def own_code_obstacle() -> str | None:
    """Say why no code is built on this system; None where it is."""
    return None if sys.platform == "linux" else f"not on {sys.platform}"


def _instructions() -> str:
    """Return the processor's features, which name the built file: code for another one must not run here."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
