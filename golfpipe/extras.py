"""Optional packages: which extra of golfpipe installs each, and what needs it.

They are imported inside the functions that use them, and `require` is called before any work is done.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from golfpipe.errors import StageFailed


class Extra(NamedTuple):
    """An extra of golfpipe's distribution."""

    name: str
    used_by: str

    @property
    def command(self) -> str:
        return f"pip install 'golfpipe[{self.name}]'"


EXTRAS = {
    "scipy": Extra("significance", "compare, submit --against and the noise of sweeps"),
    "huggingface_hub": Extra("fetch", "data fetch"),
    "submitit": Extra("slurm", "sweep --executor slurm"),
    "tensorboard": Extra("track", "train.track=tensorboard"),
    "brotli": Extra("records", "audit, for scripts that are packed with it"),
    "trackio": Extra("track", "train.track=trackio"),
    "wandb": Extra("track", "train.track=wandb"),
}
"""Name of the package -> the extra that brings it."""


def require(package: str) -> None:
    """Raise StageFailed where the optional package is not installed."""
    if find_spec(package) is None:
        extra = EXTRAS[package]
        raise StageFailed(f"the package {package}, used by {extra.used_by}, is not installed", hint=extra.command)
