"""Settings and presets in the form in which commands show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from golfpipe.config.resolve import Resolved, flatten
from golfpipe.config.schema import PipelineConfig, all_keys, plain_config, setting_value
from golfpipe.model.config import parameter_count
from golfpipe.pipeline.estimate import step_operations, training_time, weight_bytes
from golfpipe.pipeline.settings import Settings
from golfpipe.store.artifact import open_artifact


def show_settings(
    settings: Settings, artifact: Path | None, warn: Callable[[str], None]
) -> tuple[Resolved, dict[str, Any]]:
    """Return the configuration, and its values by dotted key in the order of the sections.

    Without an artifact it is what `train` or `run` would use. Raises ConfigError, ArtifactError.
    """
    opened = open_artifact(artifact) if artifact is not None else None
    resolved = settings.resolve_over(opened, warn) if opened is not None else settings.resolve(default_preset=True)
    plain = plain_config(resolved.config)
    return resolved, {key: setting_value(plain, key) for key in all_keys()}


def model_facts(config: PipelineConfig) -> dict[str, Any]:
    """Return the facts that follow from the settings of the model."""
    model = config.model
    return {
        "parameters": parameter_count(model),
        "kv_source": list(model.kv_source),
        "num_kv_projections": model.num_kv_projections,
        "exclusive_layers": [layer for layer, exclusive in enumerate(model.exclusive_layers) if exclusive],
        "head_dim": model.head_dim,
        "rope_dim": model.rope_dim,
        "mlp_hidden": model.mlp_hidden,
        "bytes_before_coding": weight_bytes(config),
    }


def preset_facts(settings: Settings) -> list[dict[str, Any]]:
    """Return name, purpose, parameters, bytes and expected training time on every machine of every preset. Raises
    ConfigError for one that cannot be built."""
    facts, machines = [], settings.stages().machines.values()
    for name, preset in settings.stages().presets.items():
        config = Settings(config_file=settings.config_file, preset=name).resolve().config
        facts.append(
            {
                "name": name,
                "about": preset.about,
                "parameters": parameter_count(config.model),
                "weight_bytes": weight_bytes(config),
                "training": {
                    machine.name: asdict(training_time(config.train, machine.step_seconds(step_operations(config))))
                    for machine in machines
                }
                if "train" in preset.settings
                else {},
                "settings": flatten(preset.settings),
            }
        )
    return facts
