"""Trellis-coded quantization as a code: which point a sequence of codes stands for.

The points are the odd multiples of half a step. In an even state a row's next code k stands for 2k + 1/2, in an odd
state for -(2k + 1/2): two interleaved quantizers of double step, whose codes have the same distribution, so that one
entropy model serves both (entropy-coded trellis-coded quantization: Fischer and Wang 1992; the 8-state trellis is
Ungerboeck's, as in JPEG 2000 part 2). The parity of each code moves the state:

    b_t = parity(k_t) xor b_(t-1) xor b_(t-2) [xor b_(t-3)],   state_t = (b_(t-1), b_(t-2)[, b_(t-3)]),   b_0 = 0

A row's states follow from its codes' parities by running exclusive-ors: decoding has no loop over columns.
"""

from __future__ import annotations

import numpy as np

# Shapes: R rows (sequences), C codes per row


def trellis_signs(codes_RC: np.ndarray, states: int) -> np.ndarray:
    """bool [R, C]: whether the code is read in an odd state. states is 4 or 8."""
    memory = states.bit_length() - 1
    parity_RC = (codes_RC & 1).astype(np.uint8)
    # 1 + D + .. + D^m divides 1 + D^(m+1) (mod 2) with the quotient 1 + D: one difference, then running sums of stride
    # m + 1.
    parity_RC[:, 1:] ^= (codes_RC[:, :-1] & 1).astype(np.uint8)
    stride = memory + 1
    width = codes_RC.shape[1]
    padded = np.zeros((len(codes_RC), -(-width // stride), stride), dtype=np.uint8)
    padded.reshape(len(codes_RC), -1)[:, :width] = parity_RC
    bits_RC = np.bitwise_xor.accumulate(padded, axis=1).reshape(len(codes_RC), -1)[:, :width]
    odd_RC = np.zeros((len(codes_RC), width), dtype=bool)
    odd_RC[:, 1:] = bits_RC[:, :-1].astype(bool)
    return odd_RC


def trellis_points(codes_RC: np.ndarray, states: int) -> np.ndarray:
    """int16 codes -> fp32 points in steps, [R, C]."""
    points_RC = 2 * codes_RC.astype(np.float32) + np.float32(0.5)
    return np.where(trellis_signs(codes_RC, states), -points_RC, points_RC)
