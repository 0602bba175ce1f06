"""One part of an evaluation that several machines share: `--shard 2/4`. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from golfpipe.config.schema import PipelineConfig
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.key import stale_reasons
from golfpipe.jobs.registry import STAGES
from golfpipe.store.artifact import Artifact

MAX_SHARDS = 999_999


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`; the first part is 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """The end of the name of the part's output folder."""
        return f"shard-{self.index}-of-{self.count}"

    @property
    def digest(self) -> str:
        """The text that stands for the part in the key."""
        return f"shard {self}"


def parse_shard(text: str) -> Shard:
    """Read '2/4' as the second part of four. Raises UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: expected i/n with i in 1..n", hint="--shard 1/4 ... --shard 4/4")
    return Shard(int(match[1]), int(match[2]))


def check_parts(parts: Sequence[Artifact], config: PipelineConfig, input_digests: Mapping[str, str]) -> None:
    """Check that `parts` are all parts of the evaluation with these settings and inputs. Raises UsageError."""
    seen: dict[int, Artifact] = {}
    count = _shard(parts[0]).count
    for part in parts:
        shard = _shard(part)
        if reasons := stale_reasons(STAGES["evaluate"], config, input_digests, part, shard.digest):
            raise UsageError(
                f"{part.path}: part of another evaluation than {parts[0].path}: {'; '.join(reasons)}",
                path=str(part.path),
            )
        if shard.count != count:
            raise UsageError(
                f"{part.path}: shard {shard}, but {parts[0].path} is shard {_shard(parts[0])}", path=str(part.path)
            )
        if shard.index in seen:
            raise UsageError(f"{part.path}: shard {shard} is given twice, also as {seen[shard.index].path}")
        seen[shard.index] = part
    if missing := [str(Shard(index, count)) for index in range(1, count + 1) if index not in seen]:
        raise UsageError(
            f"shards missing: {', '.join(missing[:20])}", hint=f"golfpipe evaluate MODEL --shard {missing[0]}"
        )


def _shard(part: Artifact) -> Shard:
    index, count = (part.manifest.metrics.get(name) for name in ("shard", "num_shards"))
    if type(index) is not int or type(count) is not int or not 1 <= index <= count <= MAX_SHARDS:
        raise ArtifactError(
            f"{part.path}: metrics shard={index!r} and num_shards={count!r} name no part", path=str(part.path)
        )
    return Shard(index, count)
