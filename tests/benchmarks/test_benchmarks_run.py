"""Every benchmark runs at toy size, and the baselines compute what golfpipe computes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_chain import ROOT, SMALL_TRAIN, write_small_stages, write_texts

from benchmarks import (
    any_model_speed,
    attention,
    code_search,
    command_line,
    evaluation,
    gpu,
    memory,
    quantize_pack,
    reading,
    scaling,
    train_step,
    ttt,
)
from benchmarks.child import measured
from benchmarks.floor import Windows, backward_products, forward_products
from benchmarks.models import gaussian_weights, write_gaussian_model
from benchmarks.plain import PlainNetwork, plain_nats, plain_quantize
from benchmarks.settings import preset
from golfpipe.api import open_artifact, quantize, tokenize
from golfpipe.loading.pieces import read_pieces
from golfpipe.model.config import forward_flops, multiplied_weights
from golfpipe.model.network import load_network
from golfpipe.scoring.windows import Window, sliding_windows


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_training_scoring_and_adapting(one_thread) -> None:
    for found in (
        train_step.case("tiny", "bf16", 2, 64, 1),
        evaluation.case("tiny", 64, 16, 3, 1),
        ttt.case("tiny", 2, 64, 1),
    ):
        assert all(times["min"] > 0 for times in found["seconds"].values())
        assert (
            found["speedup_over_plain"] == found["seconds"]["plain"]["median"] / found["seconds"]["golfpipe"]["median"]
        )


def test_the_compressor(one_thread, tmp_path, monkeypatch) -> None:
    def toy() -> dict[str, torch.Tensor]:
        return {"x_bank": torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0)), "gain": torch.ones(4)}

    monkeypatch.setitem(any_model_speed.CASES, "toy", (toy, True, {"rules": any_model_speed.BANKS, "target": 0.5}))
    found = any_model_speed.compress_case("toy", str(tmp_path / "data"))
    assert found["values"] == 8196 and found["target_bytes"] * 0.99 < found["payload_bytes"] <= found["target_bytes"]
    assert len(any_model_speed.decompress_case(str(tmp_path / "data"))["seconds"]) == 3


def test_searching_codes(one_thread, monkeypatch) -> None:
    monkeypatch.setattr(code_search, "INPUTS", 256)
    plain, calibrated = code_search.run(quick=True).values()
    assert plain["payload_length"] > 0 and plain["solve_seconds"] > 0
    assert calibrated["loss_nats"] < 0.7 * plain["loss_nats"]


def test_attention_and_reading(one_thread, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = attention.run(quick=True).values()
    assert all(0 < value < 0.02 for name, value in found.items() if "distance" in name)
    for case in reading.run(quick=True).values():
        assert case["seconds"]["slowest batch"]["median"] >= case["seconds"]["next batch"]["median"] > 0


def test_quantizing_and_packing(tmp_path) -> None:
    write_gaussian_model(tmp_path / "train", preset("tiny"))
    found = quantize_pack.in_process(tmp_path, "tiny", 1)
    assert found["packed_bytes"] < found["plain_packed_bytes"]
    assert found["quantize_and_pack_seconds"] > 0 and found["unpack_seconds"] > 0


def test_a_command_is_timed_and_its_imports_seen() -> None:
    found = command_line.run(quick=True)
    assert not found["golfpipe --help"]["loads_torch"]
    assert (
        found["golfpipe --help"]["seconds"]["whole command"]["median"]
        > found["python -c pass"]["seconds"]["whole command"]["median"]
    )


def test_a_child_tells_its_own_peak() -> None:
    small, large = (measured("builtins:eval", f"len(b'x' * {size})") for size in (1, 40_000_000))
    assert large.returned == 40_000_000
    assert 30e6 < large.peak_memory_bytes - small.peak_memory_bytes < 50e6


def test_memory_children_run(one_thread) -> None:
    for pair in memory.PAIRS:
        for side in ("golfpipe", "plain"):
            getattr(memory, pair)(side, "tiny")


def test_a_point_of_a_curve(one_thread) -> None:
    for stride in (0, 32):
        before, seconds = scaling.work(json.dumps({"layers": 2, "tokens": 128, "context": 64, "stride": stride}))
        assert before > 0 and seconds > 0
    assert scaling.exponent((1, 2, 4), [3.0, 12.0, 48.0]) == pytest.approx(2)


def test_without_a_gpu_the_gpu_program_says_so(tmp_path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no CUDA device here") and done.stderr.count("\n") == 1


def test_the_gpu_program_on_a_cpu(tmp_path, monkeypatch, one_thread) -> None:
    write_small_stages(tmp_path)
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    data = tokenize(["my-texts"])
    settings = {"train.max_steps": 12, "evaluate.max_targets": 200}
    found = gpu.run_chain(data, tmp_path / "run", "16l", "cpu", settings)
    figures = found["train"]
    assert figures["steps"] == 12 and figures["flops_utilization"] is None and figures["step_seconds"] > 0
    assert figures["tokens_per_second"] == SMALL_TRAIN["batch_tokens"] / figures["step_seconds"]
    assert found["evaluate"]["val_bpb"] > 0 and found["evaluate after ttt"]["val_bpb"] > 0
    assert found["pack"]["packed_bytes"] > 0


def test_flops_of_the_headline_model() -> None:
    model = preset("16l").model
    assert multiplied_weights(model) == pytest.approx(42.6e6, rel=1e-3)
    one = forward_products(model, Windows(1, 1, 1, 1))
    assert sum(product.multiplications for product in one) == multiplied_weights(model)
    assert 3 * forward_flops(model, 2048) == 6 * multiplied_weights(model) + 6 * 16 * 512 * 2048
    assert gpu.peak_flops("NVIDIA H200 NVL") == 835.5e12 and gpu.peak_flops("NVIDIA H200") == 989.5e12
    assert gpu.peak_flops("a toaster") is None


def test_the_floor_counts_less_where_fewer_positions_are_scored() -> None:
    model = preset("16l").model
    counted = {n: forward_products(model, Windows(1, 4, 512, n)) for n in (512, 64)}
    whole, part = (sum(product.multiplications for product in counted[n]) for n in (512, 64))
    assert whole - part == 4 * (512 - 64) * (2 * 512 * 512 + 2 * 512 * 1792 + 512 * 1024)
    backward = backward_products(counted[512])
    assert sum(p.multiplications for p in backward) == 2 * whole


def test_batches_are_grouped_by_shape() -> None:
    a, b, c = Window(0, 8, 0, 8), Window(4, 12, 8, 12), Window(8, 16, 12, 16)
    assert evaluation.window_groups([[a, b], [b, c], [c, b]]) == [
        Windows(1, 1, 8, 8), Windows(1, 1, 8, 4), Windows(2, 2, 8, 4)
    ]  # fmt: skip


def test_plain_scores_are_those_of_the_network() -> None:
    config = replace(preset("tiny").model, mask_document_boundaries=False)
    weights = gaussian_weights(config)
    tokens = np.random.default_rng(0).integers(0, 1024, 81).astype(np.uint16)
    windows = list(sliding_windows(80, 64, 8))[1:]
    found = plain_nats(PlainNetwork(config, weights).eval(), tokens, windows, autocast=False)
    ids = torch.from_numpy(tokens.astype(np.int64))
    network = load_network(config, weights)
    with torch.inference_mode():
        expected = [network.nats(network.hidden(ids[None, w.start : w.end])[0, -8:], ids[w.end - 7 : w.end + 1])
                    for w in windows]  # fmt: skip
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-4)


def test_plain_codes_are_those_of_the_stage(tmp_path) -> None:
    config = preset("tiny")
    weights = gaussian_weights(config.model)
    write_gaussian_model(tmp_path / "train", config)
    pieces = read_pieces(quantize(open_artifact(tmp_path / "train")))
    bits = {name: piece.bits for name, piece in pieces.items()}
    found = plain_quantize(weights, bits, config.quantize.clip_ratios)
    for name, piece in pieces.items():
        scales = found[name][1]
        if scales is not None:
            # Errors are squared in another precision there, which decides near-ties.
            assert (scales.numpy() == piece.scales).mean() > 0.99, name
