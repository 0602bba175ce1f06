"""Time and memory of compress and decompress for the weights of a model that golfpipe did not make.

python -m benchmarks.any_model_speed [--only NAME]        # writes any_model_speed.json (benchmarks/keep.py)

Each measurement is a process of its own. `bank36m` has the shapes of the public records: 11 layers in four banks and a
table of 8,192 x 512, Gaussian, 36 M values. `bank36m calibrated` has second moments and Fisher diagonals of random
inputs, which cost the search what real ones cost. `200m` is one tensor of 200 M values, `20000` are 20,000 tensors.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.child import CLOCK, clock, measured, peak_memory_bytes
from benchmarks.keep import add_output_options, read_result, write_result
from golfpipe import Calibration, compress, decompress, split
from golfpipe.weights.rules import Rule

BITS = 3.0
BANKS: dict[str, Rule] = {"*_bank": split(0)}


def bank_model() -> dict[str, Tensor]:
    """Gaussian weights in banks, with a spread that differs by row."""
    shapes = {
        "tok_emb.weight": (8192, 512),
        "qo_bank": (22, 512, 512),
        "kv_bank": (22, 256, 512),
        "up_bank": (11, 2048, 512),
        "down_bank": (11, 512, 2048),
    }
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        spread = 0.04 * torch.exp2(0.5 * torch.randn(*shape[:-1], 1, generator=generator))
        state[name] = spread * torch.randn(shape, generator=generator)
    for layer in range(11):
        state[f"blocks.{layer}.gain"] = torch.ones(512)
    return state


def bank_calibration(state: dict[str, Tensor]) -> Calibration:
    """A calibration with correlated inputs of every matrix in the banks, and a Fisher diagonal of everything."""
    generator = torch.Generator().manual_seed(1)
    calibration = Calibration(
        torch.nn.ParameterDict({k.replace(".", "_"): torch.nn.Parameter(v) for k, v in state.items()})
    )
    for name, weight in state.items():
        if name.endswith("_bank"):
            width = weight.shape[-1]
            mix = torch.eye(width) + torch.randn(width, width, generator=generator) / width**0.5
            for part in range(len(weight)):
                calibration.add(f"{name}.{part}", torch.randn(2048, width, generator=generator) @ mix)
        rows = weight.reshape(weight.shape[0], -1) if weight.ndim > 1 else weight.reshape(1, -1)
        calibration._fisher[name] = 1e-3 * torch.exp2(torch.randn(len(rows), 1, generator=generator)).expand_as(rows)
    calibration.num_tokens = calibration.num_batches = 1
    return calibration


def huge_tensor() -> dict[str, Tensor]:
    return {"w": torch.randn(200_000, 1000, generator=torch.Generator().manual_seed(0)).mul_(0.02)}


def many_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {f"blocks.{i}.gain": torch.randn(64, generator=generator) for i in range(19_000)}
    return state | {f"blocks.{i}.weight": torch.randn(96, 96, generator=generator) * 0.1 for i in range(1_000)}


CASES: dict[str, tuple[Callable[[], dict[str, Tensor]], bool, dict[str, Any]]] = {
    "bank36m": (bank_model, False, {"rules": BANKS, "target": 0.375}),
    "bank36m calibrated": (bank_model, True, {"rules": BANKS, "target": 0.375}),
    "200m": (huge_tensor, False, {"rules": {}, "target": 0.375}),
    "20000": (many_tensors, False, {"rules": {}, "target": 0.5}),
}
"""Name -> (state dict, whether calibrated, rules and the target in bytes per value)."""


def compress_case(name: str, file: str) -> dict[str, Any]:
    """Compress a case in this process and leave the bytes in `file`."""
    torch.set_num_threads(2)
    make, calibrated, options = CASES[name]
    state = make()
    calibration = bank_calibration(state) if calibrated else None
    values = sum(tensor.numel() for tensor in state.values())
    before, started, wall = peak_memory_bytes(), clock(), time.perf_counter()
    data = compress(state, target_bytes=options["target"] * values, rules=options["rules"], calibration=calibration)
    seconds = clock() - started
    Path(file).write_bytes(data)
    return {
        "values": values,
        "input_bytes": sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
        "target_bytes": round(options["target"] * values),
        "payload_bytes": len(data),
        "seconds": seconds,
        "wall_seconds": time.perf_counter() - wall,
        "peak_memory_before_bytes": before,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def decompress_case(file: str) -> dict[str, Any]:
    """Decompress the bytes in `file` three times; the best time counts."""
    torch.set_num_threads(2)
    data, seconds = Path(file).read_bytes(), []
    for _ in range(3):
        started = clock()
        decompress(data)
        seconds.append(clock() - started)
    return {"seconds": seconds, "best_seconds": min(seconds), "peak_memory_bytes": peak_memory_bytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(CASES))
    add_output_options(parser)
    options = parser.parse_args()
    results = read_result(options.output, "any_model_speed") or {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or CASES:
            file = str(Path(folder) / "data")
            results[name] = {
                "compress": measured("benchmarks.any_model_speed:compress_case", name, file).returned,
                "decompress": measured("benchmarks.any_model_speed:decompress_case", file).returned,
            }
            print(name, json.dumps(results[name], indent=1), flush=True)
            results["cpus"], results["load"], results["clock"] = os.cpu_count(), os.getloadavg()[0], CLOCK
            write_result(options.output, "any_model_speed", results)


if __name__ == "__main__":
    main()
