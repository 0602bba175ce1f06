"""Calibrate golfpipe's own model: the tokens that show what errors of its weights cost, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from golfpipe.model.network import Network
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.calibrator import CALIBRATION_SEED, Calibrator
from golfpipe.quant.config import QuantizeConfig
from golfpipe.training.token_stream import TokenStream

# Shapes: B batch, T time, V vocabulary

_SMALL_MODEL = 10_000_000
"""The most parameters of a model that gets CALIBRATION_TOKENS and passes of 1,024 tokens. Larger models get fewer
tokens, in passes of 512, which bounds time and memory (1 GB less for 16 layers)."""
CALIBRATION_TOKENS = 65_536


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """How the calibration tokens are cut into passes."""

    passes: int
    sequences: int
    """The number of sequences per pass."""
    length: int

    @property
    def num_tokens(self) -> int:
        return self.passes * self.sequences * self.length


def plan_calibration(settings: QuantizeConfig, num_parameters: int, context_length: int) -> CalibrationPlan:
    """Return the passes for quantize.calibration_tokens; 0 means a minute or two of work on two cores."""
    by_size = int(min(CALIBRATION_TOKENS, max(8_192, CALIBRATION_TOKENS * _SMALL_MODEL // num_parameters)))
    wanted = settings.calibration_tokens or by_size
    # The Fisher diagonal is a mean of squares over passes, so many small passes tell more than a few large ones.
    most = 1024 if num_parameters <= _SMALL_MODEL else 512
    length = min(context_length, wanted, most)
    sequences = max(1, min(most, wanted) // length)
    return CalibrationPlan(max(1, wanted // (sequences * length)), sequences, length)


def calibrate(
    network: Network,
    settings: QuantizeConfig,
    plan: CalibrationPlan,
    stream: TokenStream | None,
    device: torch.device,
    advance: Callable[[int], None] | None = None,
) -> CalibrationData:
    """Run the plan's tokens through the model, and return second moments and Fisher diagonal.

    `stream` holds train tokens, more than one sequence of them; None for quantize.calibration=generated. `advance` is
    called after each pass with its number of tokens.
    """
    generator = torch.Generator().manual_seed(CALIBRATION_SEED)
    calibrator = Calibrator(network, generator)
    for tokens_BT in _calibration_batches(network, settings, plan, stream, device, generator):
        with calibrator:
            logits_BTV = network.logits(network.hidden(tokens_BT))
        calibrator.observe(logits_BTV)
        if advance is not None:
            advance(tokens_BT.numel())
    return calibrator.data()


def _calibration_batches(
    network: Network,
    settings: QuantizeConfig,
    plan: CalibrationPlan,
    stream: TokenStream | None,
    device: torch.device,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    if settings.calibration == "generated":
        for _ in range(plan.passes):
            yield _generated_tokens(network, plan, device, generator)
    else:
        assert stream is not None
        # The passes are spread over all of the data: neighboring ones would come from a few documents.
        gap = max(0, (stream.num_tokens - 1) // plan.passes - plan.sequences * plan.length)
        for _ in range(plan.passes):
            yield stream.next_batch(plan.sequences, plan.length)[0].to(device)
            stream.skip(gap)


@torch.no_grad()
def _generated_tokens(
    network: Network, plan: CalibrationPlan, device: torch.device, generator: torch.Generator
) -> Tensor:
    """Return sequences [B, T] that the model draws token by token, starting from a BOS."""
    tokens_BT = torch.full((plan.sequences, plan.length), network.config.bos_id, dtype=torch.int64, device=device)
    for t in range(1, plan.length):
        logits_BV = network.logits(network.hidden(tokens_BT[:, :t])[:, -1])
        tokens_BT[:, t] = torch.multinomial(logits_BV.softmax(-1).cpu(), 1, generator=generator)[:, 0].to(device)
    return tokens_BT
