"""What `auto` in a setting comes to for one job. Keys and manifests hold the choice, never the word."""

from __future__ import annotations

from dataclasses import replace

from golfpipe.config.schema import PipelineConfig
from golfpipe.jobs.registry import Stage


def settled(stage: Stage, config: PipelineConfig, *, data_at_hand: bool) -> PipelineConfig:
    """Return the settings with which the stage works. `data_at_hand`: the job can read token data.

    quantize.calibration=auto becomes `train` under a target, where errors cost the more the fewer bits there are, and
    `none` without a target or without data.
    """
    quantize = config.quantize
    if stage.name != "quantize" or quantize.calibration != "auto":
        return config
    calibrated = quantize.has_target and data_at_hand
    return replace(config, quantize=replace(quantize, calibration="train" if calibrated else "none"))
