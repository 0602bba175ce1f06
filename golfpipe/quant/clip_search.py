"""Choose each row's scale: the clip ratio whose codes have the least squared error (docs/quantization.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from golfpipe.codec.pieces import code_bounds
from golfpipe.errors import StageFailed
from golfpipe.quant.rows import row_absmax, row_divisor, row_scale

# Shapes: R rows, C values per row, K clip ratios

# Values handled at once. On the CPU a chunk and its scratch should stay in the cache (2^18 values: 1 MB in fp32, 2 MB
# in fp64; smaller chunks lose more to call overhead than they gain, larger ones take up to twice as long); a GPU wants
# few, long kernels.
_SEARCH_CHUNK = {"cpu": 1 << 18, "cuda": 1 << 24}
_BOUND_EVERY = 6
"""Ratios tried between two looks at whether smaller ones can still win; a look costs less than half a try."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScaleChoice:
    """Result of the search for one tensor."""

    scale_R1: Tensor
    """fp16 [R, 1]."""
    ratio_index_R: Tensor
    """int64 [R]: which of the given ratios each row took."""
    squared_error_R: Tensor
    """fp64 [R]: sum of (w - code * scale)^2."""


def choose_scales(w_RC: Tensor, bits: int, clip_ratios: Sequence[float], *, name: str = "tensor") -> ScaleChoice:
    """Try every ratio on every row; keep the one with the least squared error, ties to the larger ratio.

    w fp32 [R, C] on any device. Each candidate is measured with its fp16 scale; errors and their squares are fp32,
    their sums fp64. Raises StageFailed, naming `name` and the row, for NaN or infinite weights and for a scale that
    overflows fp16.
    """
    assert w_RC.ndim == 2 and w_RC.dtype == torch.float32 and clip_ratios
    absmax_R1 = row_absmax(w_RC)
    _require_finite(absmax_R1, f"{name}: weights are NaN or infinite in row")
    ratios_K = torch.tensor(clip_ratios, dtype=torch.float32, device=w_RC.device)
    scale_RK = row_scale(absmax_R1, ratios_K, bits)
    _require_finite(scale_RK, f"{name}: the scale exceeds fp16 in row")
    index_R = torch.empty(len(w_RC), dtype=torch.int64, device=w_RC.device)
    error_R = torch.empty(len(w_RC), dtype=torch.float64, device=w_RC.device)
    from_largest = sorted(range(len(clip_ratios)), key=lambda k: clip_ratios[k], reverse=True)
    rows = max(1, _SEARCH_CHUNK.get(w_RC.device.type, 1 << 18) // w_RC.shape[1])
    for start in range(0, len(w_RC), rows):
        part = slice(start, start + rows)
        _search_chunk(w_RC[part], scale_RK[part], bits, from_largest, index_R[part], error_R[part])
    return ScaleChoice(scale_R1=scale_RK.gather(1, index_R[:, None]), ratio_index_R=index_R, squared_error_R=error_R)


def _search_chunk(
    w_RC: Tensor, scale_RK: Tensor, bits: int, from_largest: list[int], index_R: Tensor, error_R: Tensor
) -> None:
    """Write the best ratio's index and error of these rows into index_R and error_R."""
    q_min, q_max = code_bounds(bits)
    scale_KR1 = scale_RK.float().T.contiguous()[:, :, None]
    divisor_KR1 = row_divisor(scale_KR1)
    scratch_RC = torch.empty_like(w_RC)
    wide_RC = torch.empty_like(w_RC, dtype=torch.float64)
    candidate_R = torch.empty_like(error_R)
    error_R.fill_(torch.inf)
    index_R.fill_(from_largest[0])
    magnitude_RC = w_RC.abs() if len(from_largest) > _BOUND_EVERY else w_RC
    for position, k in enumerate(from_largest):
        if position and position % _BOUND_EVERY == 0:
            # What clipping alone costs at this ratio is a bound for it and for all smaller ones. Of the grid's two ends
            # the farther one counts, and a percent is left for rounding in fp32.
            torch.sub(magnitude_RC, scale_KR1[k], alpha=-q_min, out=scratch_RC).clamp_(min=0)
            bound_R = torch.linalg.vector_norm(scratch_RC, dim=1).double().square_()
            if bool((0.99 * bound_R >= error_R).all()):
                break
        # In place: quantize() of rows.py as fp32, then the error, its square and the sum.
        torch.div(w_RC, divisor_KR1[k], out=scratch_RC).round_().clamp_(q_min, q_max)
        torch.addcmul(w_RC, scratch_RC, scale_KR1[k], value=-1, out=scratch_RC)
        wide_RC.copy_(scratch_RC.square_())  # summing with dtype=float64 takes six times as long
        torch.sum(wide_RC, dim=1, out=candidate_R)
        better_R = candidate_R < error_R  # strictly: a tie stays with the larger ratio
        error_R.copy_(torch.where(better_R, candidate_R, error_R))
        index_R.masked_fill_(better_R, k)


def _require_finite(values: Tensor, problem: str) -> None:
    bad_rows = (~values.isfinite()).any(dim=1).nonzero()
    if len(bad_rows):
        raise StageFailed(f"{problem} {int(bad_rows[0])}")
