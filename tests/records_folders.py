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
PHASED = (
    "diagnostic quantized val_loss:2.41 val_bpb:1.1212 eval_time:13000ms\n"
    f"quantized_ttt_phased val_loss:{LOSS:.8f} val_bpb:{SCORE:.8f} eval_time:451200ms\ntotal_eval_time:451.3s"
)
CHUNKS = "\n".join(f"  ttt_chunk [{i}/50] bpb=1.09{i:02d} time={i}.0s" for i in range(1, 51))
TTT = (
    f"{CHUNKS}\nttt:done val_loss={LOSS:.6f} val_bpb=1.050012 elapsed=301.5s\n"
    f"final_ttt val_loss:{LOSS:.4f} val_bpb:1.0500 stride:64 eval_time:302000ms\nfinal_ttt_exact val_bpb:1.05001200"
)

# The shapes that a reader got wrong at first.
FIRST: dict[str, Case] = {
    "plain source shipped, compressed source counted": Case(
        without("bytes_code", seed_results=entries(5, artifact_bytes=TOTAL)), logs(5, code=TWO_SIZES),
        {1: "pass", 9: "pass", "total_bytes": TOTAL, "code_bytes": 30_456}, PLAIN_OF_COMPRESSED,
    ),
    "compressed source counted, and over": Case(
        without("bytes_code", bytes_total=15_999_000, seed_results=entries(5, artifact_bytes=15_999_000)),
        logs(5, code=TWO_SIZES, total=16_004_321),
        {1: "fail", 9: "fail", "exit": 4, "total_bytes": 16_004_321}, PLAIN_OF_COMPRESSED,
        ("4,321 B too many", "seed_results.5.artifact_bytes", "train_seed5.log:7"),
    ),
    "three logs and no entries": Case(
        without("bytes_code", bytes_total=15_930_000),
        logs(3, 4, 9, total=16_020_000, code="Code size: 90000 bytes", bpb="1.10990000", eval_ms=640_000),
        {1: "fail", 2: "fail", 9: "fail", "seeds": [3, 4, 9], "total_bytes": 16_020_000, "val_bpb": 1.1099},
    ),
    "the log is slower than the entry": Case(
        RECORD | {"seed_results": entries(5, eval_time_s=480.2)}, logs(5, eval_ms=612_340),
        {2: "fail", 9: "fail", "eval_seconds": 612.34}, says=("480.2", "612.340"),
    ),
    "a stub that runs its neighbor": Case(
        without("bytes_code", bytes_total=15_950_000, seed_results=entries(5, artifact_bytes=15_950_000)),
        {**logs(5, total=16_030_000, code="Code size: 76000 bytes"), "the_code.py": "#" * 76_000},
        {1: "fail", 9: "fail", 11: "pass", "total_bytes": 16_030_000, "code_bytes": 76_000},
        'exec(open("the_code.py").read())\n', ("a stub that runs the_code.py",),
    ),
    "the largest seed counts": Case(
        RECORD | {"bytes_total": TOTAL, "bytes_model_int6_brotli": TOTAL - SCRIPT_BYTES, "seed_results": entries(1, 2, 6)},
        {f"train_seed{s}.log": log(s, total=t) for s, t in ((1, TOTAL), (2, 15_990_000), (6, 16_000_007))},
        {1: "fail", "total_bytes": 16_000_007},
    ),
    "a diagnostic line stands behind the score": Case(
        RECORD | {"seed_results": entries(5, artifact_bytes=TOTAL)},
        logs(5, extra="diagnostic_ttt val_loss:3.2 val_bpb:1.40000000"), {9: "pass", "val_bpb": SCORE},
    ),
    "the score stands in a second log": Case(
        RECORD | {"seed_results": entries(0, artifact_bytes=TOTAL)},
        {**logs(0, bpb="1.12345678", loss="2.41"), "adapted/seed_0.log": log(0)}, {9: "pass", "seeds": [0]},
    ),
    "a seed whose name has a suffix": Case(
        without("val_loss", val_bpb=0.9002, seeds={"8": {"val_bpb": 0.9001}, "13": {"val_bpb": 0.8999}, "21_10pct": {"val_bpb": 0.9006}}),
        {f"train_seed{s}.log": log(s, bpb=b) for s, b in ((8, "0.9001"), (13, "0.8999"), (21, "0.9006"))},
        {9: "pass", "seeds": [8, 13, 21], "val_bpb": 0.9002},
    ),
    "a mean of sizes is no size": Case(
        without("bytes_total", artifact_bytes_mean=15_812_845.5, seed_results=entries(1, 2)),
        {"train_seed1.log": log(1), "train_seed2.log": log(2, total=TOTAL + 1001)}, {1: "pass", 9: "pass", "total_bytes": TOTAL + 1001},
    ),
    "no submission.json": Case(None, logs(5), {"exit": 0, 1: "pass", 9: "not checked", 11: "fail"}, says=("no submission.json",)),
    "a tokenizer's manifest": Case(RECORD, {**logs(5), "manifest.json": '{"pieces": 1024}'}, {"exit": 0, 1: "pass", 11: "pass"}),
    "the least json": Case({"author": "Ada", "github_id": "ada", "val_bpb": SCORE}, logs(5), {9: "pass", 11: "pass"},
                           says=("without the usual name, blurb, date",)),
    "stopped by its cap": Case(RECORD, {"train.log": log(train_ms=600_041)}, {2: "pass", "exit": 0, "train_seconds": 600.041},
                               says=("600.041 s", "within one step")),
    "an evaluation that says elapsed": Case(
        RECORD, {"train.log": log(eval_ms=21_000, extra=f"ttt_sliding:done val_loss={LOSS} val_bpb={SCORE} elapsed=603.4s").replace(
            "final_int6_sliding_window_exact", "final_exact")}, {2: "fail", "exit": 4, "eval_seconds": 603.4},
    ),
    "everything agrees": Case(RECORD | {"seeds": [1, 2, 3], "seed_results": entries(1, 2, 3, artifact_bytes=TOTAL)}, logs(1, 2, 3),
                              {1: "pass", 2: "pass", 9: "pass", 11: "pass", "exit": 0}),
    "another vocabulary": Case(RECORD, {"train.log": log(before="val_tokens: 40540160")}, {7: "pass"}),
    "the time before every line": Case(
        RECORD | {"seed_results": entries(0, 1)},
        {f"logs/train{s}.txt": "".join(f"17{s}6142360.{s}39 {line}\n" for line in log(s).splitlines()) for s in (0, 1)},
        {9: "pass", "seeds": [0, 1], "eval_seconds": 212.5},
    ),
    "logs of other names": Case(RECORD | {"seed_results": entries(1, 2)}, {f"results_{s}.out": log(s) for s in (1, 2)},
                                {9: "pass", "seeds": [1, 2]}),
    "an empty script": Case(RECORD, {"train.log": log()}, {1: "fail", 11: "fail"}, ""),
    "rounded too kindly": Case(json.dumps(RECORD | {"val_bpb": 1.09}).replace("1.09,", "1.0900,"), {"train.log": log(bpb="1.09450000")},
                               {9: "fail"}, says=("1.0900", "1.09450000")),
    "the stated score is no mean": Case(
        RECORD | {"val_bpb": 1.02}, {f"train_seed{s}.log": log(s, bpb=f"1.09{s}") for s in (1, 2, 3)}, {9: "fail"}),
    "no log": Case(RECORD, {}, {9: "not checked", 11: "fail"}, says=("no training log",)),
}  # fmt: skip

# More of what real folders do.
MORE: dict[str, Case] = {
    "results inside of results": Case(
        json.dumps({"author": "Ada", "github_id": "ada", "results": {"mean_val_bpb": 1.0932, "seeds": {
            "7": {"val_bpb": 1.0931, "eval_seconds": 451.3, "artifact_bytes": TOTAL}, "8": {"val_bpb": 1.0933}}}}),
        {f"train_seed{s}.log": log(s, bpb=b, extra=PHASED.replace(f"{SCORE:.8f}", b)) for s, b in ((7, "1.09310000"), (8, "1.09330000"))},
        {9: "pass", "seeds": [7, 8], "val_bpb": 1.0932, "eval_seconds": 451.3},
    ),
    "entries named seed_7 beside means": Case(
        without("val_bpb", "val_loss", results={"seed_7": {"val_bpb": 1.0931}, "seed_8": {"val_bpb": 1.0933}, "mean_val_bpb": 1.0932, "std": 0.0001}),
        {"train_seed7.log": log(7), "train_seed8.log": log(8, bpb="1.09330000")}, {9: "pass", "seeds": [7, 8]},
    ),
    "a list of entries": Case(RECORD | {"seed_results": [{"seed": 7, "val_bpb": SCORE}, {"seed": 8, "bpb": SCORE}]}, logs(7, 8), {9: "pass", "seeds": [7, 8]}),
    "scores in the order of the seeds": Case(
        RECORD | {"seeds": [7, 8], "val_bpb_seeds": [1.0930, 1.0932]}, {"a_s7.log": log(7, bpb="1.0930"), "a_s8.log": log(8, bpb="1.0932")},
        {9: "pass", "seeds": [7, 8], "val_bpb": 1.0931},
    ),
    "numbers that are text": Case(
        without("bytes_total", val_bpb="1.0931", artifact_bytes="15,812,345 bytes", train_time="588.1s"), {"train.log": log()},
        {9: "pass", 11: "pass", "total_bytes": TOTAL},
    ),
    "superseded results are of another run": Case(
        RECORD | {"seeds": entries(7, artifact_bytes=TOTAL), "superseded_seeds": {"7": {"val_bpb": 1.2, "artifact_bytes": 16_400_000}}},
        {"log_seed7_v1.txt": log(7, total=16_400_000, bpb="1.20000000"), "log_seed7_v2.txt": log(7)},
        {1: "pass", 9: "pass", "total_bytes": TOTAL}, says=("log_seed7_v1.txt, which may be of another run",),
    ),
    "an ablation is no seed of the submission": Case(
        RECORD | {"seed_results": entries(7)}, {**logs(7), "log_ablation_seed9.txt": log(9, total=17_000_000)}, {1: "pass", "seeds": [7]},
        says=("log_ablation_seed9.txt",),
    ),
    "test-time training and sliding windows together": Case(
        RECORD | {"val_bpb": 1.05}, {"train.log": log(eval_ms=310_000, extra=TTT)}, {2: "fail", 9: "pass", "eval_seconds": 611.5, "val_bpb": 1.050012},
        says=("310 s final_int6_sliding_window_exact", "301.5 s ttt:done"),
    ),
    "the script's own sum of phases": Case(RECORD, {"train.log": log(extra=PHASED)}, {2: "pass", "eval_seconds": 451.3}),
    "calibration is a part of the training": Case(
        RECORD, {"train.log": log(train_ms=597_000, extra="GPTQ:collected 67 Hessians in 6.9s")}, {2: "fail", "train_seconds": 603.9},
        says=("597 s stopping_early", "6.9 s gptq:collected"),
    ),
    "calibration on the model's own text is none": Case(
        RECORD, {"train.log": log(train_ms=597_000, extra="gptq:generated 64 calibration sequences in 186.0s")}, {2: "pass", "train_seconds": 597.0}),
    "more than one step after the cap": Case(RECORD, {"train.log": log(train_ms=600_350)}, {2: "fail", "exit": 4, "train_seconds": 600.35}),
    "minutes": Case(
        RECORD, {"train.log": log().replace("train_time:588123ms", "train_time: 9.8m").replace("eval_time:212500ms", "eval_time: 3.5 min")},
        {2: "pass", "train_seconds": 588.0, "eval_seconds": 210.0}),
    "a total of the raw model comes first": Case(
        RECORD, {"train.log": log(code=f"Code size: {SCRIPT_BYTES} bytes\nTotal submission size: 98001234 bytes")}, {1: "pass", "total_bytes": TOTAL}),
    "code and model, and no total": Case(
        without("bytes_total"), {"train.log": log(total=0, code=f"Serialized model int6+zstd: 15_700_000 bytes\nCode size: {SCRIPT_BYTES} bytes")},
        {1: "pass", "total_bytes": 15_700_000 + SCRIPT_BYTES}),
    "a stub whose neighbor nobody counted": Case(
        without("bytes_code", bytes_total=15_980_000), {**logs(5, total=15_980_000, code="Code size: 60 bytes"), "real.py": "#" * 60_000},
        {1: "fail"}, "import runpy\nrunpy.run_path('real.py', run_name='m')\n#########", ("real.py",),
    ),
    "the number of one seed, not the mean": Case(
        RECORD | {"val_bpb": 1.0931}, {"train_seed1.log": log(1), "train_seed2.log": log(2, bpb="1.09990000")},
        {9: "pass", "val_bpb": 1.0965}, says=("is that of train_seed1.log", "the mean is 1.0965"),
    ),
    "a score of three decimals that is cut": Case(RECORD | {"val_bpb": 1.093}, {"train.log": log(bpb="1.09360000")}, {9: "fail"}),
    "a score of five decimals that is cut": Case(RECORD | {"val_bpb": 1.09308}, {"train.log": log(bpb="1.09308900")}, {9: "pass"}),
    "the score of an unpacked model": Case(
        RECORD | {"val_bpb": 1.12}, {"train.log": log(bpb="1.13456789")}, {9: "pass"}, says=("only as a line of the training",)),
    "bits where nats belong": Case(RECORD | {"val_loss": SCORE}, {"train.log": log()}, {9: "fail"}, says=("val_loss 1.0931",)),
    "three runs in one log": Case(
        without("bytes_total"), {"logs.txt": "".join(log(s, before="", total=TOTAL + s) for s in (1, 2, 3))}, {"seeds": [1, 2, 3], "total_bytes": TOTAL + 3}),
    "the source in the log": Case(
        RECORD, {"train.log": 'def f(model, seed=42):\n    log(f"val_bpb:{x} Total submission size: {y} bytes")\n    return seed  # seed=43\n' + log(11)},
        {9: "pass", "seeds": [11]}),
    "the name and the line part": Case(RECORD | {"seed_results": entries(7)}, {"train_seed7.log": log(1337)}, {"seeds": [7], 9: "pass"}, says=("says seed 1337 inside",)),
    "the folder names the seed": Case(RECORD | {"seed_results": entries(7, 8)}, {f"runs/seed_{s}/out.log": log(None) for s in (7, 8)}, {9: "pass", "seeds": [7, 8]}),
    "a part of the split": Case(RECORD, {"train.log": log(before="vocab_size: 8192\nval_tokens: 999424")}, {7: "fail"}, says=("999,424", "2.5 %")),
    "the first export": Case(RECORD, {"train.log": log(before="val_loader:shards pattern=v_*.bin tokens:63779840")}, {7: "pass"}),
    "the case transform": Case(RECORD, {"train.log": log(before="val_tokens: 47853343")}, {7: "pass"}),
    "a vocabulary without a published count": Case(RECORD, {"train.log": log(before="val_tokens: 45512345")}, {7: "not checked"}),
    "another name for submission.json": Case(None, {**logs(5), "submission_final.json": json.dumps(RECORD)}, {9: "pass", "exit": 0}, says=("submission_final.json is read in its place",)),
    "work in progress": Case({"submitter": "Ada", "val_bpb": None, "artifact_size_bytes": None}, {}, {1: "not checked", 2: "not checked", 9: "not checked", 11: "fail", "exit": 0}),
    "a log of Windows": Case(RECORD, {"train.log": log().encode("utf-16")}, {9: "pass", "total_bytes": TOTAL}),
    "colors in the log": Case(RECORD, {"train.log": "".join(f"\x1b[32m[rank0]: {line}\x1b[0m\r\n" for line in log().splitlines())}, {9: "pass", "eval_seconds": 212.5}),
    "a time of all seeds": Case(RECORD | {"training_time_seconds": 600, "seed_results": entries(1, 2)}, logs(1, 2), {9: "pass"}, says=("training_time_seconds",)),
    "a time below all seeds": Case(RECORD | {"eval_time_seconds": 95.0, "seed_results": entries(1, 2)}, logs(1, 2), {9: "fail"}, says=("eval_time_seconds",)),
    "seeds without a log": Case(RECORD | {"seeds": [1, 2], "seed_results": entries(1, 2)}, logs(1), {9: "not checked", "seeds": [1, 2]}, says=("1 seeds have no log",)),
    "a placeholder": Case(RECORD | {"val_bpb": "TBD"}, {"train.log": log()}, {11: "fail"}, says=("val_bpb is", "TBD")),
    "a packed model and nothing that says its size": Case(
        without("bytes_total", "bytes_code"), {"train.log": log(total=0, code=""), "final_model.int6.ptz": b"\x00" * 1_000_000},
        {1: "pass", "total_bytes": 1_000_000 + SCRIPT_BYTES}, says=("assumed",),
    ),
}  # fmt: skip
CASES = FIRST | MORE
