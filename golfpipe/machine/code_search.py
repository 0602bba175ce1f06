"""The search of codes as machine code, on all cores: the same codes as golfpipe/quant/code_search.py gives."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from golfpipe.machine.compiling import compile_cache, cpp_compiler
from golfpipe.machine.own_code import built_library, own_code_obstacle
from golfpipe.quant.code_search import CodeSearch, Search, searching_with
from golfpipe.quant.trellis_search import COMMIT, LOOK_AHEAD, MOST_PAIR

SOURCE = Path(__file__).with_suffix(".cpp")
SIZES = {"COMMIT": COMMIT, "LOOK_AHEAD": LOOK_AHEAD, "MOST_PAIR": MOST_PAIR}
OPTIONS = ("-ffp-contract=off", "-fno-math-errno", *(f"-D{name}={size}" for name, size in SIZES.items()))
"""Contraction to fused products and sums would make other codes than the plain search's; a square root that sets errno
is no instruction."""


class _Given(ctypes.Structure):
    """struct Search of code_search.cpp, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weights", "order", "row_step", "column_step", "correction")),
        *((name, ctypes.c_void_p) for name in ("row_class", "column_class", "inverse_scale", "codes")),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "classes", "states", "quarters")),
        *((name, ctypes.c_float) for name in ("price", "least", "most")),
    ]


@contextmanager
def own_code_search(choice: Literal["auto", "off"], warn: Callable[[str], object]) -> Iterator[None]:
    """Search codes of weights on the CPU with machine code inside the `with` block, and on all of torch's threads,
    unless the choice is off or there is no compiler. A warning says where the code cannot be built."""
    with ExitStack() as stack:
        compiler, cache = cpp_compiler(), compile_cache()
        if choice == "auto" and compiler and cache and own_code_obstacle() is None:
            try:
                search = code_search(compiler, Path(cache))
            except (RuntimeError, OSError) as error:
                warn(f"codes are searched without machine code, twenty times as long: {error}")
            else:
                threads = torch.get_num_threads()
                pool = stack.enter_context(ThreadPoolExecutor(threads, "", torch.set_num_threads, (1,)))
                stack.enter_context(searching_with(search, pool.map if threads > 1 else map))
        yield


def code_search(compiler: str, cache: Path) -> Search:
    """Return the search, built when it is first needed. Raises RuntimeError or OSError where it cannot be built."""
    kernel = built_library(SOURCE, OPTIONS, compiler, cache).search_codes
    kernel.argtypes, kernel.restype = [ctypes.POINTER(_Given)], None

    def search(given: CodeSearch) -> Tensor:
        tensors, numbers = _fields(given)
        codes_RC = torch.empty(given.w_RC.shape, dtype=torch.int16)
        pointers = {name: tensor.data_ptr() for name, tensor in {**tensors, "codes": codes_RC}.items()}
        kernel(_Given(**pointers, **numbers))
        return codes_RC

    return search


def _fields(given: CodeSearch) -> tuple[dict[str, Tensor], dict[str, float]]:
    order_C = given.order_C
    tensors = {
        "weights": given.w_RC.contiguous(),
        "order": order_C.contiguous(),
        "row_step": given.step_R.contiguous(),
        "column_step": given.step_C[order_C],
    }
    if given.factor is not None:
        tensors["correction"] = given.factor.correction_CC.contiguous()
    num_rows, num_columns = given.w_RC.shape
    numbers = {"rows": num_rows, "columns": num_columns, "classes": 0, "states": given.states, "quarters": 0}
    if (rate := given.rate) is not None:
        tensors |= {"row_class": rate.row_R, "column_class": rate.column_C[order_C]}
        tensors |= {"inverse_scale": rate.inverse_scale_K}
        numbers |= {"classes": len(rate.inverse_scale_K), "quarters": round(4 * rate.exponent)}
    return tensors, {**numbers, "price": given.price, "least": given.bounds[0], "most": given.bounds[1]}
