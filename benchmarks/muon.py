"""Muon with half of its work: does the loss of three seeds change?

python -m benchmarks.muon DATA --steps 750          # token data; about 10 minutes on 2 cores

Preset `tiny` is trained with the orthogonalization as it is, with three of its four polynomials, and with a new one in
every second step only, in between which the last one is used again; each with every seed. The first is also watched for
what a warm start would need: Newton's iteration from the inverse root of the last step's Gram matrix converges only
while the eigenvalues of the new one, scaled by it, stay below 3. Writes muon.json (benchmarks/keep.py says where).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from benchmarks.frontier.yardstick import SCORING, SETTINGS
from benchmarks.keep import add_output_options, write_result
from benchmarks.timing import alternate, machine
from golfpipe.cli.app import main as golfpipe_main
from golfpipe.optim import muon
from golfpipe.version import source_commit

NAME = "muon"
WATCHED_STEPS = 50
"""One in so many steps is watched."""
SHAPES_16L = ((32, 512, 512), (16, 1792, 512), (16, 512, 1792))
"""Matrices of 16l: queries and outputs of attention, both of the MLP."""

Orthogonalize = Callable[[Tensor], Tensor]


def three_polynomials(g_NRC: Tensor) -> Tensor:
    """Return what the first three polynomials make of the matrices [N, R, C]: singular values from 0.02 up near 1."""
    tall = g_NRC.shape[-2] > g_NRC.shape[-1]
    x = g_NRC.mT.contiguous() if tall else g_NRC
    for step, coefficients in enumerate(muon.POLAR_STEPS[:3]):
        gram = x @ x.mT
        if step == 0:
            bound = gram.norm(dim=(-2, -1), keepdim=True).sqrt() + muon.NORM_FLOOR
            x, gram = x / bound, gram / bound.square()
        x = muon._polynomial(gram, *coefficients) @ x
    return x.mT if tall else x


def every_second_step(orthogonalize: Orthogonalize) -> Orthogonalize:
    """Return an orthogonalization that computes in odd calls of a shape, and returns the last result in even ones.

    It is for small models, of whose matrices all of one shape are a call.
    """
    kept: dict[torch.Size, Tensor] = {}

    def halved(g_NRC: Tensor) -> Tensor:
        last = kept.pop(g_NRC.shape, None)
        if last is not None:
            return last
        kept[g_NRC.shape] = orthogonalize(g_NRC)
        return kept[g_NRC.shape].clone()

    return halved


class Watch:
    """The largest eigenvalue of each new Gram matrix, scaled by the inverse root of the last one's."""

    def __init__(self, orthogonalize: Orthogonalize) -> None:
        self.orthogonalize, self.largest = orthogonalize, list[float]()
        self._calls, self._roots = Counter[torch.Size](), dict[torch.Size, Tensor]()

    def __call__(self, g_NRC: Tensor) -> Tensor:
        root_NRR = self._roots.pop(g_NRC.shape, None)
        if root_NRR is not None:
            self.largest += torch.linalg.eigvalsh(root_NRR @ _gram(g_NRC) @ root_NRR)[:, -1].tolist()
        self._calls[g_NRC.shape] += 1
        if self._calls[g_NRC.shape] % WATCHED_STEPS == 0:
            values_NR, vectors_NRR = torch.linalg.eigh(_gram(g_NRC))
            floor_N1 = values_NR[:, -1:] * 1e-6  # what bf16 products can still tell from zero
            self._roots[g_NRC.shape] = vectors_NRR * values_NR.clamp_min(floor_N1).rsqrt()[:, None] @ vectors_NRR.mT
        return self.orthogonalize(g_NRC)


def _gram(g_NRC: Tensor) -> Tensor:
    x = g_NRC.double()
    return x.mT @ x if x.shape[-2] > x.shape[-1] else x @ x.mT


VARIANTS = ("as it is", "three polynomials", "every second step")


def trained(variant: str, seed: int, data: str, steps: int, work: str) -> dict[str, Any]:
    """Train one variant in this process, and score it."""
    plain, watch = muon.orthogonalize, None
    if variant == "three polynomials":
        muon.orthogonalize = three_polynomials
    elif variant == "every second step":
        muon.orthogonalize = every_second_step(plain)
    else:
        muon.orthogonalize = watch = Watch(plain)
    run = Path(work) / f"{variant.replace(' ', '-')}-{seed}"
    length = ("--set", f"train.max_steps={steps}", "--seed", str(seed), "--force")
    _golfpipe("train", data, "-o", str(run / "train"), *SETTINGS, *length)
    muon.orthogonalize = plain
    scored = _golfpipe("evaluate", str(run / "train"), data, "-o", str(run / "evaluate"), "--threads", "1", *SCORING)
    return {"bpb": scored["metrics"]["val_bpb"], "largest_eigenvalues": watch.largest if watch else []}


def _golfpipe(*words: str) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()) as answer:
        assert golfpipe_main([*words, "--json"]) == 0
    return dict(json.loads(answer.getvalue()))


def seconds_16l(repeats: int = 5) -> dict[str, float]:
    """Return the median seconds that each variant's orthogonalizations of a step of 16l take, in bf16: two measured,
    and half of the first for every second step."""
    draws = [torch.randn(shape, dtype=torch.bfloat16) for shape in SHAPES_16L]
    with torch.no_grad():
        plain = [muon.orthogonalize, three_polynomials]
        times = alternate({str(way): lambda way=way: [way(draw) for draw in draws] for way in plain}, repeats)
    base, fewer = (times[str(way)]["median"] for way in plain)
    return dict(zip(VARIANTS, (base, fewer, base / 2), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="token data")
    parser.add_argument("--steps", type=int, default=750)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", default="artifacts/muon")
    add_output_options(parser)
    options = parser.parse_args()
    jobs = [(variant, seed) for seed in options.seeds for variant in VARIANTS]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        going = [pool.submit(trained, *job, options.data, options.steps, options.work) for job in jobs]
        rows = dict(zip(jobs, (job.result() for job in going), strict=True))
    bpb = {variant: [rows[variant, seed]["bpb"] for seed in options.seeds] for variant in VARIANTS}
    base = bpb[VARIANTS[0]]
    largest = [value for row in rows.values() for value in row["largest_eigenvalues"]]
    results = {
        "steps": options.steps,
        "bpb": bpb,
        "difference": {variant: fmean(a - b for a, b in zip(bpb[variant], base, strict=True)) for variant in VARIANTS},
        "seconds_16l": seconds_16l(),
        "warm_start": {"matrices": len(largest), "share_below_3": fmean(value < 3 for value in largest)},
    }
    print(json.dumps(results, indent=2))
    kept = {"benchmark": NAME, "commit": source_commit(), "machine": machine(), "results": results}
    write_result(options.output, NAME, kept)


if __name__ == "__main__":
    main()
