"""What train.rate_penalty gains: val_bpb of packed models, by bits per weight; quantization_rate_penalty.json.

for seed in 0 1; do for penalty in 0 0.03; do
    golfpipe train DATA --preset tiny --seed $seed --name p$penalty-s$seed --precision bf16 --set train.compile=on \
        --set train.max_steps=1500 --set train.qat_start=1 --set train.rate_penalty=$penalty      # 3 minutes
done; done
python -m benchmarks.quantization.rate_penalty DATA artifacts/p*/train     # one core, 2 minutes each
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.keep import write_result
from benchmarks.quantization.study import WHOLE_SPLIT, Setting, calibrated, run_setting, score_trained, study_parser
from golfpipe.store.artifact import Artifact, open_artifact

BITS = (3, 2.5, 2, 1.5)


def main() -> None:
    arguments = study_parser(__doc__, "quantization-rate-penalty").parse_args()
    torch.set_num_threads(1)
    data = open_artifact(arguments.data)
    rows = []
    for model in map(open_artifact, arguments.models):
        rows.append(row(model, data, arguments.work))
        print(rows[-1], flush=True)
    write_result(arguments.output, "quantization_rate_penalty", {"rows": rows})


def row(model: Artifact, data: Artifact, work: Path) -> dict[str, Any]:
    """One model: before it is packed, and at each number of bits."""
    seed, penalty = model.manifest.config["seed"], model.manifest.config["train"]["rate_penalty"]
    work = work / f"seed{seed}-{penalty:g}"
    packed = {}
    for bits in BITS:
        setting = Setting(f"trellis {bits:g} b", (*calibrated("trellis"), f"quantize.target_bits={bits}"))
        cell = run_setting(setting, "tiny", model, data, work, WHOLE_SPLIT)
        packed[f"{bits:g} b"] = {"packed_bytes": cell.packed_bytes, "val_bpb": cell.val_bpb}
    return {
        "seed": seed,
        "rate_penalty": penalty,
        "val_bpb_trained": score_trained("tiny", model, data, work, WHOLE_SPLIT),
        "packed": packed,
    }


if __name__ == "__main__":
    main()
