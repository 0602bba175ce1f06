"""train_seed<N>.log: the training log, completed with what was packed and scored."""

from __future__ import annotations

import re

from golfpipe.submission.seed_results import SeedResult
from golfpipe.training.log_lines import calibration_line, score_line, size_lines


def complete_log(training_log: str | None, result: SeedResult, *, coder: str, code_measured: bool, method: str) -> str:
    """Return the log of one seed. Without a training log (imported weights) it says so."""
    lines = [training_log.rstrip("\n")] if training_log else [
        f"seed:{result.seed}",
        f"model_params:{result.parameters if result.parameters is not None else 'unknown'}",
        "no training log: the weights were imported",
    ]  # fmt: skip
    if training_log and re.search(r"^seed:\d", training_log, re.MULTILINE) is None:
        lines.insert(0, f"seed:{result.seed}")
    note = "" if code_measured else " (reserved: the folder holds no train_gpt.py)"
    if result.calibration_seconds:
        lines.append(calibration_line(result.calibration_seconds))
    lines.append(size_lines(coder, result.model_bytes, result.code_bytes, note))
    lines.append(score_line(method, result.val_loss_nats, result.val_bpb, result.eval_seconds))
    return "\n".join(lines) + "\n"
