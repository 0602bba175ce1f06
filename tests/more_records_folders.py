"""More of what real records folders do, beyond the shapes that a reader got wrong at first."""

from __future__ import annotations

import json

from records_folders import FIRST, LOSS, RECORD, SCORE, SCRIPT_BYTES, TOTAL, Case, entries, log, logs, without

PHASED = (
    "diagnostic quantized val_loss:2.41 val_bpb:1.1212 eval_time:13000ms\n"
    f"quantized_ttt_phased val_loss:{LOSS:.8f} val_bpb:{SCORE:.8f} eval_time:451200ms\ntotal_eval_time:451.3s"
)
CHUNKS = "\n".join(f"  ttt_chunk [{i}/50] bpb=1.09{i:02d} time={i}.0s" for i in range(1, 51))
TTT = (
    f"{CHUNKS}\nttt:done val_loss={LOSS:.6f} val_bpb=1.050012 elapsed=301.5s\n"
    f"final_ttt val_loss:{LOSS:.4f} val_bpb:1.0500 stride:64 eval_time:302000ms\nfinal_ttt_exact val_bpb:1.05001200"
)

# More of what real folders do.
MORE: dict[str, Case] = {
    "results inside of results": Case(
        json.dumps(
            {
                "author": "Ada",
                "github_id": "ada",
                "results": {
                    "mean_val_bpb": 1.0932,
                    "seeds": {
                        "7": {"val_bpb": 1.0931, "eval_seconds": 451.3, "artifact_bytes": TOTAL},
                        "8": {"val_bpb": 1.0933},
                    },
                },
            }
        ),
        {
            f"train_seed{s}.log": log(s, bpb=b, extra=PHASED.replace(f"{SCORE:.8f}", b))
            for s, b in ((7, "1.09310000"), (8, "1.09330000"))
        },
        {9: "pass", "seeds": [7, 8], "val_bpb": 1.0932, "eval_seconds": 451.3},
    ),
    "entries named seed_7 beside means": Case(
        without(
            "val_bpb",
            "val_loss",
            results={
                "seed_7": {"val_bpb": 1.0931},
                "seed_8": {"val_bpb": 1.0933},
                "mean_val_bpb": 1.0932,
                "std": 0.0001,
            },
        ),
        {"train_seed7.log": log(7), "train_seed8.log": log(8, bpb="1.09330000")},
        {9: "pass", "seeds": [7, 8]},
    ),
    "a list of entries": Case(
        RECORD | {"seed_results": [{"seed": 7, "val_bpb": SCORE}, {"seed": 8, "bpb": SCORE}]},
        logs(7, 8),
        {9: "pass", "seeds": [7, 8]},
    ),
    "scores in the order of the seeds": Case(
        RECORD | {"seeds": [7, 8], "val_bpb_seeds": [1.0930, 1.0932]},
        {"a_s7.log": log(7, bpb="1.0930"), "a_s8.log": log(8, bpb="1.0932")},
        {9: "pass", "seeds": [7, 8], "val_bpb": 1.0931},
    ),
    "numbers that are text": Case(
        without("bytes_total", val_bpb="1.0931", artifact_bytes="15,812,345 bytes", train_time="588.1s"),
        {"train.log": log()},
        {9: "pass", 11: "pass", "total_bytes": TOTAL},
    ),
    "superseded results are of another run": Case(
        RECORD
        | {
            "seeds": entries(7, artifact_bytes=TOTAL),
            "superseded_seeds": {"7": {"val_bpb": 1.2, "artifact_bytes": 16_400_000}},
        },
        {"log_seed7_v1.txt": log(7, total=16_400_000, bpb="1.20000000"), "log_seed7_v2.txt": log(7)},
        {1: "pass", 9: "pass", "total_bytes": TOTAL},
        says=("log_seed7_v1.txt, which may be of another run",),
    ),
    "an ablation is no seed of the submission": Case(
        RECORD | {"seed_results": entries(7)},
        {**logs(7), "log_ablation_seed9.txt": log(9, total=17_000_000)},
        {1: "pass", "seeds": [7]},
        says=("log_ablation_seed9.txt",),
    ),
    "test-time training and sliding windows together": Case(
        RECORD | {"val_bpb": 1.05},
        {"train.log": log(eval_ms=310_000, extra=TTT)},
        {2: "fail", 9: "pass", "eval_seconds": 611.5, "val_bpb": 1.050012},
        says=("310 s final_int6_sliding_window_exact", "301.5 s ttt:done"),
    ),
    "the script's own sum of phases": Case(
        RECORD, {"train.log": log(extra=PHASED)}, {2: "pass", "eval_seconds": 451.3}
    ),
    "calibration is a part of the training": Case(
        RECORD,
        {"train.log": log(train_ms=597_000, extra="GPTQ:collected 67 Hessians in 6.9s")},
        {2: "fail", "train_seconds": 603.9},
        says=("597 s stopping_early", "6.9 s gptq:collected"),
    ),
    "calibration on the model's own text is none": Case(
        RECORD,
        {"train.log": log(train_ms=597_000, extra="gptq:generated 64 calibration sequences in 186.0s")},
        {2: "pass", "train_seconds": 597.0},
    ),
    "more than one step after the cap": Case(
        RECORD, {"train.log": log(train_ms=600_350)}, {2: "fail", "exit": 4, "train_seconds": 600.35}
    ),
    "minutes": Case(
        RECORD,
        {
            "train.log": log()
            .replace("train_time:588123ms", "train_time: 9.8m")
            .replace("eval_time:212500ms", "eval_time: 3.5 min")
        },
        {2: "pass", "train_seconds": 588.0, "eval_seconds": 210.0},
    ),
    "a total of the raw model comes first": Case(
        RECORD,
        {"train.log": log(code=f"Code size: {SCRIPT_BYTES} bytes\nTotal submission size: 98001234 bytes")},
        {1: "pass", "total_bytes": TOTAL},
    ),
    "code and model, and no total": Case(
        without("bytes_total"),
        {
            "train.log": log(
                total=0, code=f"Serialized model int6+zstd: 15_700_000 bytes\nCode size: {SCRIPT_BYTES} bytes"
            )
        },
        {1: "pass", "total_bytes": 15_700_000 + SCRIPT_BYTES},
    ),
    "a stub whose neighbor nobody counted": Case(
        without("bytes_code", bytes_total=15_980_000),
        {**logs(5, total=15_980_000, code="Code size: 60 bytes"), "real.py": "#" * 60_000},
        {1: "fail"},
        "import runpy\nrunpy.run_path('real.py', run_name='m')\n#########",
        ("real.py",),
    ),
    "the number of one seed, not the mean": Case(
        RECORD | {"val_bpb": 1.0931},
        {"train_seed1.log": log(1), "train_seed2.log": log(2, bpb="1.09990000")},
        {9: "pass", "val_bpb": 1.0965},
        says=("is that of train_seed1.log", "the mean is 1.0965"),
    ),
    "a score of three decimals that is cut": Case(
        RECORD | {"val_bpb": 1.093}, {"train.log": log(bpb="1.09360000")}, {9: "fail"}
    ),
    "a score of five decimals that is cut": Case(
        RECORD | {"val_bpb": 1.09308}, {"train.log": log(bpb="1.09308900")}, {9: "pass"}
    ),
    "the score of an unpacked model": Case(
        RECORD | {"val_bpb": 1.12},
        {"train.log": log(bpb="1.13456789")},
        {9: "pass"},
        says=("only as a line of the training",),
    ),
    "bits where nats belong": Case(
        RECORD | {"val_loss": SCORE}, {"train.log": log()}, {9: "fail"}, says=("val_loss 1.0931",)
    ),
    "three runs in one log": Case(
        without("bytes_total"),
        {"logs.txt": "".join(log(s, before="", total=TOTAL + s) for s in (1, 2, 3))},
        {"seeds": [1, 2, 3], "total_bytes": TOTAL + 3},
    ),
    "the source in the log": Case(
        RECORD,
        {
            "train.log": "def f(model, seed=42):\n    return seed  # seed=43\n"
            'print(f"val_bpb:{x} Total submission size: {y} bytes")\n' + log(11)
        },
        {9: "pass", "seeds": [11]},
    ),
    "the name and the line part": Case(
        RECORD | {"seed_results": entries(7)},
        {"train_seed7.log": log(1337)},
        {"seeds": [7], 9: "pass"},
        says=("says seed 1337 inside",),
    ),
    "the folder names the seed": Case(
        RECORD | {"seed_results": entries(7, 8)},
        {f"runs/seed_{s}/out.log": log(None) for s in (7, 8)},
        {9: "pass", "seeds": [7, 8]},
    ),
    "a part of the split": Case(
        RECORD,
        {"train.log": log(before="vocab_size: 8192\nval_tokens: 999424")},
        {7: "fail"},
        says=("999,424", "2.5 %"),
    ),
    "the first export": Case(
        RECORD, {"train.log": log(before="val_loader:shards pattern=v_*.bin tokens:63779840")}, {7: "pass"}
    ),
    "the case transform": Case(RECORD, {"train.log": log(before="val_tokens: 47853343")}, {7: "pass"}),
    "a vocabulary without a published count": Case(
        RECORD, {"train.log": log(before="val_tokens: 45512345")}, {7: "not checked"}
    ),
    "another name for submission.json": Case(
        None,
        {**logs(5), "submission_final.json": json.dumps(RECORD)},
        {9: "pass", "exit": 0},
        says=("submission_final.json is read in its place",),
    ),
    "work in progress": Case(
        {"submitter": "Ada", "val_bpb": None, "artifact_size_bytes": None},
        {},
        {1: "not checked", 2: "not checked", 9: "not checked", 11: "fail", "exit": 0},
    ),
    "a log of Windows": Case(RECORD, {"train.log": log().encode("utf-16")}, {9: "pass", "total_bytes": TOTAL}),
    "colors in the log": Case(
        RECORD,
        {"train.log": "".join(f"\x1b[32m[rank0]: {line}\x1b[0m\r\n" for line in log().splitlines())},
        {9: "pass", "eval_seconds": 212.5},
    ),
    "a time of all seeds": Case(
        RECORD | {"training_time_seconds": 600, "seed_results": entries(1, 2)},
        logs(1, 2),
        {9: "pass"},
        says=("training_time_seconds",),
    ),
    "a time below all seeds": Case(
        RECORD | {"eval_time_seconds": 95.0, "seed_results": entries(1, 2)},
        logs(1, 2),
        {9: "fail"},
        says=("eval_time_seconds",),
    ),
    "seeds without a log": Case(
        RECORD | {"seeds": [1, 2], "seed_results": entries(1, 2)},
        logs(1),
        {9: "not checked", "seeds": [1, 2]},
        says=("1 seeds have no log",),
    ),
    "a placeholder": Case(RECORD | {"val_bpb": "TBD"}, {"train.log": log()}, {11: "fail"}, says=("val_bpb is", "TBD")),
    "a packed model and nothing that says its size": Case(
        without("bytes_total", "bytes_code"),
        {"train.log": log(total=0, code=""), "final_model.int6.ptz": b"\x00" * 1_000_000},
        {1: "pass", "total_bytes": 1_000_000 + SCRIPT_BYTES},
        says=("assumed",),
    ),
}
CASES = FIRST | MORE
