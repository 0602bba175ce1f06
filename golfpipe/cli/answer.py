"""The answer of a command, and how it looks: a table for people, a path for scripts, or one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golfpipe.errors import GolfpipeError
from golfpipe.visible import visible_json

KNOWN_METRICS = (
    "val_bpb",
    "val_loss_nats",
    "scored_targets",
    "packed_bytes",
    "code_bytes",
    "total_bytes",
    "limit_bytes",
    "seconds",
)
"""Metrics that the JSON object always has; null where not known."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a command."""

    lines: Sequence[str] = ()
    """The text for people."""
    path: Path | None = None
    """What the command wrote or was about; the whole output with --quiet."""
    kind: str | None = None
    digest: str | None = None
    up_to_date: bool | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    """The command's own fields of the JSON object."""
    error: GolfpipeError | None = None
    """The error of work that is complete although the exit code is not 0, as for a model over the limit."""


def answer_json(answer: Answer) -> str:
    """Return the one JSON object of --json, in one line."""
    error = answer.error
    text = json.dumps(
        {
            "ok": error is None,
            "exit_code": error.exit_code if error is not None else 0,
            "artifact": str(answer.path) if answer.path is not None else None,
            "kind": answer.kind,
            "digest": answer.digest,
            "up_to_date": answer.up_to_date,
            "metrics": dict.fromkeys(KNOWN_METRICS) | dict(answer.metrics),
            "error": error_fields(error) if error is not None else None,
            **answer.extra,
        }
    )
    return visible_json(text)


def error_fields(error: GolfpipeError) -> dict[str, str | None]:
    """Return the `error` field of the JSON object."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "path": error.path,
    }
