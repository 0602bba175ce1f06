"""`submit --against`: turn a record's scores, given as numbers or as its folder, into settings."""

from __future__ import annotations

import json
from pathlib import Path

from golfpipe.errors import UsageError
from golfpipe.submission.read_records import is_records_folder, record_scores


def against_overrides(text: str) -> list[str]:
    """Return the overrides of submit.against for '1.2244,1.2250' or a records folder. Raises UsageError."""
    scores, name = _numbers(text), ""
    if scores is None:
        folder = Path(text)
        if not text or not is_records_folder(folder):
            raise UsageError(
                f"--against {text!r}: neither numbers nor a records folder",
                hint="bits per byte of the record's seeds, as in 1.2244,1.2250,1.2239,"
                " or the folder with its submission.json",
            )
        scores, name = record_scores(folder), folder.resolve().name
        if not scores:
            raise UsageError(f"{folder}: its submission.json holds no val_bpb", path=str(folder))
    return [f"submit.against={json.dumps(scores)}", f"submit.against_name={name}"]


def _numbers(text: str) -> list[float] | None:
    """Return the numbers of the text; None where it is something else."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return None
