"""submission.json, with the keys of merged records, filled from manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from golfpipe.submission.judgment import Judgment
from golfpipe.submission.launchers import Launcher
from golfpipe.submission.seed_results import SeedResult, largest, spread
from golfpipe.submission.significance import Significance


@dataclass(frozen=True, kw_only=True)
class Heading:
    """Who submits what: the part of a record that no measurement gives."""

    author: str
    github_id: str
    name: str
    blurb: str
    date: str
    """The date as YYYY-MM-DD."""
    track: str
    hardware: str
    pytorch_version: str
    against: tuple[float, ...] = ()
    """The val_bpb of the standing record, per seed."""
    against_name: str = ""
    launchers: tuple[Launcher, ...] = ()
    gpus: int = 8


def submission_json(
    heading: Heading,
    results: Sequence[SeedResult],
    technique: Sequence[str],
    judgment: Judgment,
    compared: Significance | None = None,
) -> dict[str, Any]:
    """Return the record of one or more seeds. Sizes are those of the largest seed."""
    loss, bpb = spread([r.val_loss_nats for r in results]), spread([r.val_bpb for r in results])
    biggest = largest(results)
    return {
        "author": heading.author,
        "github_id": heading.github_id,
        "name": heading.name,
        "blurb": heading.blurb,
        "date": heading.date,
        "track": heading.track,
        "val_loss": loss.mean,
        "val_bpb": bpb.mean,
        "val_loss_std": loss.deviation,
        "val_bpb_std": bpb.deviation,
        "seeds": [result.seed for result in results],
        "seed_results": {str(result.seed): _seed_entry(result) for result in results},
        "bytes_total": biggest.artifact_bytes,
        "bytes_code": biggest.code_bytes,
        "bytes_model": biggest.model_bytes,
        "hardware": heading.hardware,
        "pytorch_version": heading.pytorch_version,
        "technique_summary": " ".join(technique),
        "compliance": compliance(judgment),
        **({"rehearsal": True} if judgment.rehearsal else {}),
        **({"significance": compared.as_json()} if compared is not None else {}),
    }


def compliance(judgment: Judgment) -> Mapping[str, Any]:
    """Return the results of the rules. `compliant` is true only where no rule failed and none is left unchecked."""
    return {
        "compliant": all(rule.status in ("pass", "not applicable") for rule in judgment.rules),
        "deviations": list(judgment.deviations),
        "rules": [asdict(rule) for rule in judgment.rules],
    }


def _seed_entry(result: SeedResult) -> dict[str, Any]:
    return {
        "val_loss": result.val_loss_nats,
        "val_bpb": result.val_bpb,
        "artifact_bytes": result.artifact_bytes,
        "steps": result.steps,
        "step_avg_ms": result.step_avg_ms,
        "train_time_s": result.train_seconds,
        "eval_time_s": result.eval_seconds,
    }
