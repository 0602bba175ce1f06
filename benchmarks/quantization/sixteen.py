"""Preset 16l at the byte limit: exact total, time, memory, and the loss before and after; quantization_16l.json.

golfpipe train DATA --preset 16l --name 16l --set train.max_steps=30 --set train.max_seconds=0 \\
    --set train.batch_tokens=1024 --set train.context_length=256 --set train.qat_start=1 --set train.ema_decay=0.9 \\
    --set train.ema_bias_correction=true
python -m benchmarks.quantization.sixteen DATA artifacts/16l/train                     # two cores, about twelve minutes
python -m benchmarks.quantization.sixteen DATA artifacts/16l/train --case "trained: trellis"    # that row alone
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch

from benchmarks.child import measured, peak_memory_bytes
from benchmarks.keep import add_output_options, read_result, write_result
from benchmarks.models import write_gaussian_model
from benchmarks.settings import preset
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.store.artifact import Artifact, open_artifact

WORK = Path("artifacts/quantization-16l")
BASE = ("quantize.target_bytes=limit", "evaluate.method=chunked", "evaluate.context_length=512",
        "evaluate.max_targets=20000", "evaluate.precision=fp32")  # fmt: skip
CALIBRATED = ("quantize.calibration=train",)
EQUAL_STEPS = ("quantize.method=rate", "quantize.rate_weight=0", "quantize.sensitive_steps=false")
CASES: dict[str, tuple[str, ...] | None] = {
    "trained: unquantized": None,
    "trained: trellis, calibrated": ("quantize.method=trellis", *CALIBRATED),
    "trained: rate, calibrated": ("quantize.method=rate", *CALIBRATED),
    "trained: trellis": ("quantize.method=trellis",),
    "trained: equal steps": EQUAL_STEPS,
    "gaussian: trellis": ("quantize.method=trellis",),
    "gaussian: equal steps": EQUAL_STEPS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="token data with train and validation tokens")
    parser.add_argument("model", help="the trained model")
    parser.add_argument("--case", action="append", choices=list(CASES), help="one of the rows; default all")
    add_output_options(parser)
    options = parser.parse_args()
    rows = {row["case"]: row for row in read_result(options.output, "quantization_16l") or ()}
    for case in options.case or CASES:
        # A process for each, whose peak memory then is its own.
        rows[case] = measured("benchmarks.quantization.sixteen:run_case", case, options.data, options.model).returned
        print(rows[case], flush=True)
        ordered = [rows[name] for name in CASES if name in rows]
        write_result(options.output, "quantization_16l", ordered)


def run_case(case: str, data_path: str, model_path: str, preset_name: str = "16l") -> dict[str, Any]:
    """Quantize, pack and, of trained weights, score; what is there already is done again."""
    WORK.mkdir(parents=True, exist_ok=True)
    if "gaussian" in case:
        model_path = str(WORK / "gaussian-weights")
        shutil.rmtree(model_path, ignore_errors=True)
        write_gaussian_model(Path(model_path), preset(preset_name))
    model = open_artifact(Path(model_path))
    row: dict[str, Any] = {"case": case, "threads": torch.get_num_threads()}
    folder, overrides = WORK / case.replace(": ", "-").replace(", ", "-").replace(" ", "-"), CASES[case]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def run(stage: str, source: Artifact) -> Artifact:
        config = preset(preset_name, *BASE, *(overrides or ()))
        inputs = {"model": source}
        if stage == "evaluate" or (stage == "quantize" and "calibrated" in case):
            inputs["data"] = open_artifact(Path(data_path))
        return run_job(
            Job(stage=STAGES[stage], config=config, inputs=inputs, out=folder / stage, context=Context(device="cpu"))
        ).artifact

    if overrides is not None:
        quantized = run("quantize", model)
        row["peak_memory_bytes"] = peak_memory_bytes()
        model = run("pack", quantized)
        for key in ("seconds", "calibration_seconds", "solved_bytes", "bits_by_class", "relative_mse"):
            row[key] = quantized.manifest.metrics.get(key)
        for key in ("packed_bytes", "total_bytes", "entropy_bytes", "fits"):
            row[key] = model.manifest.metrics[key]
    if "trained" in case:
        scored = run("evaluate", model)
        row |= {key: scored.manifest.metrics[key] for key in ("val_loss_nats", "val_bpb")}
    return row


if __name__ == "__main__":
    main()
