"""An audit of any artifact or records folder: where its bytes are, and what the rules say about it.

Sizes come from the files on disk, and every file of every artifact in the chain is compared with its sha256.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from golfpipe.config.submit import RECORD_TRACK
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.loading.lineage import Lineage, trace
from golfpipe.records.evidence import largest
from golfpipe.records.folder import Reading, is_records_folder, read_folder
from golfpipe.records.summary import whole
from golfpipe.records.verdicts import judge, missing_parts, usual_notes
from golfpipe.reporter import Reporter, SilentReporter
from golfpipe.store.artifact import Artifact, open_artifact, refuse_rehearsals, try_open
from golfpipe.store.manifest import MANIFEST_NAME, Kind
from golfpipe.store.search import find_all, find_artifact
from golfpipe.submission.facts import RunFacts, gather
from golfpipe.submission.records_folder import records_folder
from golfpipe.submission.rules import TIME_RULE, RuleResult, check_rules, not_applicable
from golfpipe.submission.sizes import Basis, SizeRow, SizeTable, size_table
from golfpipe.submission.trial.findings import Executed
from golfpipe.submission.trial.room import Room
from golfpipe.submission.trial.start import execute
from golfpipe.units import LIMIT_BYTES

_NEEDED: tuple[Kind, ...] = ("adapted_model", "packed_model")
_FORMS: dict[Kind, str] = {
    "submission": "submit", "packed_model": "pack", "quantized_model": "quantize", "trained_model": "train",
    "weights": "import",
}  # fmt: skip
"""What a run folder is audited by, the furthest form first, and the folder of each by default."""
_ALONE = (
    "no artifacts belong to this folder; its submission.json and logs are taken at their word, and its code is not run"
)
_NO_TABLE = SizeTable(rows=(), basis="none")


@dataclass(frozen=True, kw_only=True)
class AuditTotals:
    """What counts against the limit. A value is None where there are no packed bytes yet, or they are not known."""

    packed_bytes: int | None = None
    code_bytes: int | None = None
    code_bytes_source: str | None = None
    """The source of the code's bytes: `reserved`, `measured`, or `stated` by somebody else."""
    total_bytes: int | None = None
    limit_bytes: int

    @property
    def room(self) -> int | None:
        """The bytes left; negative over the limit."""
        return None if self.total_bytes is None else self.limit_bytes - self.total_bytes


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Everything that an audit found, for the command line to print."""

    path: Path
    kind: str
    """The artifact's kind, or `records_folder` for a folder that no artifact belongs to."""
    digest: str | None
    rows: tuple[SizeRow, ...]
    """The sizes of the tensors, of the largest seed where there are several."""
    basis: Basis
    """What the bytes of the rows mean."""
    totals: AuditTotals
    rules: tuple[RuleResult, ...]
    track: str | None = None
    """The track of a records folder."""
    notes: tuple[str, ...] = ()
    """What could not be looked at, and why."""
    reading: Reading | None = None
    """What a records folder says about itself."""

    @property
    def over_limit(self) -> bool:
        return self.totals.room is not None and self.totals.room < 0

    @property
    def over_time(self) -> bool:
        """True if training or evaluation took longer than the track allows. Only the record track has a time limit."""
        return self.track == RECORD_TRACK and any(rule.number == TIME_RULE for rule in self.failed_rules)

    @property
    def failed_rules(self) -> tuple[RuleResult, ...]:
        return tuple(rule for rule in self.rules if rule.status == "fail")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How to run the scoring methods, for the rules that only running them can show."""

    room: Room = field(default_factory=Room)
    reporter: Reporter = field(default_factory=SilentReporter)

    def run(self, lineages: Sequence[Lineage]) -> list[Executed]:
        found = []
        for lineage in lineages:
            scored = lineage.evaluation or lineage.packed
            self.reporter.note(f"running the method behind {scored.path if scored is not None else 'nothing'}")
            found.append(execute(lineage, room=self.room))
        return found


def audit_path(path: Path, execution: Execution | None = None) -> AuditReport:
    """Audit any artifact, records folder, or the furthest form in a run folder, and with `execution` run its scoring
    method, too.

    Raises ArtifactError (exit 3) for a damaged artifact, UsageError (exit 2) where there is none, or one that cannot be
    executed.
    """
    if is_records_folder(path):
        owner = _owning_submission(path)
        if owner is not None:
            audited = _audit_rehearsal if owner.manifest.is_rehearsal else _audit_submission
            return audited(owner, path, execution)
        if execution is not None:
            raise UsageError(
                f"{path}: only golfpipe's own artifacts are executed; code that others wrote is never run",
                hint="golfpipe audit without --execute reads the folder",
                path=str(path),
            )
        return _folder_report(read_folder(path), (_ALONE,))
    artifact = open_artifact(path) if (path / MANIFEST_NAME).is_file() else _furthest(path) or open_artifact(path)
    path = artifact.path
    if artifact.manifest.is_rehearsal:
        return _audit_rehearsal(artifact, path, execution)
    if artifact.manifest.kind == "submission":
        return _audit_submission(artifact, path, execution)
    if artifact.manifest.kind == "token_data":
        artifact.verify()
        return _report(artifact, path, _NO_TABLE, (), not_applicable("Data has no size limit and no score."))
    return _audit_chain(artifact, path, execution)


def _furthest(run: Path) -> Artifact | None:
    """Return the submission of a run folder, else its packed model, or the furthest form before. Of several of a kind,
    the one in the folder that the steps write to by default. None where there is none."""
    found = list(find_all(run, depth=1))
    for kind, name in _FORMS.items():
        of_kind = [artifact for artifact in found if artifact.manifest.kind == kind]
        if len(of_kind) > 1:
            of_kind = [artifact for artifact in of_kind if artifact.path.name == name] or of_kind
        if of_kind:
            return of_kind[0]
    return None


def _audit_rehearsal(artifact: Artifact, path: Path, execution: Execution | None) -> AuditReport:
    """No rule is judged, nor is any size, on what only shows that the steps work."""
    if execution is not None:
        refuse_rehearsals(artifact)
    artifact.verify()
    reason = "A rehearsal of one training step: nothing here is a result."
    return _report(artifact, path, _NO_TABLE, (), not_applicable(reason), (reason,))


def _audit_chain(artifact: Artifact, path: Path, execution: Execution | None) -> AuditReport:
    lineage = trace(artifact)
    _verify_all([lineage])
    model = lineage.packed or lineage.quantized or lineage.trained
    table = size_table(model) if model is not None else _NO_TABLE
    notes = () if model is not None else ("the model behind this evaluation was not found",)
    if lineage.packed is None:
        if execution is not None:
            raise UsageError(
                f"{path}: nothing packed to execute",
                hint="pack it and evaluate that; then audit --execute the evaluation",
                path=str(path),
            )
        reason = "Nothing here is packed, so no bytes count yet; `golfpipe pack` makes them."
        return _report(artifact, path, table, (), not_applicable(reason), notes)
    executed = execution.run([lineage]) if execution is not None else []
    facts = gather([lineage]).with_executed(executed)
    return _report(artifact, path, table, facts.runs, check_rules(facts), notes + _executed_notes(executed))


def _audit_submission(submission: Artifact, path: Path, execution: Execution | None) -> AuditReport:
    submission.verify()
    folder = records_folder(submission)
    told = read_folder(folder)
    try:
        lineages = [trace(evaluation, required=_NEEDED) for evaluation in _evaluations(submission)]
    except ArtifactError as error:
        if execution is not None:
            raise
        note = f"{error.message}; the rules are judged on what the folder itself says"
        return replace(_folder_report(told, (note,)), path=path, kind="submission", digest=submission.manifest.digest)
    _verify_all(lineages)
    executed = execution.run(lineages) if execution is not None else []
    gathered = gather(lineages, track=told.track, has_folder=True)
    facts = replace(
        gathered.with_script(told.script.own_bytes if told.script is not None else None).with_executed(executed),
        log_differences=None if told.counting.unlogged else tuple(told.counting.differences),
        folder_problems=tuple(missing_parts(told)),
    )
    packed = lineages[_largest(facts.runs)].packed
    table = size_table(packed) if packed is not None else _NO_TABLE
    report = _report(
        submission, path, table, facts.runs, check_rules(facts), _executed_notes(executed), track=told.track
    )
    return replace(report, reading=told)


def _executed_notes(executed: Sequence[Executed]) -> tuple[str, ...]:
    """Return the notes of all seeds, each once."""
    return tuple(dict.fromkeys(note for found in executed for note in found.notes))


def _folder_report(reading: Reading, notes: tuple[str, ...]) -> AuditReport:
    """A records folder, judged on what it says about itself."""
    runs = reading.counting.runs
    total = largest([run.total for run in runs])
    run = next((run for run in runs if run.total is total), None)
    return AuditReport(
        path=reading.path,
        kind="records_folder",
        digest=None,
        rows=(),
        basis="none",
        totals=AuditTotals(
            packed_bytes=whole(run.model) if run is not None else None,
            code_bytes=whole(run.code) if run is not None else None,
            code_bytes_source="stated" if run is not None and run.code is not None else None,
            total_bytes=whole(total),
            limit_bytes=LIMIT_BYTES,
        ),
        rules=judge(reading),
        track=reading.track,
        notes=(*notes, *reading.notes, *usual_notes(reading)),
        reading=reading,
    )


def _report(
    artifact: Artifact | None,
    path: Path,
    table: SizeTable,
    runs: Sequence[RunFacts],
    rules: tuple[RuleResult, ...],
    notes: tuple[str, ...] = (),
    *,
    track: str | None = None,
) -> AuditReport:
    return AuditReport(
        path=path,
        kind=artifact.manifest.kind if artifact is not None else "records_folder",
        digest=artifact.manifest.digest if artifact is not None else None,
        rows=table.rows,
        basis=table.basis,
        totals=_totals(runs),
        rules=rules,
        track=track,
        notes=notes,
    )


def _totals(runs: Sequence[RunFacts]) -> AuditTotals:
    if not runs:
        return AuditTotals(limit_bytes=LIMIT_BYTES)
    run = runs[_largest(runs)]
    source = "measured" if run.code_measured else "reserved"
    return AuditTotals(
        packed_bytes=run.packed_bytes,
        code_bytes=run.code_bytes,
        code_bytes_source=source if run.code_bytes is not None else None,
        total_bytes=run.total_bytes,
        limit_bytes=run.limit_bytes,
    )


def _largest(runs: Sequence[RunFacts]) -> int:
    return max(range(len(runs)), key=lambda index: runs[index].total_bytes or 0)


def _evaluations(submission: Artifact) -> list[Artifact]:
    """Return the evaluations that were submitted, one per seed. Raises ArtifactError for one that is not found."""
    references = [ref for ref in submission.manifest.inputs if ref.role.startswith("evaluation")]
    if not references:
        raise ArtifactError(f"{submission.path / MANIFEST_NAME}: field inputs names no evaluation")
    return [find_artifact(reference, submission.path) for reference in references]


def _owning_submission(folder: Path) -> Artifact | None:
    """Return the submission of the records folder <artifact>/records/<track>/<name>; None if there is none."""
    root = folder.resolve().parents[2] if len(folder.resolve().parents) > 2 else folder
    artifact = try_open(root)
    return artifact if artifact is not None and artifact.manifest.kind == "submission" else None


def _verify_all(lineages: Sequence[Lineage]) -> None:
    """Check every file of every artifact in the chains. Data is left out: hashing gigabytes of shards says nothing
    about the bytes that count."""
    members = {member.path: member for lineage in lineages for member in lineage.members}
    for member in members.values():
        member.verify()
