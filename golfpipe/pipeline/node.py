"""One step of a pipeline: a stage, and the steps whose artifacts it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from golfpipe.jobs.registry import Stage
from golfpipe.store.manifest import Kind


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step: a stage, and the steps whose artifacts it reads."""

    name: str
    """The step's name in stages.yaml; in a run of several seeds that of the seed's folder stands before it."""
    stage: Stage | None
    """The stage; None where the artifact is given and not made here (data.source is a path)."""
    inputs: Mapping[str, str]
    """For each role, the name of the node that makes it."""
    output: Kind
    idle_because: str | None = None
    """Why there is nothing to do, where the settings leave this step without work."""
    seed: int | None = None
    """The seed of its chain in a run of several seeds; None for what all of them share, and in a run of one."""

    @property
    def step(self) -> str:
        """The step's name in stages.yaml."""
        return self.name.rpartition("/")[2]
