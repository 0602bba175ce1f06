"""Records folders as strangers write them: small ones, whose shapes of keys, lines and files are those of real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = "import torch  # trains\n" * 50
SCRIPT_BYTES = len(SCRIPT)
SCORE = 1.0931
LOSS = 2.3457
TOTAL = 15_812_345
RECORD: dict[str, Any] = {
    "author": "Ada", "github_id": "ada", "name": "A name", "blurb": "What it does.", "date": "2026-04-20",
    "val_bpb": SCORE, "val_loss": LOSS, "bytes_total": TOTAL, "bytes_code": SCRIPT_BYTES,
}  # fmt: skip


def log(
    seed: int | None = 11,
    *,
    total: int = TOTAL,
    code: str = f"Code size: {SCRIPT_BYTES} bytes",
    bpb: str = f"{SCORE:.8f}",
    loss: str = f"{LOSS:.8f}",
    train_ms: int = 588_123,
    steps: int = 6_000,
    eval_ms: int = 212_500,
    before: str = "",
    extra: str = "",
) -> str:
    """The lines that nearly every script of the challenge prints."""
    lines = [
        *([f"seed:{seed}"] if seed is not None else []),
        *([before] if before else []),
        f"step:{steps}/20000 val_loss:2.4000 val_bpb:1.1200 train_time:{train_ms}ms step_avg:{train_ms / steps:.2f}ms",
        f"stopping_early: wallclock_cap train_time:{train_ms}ms step:{steps}/20000",
        "Serialized model: 98000000 bytes",
        *([code] if code else []),
        *([f"Total submission size int6+brotli: {total} bytes"] if total else []),
        f"final_int6_sliding_window_exact val_loss:{loss} val_bpb:{bpb} eval_time:{eval_ms}ms",
        *([extra] if extra else []),
    ]
    return "\n".join(lines) + "\n"


def without(*names: str, **changes: Any) -> dict[str, Any]:
    """The usual record, changed and without some keys."""
    return {key: value for key, value in (RECORD | changes).items() if key not in names}


def entries(*seeds: int, **values: Any) -> dict[str, dict[str, Any]]:
    """Results per seed, alike for all."""
    return {str(seed): {"val_bpb": SCORE, "val_loss": LOSS, **values} for seed in seeds}


def logs(*seeds: int, **values: Any) -> dict[str, str]:
    return {f"train_seed{seed}.log": log(seed, **values) for seed in seeds}


@dataclass(frozen=True)
class Case:
    """A folder and what is true of it: rules by number, metrics by name, `exit`."""

    record: Mapping[str, Any] | str | None
    files: Mapping[str, str | bytes]
    expected: Mapping[int | str, Any]
    script: str | bytes | None = SCRIPT
    says: tuple[str, ...] = field(default=())
    """Parts of the evidence or of the notes."""


def write(root: Path, case: Case, *, track: str = "track_10min_16mb") -> Path:
    folder = root / "records" / track / "2026-04-20_A_name"
    folder.mkdir(parents=True)
    contents: dict[str, str | bytes] = {"README.md": "Words.\n", **case.files}
    if case.record is not None:
        contents["submission.json"] = case.record if isinstance(case.record, str) else json.dumps(dict(case.record))
    if case.script is not None:
        contents["train_gpt.py"] = case.script
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


TWO_SIZES = "Code size (uncompressed): 150120 bytes\nCode size (compressed): 30456 bytes"
PLAIN_OF_COMPRESSED = "z = 1\n" * 25_020
# The shapes that a reader got wrong at first.
FIRST: dict[str, Case] = {
    "plain source shipped, compressed source counted": Case(
        without("bytes_code", seed_results=entries(5, artifact_bytes=TOTAL)),
        logs(5, code=TWO_SIZES),
        {1: "pass", 9: "pass", "total_bytes": TOTAL, "code_bytes": 30_456},
        PLAIN_OF_COMPRESSED,
    ),
    "compressed source counted, and over": Case(
        without("bytes_code", bytes_total=15_999_000, seed_results=entries(5, artifact_bytes=15_999_000)),
        logs(5, code=TWO_SIZES, total=16_004_321),
        {1: "fail", 9: "fail", "exit": 4, "total_bytes": 16_004_321},
        PLAIN_OF_COMPRESSED,
        ("4,321 B too many", "seed_results.5.artifact_bytes", "train_seed5.log:7"),
    ),
    "three logs and no entries": Case(
        without("bytes_code", bytes_total=15_930_000),
        logs(3, 4, 9, total=16_020_000, code="Code size: 90000 bytes", bpb="1.10990000", eval_ms=640_000),
        {1: "fail", 2: "fail", 9: "fail", "seeds": [3, 4, 9], "total_bytes": 16_020_000, "val_bpb": 1.1099},
    ),
    "the log is slower than the entry": Case(
        RECORD | {"seed_results": entries(5, eval_time_s=480.2)},
        logs(5, eval_ms=612_340),
        {2: "fail", 9: "fail", "eval_seconds": 612.34},
        says=("480.2", "612.340"),
    ),
    "a stub that runs its neighbor": Case(
        without("bytes_code", bytes_total=15_950_000, seed_results=entries(5, artifact_bytes=15_950_000)),
        {**logs(5, total=16_030_000, code="Code size: 76000 bytes"), "the_code.py": "#" * 76_000},
        {1: "fail", 9: "fail", 11: "pass", "total_bytes": 16_030_000, "code_bytes": 76_000},
        'exec(open("the_code.py").read())\n',
        ("a stub that runs the_code.py",),
    ),
    "the largest seed counts": Case(
        RECORD
        | {"bytes_total": TOTAL, "bytes_model_int6_brotli": TOTAL - SCRIPT_BYTES, "seed_results": entries(1, 2, 6)},
        {f"train_seed{s}.log": log(s, total=t) for s, t in ((1, TOTAL), (2, 15_990_000), (6, 16_000_007))},
        {1: "fail", "total_bytes": 16_000_007},
    ),
    "a diagnostic line stands behind the score": Case(
        RECORD | {"seed_results": entries(5, artifact_bytes=TOTAL)},
        logs(5, extra="diagnostic_ttt val_loss:3.2 val_bpb:1.40000000"),
        {9: "pass", "val_bpb": SCORE},
    ),
    "the score stands in a second log": Case(
        RECORD | {"seed_results": entries(0, artifact_bytes=TOTAL)},
        {**logs(0, bpb="1.12345678", loss="2.41"), "adapted/seed_0.log": log(0)},
        {9: "pass", "seeds": [0]},
    ),
    "a seed whose name has a suffix": Case(
        without(
            "val_loss",
            val_bpb=0.9002,
            seeds={"8": {"val_bpb": 0.9001}, "13": {"val_bpb": 0.8999}, "21_10pct": {"val_bpb": 0.9006}},
        ),
        {f"train_seed{s}.log": log(s, bpb=b) for s, b in ((8, "0.9001"), (13, "0.8999"), (21, "0.9006"))},
        {9: "pass", "seeds": [8, 13, 21], "val_bpb": 0.9002},
    ),
    "a mean of sizes is no size": Case(
        without("bytes_total", artifact_bytes_mean=15_812_845.5, seed_results=entries(1, 2)),
        {"train_seed1.log": log(1), "train_seed2.log": log(2, total=TOTAL + 1001)},
        {1: "pass", 9: "pass", "total_bytes": TOTAL + 1001},
    ),
    "no submission.json": Case(
        None, logs(5), {"exit": 0, 1: "pass", 9: "not checked", 11: "fail"}, says=("no submission.json",)
    ),
    "a tokenizer's manifest": Case(
        RECORD, {**logs(5), "manifest.json": '{"pieces": 1024}'}, {"exit": 0, 1: "pass", 11: "pass"}
    ),
    "the least json": Case(
        {"author": "Ada", "github_id": "ada", "val_bpb": SCORE},
        logs(5),
        {9: "pass", 11: "pass"},
        says=("without the usual name, blurb, date",),
    ),
    "stopped by its cap": Case(
        RECORD,
        {"train.log": log(train_ms=600_041)},
        {2: "pass", "exit": 0, "train_seconds": 600.041},
        says=("600.041 s", "within one step"),
    ),
    "an evaluation that says elapsed": Case(
        RECORD,
        {
            "train.log": log(
                eval_ms=21_000, extra=f"ttt_sliding:done val_loss={LOSS} val_bpb={SCORE} elapsed=603.4s"
            ).replace("final_int6_sliding_window_exact", "final_exact")
        },
        {2: "fail", "exit": 4, "eval_seconds": 603.4},
    ),
    "everything agrees": Case(
        RECORD | {"seeds": [1, 2, 3], "seed_results": entries(1, 2, 3, artifact_bytes=TOTAL)},
        logs(1, 2, 3),
        {1: "pass", 2: "pass", 9: "pass", 11: "pass", "exit": 0},
    ),
    "another vocabulary": Case(RECORD, {"train.log": log(before="val_tokens: 40540160")}, {7: "pass"}),
    "the time before every line": Case(
        RECORD | {"seed_results": entries(0, 1)},
        {f"logs/train{s}.txt": "".join(f"17{s}6142360.{s}39 {line}\n" for line in log(s).splitlines()) for s in (0, 1)},
        {9: "pass", "seeds": [0, 1], "eval_seconds": 212.5},
    ),
    "logs of other names": Case(
        RECORD | {"seed_results": entries(1, 2)},
        {f"results_{s}.out": log(s) for s in (1, 2)},
        {9: "pass", "seeds": [1, 2]},
    ),
    "an empty script": Case(RECORD, {"train.log": log()}, {1: "fail", 11: "fail"}, ""),
    "rounded too kindly": Case(
        json.dumps(RECORD | {"val_bpb": 1.09}).replace("1.09,", "1.0900,"),
        {"train.log": log(bpb="1.09450000")},
        {9: "fail"},
        says=("1.0900", "1.09450000"),
    ),
    "the stated score is no mean": Case(
        RECORD | {"val_bpb": 1.02}, {f"train_seed{s}.log": log(s, bpb=f"1.09{s}") for s in (1, 2, 3)}, {9: "fail"}
    ),
    "no log": Case(RECORD, {}, {9: "not checked", 11: "fail"}, says=("no training log",)),
}
