"""What is good about a run, what looks wrong, and what to do next, in words.

The numbers are gathered from the artifacts once; everything else here is a function of them. The end of `golfpipe run`
and the top of the report tell the same verdict.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from golfpipe.data.compressors import compressed_bits
from golfpipe.data.token_data import validation_bytes
from golfpipe.errors import GolfpipeError
from golfpipe.jobs.provenance import data_reference
from golfpipe.loading.warning_signs import MOST_EDGE_SHARE, Rise, Validation, bearable_bytes, rise
from golfpipe.report.next_command import Standing, next_command
from golfpipe.report.run_data import FORMS, RunData, form_index, tensor_errors, training_curves
from golfpipe.report.section_overview import overview
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.metric_values import count, mapping, number, text
from golfpipe.store.search import find_artifact
from golfpipe.units import format_bytes

MOST_COST = 0.01
"""Share of the unquantized model's bits per byte that quantizing may cost."""
MOST_BASELINE_BYTES = 2_000_000
"""The beginning of the validation text that general compressors are tried on: a second or two of work."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of a run that the verdict rests on. None stands for what is not known."""

    form: str = "model"
    """What was scored, in words."""
    val_bpb: float | None = None
    """The score that counts, in bits per byte."""
    unquantized_bpb: float | None = None
    quantized_bpb: float | None = None
    """Both in the windows of the score that counts, without test-time training."""
    is_partial: bool = False
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Bits per byte of general compressors on the text that was scored, or on its first MOST_BASELINE_BYTES."""
    total_bytes: int | None = None
    limit_bytes: int | None = None
    unquantized_bytes: int | None = None
    """The file of the trained weights."""
    rise: Rise | None = None
    fell_to_the_end: bool = False
    """The last of several validations during training is the best one."""
    relative_error: float | None = None
    """Squared error of the quantized weights over their squares."""
    bearable_bytes: int | None = None
    """The size from which that error is bearable; None where it is."""
    edge_share: float | None = None
    """Share of the rows that took the smallest clip ratio of the grid."""
    skipped_steps: int = 0

    @property
    def quantization_cost(self) -> float | None:
        """The bits per byte that quantizing cost."""
        if self.quantized_bpb is None or self.unquantized_bpb is None:
            return None
        return self.quantized_bpb - self.unquantized_bpb

    @property
    def over_limit(self) -> bool:
        return self.total_bytes is not None and self.limit_bytes is not None and self.total_bytes > self.limit_bytes

    @property
    def beaten_by(self) -> str | None:
        """The best of the compressors, if it needs no more bits than the model."""
        best = min(self.baselines, key=lambda name: self.baselines[name], default=None)
        return best if best is not None and self.val_bpb is not None and self.baselines[best] <= self.val_bpb else None

    @property
    def has_learned(self) -> bool:
        """False where the unquantized model is beaten, too, or where it is not known to be better."""
        before = self.unquantized_bpb if self.unquantized_bpb is not None else self.val_bpb
        return self.beaten_by is None or (before is not None and before < self.baselines[self.beaten_by])


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgment of a run, in sentences."""

    good: tuple[str, ...]
    wrong: tuple[str, ...]
    """What looks wrong, the gravest first."""
    command: str
    """The one command to go on with."""
    purpose: str
    """What that command is for, as a part of a sentence."""


def verdict(run: RunData, numbers: Numbers) -> Verdict:
    """Return the judgment of a run with these numbers."""
    wrong = what_looks_wrong(numbers)
    if any(stage.manifest.is_rehearsal for stage in run.stages):
        wrong.insert(0, "This is a rehearsal of one training step: no number here is a result.")
    standing = Standing(
        rise=numbers.rise,
        bearable_bytes=numbers.bearable_bytes,
        over_limit=numbers.over_limit,
        unlearned=not numbers.has_learned,
        coarse=_costs_much(numbers),
        saturated=_is_saturated(numbers),
    )
    command, purpose = next_command(run, standing)
    return Verdict(good=tuple(what_is_good(numbers)), wrong=tuple(wrong), command=command, purpose=purpose)


def gravest(runs: Sequence[RunData]) -> tuple[Numbers, Verdict]:
    """Return the numbers and the verdict of the run of which most looks wrong; of several the first one. There is at
    least one run."""
    told = [(numbers, verdict(run, numbers)) for run in runs for numbers in [gather_numbers(run, baselines=True)]]
    return max(told, key=lambda pair: len(pair[1].wrong))


def what_is_good(numbers: Numbers) -> list[str]:
    """Return a sentence for each number that is as it should be."""
    good = []
    xz = numbers.baselines.get("xz -9")
    if numbers.val_bpb is not None and xz is not None and numbers.beaten_by is None:
        good.append(f"The model needs {1 - numbers.val_bpb / xz:.0%} fewer bits than xz -9.")
    cost = numbers.quantization_cost
    if cost is not None and not _costs_much(numbers):
        good.append(f"Quantizing costs {max(cost, 0.0):.4f} bits per byte.")
    if numbers.total_bytes is not None and numbers.limit_bytes is not None and not numbers.over_limit:
        good.append(f"{format_bytes(numbers.limit_bytes - numbers.total_bytes)} are left under the limit.")
    if numbers.fell_to_the_end:
        good.append("The validation loss fell until the end of training.")
    return good


def what_looks_wrong(numbers: Numbers) -> list[str]:
    """Return a sentence for each sign of trouble, the gravest first."""
    wrong = []
    if numbers.over_limit and numbers.total_bytes is not None and numbers.limit_bytes is not None:
        wrong.append(f"It is {format_bytes(numbers.total_bytes - numbers.limit_bytes)} over the limit.")
    if numbers.beaten_by is not None:
        cause = "quantizing lost what it had learned" if numbers.has_learned else "it has not learned enough"
        wrong.append(
            f"{numbers.beaten_by} needs {numbers.baselines[numbers.beaten_by]:.4f} bits per byte, no more than the"
            f" model: {cause}."
        )
    if numbers.rise is not None:
        best, last = numbers.rise
        wrong.append(
            f"The validation loss rose from {best.loss_nats:.4f} at step {best.step:,} to {last.loss_nats:.4f} at step"
            f" {last.step:,}: the model learns its text by heart, or that text is of another kind."
        )
    cost = numbers.quantization_cost
    costs = f", and quantizing costs {cost:.4f} bits per byte" if cost is not None else ""
    if numbers.bearable_bytes is not None:
        wrong.append(
            f"The squared error of the weights is {numbers.relative_error:.0%} of their squares{costs}. About"
            f" {format_bytes(numbers.bearable_bytes)} are bearable."
        )
    elif _costs_much(numbers):
        wrong.append(f"Quantizing costs {cost:.4f} bits per byte, more than {MOST_COST:.0%} of the score.")
    if _is_saturated(numbers):
        wrong.append(
            f"{numbers.edge_share:.0%} of the rows took the smallest clip ratio of the grid, so their codes saturate:"
            " the grid ends too high."
        )
    if numbers.skipped_steps:
        wrong.append(f"{numbers.skipped_steps:,} training steps were bad and left out.")
    if numbers.is_partial:
        wrong.append("Only a part of the validation split was scored.")
    return wrong


def _costs_much(numbers: Numbers) -> bool:
    cost, before = numbers.quantization_cost, numbers.unquantized_bpb
    return cost is not None and before is not None and cost > MOST_COST * before


def _is_saturated(numbers: Numbers) -> bool:
    return numbers.edge_share is not None and numbers.edge_share > MOST_EDGE_SHARE


def gather_numbers(run: RunData, *, baselines: bool) -> Numbers:
    """Read the numbers of a run from its artifacts. `baselines`: try general compressors on its validation text, too.

    Raises ArtifactError for a damaged report of the quantization.
    """
    head, headline = overview(run), run.headline
    forms = {form_index(rung): number(rung.manifest.metrics, "val_bpb") for rung in reversed(run.ladder)}
    trained, quantized = run.first("trained_model"), run.first("quantized_model")
    training = trained.manifest.metrics if trained is not None else {}
    quantizing = quantized.manifest.metrics if quantized is not None else {}
    validations = _validations(trained)
    weights = trained.manifest.files.get("ema.safetensors") if trained is not None else None
    error = number(quantizing, "relative_mse")
    return Numbers(
        form=head.form,
        val_bpb=head.val_bpb if head.is_evaluated else None,
        unquantized_bpb=forms.get(FORMS.index("trained_model")),
        quantized_bpb=forms.get(FORMS.index("packed_model"), forms.get(FORMS.index("quantized_model"))),
        is_partial=head.is_partial,
        baselines=_baselines(headline) if baselines and headline is not None else {},
        total_bytes=head.sizes.total if head.sizes is not None else None,
        limit_bytes=head.sizes.limit if head.sizes is not None else None,
        unquantized_bytes=weights.bytes if weights is not None else None,
        rise=rise(validations),
        fell_to_the_end=len(validations) > 1 and min(validations, key=lambda v: v.loss_nats) == validations[-1],
        relative_error=error,
        bearable_bytes=_bearable(quantized, error) if quantized is not None and error is not None else None,
        edge_share=number(quantizing, "edge_rows_share"),
        skipped_steps=count(training, "skipped_steps") or 0,
    )


def _validations(trained: Artifact | None) -> list[Validation]:
    curve = training_curves(trained).get("validation") if trained is not None else None
    return [Validation(int(step), loss) for step, loss in zip(curve.x, curve.y, strict=True)] if curve else []


def _bearable(quantized: Artifact, error: float) -> int | None:
    metrics = quantized.manifest.metrics
    size = count(metrics, "solved_bytes") or count(metrics, "entropy_bytes")
    rounded = sum(tensor.values for tensor in tensor_errors(quantized) if tensor.relative_mse > 0)
    calibrated = text(mapping(quantized.manifest.config, "quantize"), "calibration") not in (None, "none")
    return bearable_bytes(size, rounded, error, calibrated=calibrated) if size is not None else None


def _baselines(evaluation: Artifact) -> dict[str, float]:
    """Return the bits per byte of general compressors on the text that was scored; none where it is not at hand."""
    reference = evaluation.manifest.input("data") or data_reference(evaluation.manifest)
    try:
        if reference is None:
            return {}
        scored = count(evaluation.manifest.metrics, "scored_bytes") or MOST_BASELINE_BYTES
        data = find_artifact(reference, evaluation.path)
        return dict(_compressed(data.path, reference.digest, min(scored, MOST_BASELINE_BYTES)))
    except GolfpipeError:  # the score stands without it
        return {}


@functools.lru_cache(maxsize=1)
def _compressed(data: Path, digest: str, max_bytes: int) -> dict[str, float]:
    """Return the bits per byte for the token data of a digest. Kept: the end of a run and its report both tell them."""
    beginning = validation_bytes(open_artifact(data), max_bytes)
    return compressed_bits(beginning) if beginning else {}
