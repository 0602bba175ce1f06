"""Generated scripts run alone and compute what the stages compute, to the last digit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from script_runs import Small, sources_with

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.errors import StageFailed
from golfpipe.script.entry import Settings, main, script_settings
from golfpipe.script.generate import generate_script, script_obstacle, script_settings_of
from golfpipe.script.modules import needed_modules, read_source
from golfpipe.stages.verify_script import (
    Numbers,
    Verification,
    read_numbers,
    reduced_settings,
    run_script,
    script_environment,
    verify,
    with_changes,
)


@pytest.mark.parametrize("layout", ["readable", "compressed"])
def test_both_layouts_give_the_numbers_of_the_stages(small: Small, tmp_path: Path, layout) -> None:
    # The readable one with test-time training: the small one has a test of its own for each method.
    adaptation = "ttt" if layout == "readable" else "none"
    found = small.run(generate_script(small.settings(adaptation=adaptation), layout), tmp_path / "alone")
    assert found == small.stages(small.config(), adaptation, tmp_path / "stages")
    assert {path.name for path in (tmp_path / "alone").iterdir()} == {"train_gpt.py", "packed.safetensors", "logs"}


CALIBRATED = ("quantize.calibration=train", "quantize.calibration_tokens=2048")


SCHEDULE = (
    "optim.row_normalize=true", "optim.embed_weight_decay=0.1", "optim.scalar_weight_decay=0.2", "train.lr_floor=0.2",
    "train.context_growth=[[0.3, 16], [0.6, 128]]",
)  # fmt: skip
LORA_OPTIONS = (
    "ttt.score_first_lora.projections=[key,output,mlp,head]", "ttt.score_first_lora.alpha=4",
    "ttt.score_first_lora.warm_queues=2", "ttt.score_first_lora.weight_decay=1", "ttt.score_first_lora.beta1=0",
    "ttt.score_first_lora.chunk_by_length=[[40, 16]]", "ttt.score_first_lora.max_documents=20",
)  # fmt: skip


@pytest.mark.parametrize(
    ("adaptation", "choices"),
    [
        (
            "ttt",
            (
                "ttt.method=score_first_lora", "pack.coder=nibble", "model.exclusive_attention=all",
                "model.kv_sharing=none", "train.ema_decay=0", "quantize.method=gptq", "quantize.calibration=generated",
                "quantize.calibration_tokens=128", "model.loop={first: 0, last: 1, passes: 2}",
                "model.parallel_residual={last: 1}", "model.document_attention=true", "model.depth_scale=true",
                "train.loop_start=0.5", *LORA_OPTIONS,
            ),
        ),
        (
            "ttt",
            (
                "ttt.method=score_first_sgd", "quantize.method=trellis", "quantize.target_bytes=20000", *CALIBRATED,
                "train.qat.mlp.step=0.5", "model.trigram_buckets=0", *SCHEDULE,
            ),
        ),
        (
            "none",
            (
                "quantize.method=rate", "quantize.target_bits=3", "quantize.sensitive_steps=false",
                "train.rate_penalty=0.03",
            ),
        ),
        ("none", ("quantize.method=trellis",)),
    ],
    ids=["lora, nibble, gptq, switches of the architecture", "sgd, trellis to a size", "rate to bits", "trellis"],
)  # fmt: skip
def test_other_methods_and_choices_take_their_code_along(
    small: Small, tmp_path: Path, adaptation, choices: tuple[str, ...]
) -> None:
    config = small.config(*choices)
    script = generate_script(script_settings_of(config, adaptation), "compressed")
    assert small.run(script, tmp_path / "alone") == small.stages(config, adaptation, tmp_path / "stages")


def test_settings_come_from_the_environment(small: Small, tmp_path: Path) -> None:
    script = generate_script(small.settings(), "compressed")
    found = small.run(script, tmp_path / "alone", train__max_steps=2, quantize__mlp__bits=5)
    changed = with_changes(small.config(), {"train.max_steps": 2, "quantize.mlp.bits": 5})
    assert found == small.stages(changed, "none", tmp_path / "stages")


def run_alone(
    small: Small, script: bytes, place: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess:
    (place / "train_gpt.py").write_bytes(script)
    data = small.data.folder
    names = {"DATA_PATH": str(data), "TOKENIZER_PATH": str(data / "tokenizer.model"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *options, "train_gpt.py"],
        cwd=place,
        env={"PATH": os.environ["PATH"], **names, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plain_python_writes_log_and_model_and_logs_the_lines_of_a_record(small: Small, tmp_path: Path) -> None:
    done = run_alone(
        small, generate_script(small.settings(), "compressed"), tmp_path, "-I",
        RUN_ID="mine", SEED="3", WORLD_SIZE="1", MAX_WALLCLOCK_SECONDS="0.000001",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "logs" / "mine.txt").read_text() == done.stdout
    size, code = (tmp_path / "packed.safetensors").stat().st_size, (tmp_path / "train_gpt.py").stat().st_size
    for line in (
        "seed:3\nmodel_params:",
        "iterations:6 max_wallclock_seconds:1e-06\n",
        "stopping_early: wallclock_cap train_time:",
        f"Serialized model range: {size} bytes\nCode size: {code} bytes\n",
        f"Total submission size range: {size + code} bytes\n",
        "final_packed_sliding val_loss:",
    ):
        assert line in done.stdout


def test_a_wrong_environment_ends_with_one_line(small: Small, tmp_path: Path) -> None:
    done = run_alone(small, generate_script(small.settings(), "compressed"), tmp_path, GOLF_PACK_CODER="nibble")
    assert done.returncode == 1
    assert done.stderr.startswith("GOLF_PACK_CODER is no setting of this script, the nearest is GOLF_")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"GOLF_TRAIN_MAX_STEP": "3"},
            "GOLF_TRAIN_MAX_STEP is no setting of this script, the nearest is GOLF_TRAIN_MAX_STEPS",
        ),
        ({"GOLF_TRAIN_MAX_STEPS": "many"}, "GOLF_TRAIN_MAX_STEPS=many: expected int"),
        ({"GOLF_MODEL_KV_SHARING": "none"}, "GOLF_MODEL_KV_SHARING is no setting"),
    ],
)
def test_the_entry_names_what_is_wrong(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(Settings(), environment, "train_gpt.py")


def modules_of(small: Small, *overrides: str, adaptation="none") -> set[str]:
    """The modules whose text a readable script holds."""
    code = generate_script(small.settings(*overrides, adaptation=adaptation), "readable").decode()
    return set(re.findall(r"^MODULES\['golfpipe\.(\S+)'\] = ", code, re.MULTILINE))


def test_a_script_holds_only_the_modules_that_its_settings_use(small: Small) -> None:
    plain = modules_of(small)
    assert {"script.entry", "training.trainer", "quant.fake", "codec.container", "scoring.windows"} <= plain
    assert not {
        room for name in plain if (room := name.split(".")[0]) in ("store", "config", "machine", "jobs", "adapt")
    }
    assert "training.calibration" not in plain and "quant.solver" not in plain
    assert {"adapt.cosine", "adapt.full_weights"} <= modules_of(small, adaptation="ttt") - plain
    solved = modules_of(small, "quantize.target_bytes=20000", *CALIBRATED)
    assert {"training.calibration", "quant.target", "quant.trellis_search"} <= solved - {"adapt.cosine"}


def test_a_readable_script_holds_the_modules_as_they_are(small: Small) -> None:
    code = generate_script(small.settings(), "readable").decode()
    for name, text in needed_modules(["golfpipe.script.entry"]).items():
        assert f"MODULES[{name!r}] = r'''{text}'''" in code


CHANGES = [
    ("golfpipe.model.layers", r"NORM_EPS = 1\.1920929e-07", "NORM_EPS = 1e-3"),
    ("golfpipe.model.ngram", r"BIGRAM_FACTORS = \(36313", "BIGRAM_FACTORS = (36311"),
    ("golfpipe.optim.muon", r"\(8\.176, ", "(8.1, "),
    ("golfpipe.quant.config", r"0\.30 \+ 0\.02 \* i", "0.29 + 0.02 * i"),
    ("golfpipe.codec.container", r'PAYLOAD_MAGIC = b"GOLFPIPE"', 'PAYLOAD_MAGIC = b"GOLFPIPF"'),
    ("golfpipe.scoring.byte_table", r"base_bytes\[token_id\] = len", "base_bytes[token_id] = 1 + len"),
    ("golfpipe.training.token_stream", r"run\[1:\]", "run[1:].roll(1)"),
    ("golfpipe.adapt.full_weights", r"return 0\.5 \* \(1", "return 0.4 * (1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "pattern", "replacement"), CHANGES, ids=[change[0].split(".")[1] for change in CHANGES]
)
def test_a_constant_changed_in_any_core_changes_the_script_and_its_result(
    small: Small, tmp_path: Path, cosine_result: Numbers, module: str, pattern: str, replacement: str
) -> None:
    read = sources_with(module, pattern, replacement)
    assert small.run(whole_script(small, read), tmp_path / "changed", train__max_steps=2) != cosine_result


@pytest.fixture(scope="module")
def cosine_result(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    return small.run(whole_script(small), tmp_path_factory.mktemp("unchanged") / "alone", train__max_steps=2)


def whole_script(small: Small, read=read_source) -> bytes:
    """A readable script with test-time training."""
    return generate_script(small.settings("ttt.method=cosine", adaptation="ttt"), "readable", read)


def test_the_entry_reads_settings_as_the_script_does() -> None:
    found = script_settings(
        Settings(), {"GOLF_TRAIN_MAX_STEPS": "7", "SEED": "5", "MAX_WALLCLOCK_SECONDS": "60", "PATH": "x"}
    )
    assert (found.train.max_steps, found.seed, found.train.max_seconds) == (7, 5, 60.0)
    with pytest.raises(SystemExit, match="nearest is GOLF_OPTIM_MATRIX_LR"):
        script_settings(Settings(), {"GOLF_OPTIM_MATRIX_LRS": "1"})


LARGEST = ("quantize.target_bytes=limit", "quantize.calibration=train")


@pytest.mark.parametrize(
    ("preset", "overrides", "adaptation", "most"),
    [("16l", (), "none", 36_000), ("16l", LARGEST, "ttt", 46_000), ("14l-xsa6", LARGEST, "ttt", 46_000)],
    ids=["16l", "16l to the limit", "14l-xsa6 to the limit, LoRA"],
)
def test_scripts_fit_the_reserve_of_their_preset(preset: str, overrides, adaptation, most: int) -> None:
    config = resolve_config(load_stages(), preset=preset, overrides=overrides).config
    script = generate_script(script_settings_of(config, adaptation), "compressed")
    assert len(script) <= min(most, config.pack.code_bytes_reserve)


# ---- verification ---------------------------------------------------------------------------------------------


def test_verify_compares_few_steps_of_both(small: Small) -> None:
    """Also of a run that compiles, which the script does on a GPU alone."""
    config = small.config("ttt.method=cosine", "train.compile=on", "ttt.compile=on", "evaluate.compile=on")
    result = verify(generate_script(script_settings_of(config, "ttt"), "compressed"), config, "ttt", small.data)
    assert result.equal and result.settings["train.max_steps"] == 3


def test_verify_names_what_differs(small: Small) -> None:
    read = sources_with("golfpipe.model.layers", r"NORM_EPS = 1\.1920929e-07", "NORM_EPS = 1e-3")
    result = verify(whole_script(small, read), small.config("ttt.method=cosine"), "ttt", small.data)
    assert not result.equal
    assert [line.split(":")[0] for line in result.differences] == [
        "train_loss_nats", "packed_sha256", "val_loss_nats", "val_bpb",
    ]  # fmt: skip
    assert result.record()["equal"] is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import golfpipe.errors", "imports golfpipe.*, which it does not hold"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "opens a socket"),
        ("print('no result')", "printed no result"),
        ("raise SystemExit('so it ends')", "so it ends"),
    ],
)
def test_a_script_that_needs_golfpipe_or_network_or_fails_is_found(
    small: Small, tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(StageFailed, match=message):
        run_script(line.encode(), small.data, tmp_path / "alone", 0, {})


def test_numbers_are_read_to_the_last_digit() -> None:
    output = f"packed_sha256:{'a' * 64}\nexact train_loss:1.0000000000000002 val_loss_nats:2.5 val_bits:0.1\n"
    assert read_numbers(output).train_loss_nats == 1.0000000000000002
    first = Numbers(train_loss_nats=1.0, packed_sha256="a", val_loss_nats=2.0, val_bpb=3.0)
    second = Numbers(train_loss_nats=1.0, packed_sha256="b", val_loss_nats=2.0, val_bpb=3.0)
    assert Verification(script=first, stages=second, settings={}).differences == ("packed_sha256: script a, stages b",)


def test_reduced_settings_name_only_what_changes(small: Small) -> None:
    assert reduced_settings(small.config(), "none") == {"train.max_steps": 3, "train.validation_targets": 2000} | (
        {} if small.config().train.batch_tokens == 256 else {"train.batch_tokens": 256}
    )


def test_verification_knows_no_clock_and_has_tokens_for_every_length(small: Small) -> None:
    lora = ("ttt.method=score_first_lora", "ttt.score_first_lora.max_seconds=9")
    lengths = ("train.batch_tokens=12288", "train.context_growth=[[0.5, 96]]")
    found = reduced_settings(small.config(*lora, *lengths), "ttt")
    assert found["ttt.score_first_lora.max_seconds"] == 0.0 and found["train.batch_tokens"] == 4 * 192
    assert "GOLF_TTT_MAX_SECONDS" in script_environment(small.data, 0, found)


def test_what_no_script_can_train_is_said(small: Small) -> None:
    assert "untied" in str(script_obstacle(small.config("model.tied_embeddings=false")))
    assert script_obstacle(small.config("quantize.target_bytes=limit", *CALIBRATED)) is None
