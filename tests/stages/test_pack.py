"""Pack: the table of sizes adds up, and the models of open-ended codes are nearly as short as they can be."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("coder", ["range", "nibble"])
def test_sizes_sum_to_the_file(chain, fresh, coder):
    quantized = chain.run("quantize", fresh("quantize"), "quantize.target_bits=4", model=chain.trained)
    packed = chain.run("pack", fresh("pack"), f"pack.coder={coder}", inherit=quantized, model=quantized)
    sizes = packed.read_json("sizes.json")
    total = sizes["header_bytes"] + sum(line["bytes"] for line in sizes["tensors"])
    assert total == packed.manifest.metrics["packed_bytes"] == packed.file("packed.safetensors").stat().st_size


def test_range_coding_beats_the_plain_coder(chain, fresh):
    sizes = {}
    quantized = chain.run("quantize", fresh("quantize"), "quantize.target_bits=3", model=chain.trained)
    for coder in ("range", "nibble"):
        packed = chain.run("pack", fresh(coder), f"pack.coder={coder}", inherit=quantized, model=quantized)
        sizes[coder] = packed.manifest.metrics["packed_bytes"]
    assert sizes["range"] < 0.95 * sizes["nibble"]


def test_packing_needs_no_torch() -> None:
    code = "import sys, golfpipe.stages.pack; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
