"""Bring a checkpoint of the pull request's script into the pipeline.

golfpipe import final_model.pt --preset 16l --check artifacts/data/fineweb
golfpipe import final_model.pt --name theirs --set model.leaky_slope=0 --set model.rope_fraction=0.5

Names and shapes show the architecture; what they do not show comes from the settings and is listed as assumed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from golfpipe.config.checkpoint_names import Inferred
from golfpipe.config.later import plain_model
from golfpipe.errors import ArtifactError, DataError, UsageError
from golfpipe.jobs.job import Job
from golfpipe.model.config import parameter_count, parameter_shapes
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.canonical import file_sha256
from golfpipe.store.checkpoint import read_state_dict
from golfpipe.store.manifest import Result
from golfpipe.store.tensors import check_tensors


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write the weights under golfpipe's names. The job's arguments are file, inferred (with the file's names), assumed
    and origins (for the manifest)."""
    if "file" not in job.arguments:
        raise UsageError("import reads a checkpoint file, so it is no step of a pipeline", hint="golfpipe import FILE")
    file: Path = job.arguments["file"]
    inferred: Inferred = job.arguments["inferred"]
    config = job.config.model
    tensors = read_state_dict(file)
    weights: dict[str, Tensor] = {}
    for name, shape in parameter_shapes(config).items():
        source = inferred.sources[name]
        if source not in tensors or not tensors[source].is_floating_point():
            raise DataError(f"{file}: tensor {source} is missing or holds no floating-point numbers", path=str(file))
        weights[name] = tensors[source].to(torch.float32).reshape(shape).contiguous()
    try:
        check_tensors(weights, parameter_shapes(config), str(file), dtype=torch.float32)
    except ArtifactError as error:  # this is not an artifact yet, but somebody's file
        raise DataError(error.message, path=str(file)) from error
    model = plain_model(config)
    out.write_tensors("ema.safetensors", weights, {"model": model})
    dtypes = {str(tensors[source].dtype).removeprefix("torch.") for source in inferred.sources.values()}
    return Result(
        kind="trained_model",
        metrics={"parameters": parameter_count(config), "imported_tensors": len(weights), "stop_reason": "imported"},
        model=model,
        provenance={
            "imported_from": str(file),
            "imported_sha256": file_sha256(file),
            "imported_dtypes": sorted(dtypes),
            "inferred": inferred.model,
            "assumed": job.arguments["assumed"],
            "assumed_from": job.arguments["origins"],
            "ignored": list(inferred.ignored),
        },
    )
