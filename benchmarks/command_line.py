"""How long a command takes that computes nothing: start-up, against an empty interpreter.

python -m benchmarks command_line [--quick]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.models import write_gaussian_model
from benchmarks.settings import preset
from benchmarks.timing import alternate
from golfpipe.api import pack, quantize

REPEATS = 10


def run(quick: bool) -> dict[str, Any]:
    """Median seconds of each command, and whether it loaded torch."""
    with tempfile.TemporaryDirectory() as folder:
        write_gaussian_model(Path(folder) / "train", preset("tiny"))
        quantize(Path(folder) / "train")
        pack(Path(folder) / "quantize")
        golfpipe = [sys.executable, "-m", "golfpipe"]
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "golfpipe --help": [*golfpipe, "--help"],
            "golfpipe quantize --help": [*golfpipe, "quantize", "--help"],
            "golfpipe presets": [*golfpipe, "presets"],
            "golfpipe config show --preset 16l": [*golfpipe, "config", "show", "--preset", "16l"],
            "golfpipe status": [*golfpipe, "status", folder],
            "golfpipe ls, 300 runs": [*golfpipe, "ls", str(_many_runs(Path(folder)))],
            "golfpipe audit": [*golfpipe, "audit", str(Path(folder) / "pack")],
            "golfpipe pack, up to date": [*golfpipe, "pack", str(Path(folder) / "quantize")],
        }
        if quick:
            commands = {name: commands[name] for name in ("python -c pass", "golfpipe --help")}
        times = alternate({name: _runner(command) for name, command in commands.items()}, 1 if quick else REPEATS)
        return {
            name: {"seconds": {"whole command": times[name]}, "loads_torch": _loads_torch(command)}
            for name, command in commands.items()
        }


def _many_runs(run: Path, number: int = 300) -> Path:
    """Return a folder with so many copies of the run, made of links."""
    many = run / "many"
    for copy in range(number):
        for step in ("train", "quantize", "pack"):
            shutil.copytree(run / step, many / f"run-{copy}" / step, copy_function=os.link)
    return many


def _runner(command: list[str]) -> Any:
    return lambda: subprocess.run(command, check=True, capture_output=True)


def _loads_torch(command: list[str]) -> bool:
    python, *rest = command
    done = subprocess.run([python, "-X", "importtime", *rest], check=True, capture_output=True, text=True)
    return any(line.split("|")[-1].strip() == "torch" for line in done.stderr.splitlines())
