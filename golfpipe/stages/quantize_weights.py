"""Quantize imported weights of any model to a size: the compressor's own path, tensor by tensor reported."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from golfpipe.codec.formats import ideal_bytes
from golfpipe.codec.pieces import Piece
from golfpipe.errors import ConfigError
from golfpipe.jobs.job import Job
from golfpipe.loading.pieces import packed_file, pieces_to_arrays
from golfpipe.loading.weights import load_state
from golfpipe.quant.dequantize import dequantize_piece
from golfpipe.quant.quantizer import Solution
from golfpipe.quant.report import relative_squared_error
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.weights.calibration import Calibration
from golfpipe.weights.compress import description, num_pieces, quantize_plans
from golfpipe.weights.plan import Plan, blocks_of, cut, plan_state
from golfpipe.weights.rules import parse_rules


def quantize_imported(job: Job, out: ArtifactWriter) -> Result:
    """Write quantized.safetensors and report.json of weights without an architecture.

    The job's argument `calibration_file` may name a file of `Calibration.save`. Raises ConfigError without a target,
    and where tokens are to calibrate: only the model's own script can run it.
    """
    settings, source = job.config.quantize, job.inputs["model"]
    if not settings.has_target:
        raise ConfigError(
            "weights without an architecture are quantized to a size, and none is given",
            hint="--set quantize.target_bytes=limit, or --set quantize.target_bits=3",
        )
    if settings.calibration != "none":
        raise ConfigError(
            f"quantize.calibration={settings.calibration}: golfpipe cannot run a model whose architecture it lacks",
            hint="Calibration(model) in its script, calibration.save(FILE), then --calibration-file FILE",
        )
    file: Path | None = job.arguments.get("calibration_file")
    calibration = Calibration.load(file) if file is not None else None
    measured = calibration.data() if calibration is not None else None
    state, rules = load_state(source)
    widths = {name: len(moments) for name, moments in measured.moments.items()} if measured is not None else {}
    plans = plan_state(state, parse_rules(rules), widths)
    started = time.perf_counter()
    with job.context.reporter.task("quantize", 0, "weights"):
        found = quantize_plans(
            plans,
            settings,
            job.config.pack,
            measured,
            vocabulary=calibration.vocabulary if calibration is not None else 0,
            file_of=packed_file,
        )
    arrays, metadata = pieces_to_arrays({piece.name: piece for piece in found.pieces})
    out.write_arrays("quantized.safetensors", arrays, metadata)
    lines = _report(plans, found.pieces)
    out.write_json("report.json", {"tensors": lines})
    metrics = _metrics(plans, lines) | _solved(found.solution, lines)
    metrics["search_seconds"] = round(time.perf_counter() - started, 3)
    return Result(kind="quantized_model", metrics=metrics, model=description(plans))


def _report(plans: list[Plan], pieces: list[Piece]) -> list[dict[str, Any]]:
    """Return a line for each tensor, of the form that the lines of golfpipe's own models have."""
    waiting, lines = iter(pieces), []
    for plan in plans:
        own = [next(waiting) for _ in range(num_pieces(plan))]
        values, size = plan.tensor.numel() if own else 0, sum(ideal_bytes(piece) for piece in own)
        coded, kept = plan.how == "coded", plans[plan.same_as] if plan.same_as is not None else plan
        lines.append(
            {
                "name": plan.name,
                "class": "table" if kept.is_table else kept.how,
                "bits": min((piece.bits for piece in own), default=0),
                "values": values,
                "relative_mse": _relative_mse(plan, own),
                "entropy_bits": 8 * size / values if coded else None,
                "entropy_bytes": size,
                "edge_share": None,
                "ratio_counts": None,
            }
        )
    return lines


def _relative_mse(plan: Plan, pieces: list[Piece]) -> float:
    """Return sum (w - w_hat)^2 / sum w^2 of a tensor; 0 where it is kept bit by bit."""
    if plan.how in ("exact", "same"):
        return 0.0
    if plan.how == "fp16":
        return relative_squared_error(plan.tensor.reshape(-1).float(), dequantize_piece(pieces[0]))
    error = power = 0.0
    waiting = iter(pieces)
    for part_RC in cut(plan, plan.tensor):
        for block_RC in part_RC.split(blocks_of(tuple(part_RC.shape))):
            own = float(block_RC.double().square().sum())
            error += own * relative_squared_error(block_RC.float(), dequantize_piece(next(waiting)))
            power += own
    return error / power if power else 0.0


def _metrics(plans: list[Plan], lines: list[dict[str, Any]]) -> dict[str, Any]:
    real = [plan.how in ("coded", "fp16") for plan in plans]
    powers = [
        float(plan.tensor.double().square().sum()) if is_real else 0.0
        for plan, is_real in zip(plans, real, strict=True)
    ]
    classes = sorted({line["class"] for line, is_real in zip(lines, real, strict=True) if is_real})

    def error_of(*names: str) -> float:
        chosen = [
            (line["relative_mse"], power) for line, power in zip(lines, powers, strict=True) if line["class"] in names
        ]
        total = sum(power for _, power in chosen)
        return float(np.dot(*map(np.array, zip(*chosen, strict=True))) / total) if total else 0.0

    return {
        "relative_mse": error_of(*classes),
        "relative_mse_by_class": {name: error_of(name) for name in classes},
        "entropy_bytes": round(sum(line["entropy_bytes"] for line in lines)),
        "edge_rows_share": 0.0,
    }


def _solved(solution: Solution | None, lines: list[dict[str, Any]]) -> dict[str, Any]:
    if solution is None:
        return {}
    bits: dict[str, float] = {}
    for name in sorted({line["class"] for line in lines}):
        own = [line for line in lines if line["class"] == name]
        values = sum(line["values"] for line in own)
        bits[name] = round(8 * sum(line["entropy_bytes"] for line in own) / values, 3) if values else 0.0
    return {
        "solved_bytes": round(solution.size),
        "solver_passes": solution.passes,
        "target_reached": solution.reached,
        "bits_by_class": bits,
    }
