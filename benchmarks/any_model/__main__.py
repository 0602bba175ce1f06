"""A model that golfpipe did not make: its weights stored as the records do, and by golfpipe at equal bytes and equal
loss.

python -m benchmarks.any_model FOLDER        # shards and their tokenizer; writes any_model.json (benchmarks/keep.py)

A looped GPT of 1.8 M parameters is trained on the text, once for each seed (artifacts/any-model keeps it). Every row is
scored on the whole validation text in fp32. `equal loss` is the smallest size, to a hundredth, at which golfpipe's
weights score no worse than the records' do.
"""

from __future__ import annotations

import argparse
import json
import lzma
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.any_model.model import LoopedGPT
from benchmarks.any_model.records_way import records_way, second_moments
from benchmarks.any_model.text import Text, load_text
from benchmarks.any_model.training import bits_per_byte, train, training_windows
from benchmarks.keep import add_output_options, write_result
from benchmarks.timing import machine
from golfpipe import Calibration, compress, decompress, split

BANKS = {"*_bank": split(0)}
CALIBRATION_BATCHES = 16
RESOLUTION = 0.01
"""Of the search for the size with equal loss."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="shards and their tokenizer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--work", type=Path, default=Path("artifacts/any-model"))
    add_output_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = load_text(options.folder, 4096, options.work / "text.npz")
    rows = [_seed_row(text, _trained(text, seed, options.steps, options.work), seed) for seed in options.seeds]
    write_result(options.output, "any_model", {"machine": machine(), "steps": options.steps, "seeds": rows})


def _trained(text: Text, seed: int, steps: int, work: Path) -> LoopedGPT:
    kept = work / f"seed{seed}-{steps}.safetensors"
    if not kept.exists():
        save_file(train(text, seed, steps).state_dict(), kept)
    model = LoopedGPT(seed)
    model.load_state_dict(load_file(kept))
    return model


def _seed_row(text: Text, model: LoopedGPT, seed: int) -> dict[str, Any]:
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    batches = training_windows(text, CALIBRATION_BATCHES)

    def score(found: dict[str, Tensor]) -> float:
        model.load_state_dict(found)
        return bits_per_byte(model, text)

    trained = score(weights)
    with torch.no_grad():
        moments = second_moments(model, batches)
    records_bytes, records_weights = records_way(weights, moments)
    records = score(records_weights)
    started = time.perf_counter()
    calibration = calibrated(model, weights, batches)

    def packed(size: float) -> tuple[int, float]:
        data = compress(weights, target_bytes=size, rules=BANKS, calibration=calibration)
        return len(data), score(decompress(data))

    equal_bytes, same_size = packed(records_bytes)
    seconds = time.perf_counter() - started
    small, same_loss = smallest_size(packed, records, equal_bytes, same_size)
    raw = b"".join(weight.half().numpy().tobytes() for weight in weights.values())
    row = {
        "seed": seed,
        "parameters": sum(weight.numel() for weight in weights.values()),
        "xz_bytes_of_fp16": len(lzma.compress(raw, preset=9)),
        "val_bpb_trained": trained,
        "records": {"bytes": records_bytes, "val_bpb": records},
        "equal_bytes": {"bytes": equal_bytes, "val_bpb": same_size, "seconds": seconds},
        "equal_loss": {"bytes": small, "val_bpb": same_loss},
        "gap_left_at_equal_bytes": (same_size - trained) / (records - trained),
        "bytes_saved_at_equal_loss": 1 - small / records_bytes,
    }
    print(json.dumps(row, indent=1), flush=True)
    return row


def calibrated(model: LoopedGPT, weights: dict[str, Tensor], batches: list[Tensor]) -> Calibration:
    """Return what errors of the weights cost on the batches."""
    model.load_state_dict(weights)
    model.requires_grad_(True)
    with Calibration(model) as calibration:
        # The table's products are left out: its rows are inputs, too, and the Fisher diagonal sees both uses.
        model.listener = lambda name, x: None if name == "table" else calibration.add(name, x)
        for batch in batches:
            for ids in batch.split(2):  # many small batches tell more of the Fisher diagonal
                calibration.observe(model(ids))
    model.listener = LoopedGPT(0).listener
    model.requires_grad_(False)
    return calibration


def smallest_size(
    packed: Callable[[float], tuple[int, float]], loss: float, most: int, loss_of_most: float
) -> tuple[int, float]:
    """Return the smallest size, to RESOLUTION, whose loss is at most `loss`, by bisection below `most`; and that."""
    low, best = most / 2, (most, loss_of_most)
    while best[0] / low > 1 + RESOLUTION:
        size, found = packed((low + best[0]) / 2)
        if found <= loss:
            best = (size, found)
        else:
            low = size
    return best


if __name__ == "__main__":
    main()
