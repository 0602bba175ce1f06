"""The facts about a submission, gathered from manifests. Rules are judged on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from golfpipe.loading.lineage import Lineage, configuration_differences
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import count, flag, mapping, number, text
from golfpipe.submission.sizes import packed_file_bytes
from golfpipe.submission.trial.findings import Executed
from golfpipe.units import LIMIT_BYTES

Calibration = Literal["none", "training data", "generated", "validation data", "unknown"]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The facts about one seed. None means not known, never 'no'."""

    seed: int | None = None
    packed_bytes: int | None = None
    """The size of packed.safetensors on disk."""
    code_bytes: int | None = None
    code_measured: bool = False
    """False where `code_bytes` is a reserve for the script, which is written when the run is submitted."""
    limit_bytes: int = LIMIT_BYTES
    """The smaller of the challenge's limit and the run's own."""
    trained_here: bool = True
    """False where the weights were imported."""
    train_seconds: float | None = None
    calibration: Calibration = "unknown"
    calibration_seconds: float = 0.0
    """The seconds of measuring with tokens what errors cost, or where not known, of all quantizing."""
    evaluated: bool = False
    adapt_seconds: float = 0.0
    """The seconds of test-time training before evaluation; score-first training is in eval_seconds."""
    eval_seconds: float | None = None
    device: str | None = None
    """What the weights were trained on, like '8 x NVIDIA H100 80GB HBM3'."""
    eval_device: str | None = None
    """What the evaluation ran on."""
    protocol: str | None = None
    eligible: bool | None = None
    scored_targets: int | None = None
    split_targets: int | None = None
    whole_split: bool | None = None
    vocab_size: int | None = None
    scored_bytes: int | None = None
    split_bytes: int | None = None
    """The UTF-8 bytes of the decoded validation split, from the data's manifest."""
    executed: Executed | None = None
    """What running the scoring method showed; None if it was not run."""

    @property
    def total_bytes(self) -> int | None:
        if self.packed_bytes is None or self.code_bytes is None:
            return None
        return self.packed_bytes + self.code_bytes

    @property
    def over_limit(self) -> bool:
        return self.total_bytes is not None and self.total_bytes > self.limit_bytes

    @property
    def whole_train_seconds(self) -> float | None:
        return None if self.train_seconds is None else self.train_seconds + self.calibration_seconds

    @property
    def whole_eval_seconds(self) -> float | None:
        return None if self.eval_seconds is None else self.eval_seconds + self.adapt_seconds


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts about all seeds of one submission, or about the one run that an artifact comes from."""

    runs: tuple[RunFacts, ...]
    track: str | None = None
    has_folder: bool = False
    """True if a records folder is written, or about to be."""
    script_bytes: int | None = None
    """The size of the folder's train_gpt.py; None where it has none."""
    configuration_differences: tuple[str, ...] | None = None
    """The settings in which the seeds differ; None where they are not known."""
    log_differences: tuple[str, ...] | None = None
    """The differences between submission.json and the logs; None where they are not known."""
    folder_problems: tuple[str, ...] = ()
    """Files and fields that a records folder lacks, or that hold something wrong."""

    @property
    def code_measured(self) -> bool:
        return all(run.code_measured for run in self.runs)

    def with_script(self, script_bytes: int | None) -> Facts:
        """Return the facts with the size of the script, which counts for every run; None: there is no script."""
        if script_bytes is None:
            return self
        runs = tuple(replace(run, code_bytes=script_bytes, code_measured=True) for run in self.runs)
        return replace(self, runs=runs, script_bytes=script_bytes)

    def of_rehearsed_run(self, max_targets: int) -> Facts:
        """Return the facts of a run of which only the rehearsal is there: nothing is timed yet, and as many targets
        will be scored as evaluate.max_targets says."""
        unknown = (replace(run, train_seconds=None, eval_seconds=None, scored_bytes=None) for run in self.runs)
        scored = [min(max_targets or run.split_targets or 0, run.split_targets or 0) for run in self.runs]
        runs = (
            replace(run, scored_targets=targets, whole_split=targets == run.split_targets)
            for run, targets in zip(unknown, scored, strict=True)
        )
        return replace(self, runs=tuple(runs))

    def with_executed(self, executed: Sequence[Executed]) -> Facts:
        """Return the facts with what running the methods showed, one per run; none where they were not run."""
        if not executed:
            return self
        runs = (replace(run, executed=found) for run, found in zip(self.runs, executed, strict=True))
        return replace(self, runs=tuple(runs))


def gather(lineages: Sequence[Lineage], *, track: str | None = None, has_folder: bool = False) -> Facts:
    """Gather what the manifests and the packed files say. Raises ArtifactError for a file that was altered."""
    return Facts(
        runs=tuple(gather_run(lineage) for lineage in lineages),
        track=track,
        has_folder=has_folder,
        configuration_differences=configuration_differences(lineages),
    )


def gather_run(lineage: Lineage) -> RunFacts:
    """Gather the facts of one chain. Raises ArtifactError for a packed file that differs from its manifest."""
    evaluation, trained, packed = lineage.evaluation, lineage.trained, lineage.packed
    scores = evaluation.manifest.metrics if evaluation is not None else {}
    sizes = packed.manifest.metrics if packed is not None else {}
    reserve = count(mapping(packed.manifest.config, "pack"), "code_bytes_reserve") if packed is not None else None
    code_bytes = count(sizes, "code_bytes")
    model = lineage.members[0].manifest.model if lineage.members else None
    return RunFacts(
        seed=seed_of(lineage),
        packed_bytes=packed_file_bytes(packed) if packed is not None else None,
        code_bytes=code_bytes if code_bytes is not None else reserve,
        code_measured=sizes.get("code_bytes_source") == "measured",
        limit_bytes=min(LIMIT_BYTES, count(sizes, "limit_bytes") or LIMIT_BYTES),
        trained_here=trained is None or trained.manifest.stage == "train",
        train_seconds=number(trained.manifest.metrics, "train_seconds") if trained is not None else None,
        calibration=_calibration(lineage),
        calibration_seconds=_calibration_seconds(lineage),
        evaluated=evaluation is not None,
        adapt_seconds=_adapt_seconds(lineage),
        eval_seconds=number(scores, "eval_seconds"),
        device=device_of(trained),
        eval_device=device_of(evaluation),
        protocol=text(scores, "protocol"),
        eligible=flag(scores, "eligible"),
        scored_targets=count(scores, "scored_targets"),
        split_targets=count(scores, "split_targets"),
        whole_split=flag(scores, "whole_split"),
        vocab_size=count(model or {}, "vocab_size"),
        scored_bytes=count(scores, "scored_bytes"),
        split_bytes=count(lineage.data.manifest.metrics, "val_bytes") if lineage.data is not None else None,
    )


def seed_of(lineage: Lineage) -> int | None:
    """Return the seed of the training; an imported model has the seed that its configuration names."""
    return count(lineage.trained.manifest.config, "seed") if lineage.trained is not None else None


def device_of(made: Artifact | None) -> str | None:
    """Return the device on which an artifact was made, as its manifest says, with the number of GPUs; None where that
    is not known."""
    if made is None:
        return None
    provenance = made.manifest.provenance
    name = next((name for key in ("device_name", "device_used", "device") if (name := text(provenance, key))), None)
    processes = count(provenance, "processes") or 1
    return f"{processes} x {name}" if processes > 1 and text(provenance, "device_used") == "cuda" else name


def _calibration(lineage: Lineage) -> Calibration:
    """Return what quantizing looked at besides the weights."""
    if lineage.quantized is None:
        return "unknown"
    manifest = lineage.quantized.manifest
    source = text(mapping(manifest.config, "quantize"), "calibration") or "none"
    if source.startswith("val"):
        return "validation data"
    if source.startswith(("self", "gen")):
        return "generated"
    if source.startswith("train"):
        return "training data"
    return "none" if source == "none" and manifest.input("data") is None else "unknown"


def _calibration_seconds(lineage: Lineage) -> float:
    if lineage.quantized is None or _calibration(lineage) == "none":
        return 0.0
    metrics = lineage.quantized.manifest.metrics
    return number(metrics, "calibration_seconds") or _seconds(metrics)


def _adapt_seconds(lineage: Lineage) -> float:
    if lineage.adapted is None:
        return 0.0
    metrics = lineage.adapted.manifest.metrics
    return number(metrics, "ttt_seconds") or _seconds(metrics)


def _seconds(metrics: dict[str, object]) -> float:
    return number(metrics, "seconds") or 0.0
