"""`submit --against`: turn a record's scores, given as numbers or as its folder, into settings."""

from __future__ import annotations

import json
from pathlib import Path

from golfpipe.errors import UsageError
from golfpipe.records.folder import is_records_folder, read_folder
from golfpipe.records.summary import scores


def against_overrides(text: str) -> list[str]:
    """Return the overrides of submit.against for '1.2244,1.2250' or a records folder.

    The scores of a folder are those of its seeds, from submission.json or from the logs, or the mean where that is all.
    Raises UsageError.
    """
    found, name = _numbers(text), ""
    if found is None:
        folder = Path(text)
        if not text or not is_records_folder(folder):
            raise UsageError(
                f"--against {text!r}: neither numbers nor a records folder",
                hint="bits per byte of the record's seeds, as in 1.2244,1.2250,1.2239, or the folder with its"
                " submission.json and logs",
            )
        found, name = scores(read_folder(folder)), folder.resolve().name
        if not found:
            raise UsageError(f"{folder}: neither its submission.json nor a log holds a val_bpb", path=str(folder))
    return [f"submit.against={json.dumps(found)}", f"submit.against_name={name}"]


def _numbers(text: str) -> list[float] | None:
    """Return the numbers of the text; None where it is something else."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return None
