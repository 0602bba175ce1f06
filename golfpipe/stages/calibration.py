"""What a model's own errors would cost: second moments of the inputs of its linear maps, and the Fisher diagonal."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from golfpipe.data.token_data import load_shards
from golfpipe.errors import ConfigError, DataError
from golfpipe.model.config import parameter_count
from golfpipe.model.layers import CastLinear
from golfpipe.model.network import Network, load_network
from golfpipe.quant.sensitivity import CalibrationData, add_fisher, mean_fisher
from golfpipe.stages.base import Job
from golfpipe.stages.models import model_config
from golfpipe.training.shards import TokenStream

# Shapes: B batch, T time, V vocabulary

MICRO_BATCH_TOKENS = 1024
"""Tokens per backward pass: the Fisher diagonal is a mean over passes, so many small ones say more."""

CALIBRATION_SEED = 0
"""Of the drawn targets and texts: the same checkpoint is always calibrated alike."""
_DEFAULT_CONTEXT = 1024


def calibrate(job: Job, weights: dict[str, Tensor], device: torch.device) -> CalibrationData | None:
    """Run quantize.calibration_tokens tokens through the model; None without calibration. Raises ConfigError."""
    settings = job.config.quantize
    if settings.calibration == "none":
        return None
    config = model_config(job.inputs["model"])
    network = load_network(config, weights).to(device)
    wanted = settings.calibration_tokens or _default_tokens(parameter_count(config))
    length = min(_context_length(job), wanted)
    batch = max(1, min(MICRO_BATCH_TOKENS, wanted) // length)
    passes = max(1, wanted // (batch * length))
    generator = torch.Generator().manual_seed(CALIBRATION_SEED)
    total: dict[str, Tensor] = {}
    with (
        job.context.reporter.task("calibrate", passes * batch * length, "tokens") as task,
        _Moments(network) as moments,
    ):
        for tokens_BT in _batches(job, network, passes, batch, length, device, generator):
            hidden = network.hidden(tokens_BT)
            logits_NV = network.logits(hidden).flatten(0, 1)
            probabilities = logits_NV.detach().softmax(-1).cpu()
            drawn_N = torch.multinomial(probabilities, 1, generator=generator)[:, 0].to(device)
            network.zero_grad(set_to_none=True)
            F.cross_entropy(logits_NV, drawn_N).backward()
            gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
            add_fisher(total, gradients, tokens_BT.numel())
            task.advance(tokens_BT.numel())
        return CalibrationData(fisher=mean_fisher(total, passes), moments=moments.means(passes * batch * length))


def _default_tokens(num_parameters: int) -> int:
    """So that the work stays below a minute or two on two cores, whatever the model."""
    return int(min(65_536, max(8_192, 65_536 * 10_000_000 // num_parameters)))


def _context_length(job: Job) -> int:
    """Tokens per sequence that the model was trained with, as its own manifest says."""
    trained = job.inputs["model"].manifest.config.get("train", {})
    length = trained.get("context_length") if isinstance(trained, dict) else None
    return length if isinstance(length, int) and length > 0 else _DEFAULT_CONTEXT


def _batches(
    job: Job, network: Network, passes: int, batch: int, length: int, device: torch.device, generator: torch.Generator
) -> Iterator[Tensor]:
    if job.config.quantize.calibration == "generated":
        for _ in range(passes):
            yield _generate(network, batch, length, device, generator)
        return
    data = job.inputs.get("data")
    if data is None:
        raise ConfigError(
            "quantize.calibration=train needs token data",
            hint="golfpipe quantize MODEL DATA, or --set quantize.calibration=generated",
        )
    stream = TokenStream(load_shards(data, "train"))
    if stream.num_tokens <= length:
        raise DataError(f"{data.path}: {stream.num_tokens} train tokens are too few to calibrate on")
    # Spread over the whole of the data: neighboring batches would be of a few documents.
    gap = max(0, (stream.num_tokens - 1) // passes - batch * length)
    for _ in range(passes):
        yield stream.next_batch(batch, length)[0].to(device)
        stream.skip(gap)


@torch.no_grad()
def _generate(network: Network, batch: int, length: int, device: torch.device, generator: torch.Generator) -> Tensor:
    """Sequences that the model draws token by token from a BOS."""
    tokens_BT = torch.full((batch, length), network.config.bos_id, dtype=torch.int64, device=device)
    hooks = [module._forward_pre_hooks.copy() for module in network.modules()]
    for module in network.modules():
        module._forward_pre_hooks.clear()
    for t in range(1, length):
        logits_BV = network.logits(network.hidden(tokens_BT[:, :t])[:, -1])
        tokens_BT[:, t] = torch.multinomial(logits_BV.softmax(-1).cpu(), 1, generator=generator)[:, 0].to(device)
    for module, kept in zip(network.modules(), hooks, strict=True):
        module._forward_pre_hooks.update(kept)
    return tokens_BT


class _Moments:
    """Sums x x^T of the input of every linear map while it is entered."""

    def __init__(self, network: Network) -> None:
        self._sums: dict[str, Tensor] = {}
        self._maps = {name: m for name, m in network.named_modules() if isinstance(m, CastLinear)}

    def __enter__(self) -> _Moments:
        self._hooks = [
            module.register_forward_pre_hook(lambda _, inputs, name=name: self._add(f"{name}.weight", inputs[0]))
            for name, module in self._maps.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _add(self, name: str, x: Tensor) -> None:
        x_NC = x.detach().flatten(0, -2).float()
        product = x_NC.T @ x_NC
        self._sums[name] = self._sums[name] + product if name in self._sums else product

    def means(self, num_tokens: int) -> dict[str, Tensor]:
        return {name: total / num_tokens for name, total in self._sums.items()}
