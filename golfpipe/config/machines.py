"""Machines of stages.yaml: how work is cut for them, never what is computed, and how fast training goes on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfpipe.choices import unknown_name
from golfpipe.config.schema import Plain
from golfpipe.errors import ConfigError

_OWN_KEYS = ("about", "device", "processes", "tflops", "least_step_ms", "basis")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A named machine."""

    name: str
    about: str
    device: str
    """The kind of device that computes: cpu, cuda or mps."""
    processes: int
    """The processes that share a training, an adaptation or an evaluation: one per GPU."""
    tflops: float
    """The 10^12 operations that training does in a second, on all devices together."""
    least_step_ms: float
    """The least time of a training step: small ones wait for their kernels to be launched."""
    basis: str
    """Where these figures come from: measured, or estimated and how."""
    settings: Plain
    """Settings that do not change a result."""

    def step_seconds(self, operations: float) -> float:
        """Return the time of a training step of so many operations."""
        return max(self.seconds(operations), self.least_step_ms / 1000)

    def seconds(self, operations: float) -> float:
        """Return the time of work of so many operations that is cut as the machine likes it."""
        return operations / (self.tflops * 1e12)


def read_machine(name: str, body: dict[str, Any], where: Path) -> Machine:
    """Return the machine that a section of a pipeline file describes. Raises ConfigError."""
    known, settings = {key: body[key] for key in _OWN_KEYS if key in body}, dict(body)
    for key in known:
        del settings[key]
    processes, tflops, least = known.get("processes", 1), known.get("tflops"), known.get("least_step_ms", 0)
    if type(processes) is not int or processes < 1:
        raise ConfigError(f"{where}: machine {name}: processes={processes!r} must be a whole number of at least 1")
    if not isinstance(tflops, int | float) or not tflops > 0:
        raise ConfigError(f"{where}: machine {name}: tflops={tflops!r} must be a number above 0")
    if not isinstance(least, int | float) or not least >= 0:
        raise ConfigError(f"{where}: machine {name}: least_step_ms={least!r} must be a number, 0 or above")
    return Machine(
        name=name,
        about=str(known.get("about", "")),
        device=str(known.get("device", "cpu")),
        processes=processes,
        tflops=float(tflops),
        least_step_ms=float(least),
        basis=str(known.get("basis", "")),
        settings=settings,
    )


def find_machine(machines: dict[str, Machine], name: str, *others: str) -> Machine:
    """Return the machine `name`. Raises ConfigError that suggests the nearest one, or one of `others`, which are valid
    words, too."""
    if name not in machines:
        raise unknown_name(name, "machine", [*others, *machines])
    return machines[name]
