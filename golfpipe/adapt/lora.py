"""Low-rank adapters for a batch of documents, each document with its own (LoRA, arXiv 2106.09685)."""

# Shapes: B documents, L places in the layer order, T time, D model width, O projection width, R rank, N positions,
# V vocabulary

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from golfpipe.model.config import ModelConfig
from golfpipe.model.layers import ProjectionDelta


class DocumentAdapters:
    """Adds scale * up(down(x)) to the outputs of projections in every layer, in each pass through a looped one another,
    and to the logits for the projection `head`: document b uses its own pair of matrices.

    `down` is uniform in +-1/sqrt(D) and the same for every document, `up` zero: all documents start from the plain
    network, and a document's scores do not depend on its batch.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_documents: int,
        rank: int,
        seed: int,
        device: torch.device,
        projections: Collection[str] = ("query", "value"),
        scale: float = 1.0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        kv_dim = config.num_kv_heads * config.head_dim
        widths = {"query": config.model_dim, "key": kv_dim, "value": kv_dim, "output": config.model_dim}
        widths |= {"mlp": config.model_dim, "head": config.vocab_size}
        self.num_documents, self.scale = num_documents, scale
        self.down: dict[str, Tensor] = {}
        self.up: dict[str, Tensor] = {}
        for projection, width in widths.items():
            if projection not in projections:
                continue
            bound, places = 1 / math.sqrt(config.model_dim), 1 if projection == "head" else len(config.layer_order())
            down_LDR = torch.empty(places, config.model_dim, rank)
            down_LDR.uniform_(-bound, bound, generator=generator)
            down_BLDR = down_LDR.expand(num_documents, -1, -1, -1).clone().to(device)
            self.down[projection] = down_BLDR.requires_grad_()
            self.up[projection] = torch.zeros(num_documents, places, rank, width, device=device).requires_grad_()

    def parameters(self) -> list[Tensor]:
        return [*self.down.values(), *self.up.values()]

    @torch.no_grad()
    def restart(self) -> None:
        """Set `up` to zero again; `down` keeps what it learned."""
        for up in self.up.values():
            up.zero_()

    def delta_from(self, first_document: int) -> ProjectionDelta:
        """The network's ProjectionDelta for a batch that holds the documents from `first_document` on."""

        def delta(place: int, projection: str, x_BTD: Tensor, y_BTO: Tensor) -> Tensor:
            if projection not in self.down:
                return y_BTO
            down_BDR = self.down[projection][first_document:, place].to(x_BTD.dtype)
            up_BRO = self.up[projection][first_document:, place].to(x_BTD.dtype)
            return y_BTO + (x_BTD @ down_BDR * self.scale) @ up_BRO

        return delta

    def logits_from(self, first_document: int, hidden: Sequence[Tensor]) -> Tensor | None:
        """Return what the head's adapters add to the logits [N, V] of the documents from `first_document` on, whose
        positions are [N, D] each; None without such adapters."""
        if "head" not in self.down:
            return None
        pairs = zip(self.down["head"][first_document:, 0], self.up["head"][first_document:, 0], strict=True)
        parts = zip(hidden, pairs, strict=True)
        return torch.cat([x_ND @ down.to(x_ND.dtype) * self.scale @ up.to(x_ND.dtype) for x_ND, (down, up) in parts])
