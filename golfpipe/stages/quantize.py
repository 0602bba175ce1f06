"""Quantize trained weights and record the reconstruction error; on request, to an exact packed size.

golfpipe quantize artifacts/demo/train
golfpipe quantize artifacts/demo/train -o artifacts/demo-int5/quantize --set quantize.mlp.bits=5   # CPU, a second
golfpipe quantize artifacts/demo/train -o artifacts/demo-pr951/quantize --preset pr951
golfpipe quantize artifacts/demo/train -o artifacts/demo-300k/quantize --set quantize.target_bytes=300e3
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from golfpipe.errors import UsageError
from golfpipe.jobs.job import Job
from golfpipe.loading.pieces import model_config, packed_file, pieces_to_arrays
from golfpipe.loading.warning_signs import bearable_bytes
from golfpipe.loading.weights import load_weights
from golfpipe.machine.code_search import own_code_search
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.model.config import parameter_shapes, plain_model, possible_names
from golfpipe.quant.config import ClassScheme
from golfpipe.quant.export import QuantizedWeights, quantize_weights
from golfpipe.quant.report import TensorReport
from golfpipe.quant.target import size_target
from golfpipe.stages.calibration import calibrate_model
from golfpipe.stages.quantize_weights import quantize_imported
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.units import format_bytes


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write quantized.safetensors (codes, scales) and report.json (error and entropy per tensor)."""
    select_threads(job.context.threads)
    keep_freed_memory()
    on_cpu = select_device(job.context.device) == "cpu"
    with own_code_search(job.config.quantize.compile if on_cpu else "off", job.context.reporter.warn):
        return _quantize(job, out)


def _quantize(job: Job, out: ArtifactWriter) -> Result:
    source = job.inputs["model"]
    if source.manifest.kind == "weights":
        return quantize_imported(job, out)
    if "calibration_file" in job.arguments:
        raise UsageError(
            f"--calibration-file is for imported weights, but {source.path} is a {source.manifest.kind}",
            hint="--set quantize.calibration=train, or generated",
        )
    settings = job.config.quantize
    _warn_if_trained_otherwise(job)
    model = model_config(source)
    device = torch.device(select_device(job.context.device))
    weights = {name: weight.to(device) for name, weight in load_weights(source).items()}
    started = time.perf_counter()
    calibration = calibrate_model(job, weights, device)
    calibration_seconds = time.perf_counter() - started if calibration is not None else 0.0
    target = None
    if settings.has_target:
        target = size_target(settings, job.config.pack, plain_model(model), parameter_shapes(model), packed_file)
    total = sum(weight.numel() for weight in weights.values())
    with job.context.reporter.task("quantize", total, "weights") as task:
        result = quantize_weights(
            weights,
            settings,
            universe=possible_names(model),
            progress=task.advance,
            calibration=calibration,
            target=target,
        )
    arrays, metadata = pieces_to_arrays(result.pieces)
    out.write_arrays("quantized.safetensors", arrays, metadata)
    out.write_json("report.json", {"tensors": [_report_line(report) for report in result.reports.values()]})
    metrics = _error_metrics(result, weights) | _solution_metrics(job, result)
    _warn_of_loss(job, result, metrics)
    if calibration is not None:
        metrics["calibration_seconds"] = round(calibration_seconds, 3)
    return Result(kind="quantized_model", metrics=metrics, model=plain_model(model))


def _solution_metrics(job: Job, result: QuantizedWeights) -> dict[str, Any]:
    """Return the solved allocation, and print it: bits per weight of each class, and the exact packed size."""
    if result.solution is None:
        return {}
    counts: dict[str, int] = {}
    bytes_of: dict[str, float] = {}
    for report in result.reports.values():
        counts[report.tensor_class] = counts.get(report.tensor_class, 0) + report.num_values
        bytes_of[report.tensor_class] = bytes_of.get(report.tensor_class, 0.0) + report.ideal_bytes
    bits = {name: round(8 * bytes_of[name] / counts[name], 3) for name in sorted(counts)}
    listed = ", ".join(f"{name} {value:.2f}" for name, value in bits.items())
    if result.solution.reached:
        job.context.reporter.note(
            f"{result.solution.size:.0f} bytes after {result.solution.passes} passes; bits: {listed}"
        )
    else:
        job.context.reporter.note(
            f"the target is more than the weights need: {result.solution.size:.0f} bytes at the finest step;"
            f" bits: {listed}"
        )
    return {
        "solved_bytes": round(result.solution.size),
        "solver_passes": result.solution.passes,
        "target_reached": result.solution.reached,
        "bits_by_class": bits,
    }


def _warn_of_loss(job: Job, result: QuantizedWeights, metrics: Mapping[str, Any]) -> None:
    """Warn of errors that a model does not bear, and of a target that was met without knowing what errors cost."""
    rounded = sum(report.num_values for report in result.reports.values() if report.relative_squared_error > 0)
    size, error = metrics.get("solved_bytes", metrics["entropy_bytes"]), metrics["relative_mse"]
    calibrated = job.config.quantize.calibration != "none"
    bearable = bearable_bytes(size, rounded, error, calibrated=calibrated)
    if bearable is not None:
        job.context.reporter.warn(
            f"the squared error of the weights is {error:.0%} of their squares, which ruins a model; from about"
            f" {format_bytes(bearable)} on it is bearable (--set quantize.target_bytes={bearable})"
        )
    if job.config.quantize.has_target and not calibrated:
        job.context.reporter.warn(
            "a target without calibration: errors fall where they cost most. At 2.5 bits a weight that lost 0.036 bits"
            " per byte, and 0.007 with calibration; --set quantize.calibration=train reads the training data,"
            " generated needs none"
        )


def _error_metrics(result: QuantizedWeights, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    reports = result.reports
    powers = {name: float(weight.double().square().sum()) for name, weight in weights.items()}
    by_class = {
        tensor_class: _relative_mse({n: r for n, r in reports.items() if r.tensor_class == tensor_class}, powers)
        for tensor_class in sorted({report.tensor_class for report in reports.values()})
    }
    return {
        "relative_mse": _relative_mse(reports, powers),
        "relative_mse_by_class": by_class,
        "entropy_bytes": round(sum(report.ideal_bytes for report in reports.values())),
        "edge_rows_share": _edge_share(reports),
    }


def _report_line(report: TensorReport) -> dict[str, Any]:
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
    """Return the squared error over the squared weights, of all tensors together."""
    total = sum(powers[name] for name in reports)
    errors = sum(report.relative_squared_error * powers[name] for name, report in reports.items())
    return errors / total if total else 0.0


def _edge_share(reports: Mapping[str, TensorReport]) -> float:
    """Return the share of all searched rows that took the grid's lowest ratio."""
    counts = [report.ratio_counts for report in reports.values() if report.ratio_counts is not None]
    rows = sum(sum(count) for count in counts)
    return sum(count[0] for count in counts) / rows if rows else 0.0


def _warn_if_trained_otherwise(job: Job) -> None:
    """Warn where the quantizer of training differs from that of the export, which costs accuracy."""
    train = job.config.train
    if train.qat_start >= 1 or job.inputs["model"].manifest.stage != "train" or job.config.quantize.is_open:
        return
    differences = [
        f"{name}: train.qat {_scheme(trained)}, quantize {_scheme(exported)}"
        for name in ("mlp", "attention", "ngram", "token_table", "small")
        if not (trained := getattr(train.qat, name)).is_float
        and trained != (exported := getattr(job.config.quantize, name))
    ]
    if train.qat.clip_ratios != job.config.quantize.clip_ratios:
        differences.append("clip_grid")
    if differences:
        job.context.reporter.warn(
            f"the model was trained through another quantizer than this export ({'; '.join(differences)})"
        )


def _scheme(scheme: ClassScheme) -> str:
    return f"step {scheme.step:g}" if scheme.step else f"{scheme.bits} bits"
