"""The network: tokens -> hidden states -> logits (docs/model.md). Loss and scoring both use it."""

# Shapes: B batch, T time, D model width, V vocabulary, N any number of positions

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from golfpipe.model.capped_loss import capped_logits, capped_mean_loss, capped_nats
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.model.layers import Block, KVProjection, ProjectionDelta, rms_norm, rotary_tables, visible_in_document
from golfpipe.model.ngram import BIGRAM_FACTORS, TRIGRAM_FACTORS, NgramEmbedding, SmearGate

TABLE_STD = 0.005


class Network(nn.Module):
    """A causal language model with U-Net skips. `compute_dtype` is the dtype of activations and products."""

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype
        boundary = config.bos_id if config.mask_document_boundaries else None
        self.token_embedding = nn.Embedding(config.vocab_size, config.model_dim)
        self.bigram = self._ngram(config.bigram_buckets, config.bigram_dim, BIGRAM_FACTORS, boundary)
        self.trigram = self._ngram(config.trigram_buckets, config.trigram_dim, TRIGRAM_FACTORS, boundary)
        self.smear = SmearGate(config.model_dim, boundary)
        if config.num_skips:
            self.skip_weights = nn.Parameter(torch.ones(config.num_skips, config.model_dim))
        self.kv_projections = nn.ModuleList(KVProjection(config) for _ in range(config.num_kv_projections))
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        if not config.tied_embeddings:
            self.output_head = nn.Embedding(config.vocab_size, config.model_dim)

    def _ngram(self, buckets: int, width: int, factors: tuple[int, ...], boundary: int | None) -> NgramEmbedding | None:
        if not buckets:
            return None
        return NgramEmbedding(buckets, width, self.config.model_dim, factors, boundary)

    def hidden(
        self, tokens_BT: Tensor, delta: ProjectionDelta | None = None, last: int = 0, looping: bool = True
    ) -> Tensor:
        """Return the normed final activations [B, T, D] for int64 tokens [B, T]. Position t depends on tokens 0..t
        only.

        `delta` adds to the outputs of projections; score-first LoRA puts its adapters there. With `last` above 0
        only the last positions are returned, [B, last, D]. That saves work in the last layer alone: the others need
        every position for the keys and values of the layers above them. Only training ever sets `looping` to False.
        """
        config, dtype = self.config, self.compute_dtype
        x_BTD = self.token_embedding(tokens_BT).to(dtype)
        if self.bigram is not None:
            x_BTD = x_BTD + self.bigram(tokens_BT, dtype)
        if self.trigram is not None:
            x_BTD = x_BTD + self.trigram(tokens_BT, dtype)
        x_BTD = self.smear(rms_norm(x_BTD), tokens_BT)
        x0_BTD = x_BTD
        tables_2TR = rotary_tables(config, tokens_BT.shape[1], tokens_BT.device)
        visible_B1TT = visible_in_document(tokens_BT, config.bos_id, dtype) if config.document_attention else None
        order = config.layer_order(looping)
        num_skips = len(order) // 2
        stack: list[Tensor] = []
        for place, layer in enumerate(order):
            if place >= num_skips and stack:
                x_BTD = x_BTD + self.skip_weights[place - num_skips].to(dtype) * stack.pop()
            x_BTD = self.blocks[layer](
                x_BTD,
                x0_BTD,
                self.kv_projections[config.kv_source[layer]],
                tables_2TR,
                visible_B1TT,
                partial(delta, place) if delta is not None else None,
                last if place == len(order) - 1 else 0,
            )
            if place < num_skips:
                stack.append(x_BTD)
        return rms_norm(x_BTD)

    @property
    def head_VD(self) -> Tensor:
        """The output matrix, which is the token table itself where embeddings are tied."""
        return (self.token_embedding if self.config.tied_embeddings else self.output_head).weight

    def nats(self, hidden_ND: Tensor, targets_N: Tensor, added_NV: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of each target in nats, fp32 [N]; `added_NV` adds to the logits before their cap."""
        return capped_nats(hidden_ND, self.head_VD, targets_N, self.config.logit_softcap, added_NV)

    def last_nats(self, tokens_BT: Tensor, targets_BT: Tensor, count: int) -> Tensor:
        """Return the nats of each sequence's last `count` targets, fp32 [B * count], without work for the others."""
        hidden_BSD = self.hidden(tokens_BT, last=count % tokens_BT.shape[1])  # all of them are asked for as 0
        return self.nats(hidden_BSD.flatten(0, 1), targets_BT[:, -count:].flatten())

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the softcapped logits [..., V] in fp32 of hidden states [..., D]."""
        return capped_logits(hidden, self.head_VD, self.config.logit_softcap)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor, looping: bool = True) -> Tensor:
        """Return the mean cross-entropy in nats per token, a scalar in fp32."""
        hidden_ND = self.hidden(tokens_BT, looping=looping).flatten(0, 1)
        return capped_mean_loss(hidden_ND, self.head_VD, targets_BT.flatten(), self.config.logit_softcap)


def initialize(network: Network, seed: int) -> None:
    """Set the initial weights (docs/model.md, Initial weights) from `seed`, on the host and in fp32, so that they are
    the same on every device. Gains, scales, mixes and gates keep the values that they are constructed with."""
    generator = torch.Generator().manual_seed(seed)
    damping = 1 / math.sqrt(2 * network.config.num_layers)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in ("token_embedding.weight", "output_head.weight"):
                parameter.normal_(0, TABLE_STD, generator=generator)
            elif name.endswith((".table.weight", "attention.output.weight", "mlp.output.weight")):
                parameter.zero_()
            elif name.endswith(".weight"):
                nn.init.orthogonal_(parameter, generator=generator)
                if name.endswith("gram.projection.weight"):
                    parameter.mul_(damping)


def build_network(config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> Network:
    """Return a network with the parameter names and shapes of `parameter_shapes`; its weights are still to be set."""
    network = Network(config, compute_dtype)
    found = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    assert found == parameter_shapes(config), "parameter_shapes and the network disagree"
    return network


def load_network(
    config: ModelConfig, weights: dict[str, Tensor], compute_dtype: torch.dtype = torch.float32
) -> Network:
    """Return a network with `weights`, ready for scoring. The caller has checked their names and shapes."""
    network = build_network(config, compute_dtype)
    network.load_state_dict(weights)
    return network.eval()
