"""The designs of a sweep of trainings: rows that differ in their seed alone as one, and each beside the first one."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from golfpipe.report.frontier import pareto_indices
from golfpipe.store.metric_values import mapping, number

# Shapes: D designs, S seeds

SEED = "seed"
EQUAL_BYTES = 0.01
"""Designs whose sizes differ by no more than this share are of equal bytes: what sets them apart is seconds."""
_MEANS = ("val_bpb", "unquantized_bpb", "difference", "val_loss_nats", "train_seconds", "seconds", "relative_mse")


def shown_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of results.jsonl as people see them: those of trainings by design, others as they are."""
    if not are_trained(rows):
        return list(rows)
    groups = _by_settings(rows)
    noise = _noise(list(groups))
    pooled = [_pooled(group, groups[0], noise) for group in groups]
    axis = size_axis(pooled)
    best = pareto_indices([(number(row, axis), number(row, "val_bpb")) for row in pooled])
    return [row | {"pareto": index in best} for index, row in enumerate(pooled)]


def are_trained(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return True for the rows of a sweep in which every cell has a training of its own."""
    return any("train" in mapping(row, "artifacts") for row in rows)


def size_axis(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the measure that scores are set against: bytes, or seconds of training where the bytes are equal."""
    sizes = [size for row in rows if (size := number(row, "total_bytes")) is not None]
    times = [seconds for row in rows if (seconds := number(row, "train_seconds")) is not None]
    is_equal = len(sizes) > 1 and max(sizes) <= (1 + EQUAL_BYTES) * min(sizes)
    return "train_seconds" if is_equal and len(times) == len(sizes) else "total_bytes"


def paired_noise(bpb_DS: np.ndarray) -> float | None:
    """Return half of the 95 % interval of the difference of two designs' means over the same seeds.

    Scores are taken as design plus seed plus noise (the randomized block design, Fisher 1935): the noise is what is
    left over, with (D - 1)(S - 1) degrees of freedom. For two designs it is the paired t-test. None for one design or
    one seed, and without scipy.
    """
    designs, seeds = bpb_DS.shape
    if designs < 2 or seeds < 2 or importlib.util.find_spec("scipy") is None:
        return None
    from scipy import stats

    left_DS = bpb_DS - bpb_DS.mean(axis=1, keepdims=True) - bpb_DS.mean(axis=0) + bpb_DS.mean()
    freedom = (designs - 1) * (seeds - 1)
    return float(stats.t.ppf(0.975, freedom) * math.sqrt(2 * (left_DS**2).sum() / freedom / seeds))


def _by_settings(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        settings = {key: value for key, value in mapping(row, "settings").items() if key != SEED}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(row)
    return list(groups.values())


def _scores(group: Sequence[Mapping[str, Any]]) -> dict[Any, float]:
    """Return the score of each seed that has one."""
    return {mapping(row, "settings").get(SEED): bpb for row in group if (bpb := number(row, "val_bpb")) is not None}


def _noise(groups: Sequence[Sequence[Mapping[str, Any]]]) -> float | None:
    """Return the noise of the designs that all seeds have scored."""
    scores = [_scores(group) for group in groups]
    whole = [found for found in scores if len(found) == max(map(len, scores))]
    return paired_noise(np.array([[found[seed] for seed in whole[0]] for found in whole])) if whole[0] else None


def _pooled(
    group: Sequence[Mapping[str, Any]], first: Sequence[Mapping[str, Any]], noise: float | None
) -> dict[str, Any]:
    """Return one row for the design: means over the seeds, and the difference from the first design at equal seeds."""
    own, other = _scores(group), _scores(first)
    paired = [own[seed] - other[seed] for seed in own if seed in other]
    worst = next((row for row in group if row.get("state") not in ("done", "up to date")), group[0])
    sizes = [size for row in group if (size := number(row, "total_bytes")) is not None]
    return {
        **worst,
        **{name: fmean(found) if (found := list(_numbers(group, name))) else None for name in _MEANS},
        "settings": {key: value for key, value in mapping(worst, "settings").items() if key != SEED},
        "commands": group[0].get("commands"),
        "low": None,
        "high": None,
        "no_noise": None,
        "seeds": len(own),
        "total_bytes": int(max(sizes)) if sizes else None,
        "fits": all(row.get("fits") is not False for row in group),
        "from_first": fmean(paired) if paired and group is not first else None,
        "from_first_noise": noise if len(paired) > 1 and group is not first else None,
    }


def _numbers(rows: Sequence[Mapping[str, Any]], name: str) -> Iterator[float]:
    for row in rows:
        value = number(row, name)
        if value is not None:
            yield value
