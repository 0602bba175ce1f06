"""Where the result of a program goes: under artifacts/, into the folder that it is told, or among the kept results.

The documents say what is in benchmarks/results, so only --record changes it. It then also rewrites the tables that are
made of it. The programs of benchmarks/ and reliability/ all take these options.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.tables import RESULTS, write_pages

UNRECORDED = Path("artifacts/benchmarks")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Let `options.output` be the folder for the result."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--output", type=Path, default=UNRECORDED, metavar="FOLDER", help=f"default {UNRECORDED}")
    place.add_argument(
        "--record",
        dest="output",
        action="store_const",
        const=RESULTS,
        help="update the kept results, and the tables that are made of them",
    )


def read_result(folder: Path, name: str) -> Any:
    """Return what NAME.json in the folder holds; None where there is none."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def write_result(folder: Path, name: str, result: Any) -> None:
    """Write NAME.json into the folder, and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"result: {path}", file=sys.stderr, flush=True)
    if folder == RESULTS:
        write_pages()
