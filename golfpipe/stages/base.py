"""What all stages share: their names, keys, inputs, and the one way in which a stage becomes an artifact.

Torch-free: whether a stage is up to date is known before anything heavy is imported.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from golfpipe import __version__
from golfpipe.config.resolve import changed_keys
from golfpipe.config.schema import PipelineConfig, Plain, plain_config
from golfpipe.errors import StageFailed, UsageError
from golfpipe.stages.device_name import device_name
from golfpipe.stages.memory import peak_memory_bytes, reset_peak
from golfpipe.stages.registry import STAGES as STAGES
from golfpipe.stages.registry import Stage
from golfpipe.stages.reporter import Reporter, SilentReporter
from golfpipe.stages.unfinished import JOB_FILE, Begun, read_begun, write_begun
from golfpipe.store.artifact import Artifact, ArtifactWriter, abandon, begin, finish, finish_interrupted, try_open
from golfpipe.store.canonical import digest_of
from golfpipe.store.files import NO_SPACE, no_space, partial_folder, recover
from golfpipe.store.lock import Hold, output_lock
from golfpipe.store.manifest import MANIFEST_NAME, InputRef, Manifest, Result

if TYPE_CHECKING:
    from golfpipe.optim.process_group import ProcessGroup


@dataclass(frozen=True, kw_only=True)
class Context:
    """The machine and the manner in which a stage runs. Nothing here changes a key."""

    device: str = "auto"
    threads: int | None = None
    force: bool = False
    resume: bool = False
    reporter: Reporter = field(default_factory=SilentReporter)
    argv: tuple[str, ...] = ()
    processes: ProcessGroup | None = None  # of which this is one, if it is not alone


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work: a stage, its settings and its inputs."""

    stage: Stage
    config: PipelineConfig
    inputs: Mapping[str, Artifact]
    out: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What is neither setting nor artifact, such as the text files of `data tokenize`."""
    argument_digest: str = ""
    """Names the content of `arguments` in the key."""
    context: Context = field(default_factory=Context)

    @property
    def key(self) -> str:
        return job_key(
            self.stage,
            self.config,
            {role: artifact.manifest.digest for role, artifact in self.inputs.items()},
            self.argument_digest,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished job."""

    artifact: Artifact
    up_to_date: bool


def relevant_config(stage: Stage, config: PipelineConfig) -> Plain:
    """The part of the configuration that decides the stage's result."""
    plain = plain_config(config)
    return _sections(plain, stage, stage.unused(plain))


def _changes(before: Plain, after: Plain, stage: Stage) -> list[str]:
    """The deciding keys that differ. One that either side does not use says nothing: another one changed then too."""
    unused = (*stage.unused(before), *stage.unused(after))
    return changed_keys(_sections(before, stage, unused), _sections(after, stage, unused))


def _sections(config: Plain, stage: Stage, unused: Sequence[str]) -> Plain:
    """The deciding part of a plain configuration, which may be one of an older golfpipe and lack keys."""
    chosen = {section: config.get(section, {}) for section in stage.sections}
    for key in (*stage.neutral, *unused):
        section, name = key.split(".")
        if isinstance(chosen[section], dict):
            chosen[section] = {k: v for k, v in chosen[section].items() if k != name}
    return chosen


def job_key(stage: Stage, config: PipelineConfig, input_digests: Mapping[str, str], argument_digest: str = "") -> str:
    """sha256 over stage, version, deciding settings and input digests: known before the work is done."""
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "config": relevant_config(stage, config),
            "inputs": dict(input_digests),
            "arguments": argument_digest,
        }
    )


def run_job(job: Job) -> Outcome:
    """Bring `job.out` up to date. The lock is taken and the key compared before the stage's module is imported.

    Raises Busy, UsageError for precious work in the way, and whatever the stage raises; an existing artifact in
    `job.out` stays as it was unless the new one is complete.
    """
    try:
        with output_lock(job.out) as hold:
            recover(job.out)
            existing = try_open(job.out)
            key = job.key
            if existing is not None and existing.manifest.key == key and not job.context.force and is_intact(existing):
                _announce(job, key, False)
                return Outcome(artifact=existing, up_to_date=True)
            keep = False
            if job.stage.precious:
                _guard_finished(job, existing)
                keep = _guard_unfinished(job, key)
            manifest = None if job.context.force else finish_interrupted(job.out, key)
            _announce(job, key, manifest is None)
            if manifest is None:
                manifest = _run_and_finish(job, key, keep, hold)
            return Outcome(artifact=Artifact(job.out, manifest), up_to_date=False)
    except OSError as error:
        path = Path(error.filename) if isinstance(error.filename, str) else job.out
        if error.errno in NO_SPACE:
            raise no_space(path) from error
        raise StageFailed(
            f"{path}: {error.strerror or error}", hint="earlier artifacts are as they were", path=str(path)
        ) from error


def _announce(job: Job, key: str, run: bool) -> None:
    """Tell the other processes the key, and whether there is work to do; `processes.follow_job` listens."""
    if job.context.processes is not None:
        job.context.processes.first((key, run))


def is_intact(artifact: Artifact) -> bool:
    """Whether every listed file is there with its size. Content is checked when it is read."""
    return all(
        (path := artifact.path_of(name)).is_file() and path.stat().st_size == entry.bytes
        for name, entry in artifact.manifest.files.items()
    )


def stale_reasons(
    stage: Stage,
    config: PipelineConfig,
    input_digests: Mapping[str, str | None],
    existing: Artifact | None,
    argument_digest: str = "",
) -> list[str]:
    """Why `existing` is not what the stage would write now; empty where it is. A digest of None is not known yet."""
    if existing is None:
        return ["no artifact yet"]
    manifest = existing.manifest
    reasons = [f"config {change}" for change in _changes(manifest.config, plain_config(config), stage)]
    for role in dict.fromkeys([*input_digests, *(ref.role for ref in manifest.inputs)]):
        before, now = manifest.input(role), input_digests.get(role, "")
        if before is None or before.digest != now:
            new = "(pending)" if now is None else now[:8] or "(none)"
            reasons.append(f"input {role}: {before.digest[:8] if before else '(none)'} -> {new}")
    if reasons:
        return reasons
    known = {role: digest for role, digest in input_digests.items() if digest is not None}
    if job_key(stage, config, known, argument_digest) != manifest.key:
        return ["the source files changed, or golfpipe did"]
    return [] if is_intact(existing) else ["files are missing or cut short"]


def _run_and_finish(job: Job, key: str, keep: bool, hold: Hold) -> Manifest:
    module = importlib.import_module(job.stage.module)
    in_place = job.arguments.get("in_place", False)
    writer = ArtifactWriter(job.out) if in_place else begin(job.out, keep_partial=keep)
    if job.stage.precious:
        references = [artifact.reference(role) for role, artifact in job.inputs.items()]
        write_begun(writer.folder, Begun(key=key, config=plain_config(job.config), inputs=tuple(references)))
        writer.path(JOB_FILE, content=False)
    started = time.time()
    clock = time.perf_counter()
    reset_peak()
    done = False
    try:
        result: Result = module.run(job, writer)
        seconds = time.perf_counter() - clock
        hold.check()
        manifest = finish(
            writer,
            job.out,
            replace(result, metrics=result.metrics | {"seconds": round(seconds, 3)}),
            stage=job.stage.name,
            key=key,
            config=plain_config(job.config),
            inputs=tuple(artifact.reference(role) for role, artifact in job.inputs.items()),
            provenance=_provenance(job, started, seconds),
        )
        done = True
        return manifest
    finally:
        if not done and not job.stage.precious and writer.folder != job.out and not hold.is_lost():
            abandon(job.out)


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
    digests = {role: artifact.manifest.digest for role, artifact in job.inputs.items()}
    changes = stale_reasons(job.stage, job.config, digests, existing, job.argument_digest)
    raise UsageError(
        f"{job.out}: holds a {existing.manifest.kind} already, and it differs: {'; '.join(changes)}",
        hint="--force replaces it; -o or --name keeps both",
        path=str(job.out),
    )


def _guard_unfinished(job: Job, key: str) -> bool:
    """Whether to go on from what an interrupted run left."""
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
    changes = _changes(begun.config, plain_config(job.config), job.stage)
    raise UsageError(
        f"{job.out}: an unfinished run of other settings is here ({'; '.join(changes) or 'other inputs'})",
        hint="--resume goes on with its settings; --force discards it; -o or --name starts elsewhere",
        path=str(job.out),
    )


def data_reference(manifest: Manifest) -> InputRef | None:
    """The token data that the artifact, or the first of the models that it came from, was made with."""
    reference = manifest.input("data")
    if reference is None and isinstance(carried := manifest.provenance.get("data"), dict):
        try:
            reference = InputRef(**carried)
        except (TypeError, ValueError):  # edited by hand: provenance is outside the digest
            return None
    return reference


def _provenance(job: Job, started: float, seconds: float) -> dict[str, Any]:
    packages = ("torch", "numpy", "safetensors", "sentencepiece", "constriction")
    return {
        "golfpipe": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "packages": {name: _version(name) for name in packages},
        "commit": source_commit(),
        "device": job.context.device,
        **_device_used(job),
        "threads": job.context.threads,
        "seed": job.config.seed,
        "argv": list(job.context.argv),
        "data": _data_behind(job),
        "started_unix": round(started, 3),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _device_used(job: Job) -> dict[str, Any]:
    if "torch" not in sys.modules:  # the stage used none
        return {}
    try:
        device = select_device(job.context.device)
    except UsageError:  # a stage that needs no device does not mind a --device that is not there
        return {}
    return {"device_used": device, "device_name": device_name(device)}


def _data_behind(job: Job) -> dict[str, Any] | None:
    """Carried forward, so that `evaluate MODEL` finds its data although the artifacts in between were replaced."""
    for artifact in job.inputs.values():
        reference = artifact.reference("data") if artifact.manifest.kind == "token_data" else None
        reference = reference or data_reference(artifact.manifest)
        if reference is not None:
            return asdict(reference)
    return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def source_commit() -> str | None:
    """Commit of the golfpipe checkout that runs, '+' appended where it was changed; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            [git, "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return commit.stdout.strip()


def select_threads(threads: int | None) -> None:
    """Apply --threads to torch, once it is imported."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def select_device(requested: str) -> Literal["cpu", "cuda", "mps"]:
    """Resolve `auto` and check that the device is there. Raises UsageError."""
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if requested == "auto":
        return "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    if requested not in available:
        raise UsageError(f"--device {requested}: expected auto, cpu, cuda or mps")
    if not available[requested]:
        raise UsageError(f"--device {requested}: this machine has no such device", hint="golfpipe doctor")
    return requested  # type: ignore[return-value]


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
