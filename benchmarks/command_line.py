"""How long a command takes that computes nothing: start-up, against an empty interpreter, and 300 runs at once.

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
from golfpipe.api import demo_data, evaluate, pack, quantize, train

REPEATS = 10
REPORT_REPEATS = 3
RUNS = 300


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
            "golfpipe audit": [*golfpipe, "audit", str(Path(folder) / "pack")],
            "golfpipe pack, up to date": [*golfpipe, "pack", str(Path(folder) / "quantize")],
        }
        if quick:
            return _timed({name: commands[name] for name in ("python -c pass", "golfpipe --help")}, 1)
        runs = _many_runs(Path(folder))
        commands[f"golfpipe ls, {RUNS} runs"] = [*golfpipe, "ls", str(runs)]
        reports = [*golfpipe, "report", *map(str, sorted(runs.iterdir())), "-o", str(Path(folder) / "report.html")]
        return _timed(commands, REPEATS) | _timed({f"golfpipe report, {RUNS} runs": reports}, REPORT_REPEATS)


def _timed(commands: dict[str, list[str]], repeats: int) -> dict[str, Any]:
    times = alternate({name: _runner(command) for name, command in commands.items()}, repeats)
    return {
        name: {"seconds": {"whole command": times[name]}, "loads_torch": _loads_torch(command)}
        for name, command in commands.items()
    }


def _many_runs(folder: Path) -> Path:
    """Return a folder with so many copies, made of links, of a short training that was quantized, packed and scored."""
    run, many = folder / "run", folder / "many"
    few = {"train.max_steps": 40, "train.validate_every": 10, "evaluate.max_targets": 4096}
    trained = train(demo_data(out=folder / "data"), preset="demo", out=run / "train", settings=few)
    evaluate(pack(quantize(trained)))
    evaluate(trained)
    for copy in range(RUNS):
        shutil.copytree(run, many / f"run-{copy:03d}", copy_function=os.link)
    return many


def _runner(command: list[str]) -> Any:
    return lambda: subprocess.run(command, check=True, capture_output=True)


def _loads_torch(command: list[str]) -> bool:
    python, *rest = command
    done = subprocess.run([python, "-X", "importtime", *rest], check=True, capture_output=True, text=True)
    return any(line.split("|")[-1].strip() == "torch" for line in done.stderr.splitlines())
