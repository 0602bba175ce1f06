"""What the machine's processor is called, for the provenance of artifacts. Torch-free until it is asked."""

from __future__ import annotations

import platform
import sys
from pathlib import Path


def device_name(device: str) -> str:
    """The product name of a device that is there: of the GPU, or of the processor."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if models:
            return f"{len(models)} x {models[0]}"
    return platform.processor() or platform.machine()
