"""The lines of a run's log, as merged records have them (docs/stages/submit.md). Times are given in seconds."""

from __future__ import annotations

from golfpipe.training.config import TrainConfig

TRAINING_LOG = "train.log"
"""The file in a trained model that holds the lines of its training."""


def start_lines(seed: int, num_parameters: int, config: TrainConfig, max_steps: int) -> str:
    """Return the lines that say what a run starts from."""
    return (
        f"seed:{seed}\nmodel_params:{num_parameters}\n"
        f"train_batch_tokens:{config.batch_tokens} train_seq_len:{config.context_length}"
        f" iterations:{max_steps} max_wallclock_seconds:{config.max_seconds:g}"
    )


def train_line(step: int, max_steps: int, train_loss: float, seconds: float) -> str:
    return _step_line(step, max_steps, f"train_loss:{train_loss:.4f}", seconds)


def validation_line(step: int, max_steps: int, val_loss: float, val_bpb: float, seconds: float) -> str:
    return _step_line(step, max_steps, f"val_loss:{val_loss:.4f} val_bpb:{val_bpb:.4f}", seconds)


def _step_line(step: int, max_steps: int, found: str, seconds: float) -> str:
    average = 1000 * seconds / max(1, step)
    return f"step:{step}/{max_steps} {found} train_time:{1000 * seconds:.0f}ms step_avg:{average:.2f}ms"


def cap_line(step: int, max_steps: int, seconds: float) -> str:
    """Return the line of a run that the clock ended."""
    return f"stopping_early: wallclock_cap train_time:{1000 * seconds:.0f}ms step:{step}/{max_steps}"


def memory_line(peak_bytes: int) -> str:
    return f"peak memory allocated: {peak_bytes // 2**20} MiB"


def calibration_line(seconds: float) -> str:
    """Return the line on calibration, which counts as training although the steps' train_time does not include it."""
    return f"calibration_time:{1000 * seconds:.0f}ms"


def size_lines(coder: str, model_bytes: int, code_bytes: int, note: str = "") -> str:
    """Return the lines on sizes. `note` is appended to that of the code."""
    return (
        f"Serialized model {coder}: {model_bytes} bytes\nCode size: {code_bytes} bytes{note}\n"
        f"Total submission size {coder}: {model_bytes + code_bytes} bytes"
    )


def score_line(method: str, val_loss: float, val_bpb: float, seconds: float | None) -> str:
    """Return the packed model's score with all decimals of records, and the evaluation's seconds where known."""
    timed = "" if seconds is None else f" eval_time:{1000 * seconds:.0f}ms"
    return f"final_packed_{method} val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}{timed}"
