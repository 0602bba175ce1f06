"""Settings of the submit stage: who submits what to which track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from golfpipe.errors import ConfigError

Track = Literal["10min_16mb", "non_record_16mb"]
RECORD_TRACK: Track = "10min_16mb"
"""The track that takes only what keeps every rule; the other one takes what states where it does not."""
OTHER_TRACK: Track = "non_record_16mb"
Layout = Literal["readable", "compressed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitConfig:
    """Settings of the submit stage. They hold no measured numbers: those come from manifests only."""

    track: Track = OTHER_TRACK
    """The leaderboard's track; 10min_16mb takes only what keeps every rule."""
    author: str = ""
    """The author's name, for submission.json."""
    github_id: str = ""
    """The author's GitHub account, for submission.json."""
    name: str = ""
    """The submission's title; the preset or run name where empty."""
    blurb: str = ""
    """A sentence or two about the submission, for submission.json."""
    date: str = ""
    """The date as YYYY-MM-DD; today where empty."""
    hardware: str = ""
    """The hardware as people would say it, e.g. 8xH100 SXM; the device that train recorded where empty."""
    against: tuple[float, ...] = ()
    """The val_bpb of the standing record's seeds, or its mean alone. The improvement over it is tested."""
    against_name: str = ""
    """What to call that record."""
    launchers: tuple[Literal["torchrun", "modal", "slurm"], ...] = ()
    """Kinds of files to add that start the script on GPUs."""
    gpus: int = 8
    """The number of GPUs that the launchers ask for."""
    execute: bool = False
    """True: run the scoring methods for the rules that only running them can show. Track 10min_16mb always does."""

    layout: Layout = "compressed"
    """The form of train_gpt.py; the bytes of the file that ships count. readable: the modules' own text; compressed: a
    script that unpacks itself."""
    verify: bool = False
    """True: run train_gpt.py alone at a few steps and compare it with the stages, to the last digit."""

    def __post_init__(self) -> None:
        if not 1 <= self.gpus <= 8:
            raise ConfigError(f"submit.gpus={self.gpus} must lie in 1..8, the GPUs of one node")
        for value in self.against:
            if not 0 < value < 100:
                raise ConfigError(f"submit.against={value} must be bits per byte")
