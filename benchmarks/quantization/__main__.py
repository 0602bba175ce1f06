"""Bytes against val_bpb of one checkpoint under every quantizer, as a markdown table on stdout.

python -m benchmarks.quantization artifacts/tiny/train artifacts/data/mixed --preset tiny --work artifacts/quantization
python -m benchmarks.quantization MODEL DATA --only trellis --max-targets 20000 --unquantized-bpb 2.3425   # CPU, minutes
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.quantization.reference import reference_path
from benchmarks.quantization.study import run_setting, score_trained, settings
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.data.token_data import load_tokenizer, load_validation
from golfpipe.model.network import load_network
from golfpipe.scoring.score import score_windows, summarize
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.stages.models import load_weights, model_config
from golfpipe.store.artifact import Artifact, open_artifact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="trained model")
    parser.add_argument("data", type=Path, help="token data with train and validation tokens")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--work", type=Path, default=Path("artifacts/quantization"))
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--max-targets", type=int, default=0, help="0: the whole validation split")
    parser.add_argument("--unquantized-bpb", type=float, default=math.nan, help="of an equal-token run without QAT")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, data = open_artifact(arguments.model), open_artifact(arguments.data)
    base = ["evaluate.method=chunked", f"evaluate.max_targets={arguments.max_targets}", *arguments.overrides]
    trained = score_trained(arguments.preset, model, data, arguments.work, base)
    anchor = trained if math.isnan(arguments.unquantized_bpb) else arguments.unquantized_bpb
    print(f"EMA weights: val_bpb {trained:.4f}; gaps against {anchor:.4f}\n")
    print("| setting | packed bytes | matrices, b/weight | token table, b/weight | val_bpb | gap | quantize, s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    if arguments.only in "reference":
        started = time.perf_counter()
        size, weights = reference_path(load_weights(model), model_config(model))
        seconds = time.perf_counter() - started
        bpb = _score(arguments.preset, model, data, weights, base)
        print(
            f"| reference (PR 951, zstd-22) | {size:,} | - | 16 | {bpb:.4f} | {bpb - anchor:+.4f} | {seconds:.0f} |",
            flush=True,
        )
    for setting in settings():
        if arguments.only in setting.name:
            cell = run_setting(setting, arguments.preset, model, data, arguments.work, base)
            print(
                f"| {cell.name} | {cell.packed_bytes:,} | {cell.matrix_bits:.3f} | {cell.token_bits:.2f} |"
                f" {cell.val_bpb:.4f} | {cell.val_bpb - anchor:+.4f} | {cell.seconds:.0f} |",
                flush=True,
            )


def _score(preset: str, model: Artifact, data: Artifact, weights: dict[str, torch.Tensor], base: list[str]) -> float:
    """val_bpb of weights that are in no artifact, with the windows of the evaluate stage."""
    windows = resolve_config(load_stages(), preset=preset, overrides=base).config.evaluate
    tokenizer = load_tokenizer(data)
    tokens, _ = load_validation(data, windows.max_targets)
    nats = np.full(len(tokens) - 1, np.nan, dtype=np.float32)
    batches = batch_windows(plan_windows(len(nats), windows), windows.batch_tokens)
    score_windows(load_network(model_config(model), weights), tokens, batches, nats, torch.device("cpu"))
    return summarize(tokens, nats, tokenizer.byte_table, tokenizer.bos_id).val_bpb


if __name__ == "__main__":
    main()
