"""Preset configurations of the repository's own stages.yaml, for benchmarks."""

from __future__ import annotations

from pathlib import Path

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.config.schema import PipelineConfig

STAGES = Path(__file__).parents[1] / "stages.yaml"


def preset(name: str, *overrides: str) -> PipelineConfig:
    return resolve_config(load_stages(STAGES), preset=name, overrides=overrides).config
