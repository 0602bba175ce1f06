"""The room in which a method is put on trial: clean processes, altered text, and what they were seen opening.

The process gets an empty working folder and home, only the variables by which libraries and devices are found, and a
copy of the data in which the validation shard holds what is scored. strace watches what it opens where that works, else
an audit hook inside it. A second process scores one altered text from the start.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golfpipe.store.artifact import Artifact
from golfpipe.submission.trial.clean_process import PROGRAM, CleanProcesses
from golfpipe.submission.trial.experiments import BYTE_TOKENS, check_sidecar, compare
from golfpipe.submission.trial.findings import (
    BytesFound,
    Compared,
    CountFound,
    CutsFound,
    Executed,
    Opened,
    ProbabilitiesFound,
    Reproduced,
    SumsFound,
)

TIME_LIMIT_SECONDS = 7200
"""The seconds after which the processes are stopped."""
NOT_RECORDED = Reproduced(documents=0, largest_change_nats=0.0, tolerance_nats=0.0)
"""Nothing was recorded before that could come out again."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where a method is tried, and on how much."""

    device: str = "auto"
    threads: int | None = None
    targets: int | None = None
    """The length of the text, 0 for the whole split, None for what the method needs to show all that it does."""
    seconds: float = TIME_LIMIT_SECONDS
    program: Sequence[str] = PROGRAM
    use_strace: bool = True

    def put_on_trial(self, method: dict[str, Any], own: Iterable[Path], data: Artifact) -> tuple[Executed, list[float]]:
        """Return the findings, and the nats of the text's documents.

        `method`: the part of the request that describes it (process.py). `own`: the files that it may open, which its
        bytes are counted of. Raises StageFailed where a process fails or takes longer than `seconds`.
        """
        from golfpipe.data.token_data import load_tokenizer  # which, as the next, reads tokens with torch's help
        from golfpipe.submission.trial.data_copy import copy_data

        files = sorted({file for path in own for file in (path.rglob("*") if path.is_dir() else [path])})
        with tempfile.TemporaryDirectory(prefix="golfpipe-execute-") as name:
            scratch = Path(name).resolve()
            most = 0 if self.targets == 0 else max(BYTE_TOKENS, self.targets or 0)
            text = copy_data(data, scratch / "data", most)
            request = method | {
                "data": str(scratch / "data"),
                "device": self.device,
                "threads": self.threads,
                "targets": text.split_targets if self.targets == 0 else self.targets,
                "restarted": False,
            }
            processes = CleanProcesses(scratch, self.program, self.use_strace, self.seconds)
            found = processes.run("first", request)
            if text.from_sidecar:  # then its bytes are scored, not those of the method's tokenizer
                found["bytes"] = asdict(check_sidecar(text.tokens, text.sizes, load_tokenizer(data)))
            processes.run("second", request | {"restarted": True})
            first, second = (np.load(scratch / f"{name}.npy") for name in ("first", "second"))
            executed = findings_of(
                found,
                restarted=compare(first, second, found["restart_cut"] - 1, CutsFound.TOLERANCE),
                opened=processes.opened(files, data),
                own_bytes=sum(file.stat().st_size for file in files if file.is_file()),
                split_targets=text.split_targets,
            )
        return executed, found["document_nats"]


def findings_of(
    found: dict[str, Any], *, restarted: Compared, opened: Opened, own_bytes: int, split_targets: int
) -> Executed:
    """Put together what the first process found and what was seen from outside."""
    told = found["probabilities"]
    return Executed(
        method=found["method"],
        adapts=found["adapts"],
        ordered=found["ordered"],
        own_bytes=own_bytes,
        split_targets=split_targets,
        cuts=CutsFound(**found["cuts"]),
        shorter=Compared(**found["shorter"]),
        restarted=restarted,
        count=CountFound(**found["count"]),
        sums=SumsFound(**found["sums"]),
        probabilities=ProbabilitiesFound(**told) if told is not None else None,
        bytes=BytesFound(**found["bytes"]),
        opened=opened,
        reproduced=NOT_RECORDED,
        notes=(),
        seconds=round(found["seconds"], 3),
    )
