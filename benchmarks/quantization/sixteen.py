"""Preset 16l at the byte limit: exact total, time, memory, and the loss before and after; results/quantization-16l.json.

golfpipe train DATA --preset 16l --name 16l --set train.max_steps=30 --set train.max_seconds=0 --set train.batch_tokens=1024 \\
    --set train.context_length=256 --set train.qat_start=1 --set train.ema_decay=0.9 --set train.ema_bias_correction=true
python -m benchmarks.quantization.sixteen DATA artifacts/16l/train           # two cores, about twelve minutes
python -m benchmarks.quantization.sixteen DATA artifacts/16l/train "trained: trellis, calibrated"    # replaces that row
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
CALIBRATED = ("quantize.calibration=train",)
CASES: dict[str, tuple[str, ...] | None] = {
    "trained: unquantized": None,
    "trained: trellis, calibrated": ("quantize.method=trellis", *CALIBRATED),
    "trained: rate, calibrated": ("quantize.method=rate", *CALIBRATED),
    "trained: trellis": ("quantize.method=trellis",),
    "trained: equal steps": EQUAL_STEPS,
    "gaussian: trellis": ("quantize.method=trellis",),
    "gaussian: equal steps": EQUAL_STEPS,
}
ONE = "--one"
"""A case runs in a process of its own, for its peak memory."""


def main() -> None:
    if sys.argv[1] == ONE:
        print(json.dumps(_measure(*sys.argv[2:])))
        return
    rows = {row["case"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    for case in sys.argv[3:] or CASES:
        command = [sys.executable, "-m", "benchmarks.quantization.sixteen", ONE, case, *sys.argv[1:3]]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows[case] = json.loads(output.splitlines()[-1])
        print(rows[case], flush=True)
        ordered = [rows[name] for name in CASES if name in rows]
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _measure(case: str, data_path: str, model_path: str) -> dict[str, Any]:
    data, model = open_artifact(Path(data_path)), open_artifact(_gaussian() if "gaussian" in case else Path(model_path))
    row: dict[str, Any] = {"case": case, "threads": torch.get_num_threads()}
    folder = WORK / case.replace(": ", "/").replace(", ", "-").replace(" ", "-")
    overrides = CASES[case]
    if overrides is not None:
        shutil.rmtree(folder, ignore_errors=True)
        quantized = _run("quantize", overrides, folder, model=model, data=data)
        row["peak_memory_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model = _run("pack", overrides, folder, model=quantized)
        row |= {
            key: quantized.manifest.metrics.get(key)
            for key in ("seconds", "calibration_seconds", "solved_bytes", "bits_by_class", "relative_mse")
        }
        row |= {key: model.manifest.metrics[key] for key in ("packed_bytes", "total_bytes", "entropy_bytes", "fits")}
    if "trained" in case:
        scored = _run("evaluate", overrides or (), folder, model=model, data=data)
        row |= {key: scored.manifest.metrics[key] for key in ("val_loss_nats", "val_bpb")}
    return row


def _run(stage: str, overrides: tuple[str, ...], folder: Path, **inputs: Artifact) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    config = preset("16l", *BASE, *overrides)
    return run_job(
        Job(stage=STAGES[stage], config=config, inputs=inputs, out=folder / stage, context=Context(device="cpu"))
    ).artifact


def _gaussian() -> Path:
    """The artifact with Gaussian weights, made where it is not there yet."""
    config, out = preset("16l"), WORK / "gaussian-weights"
    if (out / "manifest.json").exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = begin(out)
    model = plain_config(config.model)
    writer.write_tensors("ema.safetensors", gaussian_weights(config.model), {"model": model})
    finish(
        writer, out, Result(kind="trained_model", metrics={}, model=model), stage="import", key="gaussian",
        config=plain_config(config), inputs=(), provenance={},
    )  # fmt: skip
    return out


if __name__ == "__main__":
    main()
