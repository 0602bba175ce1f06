"""Run an evaluation's method again, on altered text, as rules 3, 4, 5, 6 and 10 need it, or the user's own method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from golfpipe.adapt.method import Method
from golfpipe.adapt.methods import METHODS
from golfpipe.config.schema import known_part
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.loading.lineage import Lineage
from golfpipe.store.artifact import Artifact
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.store.metric_values import mapping, text
from golfpipe.submission.sizes import packed_file_bytes
from golfpipe.submission.trial.findings import Executed, Reproduced
from golfpipe.submission.trial.room import Room

_SAME_NATS = 1e-5
"""Nats per target by which a plain evaluation may differ when it is run again."""


def execute(lineage: Lineage, *, room: Room | None = None) -> Executed:
    """Put the method behind an evaluation, or a plain evaluation of a packed model, on trial.

    Raises UsageError where nothing is packed or the data is not found, StageFailed where the process fails or takes
    too long.
    """
    packed, data = lineage.packed, lineage.data
    if packed is None:
        raise UsageError(
            "there is no packed model to execute", hint="`golfpipe pack` makes one; then audit --execute its evaluation"
        )
    if data is None:
        raise ArtifactError(f"{packed.path}: the token data that it was scored on is not found near by")
    packed_bytes = packed_file_bytes(packed)
    own = (packed.path / MANIFEST_NAME, packed.path / "packed.safetensors")
    executed, document_nats = (room or Room()).put_on_trial(_request(lineage, packed), own, data)
    return replace(
        executed,
        own_bytes=packed_bytes,
        reproduced=_reproduced(lineage, document_nats),
        notes=_notes(lineage, packed),
    )


def execute_file(file: Path, data: Artifact, *, own: Sequence[Path] = (), room: Room | None = None) -> Executed:
    """Put the scoring method in the user's Python file on trial. `own`: other files, or folders of them, that it may
    open, such as its weights.

    Raises UsageError for a file that is none or has no function `score`, StageFailed where it raises, gives something
    else than numbers, or takes too long.
    """
    for path in (file, *own):
        if not path.exists():
            raise UsageError(f"{path}: there is no such file", path=str(path))
    if not file.is_file():
        raise UsageError(f"{file}: expected a Python file with a function score(tokens)", path=str(file))
    request = {"method": "file", "file": str(file.resolve())}
    return (room or Room()).put_on_trial(request, (file.resolve(), *own), data)[0]


def _request(lineage: Lineage, packed: Artifact) -> dict[str, Any]:
    """Return the description of the method, with the settings of the stages that made the score or that a packed model
    carries."""
    scored = lineage.evaluation or packed
    learned = scored if lineage.score_first else lineage.adapted
    config = dict(scored.manifest.config)
    if learned is not None:
        config |= {"ttt": learned.manifest.config.get("ttt", {}), "seed": learned.manifest.config.get("seed", 0)}
        METHODS.check(f"{learned.path}: ttt.method", text(mapping(config, "ttt"), "method") or "")
    known, _ = known_part(config)
    return {
        "method": "packed",
        "packed": str(packed.path.resolve()),
        "config": known,
        "adapted": learned is not None,
    }


def _reproduced(lineage: Lineage, rerun: list[float]) -> Reproduced:
    """Compare with the documents that the evaluation recorded."""
    method = _score_first_method(lineage)
    tolerance = method.same_nats if method is not None else _SAME_NATS
    if lineage.evaluation is None or not rerun or "documents.safetensors" not in lineage.evaluation.manifest.files:
        return Reproduced(documents=0, largest_change_nats=0.0, tolerance_nats=tolerance)
    recorded = lineage.evaluation.read_tensors("documents.safetensors")
    nats, targets = recorded["nats"].numpy(), recorded["targets"].numpy()
    same = min(len(rerun), len(nats) - 1)  # evaluate.max_targets may have cut off the last one
    change = np.abs(np.array(rerun[:same]) - nats[:same]) / np.maximum(1, targets[:same])
    return Reproduced(documents=same, largest_change_nats=float(change.max(initial=0.0)), tolerance_nats=tolerance)


def _notes(lineage: Lineage, packed: Artifact) -> tuple[str, ...]:
    """Return notes on what is allowed and worth knowing."""
    model = packed.manifest.model or {}
    crossing = [] if model.get("mask_document_boundaries") else ["n-gram hashes and the smear gate"]
    method = _score_first_method(lineage)
    if method is None or not method.by_document:
        crossing.append("attention")
    if not crossing:
        return ()
    return (
        f"Context crosses document boundaries ({', '.join(crossing)}): earlier tokens only, which the rules allow.",
    )


def _score_first_method(lineage: Lineage) -> Method | None:
    """The method that made the evaluation while it adapted the model; None where the evaluation only scored."""
    if lineage.evaluation is None or not lineage.score_first:
        return None
    method: Method = METHODS.load(text(mapping(lineage.evaluation.manifest.config, "ttt"), "method") or "")
    return method
