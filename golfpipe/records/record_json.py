"""submission.json, whoever wrote it: every number in it as a statement, by the words of its key.

Keys have many spellings, seeds many forms (a list, a mapping, names with suffixes, arrays of scores), and a number may
be text. Numbers keep the precision with which they are written: 1.0800 has four decimals.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from golfpipe.records.evidence import Quantity, Record, Statement, printable

FIELDS: dict[str, tuple[str, ...]] = {
    "author": ("author_name", "authors", "submitter"),
    "github_id": ("github", "author_github", "github_handle", "github_username", "github_user"),
    "name": ("title", "submission_name", "record_name", "run_name"),
    "blurb": ("description", "tagline", "summary", "technique_summary", "technique"),
    "date": ("submission_date", "created"),
    "track": (),
    "hardware": ("gpu", "gpus"),
}
_SECTIONS = re.compile(
    r"(final_)?(results?|metrics?|scores?)|final|submission|performance|artifacts?|sizes?|timings?|times|training"
    r"|eval(uation)?"
)
"""Objects whose numbers are the record's own. Others tell of baselines, ablations, settings."""
_SEED_SECTION = re.compile(r"seed|^(results|runs|per_run)$")
_SEED_KEY = re.compile(r"(seed|s|run)?[ _-]*(\d{1,18})(?!\d)([_\W](?!.*(seed|mean)).*)?", re.IGNORECASE)
_OTHER_RUNS = re.compile(
    r"supersed|baseline|previous|prior|sota|ablat|reference|compar|record_to|old|reject|fail|improve|delta|gain|gap|std"
    r"|stdev|diff|margin|limit|cap|budget|max_wallclock|headroom|remaining|reserve|avg|average|pre_?quant|pre_?ttt"
    r"|pre_?ema|superseded|per_(?!seed)|under|threshold|params"
)
_NUMBER = re.compile(
    r"\s*[~<=]{0,2}\s*(-?\d[\d,_]{0,30}(?:\.\d{1,30})?(?:e[-+]?\d{1,3})?)\s*([a-z]*)\s*", re.IGNORECASE
)
_FACTORS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0, "minutes": 60.0, "h": 3600.0}
_EXACT = {"val_bpb": 0, "bpb": 1, "val_loss": 0, "val_loss_nats": 1, "loss": 2}


class _Leaf(NamedTuple):
    """A number in the file: where it is, and of which seed it is said."""

    path: str
    key: str
    value: Any
    seed: int | None


def parse_record(content: str | bytes, name: str) -> Record:
    """Read the text of a JSON file. What is wrong becomes a problem of the record, never an error."""
    problems: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(found)
        if len(values) < len(found):
            twice = next(key for index, (key, _) in enumerate(found) if key in dict(found[:index]))
            problems.append(f"{name} has the key {printable(twice)!r} twice")
        return values

    try:
        values = json.loads(content, parse_float=Decimal, parse_constant=lambda _: None, object_pairs_hook=pairs)
        if not isinstance(values, dict):
            return Record(name=name, problems=(f"{name} is {shown(values)}, expected a JSON object",))
        return _record(values, name, problems)
    except (ValueError, ArithmeticError, RecursionError) as error:
        return Record(name=name, problems=(f"{name} is not valid JSON: {printable(str(error), 120)}",))


def _record(values: Mapping[str, Any], name: str, problems: list[str]) -> Record:
    if values.get("rehearsal") is True:
        problems.append(f"{name} says that it is a rehearsal, so no number in it is a result")
    leaves = list(_leaves(values))
    seeds = dict.fromkeys(leaf.seed for leaf in leaves if leaf.seed is not None)
    statements = [found for leaf in leaves if (found := _statement(leaf, name)) is not None]
    score = next((value for _, value in _spelled(values, "val_bpb", ("bpb", "mean_val_bpb", "val_bpb_mean"))), None)
    if not any(found.quantity == "val_bpb" for found in statements):
        problems.append(f"{name} has no val_bpb" if score is None else f"val_bpb is {shown(score)}, expected a number")
    return Record(
        name=name,
        fields=dict(_fields(values)),
        statements=tuple(_best(statements)),
        seeds=tuple(seed for seed in seeds if seed is not None),
        problems=tuple(problems),
    )


def _fields(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, spellings in FIELDS.items():
        for _, value in _spelled(values, name, spellings):
            if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
                value = ", ".join(value)
            if isinstance(value, str) and value.strip():
                yield name, printable(value.strip())
                break


def _spelled(values: Mapping[str, Any], name: str, spellings: Sequence[str]) -> Iterator[tuple[str, Any]]:
    yield from ((key, values[key]) for key in (name, *spellings) if values.get(key) is not None)


def _leaves(values: Mapping[str, Any], path: str = "", seed: int | None = None, depth: int = 0) -> Iterator[_Leaf]:
    """Every number of the record itself, also inside of the sections and entries per seed that it may have."""
    listed = _listed_seeds(values)
    for key, value in values.items():
        here = f"{path}{printable(key)}"
        if depth > 4 or _OTHER_RUNS.search(key.lower()):
            continue
        if isinstance(value, dict):
            named = _SEED_KEY.fullmatch(key)
            inside = named is not None and (named[1] or _SEED_SECTION.search(path.rpartition(".")[0] or path))
            if named is not None and inside:
                yield _Leaf(here, "", None, int(named[2]))
                yield from _leaves(value, f"{here}.", int(named[2]), depth + 1)
            elif _SECTIONS.fullmatch(key.lower()) or _SEED_SECTION.search(key.lower()):
                yield from _seed_scores(value, here)
                yield from _leaves(value, f"{here}.", seed, depth + 1)
        elif isinstance(value, list):
            yield from _list_leaves(key, value, here, listed, seed, depth)
        else:
            yield _Leaf(here, key, value, seed)


def _seed_scores(values: Mapping[str, Any], path: str) -> Iterator[_Leaf]:
    """{"42": 1.08, "1337": 1.09}: the score itself stands under the seed."""
    for key, value in values.items():
        named = _SEED_KEY.fullmatch(key)
        if named is not None and _number(value) is not None and "." in str(value):
            yield _Leaf(f"{path}.{printable(key)}", "val_bpb", value, int(named[2]))


def _list_leaves(
    key: str, items: Sequence[Any], path: str, listed: Sequence[int], seed: int | None, depth: int
) -> Iterator[_Leaf]:
    """A list of seeds, of entries with a seed each, or of numbers in the order of the seeds."""
    for index, item in enumerate(items[:1000]):
        here = f"{path}[{index}]"
        if isinstance(item, dict) and _SEED_SECTION.search(key.lower()):
            named = _seed(item.get("seed"))
            if named is not None:
                yield _Leaf(here, "", None, named)
                yield from _leaves(item, f"{here}.", named, depth + 1)
        elif key.lower() in ("seeds", "seed_list") and _seed(item) is not None:
            yield _Leaf(here, "", None, _seed(item))
        elif _number(item) is not None and len(items) == len(listed):
            single = re.sub(r"(_?(per_)?seeds?|_values|_list|_all|(?<!s)s)$", "", key.lower())
            yield _Leaf(here, key if _quantity(key.lower()) is not None else single, item, listed[index])


def _listed_seeds(values: Mapping[str, Any]) -> list[int]:
    listed = values.get("seeds", values.get("seed_list"))
    found = [_seed(item) for item in listed] if isinstance(listed, list) else []
    return [seed for seed in found if seed is not None]


def _seed(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value, re.ASCII):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18 else None


def _statement(leaf: _Leaf, name: str) -> Statement | None:
    quantity = _quantity(leaf.key.lower())
    parsed = _number(leaf.value) if quantity is not None else None
    if quantity is None or parsed is None:
        return None
    value, resolution, unit = parsed
    source = f"{name}: {leaf.path}"
    if quantity.endswith("_seconds"):
        words = re.split(r"[_\W]+", leaf.key.lower())
        factor = _FACTORS.get(unit) or next((_FACTORS[word] for word in words if word in _FACTORS), 1.0)
        value, resolution = value * factor, max(resolution, 1.0 if resolution == 0 else 0.0) * factor
    elif value != int(value) and quantity not in ("val_bpb", "val_loss"):
        return None
    if value <= 0 or (unit and not quantity.endswith("_seconds") and unit not in ("b", "bytes", "bpb", "nats")):
        return None
    return Statement(
        quantity=quantity, value=value, resolution=resolution, source=source, seed=leaf.seed, label=leaf.key.lower()
    )


def _quantity(key: str) -> Quantity | None:
    """What a key speaks of, by its words; None where it is nothing that counts."""
    words = set(re.split(r"[_\W]+", key))
    if words & {"mb", "mib", "kb", "raw", "uncompressed", "fp32", "warmup"}:
        return None
    if "bpb" in words and not words & {"quant", "roundtrip", "int6", "int8", "ema"}:
        return "val_bpb"
    if key in ("val_loss", "val_loss_nats", "loss", "mean_val_loss", "val_loss_mean", "final_val_loss"):
        return "val_loss"
    if words & {"bytes", "size"}:
        if "mean" in words:
            return None
        if words & {"code", "script"}:
            return "code_bytes"
        if words & {"model", "weights", "quant", "quantized"}:
            return "model_bytes"
        return "total_bytes" if words & {"total", "artifact", "submission"} or words <= _PLAIN_SIZE else None
    if words & {"time", "seconds", "s", "sec", "ms", "wallclock", "min", "minutes"} and "step" not in words:
        if "mean" in words:
            return None
        if words & {"calibration", "gptq"}:
            return "calibration_seconds"
        if words & {"eval", "evaluation", "ttt", "sliding"}:
            return "eval_seconds"
        return "train_seconds" if words & {"train", "training", "wallclock"} else None
    if words <= {"num", "train", "training", "steps", "step", "final", "total", "completed"} and "steps" in words:
        return "steps"
    return "targets" if key in ("val_tokens", "target_tokens", "scored_tokens", "scored_targets") else None


_PLAIN_SIZE = {"bytes", "size", "compressed", "max"}


def _number(value: Any) -> tuple[float, float, str] | None:
    """(value, unit of its last digit, unit of measure) of a number, or of text that reads as one."""
    unit = ""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value) if len(value) < 80 else None
        if match is None:
            return None
        value, unit = Decimal(re.sub(r"[,_]", "", match[1])), match[2].lower()
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    if not math.isfinite(number) or not isinstance(exponent, int):
        return None
    return number, 10.0**exponent if -30 < exponent < 0 else 0.0, unit


def _best(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Leave out scores under unusual keys where the usual key is there too: they are of other evaluations."""
    for found in statements:
        if found.quantity in ("val_bpb", "val_loss"):
            others = [s for s in statements if (s.quantity, s.seed) == (found.quantity, found.seed)]
            usual = min((_rank(s.label) for s in others), default=0)
            if _rank(found.label) == 2 and usual < 2:
                continue
        yield found


def _rank(key: str) -> int:
    if "mean" in key:
        return 1
    return _EXACT.get(key, 2)


def shown(value: Any) -> str:
    """Return a value from a file in a few words."""
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge number"
    return printable(ascii(value) if isinstance(value, str) else str(value))
