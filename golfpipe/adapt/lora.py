"""Low-rank adapters for a batch of documents, each document with its own (LoRA, arXiv 2106.09685)."""

# Shapes: B documents, L places in the layer order, T time, D model width, O projection width, R rank

from __future__ import annotations

import math

import torch
from torch import Tensor

from golfpipe.model.config import ModelConfig
from golfpipe.model.layers import ProjectionDelta

PROJECTIONS = ("query", "value")


class DocumentAdapters:
    """Adds up(down(x)) to the query and value projections of every layer, in each pass through a looped one another:
    document b uses its own pair of matrices.

    `down` is uniform in +-1/sqrt(D) and the same for every document, `up` zero: all documents start from the plain
    network, and a document's scores do not depend on its batch.
    """

    def __init__(self, config: ModelConfig, num_documents: int, rank: int, seed: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(seed)
        places = len(config.layer_order())
        widths = {"query": config.model_dim, "value": config.num_kv_heads * config.head_dim}
        self.down: dict[str, Tensor] = {}
        self.up: dict[str, Tensor] = {}
        for projection in PROJECTIONS:
            bound = 1 / math.sqrt(config.model_dim)
            down_LDR = torch.empty(places, config.model_dim, rank)
            down_LDR.uniform_(-bound, bound, generator=generator)
            down_BLDR = down_LDR.expand(num_documents, -1, -1, -1).clone().to(device)
            up_BLRO = torch.zeros(num_documents, places, rank, widths[projection], device=device)
            self.down[projection] = down_BLDR.requires_grad_()
            self.up[projection] = up_BLRO.requires_grad_()

    def parameters(self) -> list[Tensor]:
        return [*self.down.values(), *self.up.values()]

    def delta_from(self, first_document: int) -> ProjectionDelta:
        """The network's ProjectionDelta for a batch that holds the documents from `first_document` on."""

        def delta(place: int, projection: str, x_BTD: Tensor) -> Tensor:
            down_BDR = self.down[projection][first_document:, place].to(x_BTD.dtype)
            up_BRO = self.up[projection][first_document:, place].to(x_BTD.dtype)
            return (x_BTD @ down_BDR) @ up_BRO

        return delta
