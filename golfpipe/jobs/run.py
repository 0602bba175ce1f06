"""Run a job: the only way in which a stage becomes an artifact.

Torch-free: whether a stage is up to date is known before anything heavy is imported.
"""

from __future__ import annotations

import importlib
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from golfpipe.config.schema import plain_config
from golfpipe.data.shard_watch import ShardWatch
from golfpipe.errors import Busy, StageFailed, UsageError
from golfpipe.jobs.job import Job, Outcome
from golfpipe.jobs.key import deciding_changes, is_intact, stale_reasons
from golfpipe.jobs.provenance import provenance_of
from golfpipe.jobs.unfinished import JOB_FILE, read_begun
from golfpipe.machine.memory import reset_peak
from golfpipe.store.artifact import Artifact, try_open
from golfpipe.store.artifact_writer import ArtifactWriter, abandon, begin, begin_in_place, finish, finish_interrupted
from golfpipe.store.files import NO_SPACE, check_writable, no_space, old_folder, partial_folder, recover
from golfpipe.store.lock import Hold, check_lock, lock_path, output_lock
from golfpipe.store.manifest import MANIFEST_NAME, Manifest, Result

_CHANGED_HINT = "bring the file back as it was and repeat the command; what it computed is not kept"


def run_job(job: Job) -> Outcome:
    """Bring `job.out` up to date. Where it is, nothing is locked or written; the key is compared before the stage's
    module is imported.

    Raises Busy where another process holds the output or takes it over, UsageError where precious work would be
    replaced, and whatever the stage raises. An existing artifact in `job.out` stays as it was unless the new one is
    complete.
    """
    try:
        finished = _finished(job)
        if finished is not None:
            _tidy(job.out)
            return finished
        with output_lock(job.out) as hold:
            try:
                return _run_locked(job, hold)
            except Exception:
                hold.check()  # it may have failed because another process took over
                raise
    except OSError as error:
        path = Path(error.filename) if isinstance(error.filename, str) else job.out
        if error.errno in NO_SPACE:
            raise no_space(path) from error
        raise StageFailed(
            f"{path}: {error.strerror or error}", hint="earlier artifacts are as they were", path=str(path)
        ) from error


def check_job(job: Job, processes: int = 1) -> None:
    """Raise what `run_job` would refuse before its work begins, in so many processes. Writes nothing."""
    existing = None if job.context.force else try_open(job.out)
    if existing is not None and existing.manifest.key == job.key and is_intact(existing):
        return
    check_lock(job.out)
    check_writable(job.out)
    if job.stage.precious:
        _guard_finished(job, existing)
        _guard_unfinished(job, job.key)
    if job.stage.checked:
        importlib.import_module(job.stage.module).check(job, processes)


def _finished(job: Job) -> Outcome | None:
    """Return the artifact in `job.out` if it is what the job would write; None otherwise."""
    if job.context.force:
        return None
    existing = try_open(job.out)
    if existing is None or existing.manifest.key != job.key or not is_intact(existing):
        return None
    _announce(job, job.key, False)
    return Outcome(artifact=existing, up_to_date=True)


def _tidy(out: Path) -> None:
    """Remove what a process left that was killed when `out` was in its place already. It harms nobody where it cannot
    be removed."""
    if old_folder(out).exists() or lock_path(out).exists():
        with suppress(Busy, StageFailed, OSError), output_lock(out):
            recover(out)


def _run_locked(job: Job, hold: Hold) -> Outcome:
    recover(job.out)
    finished = _finished(job)  # another process may have been faster
    if finished is not None:
        return finished
    key, keep = job.key, False
    hold.adopt()
    if job.stage.precious:
        _guard_finished(job, try_open(job.out))
        keep = _guard_unfinished(job, key)
    manifest = None if job.context.force else finish_interrupted(job.out, key, hold.partial)
    _announce(job, key, manifest is None)
    if manifest is None:
        manifest = _run_and_finish(job, key, keep, hold)
    return Outcome(artifact=Artifact(job.out, manifest), up_to_date=False)


def _announce(job: Job, key: str, run: bool) -> None:
    """Tell the other processes the key, and whether there is work to do; `processes.follow_job` listens."""
    if job.context.processes is not None:
        job.context.processes.first((key, run))


def _run_and_finish(job: Job, key: str, keep: bool, hold: Hold) -> Manifest:
    module = importlib.import_module(job.stage.module)
    writer = _writer(job, hold, keep)
    data = [artifact for artifact in job.inputs.values() if artifact.manifest.kind == "token_data"]
    watches = [ShardWatch(artifact, _CHANGED_HINT) for artifact in data]
    started = time.time()
    clock = time.perf_counter()
    reset_peak()
    done = False
    try:
        result: Result = module.run(job, writer)
        seconds = time.perf_counter() - clock
        for watch in watches:
            watch.check()
        manifest = finish(
            writer,
            job.out,
            replace(result, metrics=result.metrics | {"seconds": round(seconds, 3)}),
            stage=job.stage.name,
            key=key,
            config=plain_config(job.config),
            inputs=tuple(artifact.reference(role) for role, artifact in job.inputs.items()),
            provenance=provenance_of(job, started, seconds),
        )
        done = True
        return manifest
    finally:
        protected = writer.folder == job.out or (writer.folder / JOB_FILE).is_file()
        if not done and not protected:
            abandon(writer.folder)


def _writer(job: Job, hold: Hold, keep: bool) -> ArtifactWriter:
    if job.arguments.get("in_place", False):
        return begin_in_place(job.out, hold)
    return _LateWriter(job.out, hold) if job.stage.precious and not keep else begin(job.out, hold, keep_partial=keep)


class _LateWriter(ArtifactWriter):
    """A writer that begins when the stage first writes. So a stage that refuses its settings or inputs has not
    discarded the hours of work that an interrupted run left here, even with --force."""

    def __init__(self, out: Path, hold: Hold) -> None:
        super().__init__(hold.partial, hold)
        self._out: Path | None = out

    def path(self, name: str, *, content: bool = True) -> Path:
        if self._out is not None:
            begin(self._out, self.hold)
            self._out = None
        return super().path(name, content=content)


def _guard_finished(job: Job, existing: Artifact | None) -> None:
    if job.context.force:
        return
    if existing is None:
        if (job.out / MANIFEST_NAME).exists():
            raise UsageError(
                f"{job.out}: holds an artifact that this golfpipe cannot read, perhaps of another version",
                hint="--force replaces it; -o or --name keeps both",
                path=str(job.out),
            )
        return
    changes = stale_reasons(job.stage, job.config, job.input_digests, existing, job.argument_digest)
    raise UsageError(
        f"{job.out}: holds a {existing.manifest.kind} already, and it differs: {'; '.join(changes)}",
        hint="--force replaces it; -o or --name keeps both",
        path=str(job.out),
    )


def _guard_unfinished(job: Job, key: str) -> bool:
    """Return True to go on from an interrupted run. Raises UsageError where that run had other settings."""
    if not (partial_folder(job.out) / JOB_FILE).is_file():
        if job.context.resume:
            raise UsageError(f"{job.out}: nothing to resume here", path=str(job.out))
        return False
    if job.context.force:
        return False
    begun = read_begun(job.out)
    assert begun is not None
    if begun.key == key:
        return True
    changes = deciding_changes(begun.config, plain_config(job.config), job.stage)
    raise UsageError(
        f"{job.out}: an unfinished run of other settings is here ({'; '.join(changes) or 'other inputs'})",
        hint="--resume goes on with its settings; --force discards it; -o or --name starts elsewhere",
        path=str(job.out),
    )
