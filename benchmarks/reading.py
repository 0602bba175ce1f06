"""Reading training batches from a shard that is not in memory: what a thread that reads ahead could save.

python -m benchmarks reading [--quick]
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import summary
from golfpipe.data.shard_files import ShardFile
from golfpipe.data.shard_format import shard_header
from golfpipe.training.token_stream import TokenStream

BATCH = (384, 2048)
"""Sequences and length of one step of `16l`: 786,432 tokens."""
STEP_SECONDS = 0.083
"""A step of 786,432 tokens on the fastest machine reported: 8 H100, 11 layers of 27 M parameters."""
STEPS = 60


def run(quick: bool) -> dict[str, Any]:
    """Seconds in which a step waits for its batch, and their share of the fastest step."""
    steps, (sequences, length), pause = (3, (4, 64), 0.0) if quick else (STEPS, BATCH, STEP_SECONDS)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # the system's own may be in memory
        path = Path(folder) / "train_000000.bin"
        count = steps * sequences * length + 1
        path.write_bytes(shard_header(count) + np.random.default_rng(0).integers(0, 1024, count, np.uint16).tobytes())
        results = {}
        for case, cold in (("on disk alone", True), ("in memory", False)):
            if cold:
                forget(path)
            stream, seconds = TokenStream([ShardFile(path)]), []
            for _ in range(steps):
                start = time.perf_counter()
                stream.next_batch(sequences, length)
                seconds.append(time.perf_counter() - start)
                time.sleep(pause)
            times = {"next batch": summary(seconds), "slowest batch": summary([max(seconds)])}
            results[case] = {"seconds": times, "step_share": sum(seconds) / steps / STEP_SECONDS}
    return results


def forget(path: Path) -> None:
    """Drop the file's pages from the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
