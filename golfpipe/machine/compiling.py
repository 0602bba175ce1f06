"""Whether a stage compiles its network, and what then runs: the compiled form of a function for the batches that recur,
and its way backward."""

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
from golfpipe.reporter import Reporter

AUTO_FLOPS = {"cpu": 2e14, "cuda": 1e16}
"""Work above which `auto` compiles. Two cores take five to ten minutes for 2e14; compiling 16 layers takes one, and
saves two fifths of the time of training and of scoring. A GPU's figure is an estimate, a minute or two."""

Answer = TypeVar("Answer")


def compiles(
    key: str, choice: Literal["auto", "on", "off"], device: torch.device, flops: float, reporter: Reporter
) -> bool:
    """Whether to compile work of `flops` operations. Where that is wished for but cannot be, one line says why not."""
    if choice == "off" or (choice == "auto" and flops < AUTO_FLOPS.get(device.type, math.inf)):
        return False
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compile_cache()
    obstacle = compile_obstacle(device) or _failure(device)
    if obstacle is not None:
        reporter.warn(f"{key}={choice}: {obstacle}; goes on uncompiled")
        return False
    reporter.note("compiling")
    return True


def compiled_for(function: Callable[..., Answer], shape: tuple[int, int]) -> Callable[..., Answer]:
    """`function` compiled for first arguments of this shape. Others, the odd ones at the ends of a text, would not be
    worth a compilation each: they run as they are."""
    compiled = torch.compile(function, dynamic=False)

    def call(tokens_BT: Tensor, *rest: object) -> Answer:
        return (compiled if tokens_BT.shape == shape else function)(tokens_BT, *rest)

    return call


@contextmanager
def compiled_passes(compiled: bool, device: torch.device, dtype: torch.dtype, reporter: Reporter) -> Iterator[None]:
    """Within, a network that is compiled for a CPU and computes in `dtype` goes backward in a way that can be repeated,
    and through golfpipe's kernel of attention where the machine can. Where that cannot be built, one line says so."""
    with ExitStack() as stack:
        compiler = cpp_compiler()
        if compiled and device.type == "cpu":
            stack.enter_context(_same_order())
            if compiler and dtype == torch.bfloat16 and attention_obstacle() is None:
                try:
                    stack.enter_context(own_attention_backward(compiler, Path(compile_cache())))
                except (RuntimeError, OSError) as error:
                    reporter.warn(f"torch's own attention backward is used: {error}")
        yield


@contextmanager
def _same_order() -> Iterator[None]:
    """Within, gradients of table rows are added up in the order of positions. Compiled code would add them atomically,
    as the threads come by, so that no two runs would be the same; the sums take as long either way."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    further: Any = torch.utils.deterministic  # its property is made at run time
    filled = further.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    further.fill_uninitialized_memory = False  # a pass over every new tensor
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        further.fill_uninitialized_memory = filled


def compile_obstacle(device: torch.device) -> str | None:
    """Why torch.compile cannot make code for this device; None where it can."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "no package triton"
        capability = torch.cuda.get_device_capability(device)
        return None if capability >= (7, 0) else f"compute capability {capability[0]}.{capability[1]} is below 7.0"
    if device.type != "cpu":
        return f"not on {device.type}"
    return None if cpp_compiler() else f"no C++ compiler ({', '.join(_compilers())})"


def cpp_compiler() -> str | None:
    """The C++ compiler's path; None where there is none."""
    return next((path for name in _compilers() if (path := shutil.which(name))), None)


def _compilers() -> list[str]:
    named = os.environ.get("CXX")
    return [named] if named else ["g++", "clang++", "c++"]


def _failure(device: torch.device) -> str | None:
    """What goes wrong with a compiler that is there: it is tried on a function of one line."""
    try:
        torch.compile(lambda x: x * 2 + 1, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:  # whatever a broken installation does
        return f"torch.compile fails ({type(error).__name__})"
    return None


def compile_cache() -> str:
    """Folder in which compiled code outlives the process; $TORCHINDUCTOR_CACHE_DIR if that is set."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return os.environ.get("TORCHINDUCTOR_CACHE_DIR") or str(Path(cache) / "golfpipe" / "compiled")
