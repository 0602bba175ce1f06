"""The checks of `golfpipe doctor`: what this machine has of what golfpipe needs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from golfpipe import openmp
from golfpipe.config.resolve import load_stages
from golfpipe.errors import ConfigError
from golfpipe.extras import EXTRAS
from golfpipe.machine.devices import cpu_count, select_device
from golfpipe.store.files import free_bytes
from golfpipe.units import format_bytes
from golfpipe.version import __version__, source_commit

PACKAGES = ("torch", "numpy", "safetensors", "sentencepiece", "typer", "rich", "pydantic", "PyYAML", "constriction",
            "matplotlib", "Jinja2", "MarkupSafe", "python-minifier", "zstandard")  # fmt: skip
"""Packages that nothing works without; those of `EXTRAS` are optional."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `note` means that golfpipe works without it, with a limit that `found` states."""

    name: str
    status: Literal["ok", "note", "missing"]
    found: str


def check_machine() -> list[Check]:
    """Run every check, in the order in which people need them. Imports torch."""
    return [
        Check("golfpipe", "ok", f"{__version__} {source_commit() or ''}".strip()),
        Check(
            "python", "ok" if sys.version_info >= (3, 11) else "missing", f"{platform.python_version()} (3.11 or later)"
        ),
        *(_package(name) for name in (*PACKAGES, *EXTRAS)),
        *_devices(),
        Check("cpu cores", "ok", str(cpu_count())),
        _memory(),
        Check("disk", "ok", f"{format_bytes(free_bytes(Path.cwd()))} free here"),
        _stages_file(),
    ]


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        extra = EXTRAS.get(name)
        if extra is None:
            return Check(name, "missing", "not installed")
        return Check(name, "note", f"not installed; used by {extra.used_by}: {extra.command}")


def _devices() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("torch import", "missing", str(error))
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Check(f"cuda:{index}", "ok", f"{properties.name}, {format_bytes(properties.total_memory)}")
    else:
        yield Check("cuda", "note", "no GPU: presets of the 16 MB class take days")
    if torch.backends.mps.is_available():
        yield Check("mps", "ok", "Apple GPU")
    yield Check("torch threads", "ok", str(torch.get_num_threads()))
    yield Check("waiting threads", "ok", openmp.waiting(os.environ))
    from golfpipe.machine.fast_paths import code_search_path, fast_paths

    for path in (*fast_paths(torch.device(select_device("auto"))), code_search_path()):
        yield Check(path.name, "ok" if path.on else "note", path.found)


def _memory() -> Check:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Check("memory", "note", "not known")
    return Check("memory", "ok", format_bytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))


def _stages_file() -> Check:
    try:
        return Check("stages.yaml", "ok", str(load_stages().path))
    except ConfigError as error:
        return Check("stages.yaml", "missing", error.message)
