"""The processes that share a run, as the cores see them: one per device, each working on its part of the data.

Every process makes the same calls in the same order. One process and many run the same code: a single one sends
nothing. They form torch.distributed's default group; control values travel between hosts, not devices.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

Shared = TypeVar("Shared")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process's place among those that share the run: number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    def meet(self, store: Store | None = None) -> None:
        """Join the other processes through `store`, or as torchrun's environment variables say."""
        if self.size > 1:
            # The first optimizer step imports this module. Imported after the group exists, it would keep the group
            # alive as a default argument: `leave` would not end gloo's threads, and a thread that still holds a tensor
            # when Python ends aborts the process.
            importlib.import_module("torch._dynamo")
            distributed.init_process_group(store=store, rank=self.rank, world_size=self.size)

    def leave(self) -> None:
        """Leave the group when the run has ended well."""
        if self.size > 1:
            distributed.destroy_process_group()

    def share(self, items: Iterable[Shared]) -> Iterator[Shared]:
        """Yield this process's part of the items: every `size`-th, in order, so that the parts are even."""
        return islice(items, self.rank, None, self.size)

    def sum_(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over the processes, which has the same bits on all of them."""
        if self.size > 1:
            distributed.all_reduce(tensor)

    def first(self, value: Shared) -> Shared:
        """Return the value of process 0, whose clock counts and which has the files."""
        values = [value]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def largest(self, value: int) -> int:
        """Return the largest value of all processes."""
        found = torch.tensor(value)
        if self.size > 1:
            distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found.item())

    def sum_gradients(self, parameters: Iterable[Tensor], loss: Tensor) -> None:
        """Replace gradients and loss by their sums over the processes, in one transfer."""
        if self.size > 1:
            sums = [parameter.grad for parameter in parameters if parameter.grad is not None] + [loss]
            flat = torch.nn.utils.parameters_to_vector(sums)
            self.sum_(flat)
            torch.nn.utils.vector_to_parameters(flat, sums)

    def map_rows(self, function: Callable[[Tensor], Tensor], rows: Tensor, dealt: int) -> Tensor:
        """Return function(rows), computed by all processes together. The function must treat each row (along the first
        dimension) by itself and keep its shape.

        Rows are dealt out one by one. `dealt` is the number of rows dealt out before, so that over many calls every
        process gets as many as every other. A process leaves the others' rows at zero and all are added up, which
        changes no bit.
        """
        if self.size == 1:
            return function(rows)
        own = slice((self.rank - dealt) % self.size, None, self.size)
        done = torch.zeros_like(rows)
        if len(rows[own]):
            done[own] = function(rows[own])
        self.sum_(done)
        return done

    def merge(self, values: np.ndarray) -> None:
        """Fill in, in place, the values that other processes know. Values are at least 0; NaN marks an unknown one."""
        if self.size > 1:
            known = np.nan_to_num(values, nan=-1)
            distributed.all_reduce(torch.from_numpy(known), distributed.ReduceOp.MAX)
            values[:] = np.where(known == -1, np.nan, known)


ALONE = ProcessGroup()
