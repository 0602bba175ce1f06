"""The calibration of a trained model, on the tokens that the settings name."""

from __future__ import annotations

import torch
from torch import Tensor

from golfpipe.data.token_data import load_shards
from golfpipe.errors import ConfigError, DataError
from golfpipe.jobs.job import Job
from golfpipe.loading.pieces import model_config
from golfpipe.model.config import parameter_count
from golfpipe.model.network import load_network
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.training.calibration import calibrate, plan_calibration
from golfpipe.training.token_stream import TokenStream

_DEFAULT_CONTEXT = 1024


def calibrate_model(job: Job, weights: dict[str, Tensor], device: torch.device) -> CalibrationData | None:
    """Run quantize.calibration_tokens tokens through the model and return what errors cost; None without calibration.

    Raises ConfigError without data to calibrate on, DataError where it holds too few tokens.
    """
    settings = job.config.quantize
    if settings.calibration == "none":
        return None
    config = model_config(job.inputs["model"])
    plan = plan_calibration(settings, parameter_count(config), _context_length(job))
    stream = _train_stream(job, plan.length) if settings.calibration == "train" else None
    network = load_network(config, weights).to(device)
    with job.context.reporter.task("calibrate", plan.num_tokens, "tokens") as task:
        return calibrate(network, settings, plan, stream, device, task.advance)


def _context_length(job: Job) -> int:
    """Return the tokens per sequence that the model was trained with, as its own manifest says."""
    trained = job.inputs["model"].manifest.config.get("train", {})
    length = trained.get("context_length") if isinstance(trained, dict) else None
    return length if isinstance(length, int) and length > 0 else _DEFAULT_CONTEXT


def _train_stream(job: Job, length: int) -> TokenStream:
    data = job.inputs.get("data")
    if data is None:
        raise ConfigError(
            "quantize.calibration=train needs token data",
            hint="`golfpipe quantize MODEL DATA`, or --set quantize.calibration=generated",
        )
    stream = TokenStream(load_shards(data, "train"))
    if stream.num_tokens <= length:
        raise DataError(f"{data.path}: {stream.num_tokens} train tokens are too few to calibrate on")
    return stream
