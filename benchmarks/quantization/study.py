"""One cell of the study: quantize, pack and score a checkpoint under one setting, as the stages do it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.keep import add_output_options
from benchmarks.settings import preset
from golfpipe.config.schema import PipelineConfig
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.quant.config import MATRIX_CLASSES
from golfpipe.store.artifact import Artifact

WHOLE_SPLIT = ["evaluate.method=chunked", "evaluate.max_targets=0"]
"""Overrides under which a study scores."""


def study_parser(description: str | None, work: str) -> argparse.ArgumentParser:
    """Return a parser of what every study of checkpoints takes; `work`: its folder below artifacts/."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="token data with train and validation tokens")
    parser.add_argument("models", type=Path, nargs="+", help="trained models, alike but for the seed")
    parser.add_argument("--work", type=Path, default=Path("artifacts") / work)
    add_output_options(parser)
    return parser


@dataclass(frozen=True, slots=True)
class Setting:
    """A named point of the study."""

    name: str
    overrides: tuple[str, ...] = field(default=())


def _bits(bits: int) -> tuple[str, ...]:
    return tuple(f"quantize.{name}.bits={bits}" for name in MATRIX_CLASSES)


def calibrated(method: str) -> tuple[str, ...]:
    return (f"quantize.method={method}", "quantize.calibration=train")


def settings() -> list[Setting]:
    """All settings, coarse ones last within each method."""
    uncalibrated = ("quantize.method=rate", "quantize.calibration=none")
    plain = (*uncalibrated, "quantize.rate_weight=0", "quantize.sensitive_steps=false",
             "quantize.token_table.step=0.03")  # fmt: skip
    found = [Setting("gptq_lite int4/int6")]
    found += [Setting(f"gptq_lite int{bits}", _bits(bits)) for bits in (5, 4, 3)]
    found += [Setting(f"gptq int{bits}", (*_bits(bits), *calibrated("gptq"))) for bits in (5, 4, 3)]
    for bits in (5.0, 4.0, 3.0, 2.5, 2.0):
        target = f"quantize.target_bits={bits}"
        found.append(Setting(f"uniform step {bits:g} b", (*plain, target)))
        found.append(Setting(f"rate, uncalibrated {bits:g} b", (*uncalibrated, target)))
        found.append(Setting(f"rate {bits:g} b", (*calibrated("rate"), target)))
        found.append(Setting(f"trellis {bits:g} b", (*calibrated("trellis"), target)))
    return found


@dataclass(frozen=True, slots=True)
class Cell:
    """What one setting gave."""

    name: str
    packed_bytes: int
    matrix_bits: float | None
    """Coded bits per weight of matrices and n-gram tables, headers and steps included; None of the reference path,
    which compresses tensors together."""
    token_bits: float
    val_bpb: float
    seconds: float
    """Of quantizing, calibration included."""


def run_setting(
    setting: Setting, preset_name: str, model: Artifact, data: Artifact, work: Path, base: list[str]
) -> Cell:
    """Run the three stages below work/<name>; what is up to date is not done again."""
    config = preset(preset_name, *base, *setting.overrides)
    folder = work / setting.name.replace(" ", "_").replace("/", "-").replace(",", "")
    quantized = _run("quantize", config, folder, model=model, data=data)
    packed = _run("pack", config, folder, model=quantized)
    scored = _run("evaluate", config, folder, model=packed, data=data)
    sizes = packed.read_json("sizes.json")["tensors"]

    def bits(classes: tuple[str, ...]) -> float:
        chosen = [line for line in sizes if line["class"] in classes]
        return 8 * sum(line["bytes"] for line in chosen) / sum(line["values"] for line in chosen)

    return Cell(
        setting.name,
        packed.manifest.metrics["packed_bytes"],
        bits(MATRIX_CLASSES),
        bits(("token_table",)),
        scored.manifest.metrics["val_bpb"],
        quantized.manifest.metrics["seconds"],
    )


def score_trained(preset_name: str, model: Artifact, data: Artifact, work: Path, base: list[str]) -> float:
    """val_bpb of the checkpoint itself."""
    config = preset(preset_name, *base)
    return float(_run("evaluate", config, work / "trained", model=model, data=data).manifest.metrics["val_bpb"])


def _run(stage: str, config: PipelineConfig, folder: Path, **inputs: Artifact) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        stage=STAGES[stage], config=config, inputs=inputs, out=folder / stage, context=Context(device="cpu", threads=1)
    )
    return run_job(job).artifact
