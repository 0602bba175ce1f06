"""The end of a rehearsal on one screen: what each step did, what the run itself would take, and its command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from golfpipe.cli.ending import labeled
from golfpipe.cli.table import format_table
from golfpipe.errors import OverLimit, RuleBroken
from golfpipe.store.metric_values import number, texts
from golfpipe.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from golfpipe.pipeline.rehearsal import Rehearsed

STATES = {"done": "ok", "given": "as it is", "nothing to do": "no work"}
"""What a step of a rehearsal is called whose state in a run has another name."""


def rehearsal_lines(done: Sequence[Rehearsed], cut: Sequence[str], machine: str | None, command: str) -> list[str]:
    """Return the screen. `cut`: the settings that were cut; `machine`: what the times of the run are expected on."""
    packed = next((each.bytes for each in done if each.step.node.output == "packed_model"), None)
    rows = [[each.step.node.name, state_of(each), _took(each), _will_take(each, packed)] for each in done]
    failed = [labeled("failed", f"{each.step.node.name}: {_message(each)}", most=2) for each in done if each.error]
    return [
        *format_table(["step", "", "seconds", f"the run, on {machine}" if machine is not None else "the run"], rows),
        *(line for lines in failed for line in lines),
        *(line for each in done for text in _deviations(each) for line in labeled("rules", text, most=2)),
        *labeled("cut", ", ".join(cut), most=3),
        *labeled("the run", command, most=4),
    ]


def state_of(rehearsed: Rehearsed) -> str:
    """Return what became of the step in a word or two."""
    if isinstance(rehearsed.error, OverLimit):
        return "over limit"
    if isinstance(rehearsed.error, RuleBroken):
        return "breaks rules"
    return "failed" if rehearsed.error is not None else STATES.get(rehearsed.step.state, rehearsed.step.state)


def rehearsal_fields(rehearsed: Rehearsed) -> dict[str, Any]:
    """Return what the JSON object says of a step beside its `step_fields`."""
    return {
        "rehearsal": state_of(rehearsed),
        "run_seconds": rehearsed.seconds,
        "run_steps": rehearsed.steps,
        "run_bytes": rehearsed.bytes,
        "error": rehearsed.error.message if rehearsed.error is not None else None,
    }


def real_command(argv: Sequence[str]) -> str:
    """Return the command of the run that was rehearsed."""
    return shlex.join(["golfpipe", *(word for word in argv if word != "--rehearse")])


def _took(rehearsed: Rehearsed) -> str:
    artifact = rehearsed.step.artifact
    metrics: Mapping[str, Any] = artifact.manifest.metrics if artifact is not None else {}
    seconds = number(metrics, "seconds") if rehearsed.step.state == "done" else None
    return f"{seconds:,.1f}" if seconds is not None else "-"


def _will_take(rehearsed: Rehearsed, packed: int | None) -> str:
    step, size = rehearsed.step, rehearsed.bytes
    if step.state in ("not reached", "nothing to do"):
        return step.reasons[0]
    parts = []
    if size is not None and step.node.output == "submission":
        whole = f", in all about {format_bytes(size + packed)}" if packed is not None else ""
        parts.append(f"script {format_bytes(size)}{whole}")
    elif size is not None:
        parts.append(f"about {format_bytes(size)}")
    if rehearsed.seconds is not None:
        parts.append(f"about {format_seconds(rehearsed.seconds)}")
    if rehearsed.steps is not None:
        parts.append(f"{rehearsed.steps:,} steps")
    return ", ".join(parts)


def _message(rehearsed: Rehearsed) -> str:
    return " ".join(rehearsed.error.message.split()) if rehearsed.error is not None else ""


def _deviations(rehearsed: Rehearsed) -> list[str]:
    """Return what the records folder of the run will state against itself."""
    artifact = rehearsed.step.artifact
    found = texts(artifact.manifest.provenance, "deviations") if artifact is not None else ()
    return [text for text in found if not text.startswith("Rehearsal: ")]
