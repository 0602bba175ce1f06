"""What quantizing did to one tensor: its error, its entropy, and which clip ratios its rows took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from golfpipe.codec.formats import format_of
from golfpipe.codec.pieces import Piece
from golfpipe.quant.config import TensorClass


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorReport:
    """One line of the error report."""

    name: str
    tensor_class: TensorClass
    bits: int
    num_values: int
    relative_squared_error: float
    """sum (w - w_hat)^2 / sum w^2 against the weights before pruning; 0 for a tensor of zeros."""
    ideal_bytes: float
    """Order-0 entropy of codes and scales, or of the floats' byte planes; of open-ended codes see codec.open_codes."""
    entropy_bits: float | None
    """Entropy of the codes, bits per code; None for floats."""
    lower_edge_share: float | None
    """Share of rows that took the smallest of several ratios: near 1 the grid ends too high. None without ratios."""
    ratio_counts: tuple[int, ...] | None
    """Rows per clip ratio, in the order of clip_ratios; None without ratios."""


_SUM_BLOCK = 1 << 15


def relative_squared_error(weight: Tensor, restored: Tensor) -> float:
    """sum (w - w_hat)^2 / sum w^2 in fp64; 0 where w and w_hat are all zero, infinite where only w is."""
    # numpy sums in one fixed order; torch's order depends on the number of threads. In blocks that stay in the cache.
    w, w_hat = (values.detach().cpu().numpy().reshape(-1) for values in (weight, restored))
    error = power = 0.0
    for start in range(0, w.size, _SUM_BLOCK):
        wide = w[start : start + _SUM_BLOCK].astype(np.float64)
        power += float(np.square(wide).sum())
        wide -= w_hat[start : start + _SUM_BLOCK]
        error += float(np.square(wide).sum())
    if power == 0:
        return 0.0 if error == 0 else np.inf
    return error / power


def report_piece(
    piece: Piece,
    weight: Tensor,
    restored: Tensor,
    *,
    tensor_class: TensorClass,
    ratio_index_R: Tensor | None,
    num_ratios: int,
) -> TensorReport:
    """Return the report of a piece that stands for `restored` in place of `weight`. ratio_index: None where its rows
    took no clip ratios."""
    size, counts, edge_share = format_of(piece.bits).ideal_size(piece), None, None
    if ratio_index_R is not None:
        counts = np.bincount(ratio_index_R.cpu().numpy(), minlength=num_ratios)
        edge_share = float(counts[0] / counts.sum()) if num_ratios > 1 else 0.0
    return TensorReport(
        name=piece.name,
        tensor_class=tensor_class,
        bits=piece.bits,
        num_values=piece.num_values,
        relative_squared_error=relative_squared_error(weight, restored),
        ideal_bytes=size.total / 8,
        entropy_bits=size.codes / piece.num_values if size.codes is not None else None,
        lower_edge_share=edge_share,
        ratio_counts=tuple(int(count) for count in counts) if counts is not None else None,
    )
