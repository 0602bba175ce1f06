"""Which fast ways a machine offers."""

from __future__ import annotations

import torch

from golfpipe.machine.fast_paths import faster_precision

CPU = torch.device("cpu")


def test_auto_precision_is_the_faster_one_and_recorded(chain, fresh, monkeypatch):
    for tiles, instructions, expected in ((True, True, "bf16"), (False, True, "bf16"), (False, False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda tiles=tiles: tiles)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=instructions: found)
        assert faster_precision(CPU) == expected
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    auto, named = (
        chain.run("train", fresh(name), "train.max_steps=2", f"train.precision={name}", data=chain.data)
        for name in ("auto", "bf16")
    )
    assert auto.manifest.metrics["precision"] == named.manifest.metrics["precision"] == "bf16"
    assert auto.manifest.key != named.manifest.key
    mine, theirs = auto.read_tensors("ema.safetensors"), named.read_tensors("ema.safetensors")
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
