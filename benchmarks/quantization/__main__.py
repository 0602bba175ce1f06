"""Bytes against val_bpb of one or more checkpoints (seeds) under every quantizer: a table, and quantization_tiny.json.

python -m benchmarks.quantization artifacts/data/mixed artifacts/tiny-s0/train artifacts/tiny-s1/train
python -m benchmarks.quantization DATA MODEL --only "trellis 3" --max-targets 20000       # CPU, a minute
python -m benchmarks.quantization DATA QAT-MODEL --anchor 2.3345         # gaps against a run without QAT
"""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.keep import write_result
from benchmarks.quantization.reference import reference_path
from benchmarks.quantization.study import Cell, run_setting, score_trained, settings, study_parser
from benchmarks.settings import preset
from golfpipe.data.token_data import load_tokenizer, load_validation
from golfpipe.loading.weights import load_weights, model_config
from golfpipe.model.config import parameter_count
from golfpipe.model.network import load_network
from golfpipe.scoring.score import score_windows, summarize
from golfpipe.scoring.windows import batch_windows, plan_windows
from golfpipe.store.artifact import Artifact, open_artifact

REFERENCE = "reference (PR 951, zstd-22)"
ROOM_BYTES = 15_950_000
"""Of a submission at the limit, for weights."""


def main() -> None:
    parser = study_parser(__doc__, "quantization")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--max-targets", type=int, default=0, help="0: the whole validation split")
    parser.add_argument("--anchor", type=float, default=math.nan, help="val_bpb of an equal-token run without QAT")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = open_artifact(arguments.data)
    base = ["evaluate.method=chunked", f"evaluate.max_targets={arguments.max_targets}"]
    models = [open_artifact(path) for path in arguments.models]
    works = [arguments.work / f"seed{model.manifest.config['seed']}" for model in models]
    trained = [score_trained(arguments.preset, m, data, w, base) for m, w in zip(models, works, strict=True)]
    anchors = trained if math.isnan(arguments.anchor) else [arguments.anchor] * len(models)
    print(f"EMA weights: val_bpb {', '.join(f'{bpb:.4f}' for bpb in trained)}\n")
    print("| setting | packed bytes | matrices, b/weight | token table, b/weight | val_bpb | gap | weights that fit |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows: list[dict[str, Any]] = []
    if arguments.only in REFERENCE:
        cells = [_reference(arguments.preset, m, data, base) for m in models]
        rows.append(_row(cells, anchors, parameter_count(model_config(models[0]))))
    for setting in settings():
        if arguments.only in setting.name:
            cells = [
                run_setting(setting, arguments.preset, m, data, w, base) for m, w in zip(models, works, strict=True)
            ]
            rows.append(_row(cells, anchors, parameter_count(model_config(models[0]))))
    seeds = [model.manifest.config["seed"] for model in models]
    write_result(arguments.output, "quantization_tiny", {"seeds": seeds, "val_bpb_trained": trained, "rows": rows})


def _row(cells: list[Cell], anchors: list[float], num_weights: int) -> dict[str, Any]:
    """Print the mean over seeds; give all of it."""
    mean = {key: statistics.fmean(asdict(cell)[key] for cell in cells) for key in ("packed_bytes", "val_bpb")}
    gaps = [cell.val_bpb - anchor for cell, anchor in zip(cells, anchors, strict=True)]
    bits = "-" if cells[0].matrix_bits is None else f"{cells[0].matrix_bits:.3f}"
    fits = ROOM_BYTES / mean["packed_bytes"] * num_weights
    listed = f" ({', '.join(f'{gap:+.4f}' for gap in gaps)})" if len(gaps) > 1 else ""
    print(
        f"| {cells[0].name} | {mean['packed_bytes']:,.0f} | {bits} | {cells[0].token_bits:.2f} |"
        f" {mean['val_bpb']:.4f} | {statistics.fmean(gaps):+.4f}{listed} | {fits / 1e6:.1f} M |",
        flush=True,
    )
    return {"setting": cells[0].name, "seeds": [asdict(c) | {"gap": g} for c, g in zip(cells, gaps, strict=True)]}


def _reference(preset_name: str, model: Artifact, data: Artifact, base: list[str]) -> Cell:
    size, weights = reference_path(load_weights(model), model_config(model))
    bpb = _score(preset_name, model, data, weights, base)
    return Cell(REFERENCE, size, None, 16.0, bpb, 0.0)


def _score(
    preset_name: str, model: Artifact, data: Artifact, weights: dict[str, torch.Tensor], base: list[str]
) -> float:
    """val_bpb of weights that are in no artifact, with the windows of the evaluate stage."""
    windows = preset(preset_name, *base).evaluate
    tokenizer = load_tokenizer(data)
    text = load_validation(data, tokenizer, windows.max_targets)
    nats = np.full(len(text.sizes), np.nan, dtype=np.float32)
    batches = batch_windows(plan_windows(len(nats), windows), windows.pass_tokens("cpu"))
    network = load_network(model_config(model), weights)
    score_windows(network.last_nats, text.tokens, batches, nats, torch.device("cpu"))
    return summarize(text.tokens, nats, text.sizes, tokenizer.bos_id).val_bpb


if __name__ == "__main__":
    main()
