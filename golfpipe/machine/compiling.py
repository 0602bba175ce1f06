"""Compiling a network: whether it pays, the compiled form for batches of one shape, and a repeatable backward pass."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from golfpipe.machine.attention_backward import attention_obstacle, own_attention_backward
from golfpipe.reporter import Reporter, failure_text

AUTO_FLOPS = {"cpu": 2e14, "cuda": 1e16}
"""The operations above which `auto` compiles. Two cores take five to ten minutes for 2e14; compiling 16 layers takes
one minute and saves two fifths of the time of training and of scoring. The figure for GPUs is an estimate that stands
for a minute or two."""

Answer = TypeVar("Answer")


def compiles(
    key: str, choice: Literal["auto", "on", "off"], device: torch.device, flops: float, reporter: Reporter
) -> bool:
    """Return True if work of `flops` operations is to be compiled, and warn in one line where it cannot be."""
    unusable = _unusable_cache()
    if choice == "off" or (choice == "auto" and flops < AUTO_FLOPS.get(device.type, math.inf)):
        return False
    obstacle = unusable or compile_obstacle(device) or _failure(device)
    if obstacle is not None:
        reporter.warn(f"{key}={choice}: {obstacle}; goes on uncompiled")
        return False
    reporter.note("compiling")
    return True


def compiled_for(function: Callable[..., Answer], shape: tuple[int, int]) -> Callable[..., Answer]:
    """Return a function that runs `function` compiled where its first argument has this shape, and as it is elsewhere:
    the odd shapes at the ends of a text are not worth a compilation each."""
    compiled = torch.compile(function, dynamic=False)

    def call(tokens_BT: Tensor, *rest: object) -> Answer:
        return (compiled if tokens_BT.shape == shape else function)(tokens_BT, *rest)

    return call


@contextmanager
def compiled_passes(compiled: bool, device: torch.device, dtype: torch.dtype, reporter: Reporter) -> Iterator[None]:
    """Inside the `with` block, let a network that is compiled for a CPU go backward the same way every time.

    Where the machine can, golfpipe's own attention kernel is used, if the network computes in bf16. A warning says
    where the kernel cannot be built.
    """
    with ExitStack() as stack:
        compiler, cache = cpp_compiler(), compile_cache()
        if compiled and device.type == "cpu":
            stack.enter_context(_same_order())
            if compiler and cache and dtype == torch.bfloat16 and attention_obstacle() is None:
                try:
                    stack.enter_context(own_attention_backward(compiler, Path(cache)))
                except (RuntimeError, OSError) as error:
                    reporter.warn(f"torch's own attention backward is used: {error}")
        yield


@contextmanager
def _same_order() -> Iterator[None]:
    """Add up gradients of table rows in the order of positions inside the `with` block. Compiled code would add them
    atomically, in whatever order the threads arrive, so that no two runs would be the same. The sums take as long
    either way."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    further: Any = torch.utils.deterministic  # mypy does not know its property, which is made at run time
    filled = further.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    further.fill_uninitialized_memory = False  # filling would cost a pass over every new tensor
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        further.fill_uninitialized_memory = filled


def compile_obstacle(device: torch.device) -> str | None:
    """Say why torch.compile cannot make code for this device; None where it can."""
    if compile_cache() is None:
        return "no home folder for compiled code, and TORCHINDUCTOR_CACHE_DIR names none"
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "no package triton"
        capability = torch.cuda.get_device_capability(device)
        return None if capability >= (7, 0) else f"compute capability {capability[0]}.{capability[1]} is below 7.0"
    if device.type != "cpu":
        return f"not on {device.type}"
    return None if cpp_compiler() else f"no C++ compiler ({', '.join(_compilers())})"


def cpp_compiler() -> str | None:
    """Return the path of the C++ compiler; None where there is none."""
    return next((path for name in _compilers() if (path := shutil.which(name))), None)


def _compilers() -> list[str]:
    named = os.environ.get("CXX")
    return [named] if named else ["g++", "clang++", "c++"]


def _unusable_cache() -> str | None:
    """Say why the folder that $TORCHINDUCTOR_CACHE_DIR names cannot be used, and forget it; None where it can.

    torch makes it as soon as an optimizer is built, compiled or not. Where it cannot, it stays half loaded, and fails.
    """
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    try:
        if named:
            os.makedirs(named, exist_ok=True)
    except OSError as error:
        del os.environ["TORCHINDUCTOR_CACHE_DIR"]
        return f"TORCHINDUCTOR_CACHE_DIR={named} cannot be made ({error.strerror})"
    return None


def _failure(device: torch.device) -> str | None:
    """Say how compiling a function of one line fails, since a compiler or the folder of compiled code may be broken;
    None where it works."""
    cache = compile_cache()
    assert cache is not None  # compile_obstacle has looked
    try:
        os.makedirs(cache, exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        torch.compile(lambda x: x * 2 + 1, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:  # a broken installation can raise anything
        return f"torch.compile fails with its cache in {cache} ({failure_text(error)})"
    return None


def compile_cache() -> str | None:
    """Return the folder in which compiled code outlives the process: $TORCHINDUCTOR_CACHE_DIR if that is set. None for
    a user without a home folder, as in some containers."""
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if named:
        return named
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:
        return None
    return str(Path(cache) / "golfpipe" / "compiled")
