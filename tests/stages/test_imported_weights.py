"""Weights of any model as artifacts: import, quantize, pack, unpack, audit, sweep, report, and what refuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_gpt import small_gpt, token_batches

from golfpipe import Calibration, compress, decompress, split
from golfpipe.cli.app import main
from golfpipe.codec.container import read_header
from golfpipe.loading.pieces import read_payload
from golfpipe.store.artifact import open_artifact

RULES = ["--rule", "bank=split(0)", "--rule", "*.weight=coded"]


def told(capsys, *words: str) -> tuple[int, dict]:
    """(exit code, the JSON answer) of a command."""
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a checkpoint, its calibration, and the chain import, quantize, pack made of them."""
    folder = tmp_path_factory.mktemp("theirs")
    model = small_gpt()
    with Calibration(model) as calibration:
        for tokens in token_batches(3):
            calibration.observe(model(tokens, calibration))
    calibration.save(folder / "calibration.safetensors")
    torch.save(model.state_dict(), folder / "theirs.pt")
    words = ["-q", "-o", str(folder / "run" / "import")]
    assert main(["import", str(folder / "theirs.pt"), "--as", "weights", *RULES, *words]) == 0
    file = str(folder / "calibration.safetensors")
    quantize = ["quantize", str(folder / "run" / "import"), "-q", "--set", "quantize.target_bytes=2500"]
    assert main([*quantize, "--calibration-file", file]) == 0
    assert main(["pack", str(folder / "run" / "quantize"), "-q"]) == 0
    return folder


def test_the_packed_file_has_the_size_asked_for_and_decompress_reads_it(folder):
    packed = folder / "run" / "pack" / "packed.safetensors"
    assert 2500 * 0.99 < packed.stat().st_size <= 2500
    state = small_gpt().state_dict()
    restored = decompress(read_payload(open_artifact(packed.parent)))
    assert list(restored) == list(state)
    assert restored["head.weight"] is restored["tok_emb.weight"] and int(restored["steps"]) == 7


def test_values_are_counted_as_the_tensor_has_them(tmp_path):
    """Many narrow numbers are stored as fewer wide ones."""
    counts = torch.arange(100_000, dtype=torch.int32)
    torch.save({"counts": counts, "weight": torch.randn(64, 64)}, tmp_path / "theirs.pt")
    run = tmp_path / "run"
    for words in (
        ["import", str(tmp_path / "theirs.pt"), "--as", "weights", "-o", str(run / "import")],
        ["quantize", str(run / "import"), "--set", "quantize.target_bits=3"],
        ["pack", str(run / "quantize")],
    ):
        assert main([*words, "-q"]) == 0
    sizes = json.loads((run / "pack" / "sizes.json").read_text())["tensors"]
    assert {line["name"]: line["values"] for line in sizes} == {"counts": 100_000, "weight": 4096}


def test_sizes_and_reports_are_by_tensor_and_add_up(folder):
    run = folder / "run"
    sizes = json.loads((run / "pack" / "sizes.json").read_text())
    assert [line["name"] for line in sizes["tensors"]] == list(small_gpt().state_dict())
    listed = sum(line["bytes"] for line in sizes["tensors"]) + sizes["header_bytes"]
    assert listed == (run / "pack" / "packed.safetensors").stat().st_size
    lines = {line["name"]: line for line in json.loads((run / "quantize" / "report.json").read_text())["tensors"]}
    assert lines["bank"]["values"] == 2 * 32 * 32 and lines["head.weight"]["values"] == 0
    assert lines["steps"]["class"] == "exact" and lines["steps"]["relative_mse"] == 0
    restored = decompress(read_payload(open_artifact(run / "pack")))["bank"]
    bank = small_gpt().bank.detach()
    error = float((restored - bank).square().sum() / bank.square().sum())
    assert lines["bank"]["relative_mse"] == pytest.approx(error, rel=1e-5)


def test_unpack_gives_the_names_and_types_of_the_checkpoint(folder, capsys):
    out = folder / "plain.safetensors"
    code, answer = told(capsys, "unpack", str(folder / "run" / "pack"), "-o", str(out))
    assert code == 0 and answer["metrics"]["rounded_share"] == 0
    found = load_file(out)
    expected = decompress(read_payload(open_artifact(folder / "run" / "pack")))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype


@pytest.mark.parametrize("form", ["import", "quantize", "pack"])
def test_audit_and_report_read_every_form(folder, capsys, form):
    assert main(["audit", str(folder / "run" / form)]) == 0
    text = capsys.readouterr().out
    assert {"import": "float32", "quantize": "coded", "pack": "coder header"}[form] in text
    assert main(["report", str(folder / "run" / form), "-o", str(folder / f"{form}.html"), "-q"]) == 0
    assert "7 tensors" in (folder / f"{form}.html").read_text()


@pytest.mark.parametrize("form", ["import", "quantize", "pack"])
@pytest.mark.parametrize("command", ["evaluate", "ttt", "generate"])
def test_what_needs_the_architecture_says_so(folder, capsys, command, form):
    code, answer = told(capsys, command, str(folder / "run" / form))
    assert code == 3
    text = answer["error"]["message"] + answer["error"]["hint"]
    assert "without an architecture" in text and ("golfpipe unpack" in text or "golfpipe quantize" in text)


def test_status_shows_what_there_is_as_no_run_of_the_pipeline(folder, capsys):
    code, answer = told(capsys, "status", str(folder / "run"))
    assert code == 0 and [step["state"] for step in answer["stages"]] == ["as made"] * 3


def test_submit_takes_no_weights(folder, capsys):
    code, answer = told(capsys, "submit", str(folder / "run" / "import"))
    assert code == 3 and "without an architecture" in answer["error"]["hint"]


def test_the_commands_give_the_bytes_of_the_function(folder):
    source, out = folder / "run" / "import", folder / "bits"
    words = ["--set", "quantize.target_bits=3", "--calibration-file", str(folder / "calibration.safetensors")]
    assert main(["quantize", str(source), "-q", "-o", str(out / "quantize"), *words]) == 0
    assert main(["pack", str(out / "quantize"), "-q"]) == 0
    calibration = Calibration.load(folder / "calibration.safetensors")
    rules = {"bank": split(0), "*.weight": "coded"}
    expected = compress(small_gpt().state_dict(), bits=3, rules=rules, calibration=calibration)
    assert read_payload(open_artifact(out / "pack")) == expected


def test_a_sweep_over_sizes_needs_no_evaluation(folder, capsys):
    code, _ = told(
        capsys, "sweep", str(folder / "run" / "import"), "--grid", "quantize.target_bits=2,4", "--jobs", "1",
        "-o", str(folder / "sweep"),
    )  # fmt: skip
    lines = [json.loads(line) for line in (folder / "sweep" / "results.jsonl").read_text().splitlines()]
    assert code == 0 and [line["state"] for line in lines] == ["done", "done"]
    assert lines[0]["packed_bytes"] < lines[1]["packed_bytes"] and lines[0]["relative_mse"] > lines[1]["relative_mse"]


def test_quantize_asks_for_a_target_and_for_a_calibration_file(folder, capsys):
    code, answer = told(capsys, "quantize", str(folder / "run" / "import"), "-o", str(folder / "a"))
    assert code == 2 and "quantize.target_bytes=limit" in answer["error"]["hint"]
    words = ["--set", "quantize.target_bits=3", "--set", "quantize.calibration=generated"]
    code, answer = told(capsys, "quantize", str(folder / "run" / "import"), "-o", str(folder / "a"), *words)
    assert code == 2 and "--calibration-file" in answer["error"]["hint"]


def test_safetensors_and_folders_of_shards_are_read(folder, capsys, tmp_path):
    state = {"a": torch.randn(90, 100), "b": torch.randn(3).bfloat16(), "c": torch.tensor([True, False])}
    for number, name in enumerate(state):
        save_file({name: state[name]}, tmp_path / f"model-{number}.safetensors")
    (tmp_path / "config.json").write_text("{}")
    torch.save({"z": torch.ones(1)}, tmp_path / "optimizer.pt")
    code, answer = told(capsys, "import", str(tmp_path), "--as", "weights", "-o", str(tmp_path / "out"))
    assert code == 0 and answer["metrics"]["tensors"] == 3 and answer["metrics"]["values"] == 9005
    assert told(capsys, "import", str(tmp_path), "--as", "weights", "-o", str(tmp_path / "out"))[1]["up_to_date"]
    save_file({"a": torch.ones(2)}, tmp_path / "model-9.safetensors")
    code, answer = told(capsys, "import", str(tmp_path), "--as", "weights", "-o", str(tmp_path / "out"))
    assert code == 2 and "'a' is in another file too" in answer["error"]["message"]
    for wrong, words in (
        ("no such file", [str(tmp_path / "none.pt"), "--as", "weights"]),
        ("expected NAME=RULE", [str(tmp_path / "model-0.safetensors"), "--as", "weights", "--rule", "a"]),
        ("'halve' is none", [str(tmp_path / "model-0.safetensors"), "--as", "weights", "--rule", "a=halve"]),
        ("unknown tensor", [str(tmp_path / "model-0.safetensors"), "--as", "weights", "--rule", "q=exact"]),
        ("--check scores a model", [str(tmp_path / "model-0.safetensors"), "--as", "weights", "--check", "x"]),
        ("--rule is for weights", [str(folder / "theirs.pt"), "--rule", "a=exact"]),
    ):
        code, answer = told(capsys, "import", *words, "-o", str(tmp_path / "wrong"))
        assert code == 2 and wrong in answer["error"]["message"], wrong


def test_weights_that_changed_on_the_disk_are_refused(folder, capsys, tmp_path):
    source = folder / "run" / "import"
    assert read_header(read_payload(open_artifact(folder / "run" / "pack"))).model["weights"][0][0] == "bank"
    copy = tmp_path / "import"
    copy.mkdir()
    for file in source.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    content = bytearray((copy / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(content)
    code, answer = told(capsys, "quantize", str(copy), "--set", "quantize.target_bits=3")
    assert code == 3 and "weights.safetensors" in answer["error"]["message"]


def test_a_type_that_files_lack_is_told_with_its_tensor(tmp_path, capsys):
    torch.save({"phases": torch.zeros(3, dtype=torch.complex128)}, tmp_path / "theirs.pt")
    code, answer = told(capsys, "import", str(tmp_path / "theirs.pt"), "--as", "weights", "-o", str(tmp_path / "run"))
    assert code == 2 and "tensor phases: safetensors files hold no numbers" in answer["error"]["message"]
