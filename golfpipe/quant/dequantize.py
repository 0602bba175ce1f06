"""Pieces to weights, as tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from golfpipe.codec.formats import format_of
from golfpipe.codec.pieces import Piece


def dequantize_piece(piece: Piece) -> Tensor:
    """Return the fp32 tensor that the piece stands for, on the CPU."""
    return torch.from_numpy(format_of(piece.bits).weights(piece))


def dequantize_weights(pieces: Mapping[str, Piece]) -> dict[str, Tensor]:
    """Return name -> fp32 weight on the CPU, bit for bit the same on every machine."""
    return {name: dequantize_piece(piece) for name, piece in pieces.items()}
