"""Orthogonalization shared among processes: each does the matrices of its share, then all have all."""

# Shapes: N matrices of one shape, R rows, C columns

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from golfpipe.optim.process_group import ProcessGroup


def orthogonalize_shared(
    stacks: Iterable[Tensor], orthogonalize: Callable[[Tensor], Tensor], processes: ProcessGroup
) -> Iterator[Tensor]:
    """orthogonalize(stack) for each stack [N, R, C], with the same bits on every process.

    Matrices are dealt out one by one, the next stack going on where the one before ended, so that every process gets as
    many as every other. A process leaves the rows of the others at zero and all add up, which changes no bit.
    """
    dealt = 0
    for stack_NRC in stacks:
        if processes.size == 1:
            yield orthogonalize(stack_NRC)
            continue
        own = slice((processes.rank - dealt) % processes.size, None, processes.size)
        done_NRC = torch.zeros_like(stack_NRC)
        if len(stack_NRC[own]):
            done_NRC[own] = orthogonalize(stack_NRC[own])
        processes.sum_(done_NRC)
        dealt += len(stack_NRC)
        yield done_NRC
