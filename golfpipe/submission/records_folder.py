"""Names inside a submission artifact: where the records folder is, and which files it must hold."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePosixPath

from golfpipe.errors import ArtifactError
from golfpipe.store.artifact import Artifact

SUBMISSION_FILE = "submission.json"
README_FILE = "README.md"
SCRIPT_FILE = "train_gpt.py"


def folder_name(track: str, date: str, name: str) -> str:
    """Return a name like 'records/track_non_record_16mb/2026-05-01_My_Name'."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9.]+", "_", ascii_name).strip("._") or "Submission"
    return f"records/track_{track}/{date}_{slug[:80]}"


def log_name(seed: int) -> str:
    return f"train_seed{seed}.log"


def records_folder(submission: Artifact) -> Path:
    """Return the folder to hand in, inside a submission artifact. Raises ArtifactError where there is none."""
    for name in sorted(submission.manifest.files):
        if PurePosixPath(name).name == SUBMISSION_FILE:
            return submission.path / PurePosixPath(name).parent
    raise ArtifactError(
        f"{submission.path}: its manifest lists no {SUBMISSION_FILE}, which a submission has",
        hint="run golfpipe submit again with --force",
    )
