"""The whole chain on one GPU: trains `16l` at context 2048 for some minutes, quantizes, packs, adapts and evaluates.

python -m benchmarks.gpu ../shared/data/fineweb_sample                        # one CUDA device, 6 minutes
python -m benchmarks.gpu ../shared/data/fineweb_sample --device cpu --steps 3 # at a small scale

The folder holds FineWeb shards in the challenge's format and the tokenizer; a finished token_data artifact will do as
well. Writes gpu.json (benchmarks/keep.py says where): tokens/s, step time, model FLOPs utilization, peak memory,
compile seconds, and the seconds of every stage.

Model FLOPs of a trained token: 6 N + 6 L d T, with N the weights multiplied per token (`16l`: 42.6 M; tables are looked
up and not multiplied, the shared K/V projections count in all 16 layers, the tied token table once, for the logits) and
the second term attention's two products over the causal half of the context.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.child import measured, peak_memory_bytes
from benchmarks.keep import add_output_options, write_result
from benchmarks.tables import RESULTS, detail_table
from benchmarks.timing import machine
from golfpipe.api import Artifact, evaluate, open_artifact, pack, quantize, train, ttt
from golfpipe.config.schema import build_config
from golfpipe.model.config import forward_flops
from golfpipe.reporter import SilentReporter, SilentTask, Task
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.version import source_commit

PEAK_BF16_TFLOPS = {
    "B200": 2250.0,  # NVIDIA HGX B200 data sheet: 36 PFLOPS with sparsity for 8 GPUs
    "H200 NVL": 835.5,  # NVIDIA H200 data sheet: 1,671 with sparsity
    "H200": 989.5,  # the same: 1,979 with sparsity
    "H100 NVL": 835.5,  # NVIDIA H100 data sheet: 1,671 with sparsity
    "H100 PCIe": 756.5,  # NVIDIA H100 PCIe data sheet: 1,513 with sparsity
    "H100": 989.5,  # NVIDIA H100 data sheet, SXM: 1,979 with sparsity
    "A100": 312.0,  # NVIDIA A100 data sheet
    "L40S": 362.05,  # NVIDIA L40S data sheet
    "L4": 121.0,  # NVIDIA L4 data sheet: 242 with sparsity
    "A10": 125.0,  # NVIDIA A10 data sheet
    "RTX 4090": 165.2,  # NVIDIA Ada architecture white paper, fp32 accumulation
    "RTX 3090": 71.0,  # NVIDIA GA102 white paper, fp32 accumulation
}
"""Dense bf16 peak of a device whose product name contains the key; the first key that fits counts. Half of the figure
with sparsity where the data sheet gives that one."""

SMALL = {
    "train.batch_tokens": 1024,
    "train.context_length": 256,
    "train.validation_targets": 512,
    "train.compile": "off",
    "evaluate.max_targets": 512,
    "evaluate.context_length": 128,
    "evaluate.stride": 64,
    "ttt.cosine.context_length": 128,
    "ttt.cosine.batch_sequences": 4,
}
"""Settings of a run that only proves the program."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of shards with its tokenizer, or token data")
    parser.add_argument("--preset", default="16l")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=180.0, help="of training, on a GPU")
    parser.add_argument("--steps", type=int, help="training steps instead of --seconds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as JSON")
    add_output_options(parser)
    options = parser.parse_args()
    if options.device == "cpu" and options.output == RESULTS:
        parser.error("--record keeps what was measured on a GPU")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: --device cpu --steps 3 proves the program at a small scale", file=sys.stderr)
        return 1
    settings: dict[str, Any] = dict(SMALL) if options.device == "cpu" else {}
    settings |= {"train.max_steps": options.steps} if options.steps else {"train.max_seconds": options.seconds}
    settings |= {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.set)}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        results = run_chain(
            token_data(options.data, Path(folder)), Path(folder), options.preset, options.device, settings
        )
    kept = {
        "benchmark": "gpu",
        "commit": source_commit(),
        "machine": machine(),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "settings": settings,
        "results": results,
    }
    print(detail_table({"": kept}))
    write_result(options.output, "gpu", kept)
    return 0


def token_data(source: Path, folder: Path) -> Artifact:
    """The artifact `source`, or one that points to its shards."""
    if not (source / MANIFEST_NAME).exists():
        tokenizer = next(iter(sorted(source.glob("*.model"))))
        measured("golfpipe", "data", "add", str(source.resolve()), "--tokenizer", str(tokenizer.resolve()), "-o",
                 str(folder / "data"), "-q")  # fmt: skip
        source = folder / "data"
    return open_artifact(source)


def run_chain(data: Artifact, folder: Path, name: str, device: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Every stage by its Python function, as its command would run it."""
    clock = _Clock()
    common: dict[str, Any] = {"device": device, "reporter": clock}
    trained = train(data, preset=name, settings=settings, out=folder / "train", **common)
    results: dict[str, Any] = {"train": training_figures(trained, clock.compile_seconds)}
    with clock.stage("quantize"):
        quantized = quantize(trained, **common)
    with clock.stage("pack"):
        packed = pack(quantized, **common)
    with clock.stage("evaluate"):
        score = evaluate(packed, data, **common)
    with clock.stage("ttt, one epoch"):
        adapted = ttt(packed, data, settings={"ttt.method": "cosine", "ttt.epochs": 1}, **common)
    with clock.stage("evaluate after ttt"):
        after = evaluate(adapted, data, **common)
    results |= {stage: {"stage_seconds": seconds} for stage, seconds in clock.seconds.items()}
    for stage, evaluation in (("evaluate", score), ("evaluate after ttt", after)):
        metrics = evaluation.manifest.metrics
        results[stage] |= {
            "scored_tokens_per_second": metrics["scored_targets"] / metrics["eval_seconds"],
            "val_bpb": metrics["val_bpb"],
        }
    results["pack"]["packed_bytes"] = packed.manifest.metrics["packed_bytes"]
    return results


def training_figures(trained: Artifact, compile_seconds: float | None) -> dict[str, Any]:
    """The mean step by the training clock, which leaves compilation and validation out, and what follows from it."""
    metrics = trained.manifest.metrics
    step_seconds = metrics["train_seconds"] / metrics["steps"]
    config = build_config(trained.manifest.config)
    tokens_per_second = config.train.batch_tokens / step_seconds
    flops = 3 * forward_flops(config.model, config.train.context_length)
    peak = peak_flops(torch.cuda.get_device_name()) if trained.manifest.provenance["device"] == "cuda" else None
    return {
        "steps": metrics["steps"],
        "step_seconds": step_seconds,
        "tokens_per_second": tokens_per_second,
        "flops_per_token": flops,
        "flops_utilization": tokens_per_second * flops / peak if peak else None,
        "peak_gpu_bytes": metrics["peak_memory_bytes"],
        "compile_seconds": compile_seconds,
        "stage_seconds": metrics["seconds"],
    }


def peak_flops(device: str) -> float | None:
    """Dense bf16 FLOPs per second of a device by its product name; None for one that is not in the table."""
    return next((1e12 * tflops for key, tflops in PEAK_BF16_TFLOPS.items() if key in device), None)


class _Clock(SilentReporter):
    """Seconds of the stages, and of compilation: from its note to the first step's progress bar."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.compile_seconds: float | None = None
        self._compiling_since: float | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    @contextmanager
    def task(self, label: str, total: float, unit: str) -> Iterator[Task]:
        if self._compiling_since is not None:
            self.compile_seconds = time.perf_counter() - self._compiling_since
            self._compiling_since = None
        print(f"{label}: {total:,.0f} {unit}", file=sys.stderr, flush=True)
        yield SilentTask()

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        if text.startswith("compiling"):
            self._compiling_since = time.perf_counter()

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
