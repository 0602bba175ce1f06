"""How far the law of `golfpipe plan` is from the trainings of its searches.

python -m benchmarks.frontier.law        # prints the table of docs/planning.md; a second, trains nothing

The trainings are those of frontier_search.json: shortened ones, winners, and `tiny` in as many bytes. A text has a
level of its own, so the mean difference of all of them is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.frontier.search import NAME as SEARCH
from benchmarks.frontier.yardstick import STEPS
from benchmarks.keep import read_result
from benchmarks.tables import RESULTS
from golfpipe.pipeline.settings import Settings
from golfpipe.planning.designs import Design, Measurement
from golfpipe.planning.laws import Law, first_law
from golfpipe.planning.sizes import bits_at

TEXT_BYTES, TINY_BYTES_PER_TOKEN = 15_286_599, 2.547
"""Of the training text of the searches, and of it in a token of the challenge's tokenizer, which `tiny` has there."""
_TINY_LEAST_BYTES = 100_000
"""`tiny` in fewer bytes has less than the bits a weight for which the law is made."""


def trainings(results: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Measurement]]:
    """Return the packed trainings of each search, means of the seeds, and `tiny` once in each size."""
    seen = {
        one["vocab_size"]: one["text_bytes"] / one["steps"] for found in results.values() for one in found["estimates"]
    }
    sizes: set[int] = set()
    by_case: dict[str, list[Measurement]] = {}
    for name, found in results.items():
        rows = [trial for trial in found["trials"] if not trial["stopped"]]
        measured = [_measurement(one["settings"], one["steps"], found["size"], one["whole_bpb"], seen) for one in rows]
        if found["size"] > _TINY_LEAST_BYTES and found["size"] not in sizes:
            sizes.add(found["size"])
            measured.append(_measurement({}, STEPS, found["size"], found["tiny"]["whole_bpb"], seen))
        by_case[name] = measured
    return by_case


def _measurement(
    settings: Mapping[str, Any], steps: int, size: int, bpb: Sequence[float], bytes_per_step: Mapping[int, float]
) -> Measurement:
    overrides = tuple(f"{key}={value}" for key, value in settings.items())
    config = Settings(preset="tiny", overrides=overrides).resolve().config
    vocab_size = settings.get("data.vocab_size", 1024)
    model, batch = replace(config.model, vocab_size=vocab_size), config.train.batch_tokens
    per_token = bytes_per_step[vocab_size] / batch if settings else TINY_BYTES_PER_TOKEN
    design = Design(
        settings={}, model=model, batch_tokens=batch, bits=bits_at(model, size), size=size, steps=steps,
        bytes_per_token=per_token, whole_text=TEXT_BYTES,
    )  # fmt: skip
    return Measurement(design=design, share=1.0, bpb=fmean(bpb))


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how far the law is from the trainings of each search as the lines of a Markdown table, bits per byte: as
    it is, and after the trainings of the other searches."""
    lines = [
        "| search | trainings | off by, root mean square | at most | after the other searches |",
        "|---|---:|---:|---:|---:|",
    ]
    by_case = trainings(results)
    level = fmean(_difference(one, first_law()) for found in by_case.values() for one in found)
    for name, found in by_case.items():
        others = [one for other, rest in by_case.items() if other != name for one in rest]
        taught = first_law().measured([one.design.features() for one in others], [one.bpb for one in others])
        off = [_off(one, first_law(), level) for one in found]
        after = [_off(one, taught, 0.0) for one in found]
        rms, rms_after = (math.sqrt(np.square(values).mean()) for values in (off, after))
        largest = max(map(abs, off))
        lines.append(f"| {name} | {len(found)} | {rms:.4f} | {largest:.4f} | {rms_after:.4f} |")
    return "\n".join(lines)


def _difference(one: Measurement, law: Law) -> float:
    return math.log(one.bpb) - math.log(law.estimate(one.design.features())[0])


def _off(one: Measurement, law: Law, level: float) -> float:
    return one.bpb - law.estimate(one.design.features())[0] * math.exp(level)


if __name__ == "__main__":
    print(table(read_result(RESULTS, SEARCH)["results"]))
