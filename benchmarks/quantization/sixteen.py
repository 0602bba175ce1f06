"""Preset 16l at the byte limit: exact total, time, memory, and the loss before and after; results/quantization-16l.json.

golfpipe train DATA --preset 16l --name 16l --set train.max_steps=30 --set train.max_seconds=0 --set train.batch_tokens=1024 \\
    --set train.context_length=256 --set train.qat_start=1 --set train.ema_decay=0.9 --set train.ema_bias_correction=true
python -m benchmarks.quantization.sixteen DATA artifacts/16l/train           # two cores, about eight minutes
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.quantization.reference import gaussian_weights
from benchmarks.settings import preset
from golfpipe.config.schema import plain_config
from golfpipe.stages.base import STAGES, Context, Job, run_job
from golfpipe.store.artifact import Artifact, begin, finish, open_artifact
from golfpipe.store.manifest import Result

RESULTS = Path(__file__).parents[1] / "results" / "quantization-16l.json"
WORK = Path("artifacts/quantization-16l")
BASE = ("quantize.target_bytes=limit", "evaluate.method=chunked", "evaluate.context_length=512",
        "evaluate.max_targets=20000", "evaluate.precision=fp32")  # fmt: skip
EQUAL_STEPS = ("quantize.method=rate", "quantize.rate_weight=0", "quantize.sensitive_steps=false")
CASES: dict[str, tuple[str, ...]] = {
    "trellis, calibrated": ("quantize.method=trellis", "quantize.calibration=train"),
    "rate, calibrated": ("quantize.method=rate", "quantize.calibration=train"),
    "trellis": ("quantize.method=trellis",),
    "equal steps": EQUAL_STEPS,
}
GAUSSIAN_CASES = ("trellis", "equal steps")


def main() -> None:
    if len(sys.argv) == 5:  # one case, in a process of its own for its peak memory
        print(json.dumps(_measure(*sys.argv[1:])))
        return
    data, trained = Path(sys.argv[1]), Path(sys.argv[2])
    gaussian = WORK / "gaussian" / "train"
    if not (gaussian / "manifest.json").exists():
        _write_gaussian(gaussian)
    rows = [_row("trained", "none", data, trained)]
    rows += [_row("trained", case, data, trained) for case in CASES]
    rows += [_row("gaussian", case, data, gaussian) for case in GAUSSIAN_CASES]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _row(weights: str, case: str, data: Path, model: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.quantization.sixteen", weights, case, str(data), str(model)]
    row: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(row, flush=True)
    return row


def _measure(weights: str, case: str, data_path: str, model_path: str) -> dict[str, Any]:
    model, data = open_artifact(Path(model_path)), open_artifact(Path(data_path))
    row: dict[str, Any] = {"weights": weights, "case": case, "threads": torch.get_num_threads()}
    folder = WORK / weights / case.replace(", ", "-").replace(" ", "-")
    overrides = (*BASE, *CASES.get(case, ()))
    if case != "none":
        shutil.rmtree(folder, ignore_errors=True)
        quantized = _run("quantize", overrides, folder, model=model, data=data)
        row["peak_memory_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model = _run("pack", overrides, folder, model=quantized)
        row |= {
            key: quantized.manifest.metrics.get(key)
            for key in ("seconds", "calibration_seconds", "solved_bytes", "bits_by_class", "relative_mse")
        }
        row |= {key: model.manifest.metrics[key] for key in ("packed_bytes", "total_bytes", "entropy_bytes", "fits")}
    if weights == "trained":
        scored = _run("evaluate", overrides, folder, model=model, data=data)
        row |= {key: scored.manifest.metrics[key] for key in ("val_loss_nats", "val_bpb")}
    return row


def _run(stage: str, overrides: tuple[str, ...], folder: Path, **inputs: Artifact) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    config = preset("16l", *overrides)
    return run_job(
        Job(stage=STAGES[stage], config=config, inputs=inputs, out=folder / stage, context=Context(device="cpu"))
    ).artifact


def _write_gaussian(out: Path) -> None:
    config = preset("16l")
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = begin(out)
    model = plain_config(config.model)
    writer.write_tensors("ema.safetensors", gaussian_weights(config.model), {"model": model})
    finish(
        writer, out, Result(kind="trained_model", metrics={}, model=model), stage="import", key="gaussian",
        config=plain_config(config), inputs=(), provenance={},
    )  # fmt: skip


if __name__ == "__main__":
    main()
