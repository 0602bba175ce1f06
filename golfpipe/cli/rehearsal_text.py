"""The end of a rehearsal on one screen: what each step did, what the run itself will take, and its command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from golfpipe.cli.ending import labeled
from golfpipe.cli.table import format_metric, format_table
from golfpipe.store.metric_values import number

if TYPE_CHECKING:
    from golfpipe.pipeline.rehearsal import Rehearsed


def rehearsal_lines(done: Sequence[Rehearsed], cut: Sequence[str], machine: str | None, command: str) -> list[str]:
    """Return the screen. `cut`: the settings that were cut; `machine`: what the times of the run are expected on. The
    command of a run that would fail is left out."""
    rows = [[each.step.node.name, state_of(each), _seconds(each), _expected(each)] for each in done]
    failed = [f"{each.step.node.name}: {' '.join(each.error.message.split())}" for each in done if each.error]
    return [
        *format_table(["step", "", "took", f"the run, on {machine}" if machine is not None else "the run"], rows),
        *(line for text in failed for line in labeled("failed", text, most=2)),
        *labeled("cut", ", ".join(cut), most=3),
        *([] if failed else ["the run:", command]),
    ]


def state_of(rehearsed: Rehearsed) -> str:
    """Return what became of the step in a word or two."""
    if rehearsed.error is not None:
        return "failed"
    return "ok" if rehearsed.step.state in ("done", "given") else rehearsed.step.state


def real_command(argv: Sequence[str]) -> str:
    """Return the command of the run that was rehearsed."""
    return shlex.join(["golfpipe", *(word for word in argv if word != "--rehearse")])


def _seconds(rehearsed: Rehearsed) -> str:
    artifact = rehearsed.step.artifact if rehearsed.step.state == "done" else None
    return format_metric("seconds", number(artifact.manifest.metrics, "seconds") if artifact is not None else None)


def _expected(rehearsed: Rehearsed) -> str:
    if rehearsed.step.state in ("not reached", "nothing to do"):
        return rehearsed.step.reasons[0]
    units = {"steps": " steps", "code_bytes": " of script", "packed_bytes": " of weights"}
    parts = [f"{format_metric(name, value)}{units.get(name, '')}" for name, value in rehearsed.expected.items()]
    return f"about {', '.join(parts)}" if parts else ""
