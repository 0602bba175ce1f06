"""Who submits what to which track."""

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
    """Settings of the submit stage. Numbers never come from here, only from manifests."""

    track: Track = OTHER_TRACK
    author: str = ""
    github_id: str = ""
    name: str = ""
    """Title; the preset or run name where empty."""
    blurb: str = ""
    date: str = ""
    """YYYY-MM-DD; today where empty."""
    hardware: str = ""
    """As people would say it, e.g. 8xH100 SXM; the device recorded by train where empty."""
    against: tuple[float, ...] = ()
    """val_bpb of the standing record's seeds, or its mean alone: the improvement is tested against them."""
    against_name: str = ""
    """What they are, for people."""
    launchers: tuple[Literal["torchrun", "modal", "slurm"], ...] = ()
    """Files to add that start the script on GPUs."""
    gpus: int = 8
    """That the launchers ask for."""
    execute: bool = False
    """Run the scoring methods for the rules that only running them can show; on track 10min_16mb always."""

    layout: Layout = "compressed"
    """The form of train_gpt.py; the bytes of the file that ships count. readable: the modules' own text; compressed: a
    script that unpacks itself."""
    verify: bool = False
    """Run train_gpt.py alone at a few steps and compare it with the stages, to the last digit."""

    def __post_init__(self) -> None:
        if not 1 <= self.gpus <= 8:
            raise ConfigError(f"submit.gpus={self.gpus} must lie in 1..8, the GPUs of one node")
        for value in self.against:
            if not 0 < value < 100:
                raise ConfigError(f"submit.against={value} must be bits per byte")
