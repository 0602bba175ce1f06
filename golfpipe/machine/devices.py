"""The computer's devices: which one computes, what it is called, how many threads and cores there are.

Torch is imported inside the functions, so that asking for the number of cores stays cheap.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Literal, cast

from golfpipe.errors import UsageError

Device = Literal["cpu", "cuda", "mps"]


def select_device(requested: str) -> Device:
    """Resolve `auto` to the best device that is there, and check that a named one is. Raises UsageError."""
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if requested == "auto":
        return "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    if requested not in available:
        raise UsageError(f"--device {requested}: expected auto, cpu, cuda or mps")
    if not available[requested]:
        there = ", ".join(name for name, found in available.items() if found)
        raise UsageError(
            f"--device {requested}: {_why_missing(requested)}; this machine has {there}",
            hint="--device auto takes the best that is there; `golfpipe doctor` lists what torch finds",
        )
    return cast(Device, requested)


def _why_missing(device: str) -> str:
    """Say whether torch lacks the device or the machine does."""
    import torch

    built = torch.backends.cuda.is_built() if device == "cuda" else torch.backends.mps.is_built()
    return "torch finds no such device" if built else f"torch {torch.__version__} is built without it"


def device_name(device: str) -> str:
    """Return the product name of a device that is there: that of the GPU, or of the processor."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if models:
            return f"{len(models)} x {models[0]}"
    return platform.processor() or platform.machine()


def select_threads(threads: int | None) -> None:
    """Apply --threads to torch; None leaves its number as it is."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
