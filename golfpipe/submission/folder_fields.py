"""The fields of a submission.json that anybody may have written: several spellings, text for numbers, placeholders."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from golfpipe.config.submit import OTHER_TRACK, RECORD_TRACK

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "author": ("author_name", "authors"),
    "github_id": ("github", "author_github", "github_handle", "github_username"),
    "name": ("title", "submission_name", "run_name"),
    "blurb": ("description", "tagline", "summary", "technique_summary"),
    "date": ("submission_date", "created"),
    "track": (),
    "val_loss": ("val_loss_mean", "mean_val_loss", "final_val_loss", "val_loss_nats"),
    "val_bpb": ("val_bpb_mean", "mean_val_bpb", "final_val_bpb", "bpb", "mean_bpb"),
    "bytes_total": ("artifact_bytes", "total_bytes", "bytes", "submission_bytes", "artifact_size_bytes", "size_bytes",
                    "max_artifact_bytes", "artifact_bytes_max", "compressed_bytes"),
    "bytes_code": ("code_bytes", "code_size", "code_size_bytes", "bytes_script"),
    "bytes_model": ("model_bytes", "compressed_model_bytes", "quant_bytes"),
    "train_time_s": ("train_time_seconds", "train_seconds", "training_time_s", "wallclock_seconds", "train_time"),
    "eval_time_s": ("eval_time_seconds", "eval_seconds", "evaluation_time_s", "eval_time", "ttt_time_s"),
}  # fmt: skip
_BY_START = {"bytes_model": "bytes_model_", "bytes_total": "artifact_bytes_", "bytes_code": "code_bytes_"}
"""How keys begin that end in a compressor's name, as bytes_model_int8_zlib does in many files."""
_MILLISECONDS = {"train_time_s": "train_time_ms", "eval_time_s": "eval_time_ms"}
REQUIRED: dict[str, Literal["text", "number", "count"]] = {
    "author": "text",
    "github_id": "text",
    "name": "text",
    "blurb": "text",
    "date": "text",
    "val_loss": "number",
    "val_bpb": "number",
    "bytes_total": "count",
    "bytes_code": "count",
}
"""The fields that every merged record has, the first one included, and their types."""
_EXPECTED = {"text": "text", "number": "a positive number", "count": "a number of bytes"}
_SEED_SECTIONS = (
    "seed_results",
    "seeds_results",
    "results_by_seed",
    "per_seed",
    "per_seed_results",
    "seeds",
    "results",
    "runs",
)
_SHOWN = 60


@dataclass
class Fields:
    """A JSON object read under golfpipe's names. `notes` collects what is unusual in it."""

    values: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    def find(self, name: str) -> tuple[str, Any] | None:
        """Return the key under which a field is there, and its value."""
        names = [name, *_SPELLINGS.get(name, ())]
        start = _BY_START.get(name)
        if start is not None:
            names += sorted(key for key in self.values if re.fullmatch(rf"{start}\w{{1,40}}", key, re.ASCII))
        return next(((key, self.values[key]) for key in names if self.values.get(key) is not None), None)

    def number(self, name: str) -> float | None:
        """Return a finite number. Text that reads as a number counts, with a note."""
        found = self.find(name)
        if found is None:
            milliseconds = _as_number(self.values.get(_MILLISECONDS.get(name, "")))
            return None if milliseconds is None else milliseconds / 1000
        key, value = found
        number = _as_number(value)
        if number is not None and isinstance(value, str):
            self._note(f"{key} is text, {shown(value)}")
        if number is not None and key != name:
            self._note(f"{name} is called {key}")
        return number

    def count(self, name: str) -> int | None:
        """Return a whole number of at least 0."""
        number = self.number(name)
        return int(number) if number is not None and number >= 0 and number == int(number) else None

    def text(self, name: str) -> str | None:
        found = self.find(name)
        return found[1] if found is not None and isinstance(found[1], str) and found[1].strip() else None

    def problems(self) -> list[str]:
        """List the required fields that are missing, of another type, or left as a placeholder."""
        found = []
        for name, kind in REQUIRED.items():
            entry = self.find(name)
            if entry is None:
                found.append(f"no field {name}")
                continue
            key, value = entry
            if value == "" and kind == "text":
                self._note(f"{key} is empty")
                continue
            good = (
                bool(self.text(name))
                if kind == "text"
                else bool(self.number(name) if kind == "number" else self.count(name))
            )
            if kind == "text" and name == "author" and isinstance(value, list):
                good = True
            if not good:
                found.append(f"{key} is {shown(value)}, expected {_EXPECTED[kind]}")
        date = self.text("date")
        if date is not None and re.match(r"\d{4}-\d{2}-\d{2}", date) is None:
            found.append(f"date is {shown(date)}, expected YYYY-MM-DD")
        return found

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def seed_entries(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return each seed's numbers by its digits, from a mapping, a list with a `seed` each, or parallel lists."""
    for section in _SEED_SECTIONS:
        entries = _entries(record.get(section))
        if entries:
            return entries
    seeds, scores = record.get("seeds"), record.get("val_bpb_seeds") or record.get("val_bpbs")
    if isinstance(seeds, list) and isinstance(scores, list) and len(seeds) == len(scores):
        return {str(seed): {"val_bpb": score} for seed, score in zip(seeds, scores, strict=True) if _is_seed(seed)}
    return {}


def _entries(value: Any) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    if isinstance(value, dict):
        for key, entry in value.items():
            digits = re.fullmatch(r"\D{0,20}(\d{1,18})", key)
            if digits is None:
                continue
            if isinstance(entry, dict):
                found[digits[1]] = entry
            elif _as_number(entry) is not None:
                found[digits[1]] = {"val_bpb": entry}
    elif isinstance(value, list):
        found = {
            str(entry["seed"]): entry for entry in value if isinstance(entry, dict) and _is_seed(entry.get("seed"))
        }
    return found


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        match = re.fullmatch(
            r"\s*(-?[\d][\d,_]*(?:\.\d+)?(?:e[-+]?\d+)?)\s*(?:bytes|B|s|seconds)?\s*", value, re.IGNORECASE
        )
        if match is None:
            return None
        value = re.sub(r"[,_]", "", match[1])
    elif not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def normal_track(text: str | None) -> str | None:
    """Turn 'track_10min_16mb' or '10min-16MB' into '10min_16mb'. Text that names no track stays as it is."""
    if text is None:
        return None
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).removeprefix("track_").strip("_")
    if "non_record" in plain or "nonrecord" in plain:
        return OTHER_TRACK
    return RECORD_TRACK if plain.startswith("10min") else printable(text)


def printable(text: str | None) -> str | None:
    """Return text from a file in a form that may go to a terminal: short, and only printable characters."""
    if text is None:
        return None
    plain = "".join(character if character.isprintable() else " " for character in text[:_SHOWN])
    return plain + "..." if len(text) > _SHOWN else plain


def shown(value: Any) -> str:
    """Return a value from a file as text, short and on one line."""
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    text = ascii(value) if not isinstance(value, int) else str(value) if abs(value) < 10**30 else "a huge number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
