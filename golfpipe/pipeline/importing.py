"""Prepare the job of `import`: the architecture comes from the checkpoint, the rest from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from golfpipe.config.checkpoint_names import Inferred, assumed_values, fits_preset, infer_model, stripped
from golfpipe.config.schema import PipelineConfig, build_config, plain_config
from golfpipe.errors import ConfigError, UsageError
from golfpipe.jobs.job import Job
from golfpipe.jobs.registry import STAGES
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import ARTIFACTS, Request, checked_name, checked_out
from golfpipe.pipeline.text_digest import files_digest
from golfpipe.store.checkpoint import read_state_dict
from golfpipe.store.state_files import state_files

PR_BEHAVIOR = ("model.mask_document_boundaries=false",)
"""Settings in which the PR's script differs from the defaults. They lie below --set; a --preset replaces them."""


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """The job, and where each part of the architecture comes from."""

    job: Job
    inferred: dict[str, Any]
    """The keys of `model` that names and shapes show, with their values."""
    assumed: dict[str, Any]
    """The dotted keys that they do not show, with their values."""
    origins: dict[str, str]
    """Where the assumed values come from: 'preset 16l', '--set', 'default'."""


def prepare_import(request: Request, file: Path, name: str | None) -> ImportPlan:
    """Read the file and settle what it leaves open. Raises DataError, ConfigError, UsageError."""
    if not file.is_file():
        raise UsageError(f"{file}: no such file", path=str(file), wanted=("checkpoint",))
    out = request.out
    if out is None:
        out = ARTIFACTS / checked_name(name or file.stem) / "import"
    inferred = _infer(file, plain_config(request.settings.resolve().config.model)["loop"])
    settings, chosen = _with_preset(request.settings, inferred)
    resolved = settings.resolve()
    _refuse_contradictions(resolved.origin, resolved.config, inferred)
    plain = plain_config(resolved.config)
    plain["model"] |= inferred.model
    config = build_config(plain)
    assumed = assumed_values(config)
    origins = {key: _origin(key, resolved.origin, request.settings, chosen) for key in assumed}
    job = Job(
        stage=STAGES["import"],
        config=config,
        inputs={},
        out=checked_out(out),
        arguments={"file": file, "inferred": inferred, "assumed": assumed, "origins": origins},
        argument_digest=files_digest([file], str(config.evaluate.context_length)),
        context=request.context,
    )
    return ImportPlan(job=job, inferred=inferred.model, assumed=assumed, origins=origins)


def prepare_weights(request: Request, path: Path, name: str | None, rules: Sequence[str]) -> Job:
    """Return the job that imports the weights of any model. rules: texts `NAME=RULE`. Raises UsageError, DataError."""
    out = request.out if request.out is not None else ARTIFACTS / checked_name(name or path.stem) / "import"
    texts = {}
    for rule in rules:
        pattern, separator, text = rule.rpartition("=")
        if not separator:
            raise UsageError(f"--rule {rule!r}: expected NAME=RULE", hint="--rule 'qo_bank=split(0)'")
        texts[pattern] = text
    return Job(
        stage=STAGES[request.stage],
        config=request.settings.resolve().config,
        inputs={},
        out=checked_out(out),
        arguments={"path": path, "rules": texts},
        argument_digest=files_digest(state_files(path), *(file.name for file in state_files(path)), *rules),
        context=request.context,
    )


def _infer(file: Path, loop: Any) -> Inferred:
    tensors = read_state_dict(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    short = {stripped(name): tensor for name, tensor in tensors.items()}
    head, table = short.get("lm_head.weight"), short.get("tok_emb.weight")
    tied = head is not None and table is not None and head.shape == table.shape and bool((head == table).all())
    return infer_model(shapes, str(file), tied_head=tied, loop=loop)


def _with_preset(settings: Settings, inferred: Inferred) -> tuple[Settings, str | None]:
    """Choose a preset where --preset gives none: the first whose architecture the file has, if there is one. Add the
    settings by which the pull request's script differs."""
    if settings.preset is not None:
        return settings, None
    as_script = replace(settings, overrides=(*PR_BEHAVIOR, *settings.overrides))
    for name in settings.stages().presets:
        model = plain_config(replace(settings, preset=name, overrides=()).resolve().config.model)
        if fits_preset(model, inferred.model):
            return replace(as_script, preset=name), name
    return as_script, None


def _origin(key: str, origin: dict[str, str], given: Settings, chosen: str | None) -> str:
    """Return the layer that a value came from, and why it was chosen."""
    layer = origin[key]
    if chosen is not None and layer in (f"preset {chosen}", "default"):
        return f"preset {chosen}, which has the file's shape"
    own = {text.partition("=")[0].strip() for text in given.overrides}
    return "the pull request's script" if layer == "--set" and key not in own else layer


def _refuse_contradictions(origin: dict[str, str], config: PipelineConfig, inferred: Inferred) -> None:
    """Check that no --set contradicts the file; a preset's value gives way. Raises ConfigError."""
    model = plain_config(config.model)
    for key, value in inferred.model.items():
        if origin.get(f"model.{key}") == "--set" and model[key] != value:
            raise ConfigError(
                f"--set model.{key}={model[key]}: the file shows {value}",
                hint="names and shapes decide; set only what they do not show",
            )
