"""golfpipe: train, quantize, pack, adapt and score language models that fit in a byte limit.

The functions of `golfpipe.api` can be imported from here too, and are loaded when first used: `from golfpipe import
train, quantize, pack`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from golfpipe.openmp import shorten_waiting
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

__all__ = [
    "audit",
    "compare",
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
    "status",
    "submit",
    "sweep",
    "tokenize",
    "train",
    "ttt",
    "unpack",
    "write_report",
]

shorten_waiting(os.environ)  # before anything loads torch


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'golfpipe' has no attribute {name!r}")
    from golfpipe import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
