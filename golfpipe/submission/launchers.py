"""Files that start a submission's script where there are GPUs: torchrun on this machine, Modal, a Slurm cluster.

Each runs train_gpt.py once per seed of the record and leaves logs and packed models in results/seed<N>/. The templates
are plain scripts, so that people can read and change what they get.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from golfpipe.submission.quoting import render

Launcher = Literal["torchrun", "modal", "slurm"]
_FILES: dict[Launcher, str] = {
    "torchrun": "launch_torchrun.sh",
    "modal": "launch_modal.py",
    "slurm": "launch_slurm.sh",
}


@dataclass(frozen=True, kw_only=True)
class LaunchSettings:
    """The values that the templates are filled with."""

    name: str
    seeds: tuple[int, ...]
    gpus: int
    requirements: tuple[str, ...]
    """Packages and their versions, as in requirements.txt."""
    python: str
    """The minor version that measured the score, such as 3.11."""
    minutes: int
    """The wall-clock minutes of one seed, with room to spare."""


def launcher_file(launcher: Launcher, settings: LaunchSettings) -> tuple[str, str]:
    """Name and content of the file."""
    name = _FILES[launcher]
    slug = re.sub(r"[^a-z0-9]+", "-", settings.name.lower()).strip("-")[:40] or "submission"
    clock = f"{settings.minutes // 60:02d}:{settings.minutes % 60:02d}:00"
    return name, render("golfpipe.submission", f"{name}.j2", **asdict(settings), slug=slug, clock=clock)


def launch_minutes(seconds: Sequence[float | None]) -> int:
    """Return half as much again as the longest seed took, plus a quarter of an hour for installing and compiling."""
    longest = max((value for value in seconds if value is not None), default=1200.0)
    return int(longest * 1.5 / 60) + 15
