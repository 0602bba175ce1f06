"""The version of golfpipe, and the commit of the source code that runs."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

__version__ = "0.2.0"


@functools.cache
def source_commit() -> str | None:
    """Return the commit of the golfpipe checkout that runs, with '+' appended where the working tree was changed.

    An installed package has no checkout, so the answer there is None.
    """
    root = Path(__file__).resolve().parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            [git, "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return commit.stdout.strip()
