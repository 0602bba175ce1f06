"""golfpipe: train, quantize, pack, adapt and score language models that fit in a byte limit.

The functions of `golfpipe.api`, the compressor for weights of any model, and the trial of any scoring method can be
imported from here, and are loaded when first used: `from golfpipe import train, quantize, pack`, `from golfpipe import
compress, decompress`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from golfpipe.openmp import others_use_the_cores, shorten_waiting
from golfpipe.version import __version__ as __version__

if TYPE_CHECKING:
    from golfpipe.api import (
        audit,
        compare,
        demo_data,
        diff,
        evaluate,
        evaluate_merge,
        generate,
        ls,
        open_artifact,
        pack,
        quantize,
        run,
        status,
        submit,
        sweep,
        tokenize,
        train,
        ttt,
        unpack,
        write_report,
    )
    from golfpipe.review.trial import trial
    from golfpipe.weights.calibration import Calibration
    from golfpipe.weights.compress import compress
    from golfpipe.weights.decompress import decompress
    from golfpipe.weights.rules import split

__all__ = [
    "Calibration",
    "audit",
    "compare",
    "compress",
    "decompress",
    "demo_data",
    "diff",
    "evaluate",
    "evaluate_merge",
    "generate",
    "ls",
    "open_artifact",
    "pack",
    "quantize",
    "run",
    "split",
    "status",
    "submit",
    "sweep",
    "tokenize",
    "train",
    "trial",
    "ttt",
    "unpack",
    "write_report",
]

shorten_waiting(os.environ, others_use_the_cores())  # before anything loads torch


_ELSEWHERE = {
    "Calibration": "golfpipe.weights.calibration",
    "compress": "golfpipe.weights.compress",
    "decompress": "golfpipe.weights.decompress",
    "split": "golfpipe.weights.rules",
    "trial": "golfpipe.review.trial",
}
"""What comes from elsewhere than golfpipe.api."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'golfpipe' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_ELSEWHERE.get(name, "golfpipe.api")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
