"""Bytes and speed of the files that `golfpipe vendor` writes, against the package itself.

python -m benchmarks.vendored        # a table on standard output, and vendored.json (benchmarks/keep.py says where)

Weights in banks and a table (1.9 M values, Gaussian, with a spread by row), calibrated, to 3 bits a value. Package and
files take turns in one process, one thread, and the least of some CPU seconds counts: so that the machine may be busy
with other work. The pure reader is also timed on the 36 M values of any_model_speed, coded without a trellis.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import golfpipe
from benchmarks.any_model_speed import BANKS, BITS, bank_calibration, bank_model
from benchmarks.keep import add_output_options, write_result
from golfpipe.config.submit import Layout
from golfpipe.script.vendor import What, vendored_file

FILES: tuple[tuple[What, Layout, bool], ...] = (
    ("decompress", "readable", False),
    ("decompress", "compressed", False),
    ("decompress", "readable", True),
    ("decompress", "compressed", True),
    ("compress", "readable", False),
    ("compress", "compressed", False),
)
SHAPES = {
    "tok_emb.weight": (1024, 256),
    "qo_bank": (8, 256, 256),
    "up_bank": (4, 512, 256),
    "down_bank": (4, 256, 512),
}


def small_banks() -> dict[str, Tensor]:
    """Return Gaussian weights in banks, with a spread that differs by row."""
    generator = torch.Generator().manual_seed(0)
    spread = {name: torch.exp2(0.5 * torch.randn(*s[:-1], 1, generator=generator)) for name, s in SHAPES.items()}
    return {name: 0.04 * spread[name] * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def load(path: Path) -> ModuleType:
    """Import a file under its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def least_seconds(workers: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Let all take turns, and return the least CPU seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(turns):
        for name, work in workers.items():
            started = time.process_time()
            work()
            seconds[name].append(time.process_time() - started)
    return {name: min(found) for name, found in seconds.items()}


def write_files(folder: Path) -> tuple[dict[str, dict[str, float]], dict[str, ModuleType]]:
    """Write and import all files: name -> (bytes, seconds of the import), and name -> module."""
    rows, modules = {}, {}
    for what, layout, pure in FILES:
        name = f"{what}{' --pure' if pure else ''}{' --compressed' if layout == 'compressed' else ''}"
        path = folder / f"codec{len(rows)}.py"
        path.write_bytes(vendored_file(what, layout, pure=pure))
        started = time.process_time()
        modules[name] = load(path)
        rows[name] = {"bytes": float(path.stat().st_size), "import_seconds": time.process_time() - started}
    return rows, modules


def main() -> None:
    """Measure, print a table, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = small_banks()
    calibration = bank_calibration(state)
    values = sum(tensor.numel() for tensor in state.values())
    target = 0.375 * values

    def packed(module: Any) -> bytes:
        rules = {"*_bank": module.split(0)}
        data: bytes = module.compress(state, target_bytes=target, rules=rules, calibration=calibration)
        return data

    data = packed(golfpipe)
    with tempfile.TemporaryDirectory() as folder:
        rows, modules = write_files(Path(folder))
    makers = {"package": golfpipe, **{name: module for name, module in modules.items() if hasattr(module, "compress")}}
    assert all(packed(module) == data for module in makers.values())
    readers = {"package": golfpipe, **{name: module for name, module in modules.items() if "--pure" not in name}}
    pure = {name: module for name, module in modules.items() if "--pure" in name}
    reading = least_seconds({name: partial(m.decompress, data) for name, m in readers.items()}, 15)
    reading |= least_seconds({name: partial(m.decompress, data) for name, m in pure.items()}, 3)
    writing = least_seconds({name: partial(packed, module) for name, module in makers.items()}, 3)
    large = golfpipe.compress(bank_model(), bits=BITS, rules=BANKS, method="rate")
    large_readers = {"package": golfpipe, **pure}
    reading_large = least_seconds({name: partial(m.decompress, large) for name, m in large_readers.items()}, 2)
    rows["package"] = {}
    for key, found in (
        ("decompress_seconds", reading),
        ("compress_seconds", writing),
        ("large_seconds", reading_large),
    ):
        for name, seconds in found.items():
            rows[name][key] = seconds
    result = {"values": values, "payload_bytes": len(data), "files": rows, "load": os.getloadavg()[0]}
    write_result(options.output, "vendored", result)
    print("| file | bytes | decompress | compress |\n|---|---:|---:|---:|")
    for name, row in rows.items():
        times = [f"{row[key]:.3f} s" if key in row else "" for key in ("decompress_seconds", "compress_seconds")]
        print(f"| {name} | {row.get('bytes', 0):,.0f} | {times[0]} | {times[1]} |")


if __name__ == "__main__":
    main()
