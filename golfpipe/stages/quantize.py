"""Quantize trained weights row by row and record the reconstruction error.

golfpipe quantize artifacts/demo/train
golfpipe quantize artifacts/demo/train -o artifacts/demo-int5/quantize --set quantize.mlp.bits=5   # CPU, a second
golfpipe quantize artifacts/demo/train -o artifacts/demo-pr951/quantize --preset pr951
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from golfpipe.config.schema import plain_config
from golfpipe.model.config import possible_names
from golfpipe.quant.export import quantize_weights
from golfpipe.quant.report import TensorReport
from golfpipe.stages.base import Job, select_device, select_threads
from golfpipe.stages.models import load_weights, model_config, pieces_to_tensors
from golfpipe.store.artifact import ArtifactWriter
from golfpipe.store.manifest import Result


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write quantized.safetensors (codes, scales) and report.json (error and entropy per tensor)."""
    select_threads(job.context.threads)
    source = job.inputs["model"]
    settings = job.config.quantize
    _warn_if_trained_otherwise(job)
    model = model_config(source)
    device = torch.device(select_device(job.context.device))
    weights = {name: weight.to(device) for name, weight in load_weights(source).items()}
    total = sum(weight.numel() for weight in weights.values())
    with job.context.reporter.task("quantize", total, "weights") as task:
        before = 0

        def progress(done: int) -> None:
            nonlocal before
            task.advance(done - before)
            before = done

        pieces, reports = quantize_weights(weights, settings, universe=possible_names(model), progress=progress)
    tensors, metadata = pieces_to_tensors(pieces)
    out.write_tensors("quantized.safetensors", tensors, metadata)
    out.write_json("report.json", {"tensors": [_report_line(report) for report in reports.values()]})
    powers = {name: float(weight.double().square().sum()) for name, weight in weights.items()}
    return Result(
        kind="quantized_model",
        metrics={
            "relative_mse": _relative_mse(reports, powers),
            "relative_mse_by_class": {
                tensor_class: _relative_mse(
                    {n: r for n, r in reports.items() if r.tensor_class == tensor_class}, powers
                )
                for tensor_class in sorted({report.tensor_class for report in reports.values()})
            },
            "entropy_bytes": round(sum(report.ideal_bytes for report in reports.values())),
            "edge_rows_share": _edge_share(reports),
        },
        model=plain_config(model),
    )


def _report_line(report: TensorReport) -> dict:
    return {
        "name": report.name,
        "class": report.tensor_class,
        "bits": report.bits,
        "values": report.num_values,
        "relative_mse": report.relative_squared_error,
        "entropy_bits": report.entropy_bits,
        "entropy_bytes": report.ideal_bytes,
        "edge_share": report.lower_edge_share,
        "ratio_counts": report.ratio_counts,
    }


def _relative_mse(reports: Mapping[str, TensorReport], powers: Mapping[str, float]) -> float:
    """Squared error over squared weights, all tensors together."""
    total = sum(powers[name] for name in reports)
    errors = sum(report.relative_squared_error * powers[name] for name, report in reports.items())
    return errors / total if total else 0.0


def _edge_share(reports: Mapping[str, TensorReport]) -> float:
    """Share of all searched rows that took the grid's lowest ratio."""
    counts = [report.ratio_counts for report in reports.values() if report.ratio_counts is not None]
    rows = sum(sum(count) for count in counts)
    return sum(count[0] for count in counts) / rows if rows else 0.0


def _warn_if_trained_otherwise(job: Job) -> None:
    """Training through one quantizer and exporting with another costs accuracy: say where they differ."""
    train = job.config.train
    if train.qat_start >= 1 or job.inputs["model"].manifest.stage != "train":
        return
    differences = [
        f"{name}.bits: train.qat {trained.bits}, quantize {exported.bits}"
        for name in ("mlp", "attention", "ngram", "token_table", "small")
        if (trained := getattr(train.qat, name)).bits < 16
        and trained != (exported := getattr(job.config.quantize, name))
    ]
    if train.qat.clip_ratios != job.config.quantize.clip_ratios:
        differences.append("clip_grid")
    if differences:
        job.context.reporter.warn(
            f"the model was trained through another quantizer than this export ({'; '.join(differences)})"
        )
