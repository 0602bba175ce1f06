"""The fast paths of this machine: which are open, and why the others are not."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

import torch

from golfpipe.machine.attention_backward import QUERIES, attention_in_force, attention_obstacle
from golfpipe.machine.compiling import compile_cache, compile_obstacle
from golfpipe.machine.own_code import own_code_obstacle


@dataclass(frozen=True, slots=True)
class FastPath:
    """One fast path. `found` says what it is where it is on, and why not where it is off."""

    name: str
    on: bool
    found: str

    def __str__(self) -> str:
        return f"{self.name} {'on' if self.on else 'off'} ({self.found})"


def fast_paths(device: torch.device) -> list[FastPath]:
    """List every fast path of the device, whether or not a configuration uses it."""
    obstacle = compile_obstacle(device)
    return [
        _attention(device),
        *([_attention_backward(obstacle)] if device.type == "cpu" else []),
        FastPath("compile", obstacle is None, obstacle or str(compile_cache())),
        _bf16(device),
        FastPath("fused AdamW", True, "one kernel for all tables and scalars"),
    ]


def code_search_path() -> FastPath:
    """Return the fast path of quantizing: machine code for the search of codes."""
    obstacle = own_code_obstacle() or compile_obstacle(torch.device("cpu"))
    return FastPath("code search", obstacle is None, obstacle or "golfpipe's machine code, on all threads")


def paths_taken(device: torch.device, precision: str, compile_choice: str, compiled: bool) -> list[FastPath]:
    """List the fast paths of a training run; those that its settings leave unused are off."""
    unused: dict[str, str] = {}
    if not attention_in_force():
        unused["attention backward"] = "it cannot be built"  # a warning has said why
    if precision != "bf16":
        unused |= dict.fromkeys(("attention backward", "bf16"), f"train.precision={precision}")
    if not compiled:
        why = ", too short a training" if compile_choice == "auto" else ""
        unused |= dict.fromkeys(("attention backward", "compile"), f"train.compile={compile_choice}{why}")
    return [
        FastPath(path.name, False, unused[path.name]) if path.on and path.name in unused else path
        for path in fast_paths(device)
    ]


def faster_precision(device: torch.device) -> Literal["fp32", "bf16"]:
    """Return the precision that train.precision=auto stands for: bf16 where the device has products of it. A step of
    preset `tiny`, which is narrow, takes 153 ms in bf16 and 211 ms in fp32 on two cores with AVX512-BF16, compiled 89
    and 182 ms; AMX tiles gain more."""
    return "bf16" if _bf16(device).on else "fp32"


def _attention(device: torch.device) -> FastPath:
    if device.type == "cpu":
        return FastPath("flash attention", True, "torch's kernel for CPUs; grouped queries natively")
    if device.type != "cuda":
        return FastPath("flash attention", False, f"not on {device.type}")
    if not torch.backends.cuda.is_flash_attention_available():
        return FastPath("flash attention", False, "this build of torch is without it")
    if not torch.backends.cuda.flash_sdp_enabled():
        return FastPath("flash attention", False, "switched off by torch.backends.cuda.enable_flash_sdp(False)")
    return FastPath("flash attention", True, "FlashAttention-3" if _use_flash_3(device) else "FlashAttention-2")


def _attention_backward(no_compiler: str | None) -> FastPath:
    obstacle = attention_obstacle() or no_compiler
    return FastPath(
        "attention backward", obstacle is None, obstacle or f"golfpipe's kernel where compiled, lengths of {QUERIES} n"
    )


def _use_flash_3(device: torch.device) -> bool:
    """Switch to FlashAttention-3 where torch, the GPU (Hopper) and the package that holds its kernels allow it."""
    import torch.nn.attention as attention

    offered = hasattr(attention, "list_flash_attention_impls") and "FA3" in attention.list_flash_attention_impls()
    package = importlib.util.find_spec("flash_attn_interface") is not None
    if not (offered and package and torch.cuda.get_device_capability(device) == (9, 0)):
        return False
    attention.activate_flash_attention_impl("FA3")
    return True


def _bf16(device: torch.device) -> FastPath:
    if device.type == "cuda":
        on = torch.cuda.is_bf16_supported(including_emulation=False)
        return FastPath("bf16", on, "tensor cores" if on else "this GPU only emulates it")
    if device.type != "cpu":
        return FastPath("bf16", False, f"not known on {device.type}")
    if torch.cpu._is_amx_tile_supported():
        return FastPath("bf16", True, "AMX tiles")
    on = torch.cpu._is_avx512_bf16_supported()
    return FastPath("bf16", on, "AVX512-BF16" if on else "no AVX512-BF16: fp32 is faster")
