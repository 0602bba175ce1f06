"""Solving a preset for a size, with the machine code for the search of codes; for `tiny` also without.

python -m benchmarks code_search [--quick]

Weights are Gaussian with a spread by row, inputs correlated, sensitivities random by row. Searches take as long with
trained ones. The loss is what the errors of the codes cost by that calibration, in nats a token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.child import clock
from benchmarks.settings import preset
from golfpipe.codec.container import encode_payload
from golfpipe.config.schema import plain_config
from golfpipe.loading.pieces import packed_file
from golfpipe.machine.code_search import own_code_search
from golfpipe.model.config import parameter_shapes, possible_names
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.dequantize import dequantize_piece
from golfpipe.quant.export import QuantizedWeights, quantize_weights
from golfpipe.quant.target import size_target

CASES = {"tiny, 3 bits": ("tiny", "quantize.target_bits=3"), "16l, 16 MB": ("16l", "quantize.target_bytes=limit")}
"""Words -> preset and target."""
INPUTS = 2_048
"""Tokens whose inputs make second moments."""


def run(quick: bool) -> dict[str, Any]:
    """Seconds of each solution, its length, digest and loss."""
    if quick:
        return solve("demo, 3 bits", "demo", "quantize.target_bits=3", "auto")
    plain = solve("tiny, 3 bits, no machine code", *CASES["tiny, 3 bits"], "off")
    return plain | {case: found for name, words in CASES.items() for case, found in solve(name, *words, "auto").items()}


def random_model(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Tensor], CalibrationData]:
    """Weights, and a calibration of them."""
    generator = torch.Generator().manual_seed(1)
    weights: dict[str, Tensor] = {}
    fisher: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        spread = torch.exp2(0.5 * torch.randn(shape[0], 1, generator=generator)) if len(shape) == 2 else 1.0
        weights[name] = torch.randn(shape, generator=generator) * 0.02 * spread
        rows = weights[name].reshape(shape[0], -1) if len(shape) == 2 else weights[name].reshape(1, -1)
        fisher[name] = 1e-3 * torch.exp2(torch.randn(len(rows), 1, generator=generator)).expand_as(rows)
        if len(shape) == 2 and name.startswith(("blocks", "kv")) and "mix" not in name:
            width = shape[1]
            mix = torch.eye(width) + torch.randn(width, width, generator=generator) / width**0.5
            x = torch.randn(INPUTS, width, generator=generator) @ mix
            moments[name] = x.T @ x / INPUTS
    return weights, CalibrationData(fisher, moments)


def solve(case: str, preset_name: str, target: str, choice: Literal["auto", "off"]) -> dict[str, Any]:
    """Solve without and with the calibration; a case of each."""
    config = preset(preset_name, "quantize.method=trellis", target)
    shapes, found = parameter_shapes(config.model), {}
    weights, measured = random_model(shapes)
    names = possible_names(config.model)
    for words, calibration in (("", None), (", calibrated", measured)):
        size = size_target(config.quantize, config.pack, plain_config(config.model), shapes, packed_file)
        with own_code_search(choice, print):
            started = clock()
            solved = quantize_weights(weights, config.quantize, universe=names, calibration=calibration, target=size)
            seconds = clock() - started
        payload = encode_payload({}, solved.pieces.values(), coder=config.pack.coder)
        found[case + words] = {
            "solve_seconds": seconds,
            "payload_length": len(payload),
            "loss_nats": expected_loss(weights, solved, measured),
            "sha256": hashlib.sha256(payload).hexdigest()[:16],
        }
    return found


def expected_loss(weights: Mapping[str, Tensor], found: QuantizedWeights, data: CalibrationData) -> float:
    """Half the sum of what the errors cost, as golfpipe.quant.sensitivity says."""
    total = 0.0
    for name, piece in found.pieces.items():
        error = (dequantize_piece(piece) - weights[name]).double().reshape(data.fisher[name].shape)
        if (moments := data.moments.get(name)) is not None:
            row_R = data.fisher[name][:, 0].double() / moments.diagonal().double().mean()
            total += float((((error @ moments.double()) * error).sum(1) * row_R).sum()) / 2
        else:
            total += float((error.square() * data.fisher[name].double()).sum()) / 2
    return total
