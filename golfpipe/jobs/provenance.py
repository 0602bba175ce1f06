"""Where an artifact comes from: versions, machine, data, times. None of it is part of a key or a digest."""

from __future__ import annotations

import platform
import socket
import sys
from dataclasses import asdict
from importlib import metadata
from typing import Any

from golfpipe.errors import UsageError
from golfpipe.jobs.job import Job
from golfpipe.machine.devices import device_name, select_device
from golfpipe.machine.memory import peak_memory_bytes
from golfpipe.store.manifest import InputRef, Manifest
from golfpipe.version import __version__, source_commit

_PACKAGES = ("torch", "numpy", "safetensors", "sentencepiece", "constriction")


def provenance_of(job: Job, started: float, seconds: float) -> dict[str, Any]:
    """Describe a job that has just ended: `started` in seconds since 1970, `seconds` that it took."""
    return {
        "golfpipe": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": source_commit(),
        "device": job.context.device,
        **_device_used(job),
        "threads": job.context.threads,
        "seed": job.config.seed,
        "argv": list(job.context.argv),
        "data": _data_behind(job),
        **({"rehearsal": True} if _is_rehearsed(job) else {}),
        "started_unix": round(started, 3),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def data_reference(manifest: Manifest) -> InputRef | None:
    """Return the token data that a model learned from: the one that its training read, or the text that it was adapted
    to.

    Of the other kinds it is the one behind their model. Data that only calibrated or scored a model is named only where
    nothing else is, as for an imported model.
    """
    own = manifest.input("data")
    if own is not None and manifest.kind in ("trained_model", "adapted_model"):
        return own
    carried = manifest.provenance.get("data")
    try:
        return InputRef(**carried) if isinstance(carried, dict) else own
    except (TypeError, ValueError):  # edited by hand: provenance is outside the digest
        return own


def _is_rehearsed(job: Job) -> bool:
    return job.context.rehearsal or any(artifact.manifest.is_rehearsal for artifact in job.inputs.values())


def _device_used(job: Job) -> dict[str, Any]:
    if "torch" not in sys.modules:  # the stage used none
        return {}
    try:
        device = select_device(job.context.device)
    except UsageError:  # a stage that needs no device does not mind a --device that is not there
        return {}
    processes = job.context.processes.size if job.context.processes is not None else 1
    return {"device_used": device, "device_name": device_name(device), "processes": processes}


def _data_behind(job: Job) -> dict[str, Any] | None:
    """Return the token data behind the job as plain values. Every artifact carries it forward, so that `evaluate MODEL`
    finds its data although the artifacts in between were replaced."""
    for artifact in job.inputs.values():
        reference = artifact.reference("data") if artifact.manifest.kind == "token_data" else None
        reference = reference or data_reference(artifact.manifest)
        if reference is not None:
            return asdict(reference)
    return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
