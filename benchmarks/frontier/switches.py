"""Each switch of the model and its training, alone, beside preset `tiny`, with paired seeds.

python -m benchmarks.frontier.switches FOLDER --steps 750          # shards and their tokenizer

At equal steps, and where a switch changes the operations of a step, also at equal seconds: as many steps as take the
time of the unchanged preset. Unquantized weights are scored on all validation documents. Writes
frontier_switches.json (benchmarks/keep.py says where). An interrupted program goes on, but measures times again: the
machine must be quiet in its first minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.frontier.yardstick import SETTINGS, own_tokens, sweep
from benchmarks.keep import add_output_options, write_result
from benchmarks.same_work import golfpipe
from benchmarks.timing import machine
from golfpipe.version import source_commit

NAME = "frontier_switches"
SWITCHES = {
    "layers 1 and 2 run twice": ("model.loop={first: 1, last: 2, passes: 2}",),
    "the same after 35 % of training": ("model.loop={first: 1, last: 2, passes: 2}", "train.loop_start=0.35"),
    "parallel residuals in all layers": ("model.parallel_residual=all",),
    "attention inside documents": ("model.document_attention=true",),
    "inputs scaled by depth": ("model.depth_scale=true",),
    "no weight decay of tables": ("optim.embed_weight_decay=0",),
    "no weight decay of gains": ("optim.scalar_weight_decay=0",),
    "learning rate ends at 10 %": ("train.lr_floor=0.1",),
    "row-normalized Muon": ("optim.row_normalize=true",),
    "half the context for 30 % of training": ("train.context_growth=[[0.3, 128]]",),
}
UNTIMED = (
    "inputs scaled by depth", "no weight decay of tables", "no weight decay of gains", "learning rate ends at 10 %",
)  # fmt: skip
"""Those that change a factor or a rate, and are taken to cost no time: that of equal steps differed by up to 10 %."""
_ROUNDS = 3
"""Of measuring all step times in turn; the medians count."""
_SAME_SECONDS = 0.02
"""The share by which step times may differ and count as equal."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="shards of the challenge's format, with their tokenizer")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--work", type=Path, default=Path("artifacts/frontier"))
    add_output_options(parser)
    options = parser.parse_args()
    data, run = own_tokens(options.folder, options.work), options.work / "switches"
    step = step_seconds(data, run)
    base = trained(data, (), options.steps, options.seeds, run)
    results: dict[str, Any] = {"none": {"step_seconds": step["none"], "equal_steps": base}}
    for name, settings in SWITCHES.items():
        ratio = step.get(name, step["none"]) / step["none"]
        found = {"settings": settings, "time_ratio": ratio}
        found["equal_steps"] = beside(base, trained(data, settings, options.steps, options.seeds, run))
        if abs(ratio - 1) > _SAME_SECONDS:
            fewer = round(options.steps / ratio)
            found["equal_seconds"] = beside(base, trained(data, settings, fewer, options.seeds, run))
        results[name] = found
        kept = {"benchmark": NAME, "commit": source_commit(), "machine": machine(), "results": results}
        write_result(options.output, NAME, kept)


def step_seconds(data: Path, run: Path) -> dict[str, float]:
    """Return the measured seconds of a step of the unchanged preset and of each switch that is timed."""
    timed = {"none": ()} | {name: settings for name, settings in SWITCHES.items() if name not in UNTIMED}
    rounds = [{name: _measured(data, settings, run) for name, settings in timed.items()} for _ in range(_ROUNDS)]
    return {name: median(one[name] for one in rounds) for name in timed}


def _measured(data: Path, settings: tuple[str, ...], run: Path) -> float:
    words = (*SETTINGS, *(word for text in settings for word in ("--set", text)), "-o", str(run / "never"))
    plan = golfpipe("train", str(data), *words, "--dry-run", "--measure")["plan"]
    return float(plan["seconds"] / plan["steps"])


def trained(data: Path, settings: tuple[str, ...], steps: int, seeds: str, run: Path) -> dict[str, Any]:
    """Train with each seed and score; the folder keeps what was trained before."""
    words = [word for text in settings for word in ("--set", text)]
    cells = sweep(
        data, run, "--set", f"train.max_steps={steps}", *words, "--seeds", seeds, "--stages", "train,evaluate"
    )
    return {"steps": steps, "bpb": [cell["val_bpb"] for cell in cells]}


def beside(base: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return the scores with the difference of each seed from the unchanged preset."""
    differences = [after - before for before, after in zip(base["bpb"], found["bpb"], strict=True)]
    return found | {"differences": differences, "difference": fmean(differences)}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as the lines of a Markdown table: differences from the unchanged preset, bits per byte."""
    lines = ["| switch | time of a step | at equal steps | at equal seconds |", "|---|---:|---:|---:|"]
    for name, found in results.items():
        if name == "none":
            continue
        equal_seconds = found.get("equal_seconds", found["equal_steps"])
        cells = " | ".join(differences(one) for one in (found["equal_steps"], equal_seconds))
        time = "not timed" if name in UNTIMED else f"{found['time_ratio']:.2f} x"
        lines.append(f"| {name} | {time} | {cells} |")
    return "\n".join(lines)


def differences(found: Mapping[str, Any]) -> str:
    """Return the mean difference, and in brackets that of each seed."""
    return f"{found['difference']:+.4f} ({', '.join(f'{one:+.4f}' for one in found['differences'])})"


if __name__ == "__main__":
    main()
