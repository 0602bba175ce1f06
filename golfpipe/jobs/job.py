"""A job: one stage with its settings and inputs, and the machine and manner in which it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.config.schema import PipelineConfig
from golfpipe.jobs.key import job_key
from golfpipe.jobs.registry import Stage
from golfpipe.jobs.settle import settled
from golfpipe.reporter import Reporter, SilentReporter
from golfpipe.store.artifact import Artifact

if TYPE_CHECKING:
    from golfpipe.optim.process_group import ProcessGroup


@dataclass(frozen=True, kw_only=True)
class Context:
    """The machine and the manner in which a stage runs. Nothing in it changes a key."""

    device: str = "auto"
    threads: int | None = None
    force: bool = False
    resume: bool = False
    rehearsal: bool = False
    """True: what is made is a rehearsal's, and its manifest says so, as do those of whatever is made from it."""
    reporter: Reporter = field(default_factory=SilentReporter)
    argv: tuple[str, ...] = ()
    processes: ProcessGroup | None = None
    """The group that this process shares the work with; None where it works alone."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work: a stage, its settings and its inputs."""

    stage: Stage
    config: PipelineConfig
    """The settings, in which `auto` gives way to what it comes to for this job."""
    inputs: Mapping[str, Artifact]
    out: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What is neither a setting nor an artifact, such as the text files of `data tokenize`."""
    argument_digest: str = ""
    """A digest of the content of `arguments`, which becomes part of the key."""
    context: Context = field(default_factory=Context)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", settled(self.stage, self.config, data_at_hand="data" in self.inputs))

    @property
    def input_digests(self) -> dict[str, str]:
        return {role: artifact.manifest.digest for role, artifact in self.inputs.items()}

    @property
    def key(self) -> str:
        return job_key(self.stage, self.config, self.input_digests, self.argument_digest)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished job: its artifact, and whether that was there already."""

    artifact: Artifact
    up_to_date: bool
