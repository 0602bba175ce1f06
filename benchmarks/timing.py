"""Alternating repetitions in one process: what is compared meets the same machine at the same time."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.child import CLOCK, clock
from golfpipe.machine.compiling import compiled_passes
from golfpipe.machine.memory import keep_freed_memory
from golfpipe.reporter import SilentReporter


def alternate(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Name -> median and minimum seconds; one warm-up round, then `repeats` rounds through all functions in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = clock()
            function()
            if turn > 0:
                seconds[name].append(clock() - start)
    return {name: summary(values) for name, values in seconds.items()}


def as_found(function: Callable[[], object]) -> Callable[[], None]:
    """`function` with the allocator's thresholds at the largest to which the GNU C library moves them by itself, and
    not where golfpipe's stages put them: for baselines in the same process."""

    def run() -> None:
        keep_freed_memory(32 << 20)
        try:
            function()
        finally:
            keep_freed_memory()

    return run


def with_compiled_passes(compiled: bool, dtype: torch.dtype, function: Callable[[], object]) -> Callable[[], None]:
    """`function` as golfpipe's stages run it when it is compiled; baselines in the same process go without."""

    def run() -> None:
        with compiled_passes(compiled, torch.device("cpu"), dtype, SilentReporter()):
            function()

    return run


def floor_seconds(times: dict[str, dict[str, float]]) -> float:
    """Median of the whole floor: products and attention."""
    return times["floor: products"]["median"] + times["floor: attention"]["median"]


def summary(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(seconds), "min": min(seconds)}


PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "mkldnn::_linear_pointwise")


def shares(function: Callable[[], object]) -> dict[str, float]:
    """Where the time of one call goes on the CPU: matrix products, attention (with its softmax), everything else."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    seconds = {"products": 0.0, "attention": 0.0, "other": 0.0}
    for event in profile.key_averages():
        attends = "scaled_dot_product" in event.key or "flash_attention" in event.key
        kind = "attention" if attends else "products" if event.key in PRODUCTS else "other"
        seconds[kind] += event.self_cpu_time_total
    return {f"{kind}_share": value / sum(seconds.values()) for kind, value in seconds.items()}


def machine() -> dict[str, Any]:
    """Processor, threads and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": f"{len(models)} x {models[0]}" if models else platform.processor(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "clock": CLOCK,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
