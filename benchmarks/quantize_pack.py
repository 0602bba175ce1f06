"""From trained weights to the packed file and back: the stages in one process, and as commands.

python -m benchmarks quantize_pack [--quick]

Plain baseline: a clip search over the same candidates on whole tensors, codes two to a byte, zstd level 22, without
reading or writing a file. There are no matrix products, so there is no floor.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.child import measured
from benchmarks.models import gaussian_weights, write_gaussian_model
from benchmarks.plain import plain_pack, plain_quantize
from benchmarks.settings import preset
from benchmarks.timing import alternate
from golfpipe.api import open_artifact, pack, quantize
from golfpipe.loading.weights import load_weights
from golfpipe.model.config import parameter_shapes, possible_names
from golfpipe.quant.policy import assign_classes, assign_schemes

COMMAND_REPEATS = 3


def run(quick: bool) -> dict[str, Any]:
    """Seconds of quantize, pack and decoding; weights are random, preset `16l` (41.9 M), method gptq_lite."""
    name, repeats = ("tiny", 1) if quick else ("16l", 2)
    with tempfile.TemporaryDirectory() as folder:
        write_gaussian_model(Path(folder) / "train", preset(name))
        return {
            f"{name}/one process": in_process(Path(folder), name, repeats),
            f"{name}/commands": as_commands(Path(folder), 1 if quick else COMMAND_REPEATS),
        }


def in_process(folder: Path, name: str, repeats: int) -> dict[str, Any]:
    config = preset(name)
    weights, settings = gaussian_weights(config.model), config.quantize
    classes = assign_classes(settings, parameter_shapes(config.model), possible_names(config.model))
    bits = {key: scheme.bits for key, scheme in assign_schemes(settings, classes).items()}
    quantized = plain_quantize(weights, bits, settings.clip_ratios)
    times = alternate(
        {
            "quantize": lambda: quantize(folder / "train", force=True),
            "pack": lambda: pack(folder / "quantize", force=True),
            "unpack and dequantize": lambda: load_weights(open_artifact(folder / "pack")),
            "plain quantize": lambda: plain_quantize(weights, bits, settings.clip_ratios),
            "plain pack": lambda: plain_pack(quantized, bits),
        },
        repeats,
    )
    ours = times["quantize"]["median"] + times["pack"]["median"]
    plain = times["plain quantize"]["median"] + times["plain pack"]["median"]
    return {
        "seconds": times,
        "quantize_and_pack_seconds": ours,
        "unpack_seconds": times["unpack and dequantize"]["median"],
        "speedup_over_plain": plain / ours,
        "packed_bytes": (folder / "pack" / "packed.safetensors").stat().st_size,
        "plain_packed_bytes": len(plain_pack(quantized, bits)),
    }


def as_commands(folder: Path, repeats: int) -> dict[str, Any]:
    """The same as three commands, each with its interpreter and imports."""
    commands = {
        "quantize": ("quantize", str(folder / "train"), "--force", "-q"),
        "pack": ("pack", str(folder / "quantize"), "--force", "-q"),
        "unpack": ("unpack", str(folder / "pack"), "-q"),
    }
    rounds = [{name: measured("golfpipe", *words) for name, words in commands.items()} for _ in range(repeats)]
    median = {name: statistics.median(done[name].seconds for done in rounds) for name in commands}
    return {
        "seconds": {
            name: {"median": median[name], "min": min(done[name].seconds for done in rounds)} for name in commands
        },
        "quantize_and_pack_seconds": median["quantize"] + median["pack"],
        "unpack_seconds": median["unpack"],
        "peak_memory_bytes": max(found.peak_memory_bytes for done in rounds for found in done.values()),
    }
