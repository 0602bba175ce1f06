"""How much a trellis must gain before a tensor gets one: gaps in bits per byte; quantization_least_gain.json.

python -m benchmarks.quantization.least_gain DATA artifacts/tiny-s0/train artifacts/tiny-s1/train  # a core, 25 minutes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.keep import write_result
from benchmarks.quantization.study import WHOLE_SPLIT, Setting, calibrated, run_setting, score_trained, study_parser
from golfpipe.store.artifact import Artifact, open_artifact

CELLS = {0.0: (2, 2.25, 2.5, 3), 0.005: (2,), 0.01: (2, 2.25, 2.5, 3), 0.015: (2,), 0.02: (2, 2.25, 2.5, 3)}
"""Least gain -> bits per weight."""


def main() -> None:
    arguments = study_parser(__doc__, "quantization-least-gain").parse_args()
    torch.set_num_threads(1)
    data, models = open_artifact(arguments.data), [open_artifact(path) for path in arguments.models]
    works = [arguments.work / f"seed{model.manifest.config['seed']}" for model in models]
    trained = [score_trained("tiny", m, data, work, WHOLE_SPLIT) for m, work in zip(models, works, strict=True)]
    rows: list[dict[str, Any]] = []
    for least, bits in ((least, bits) for least, several in CELLS.items() for bits in several):
        cells = [gap(least, bits, m, data, w, bpb) for m, w, bpb in zip(models, works, trained, strict=True)]
        rows.append({"least_gain": least, "target_bits": bits, "gaps": cells})
        print(rows[-1], flush=True)
    write_result(arguments.output, "quantization_least_gain", {"val_bpb_trained": trained, "rows": rows})


def gap(least: float, bits: float, model: Artifact, data: Artifact, work: Path, trained: float) -> float:
    """val_bpb of the packed model minus that of the trained one."""
    setting = Setting(f"least gain {least:g}, {bits:g} b", (*calibrated("trellis"), f"quantize.target_bits={bits}"))
    with patch("golfpipe.quant.trellis_piece._LEAST_GAIN", least):
        return run_setting(setting, "tiny", model, data, work, WHOLE_SPLIT).val_bpb - trained


if __name__ == "__main__":
    main()
