"""Run an evaluation's method again, in a clean process, on altered text, as rules 3, 4, 5, 6 and 10 need it.

The process gets an empty working folder and home, only the variables by which libraries and devices are found, and a
copy of the data in which the validation shard holds what is scored. strace watches what it opens where that works, else
an audit hook inside it. A second process scores one altered text from the start.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from golfpipe.adapt.method import Method
from golfpipe.adapt.methods import METHODS
from golfpipe.config.schema import known_part
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.loading.lineage import Lineage
from golfpipe.store.artifact import Artifact
from golfpipe.store.metric_values import mapping, text
from golfpipe.submission.sizes import packed_file_bytes
from golfpipe.submission.trial.clean_process import PROGRAM, CleanProcesses
from golfpipe.submission.trial.experiments import BYTE_TOKENS, compare
from golfpipe.submission.trial.findings import (
    BytesFound,
    Compared,
    CountFound,
    CutsFound,
    Executed,
    Reproduced,
    SumsFound,
)

_SAME_NATS = 1e-5
"""Nats per target by which a plain evaluation may differ when it is run again."""
TIME_LIMIT_SECONDS = 7200
"""The seconds after which the processes are stopped."""


def execute(
    lineage: Lineage,
    *,
    device: str = "auto",
    threads: int | None = None,
    targets: int | None = None,
    seconds: float = TIME_LIMIT_SECONDS,
    program: Sequence[str] = PROGRAM,
    use_strace: bool = True,
) -> Executed:
    """Put the method behind an evaluation, or a plain evaluation of a packed model, on trial.

    `targets`: the length of the text, 0 for the whole split, None for what the method needs to show all that it does.
    Raises UsageError where nothing is packed or the data is not found, StageFailed where the process fails or takes
    longer than `seconds`.
    """
    from golfpipe.submission.trial.data_copy import copy_data  # which reads tokens with torch's help

    packed, data = lineage.packed, lineage.data
    if packed is None:
        raise UsageError(
            "there is no packed model to execute", hint="`golfpipe pack` makes one; then audit --execute its evaluation"
        )
    if data is None:
        raise ArtifactError(f"{packed.path}: the token data that it was scored on is not found near by")
    packed_bytes = packed_file_bytes(packed)
    with tempfile.TemporaryDirectory(prefix="golfpipe-execute-") as name:
        scratch = Path(name).resolve()
        most = 0 if targets == 0 else max(BYTE_TOKENS, targets or 0)
        split_targets, from_sidecar = copy_data(data, scratch / "data", most)
        request = _request(lineage, packed, scratch) | {
            "device": device,
            "threads": threads,
            "targets": split_targets if targets == 0 else targets,
            "from_sidecar": from_sidecar,
        }
        processes = CleanProcesses(scratch, program, use_strace, seconds)
        found = processes.run("first", request)
        processes.run("second", request | {"restarted": True})
        opened = processes.opened(packed, data)
        restarted = compare(
            np.load(scratch / "first.npy"), np.load(scratch / "second.npy"), found["restart_cut"] - 1,
            CutsFound.TOLERANCE,
        )  # fmt: skip
    return Executed(
        method=found["method"],
        adapts=found["adapts"],
        packed_bytes=packed_bytes,
        split_targets=split_targets,
        cuts=CutsFound(**found["cuts"]),
        shorter=Compared(**found["shorter"]),
        restarted=restarted,
        count=CountFound(**found["count"]),
        sums=SumsFound(**found["sums"]),
        bytes=BytesFound(**found["bytes"]),
        opened=opened,
        reproduced=_reproduced(lineage, found["document_nats"]),
        notes=_notes(lineage, packed),
        seconds=round(found["seconds"], 3),
    )


def _request(lineage: Lineage, packed: Artifact, scratch: Path) -> dict[str, Any]:
    """Return the request, with the settings of the stages that made the score or that a packed model carries."""
    scored = lineage.evaluation or packed
    learned = scored if lineage.score_first else lineage.adapted
    config = dict(scored.manifest.config)
    if learned is not None:
        config |= {"ttt": learned.manifest.config.get("ttt", {}), "seed": learned.manifest.config.get("seed", 0)}
        METHODS.check(f"{learned.path}: ttt.method", text(mapping(config, "ttt"), "method") or "")
    known, _ = known_part(config)
    return {
        "packed": str(packed.path.resolve()),
        "data": str(scratch / "data"),
        "config": known,
        "adapted": learned is not None,
        "restarted": False,
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
