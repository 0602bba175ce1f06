"""A trial of the user's own scoring method: the experiments of an executed audit, and what the rules say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from golfpipe.data.token_data import load_tokenizer, load_validation
from golfpipe.reporter import Reporter, SilentReporter
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.submission.rules import RuleResult, check_rules
from golfpipe.submission.trial.findings import Executed
from golfpipe.submission.trial.room import Room
from golfpipe.submission.trial.start import execute_file
from golfpipe.units import bits_per_byte

METHOD_RULES = (3, 4, 5, 6, 10)
"""The rules that are about a scoring method and its text."""


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """What became of a scoring method on trial."""

    file: Path
    data: Path
    executed: Executed
    rules: tuple[RuleResult, ...]
    """Those of METHOD_RULES."""
    val_loss_nats: float
    """Of the text on trial, per target."""
    val_bpb: float
    notes: tuple[str, ...]

    @property
    def failed_rules(self) -> tuple[RuleResult, ...]:
        return tuple(rule for rule in self.rules if rule.status == "fail")


def trial(
    file: Path | str,
    data: Artifact | Path | str,
    *,
    allow: Sequence[Path | str] = (),
    room: Room | None = None,
    reporter: Reporter | None = None,
) -> TrialReport:
    """Run the scoring method in a Python file on the validation split of token data, and judge it.

    The file is code, and runs with the rights of whoever calls this: it is watched, not held back. `allow`: other files
    and folders that it may open. `room`: the device, the length of the text and the like. Raises UsageError for a file
    without a function `score`, StageFailed where it raises, and ArtifactError for damaged data.
    """
    file = Path(file)
    artifact = data if isinstance(data, Artifact) else open_artifact(Path(data), "token_data")
    (reporter or SilentReporter()).note(f"running {file}, which is not sandboxed")
    executed = execute_file(file, artifact, own=[Path(path) for path in allow], room=room)
    rules = check_rules(Facts(runs=(RunFacts(executed=executed),)))
    loss, bpb = _score(artifact, executed)
    return TrialReport(
        file=file,
        data=artifact.path,
        executed=executed,
        rules=tuple(rule for rule in rules if rule.number in METHOD_RULES),
        val_loss_nats=loss,
        val_bpb=bpb,
        notes=_notes(file, executed),
    )


def _score(data: Artifact, executed: Executed) -> tuple[float, float]:
    """Return nats per target and bits per byte of the text on trial."""
    targets, nats = executed.count.targets, executed.count.nats_kept
    sizes = load_validation(data, load_tokenizer(data), targets).sizes
    return nats / targets, bits_per_byte(nats, int(sizes.sum()))


def _notes(file: Path, executed: Executed) -> tuple[str, ...]:
    return (
        f"Python is not sandboxed: {file.name} ran with your rights. What it opened was watched by"
        f" {executed.opened.watcher}, not prevented.",
    )
