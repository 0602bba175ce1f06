"""The forward pass of pull request 1493's script once more, as far as golfpipe's switches carry it.

Written from its formulas, in float64 and in its own names: a run of encoder layers that push, one of decoder layers
that pop, one row of tokens with a table of document starts. Its blended skips, sigmoid(s) x + (1 - sigmoid(s)) w pop(),
are added here, x + w pop(), as golfpipe does.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from golfpipe.model.config import LastLayers, LoopedLayers, ModelConfig
from golfpipe.model.network import build_network

CONFIG = ModelConfig(
    vocab_size=64, num_layers=11, model_dim=64, num_heads=4, num_kv_heads=2, mlp_ratio=4.0, kv_sharing="none",
    exclusive_attention="all", qk_gain_init=5.25, bigram_buckets=0, trigram_buckets=0, bos_id=1,
    loop=LoopedLayers(first=3, last=5, passes=3), parallel_residual=LastLayers(last=4), depth_scale=True,
)  # fmt: skip


class Record:
    """The script's network: 11 layers, loops over 3 to 5 twice more, parallel residuals from layer 7."""

    loop_start, loop_end, num_loops, parallel_from, rope_dims, eps = 3, 5, 2, 7, 4, 1.1920929e-07

    def __init__(self, state, heads, kv_heads):
        self.w, self.heads, self.kv_heads = state, heads, kv_heads

    def norm(self, x):
        return x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()

    def rotary(self, x):
        """x: [T, heads, head width]; the first rope_dims values turn."""
        half = self.rope_dims // 2
        frequencies = 1.0 / 10000.0 ** (torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(len(x), dtype=torch.float64), frequencies)[:, None]
        left, right = x[..., :half], x[..., half : self.rope_dims]
        turned = (left * angles.cos() + right * angles.sin(), right * angles.cos() - left * angles.sin())
        return torch.cat((*turned, x[..., self.rope_dims :]), -1)

    def attention(self, i, n, allowed):
        w, length = self.w, len(n)
        q = (n @ w[f"blocks.{i}.attn.c_q.weight"].T).view(length, self.heads, -1)
        k = (n @ w[f"blocks.{i}.attn.c_k.weight"].T).view(length, self.kv_heads, -1)
        v = (n @ w[f"blocks.{i}.attn.c_v.weight"].T).view(length, self.kv_heads, -1)
        q, k = self.rotary(self.norm(q)), self.rotary(self.norm(k))
        q = q * w[f"blocks.{i}.attn.q_gain"][None, :, None]
        group = self.heads // self.kv_heads
        out = torch.empty_like(q)
        for h in range(self.heads):
            scores = q[:, h] @ k[:, h // group].T / q.shape[-1] ** 0.5
            out[:, h] = scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v[:, h // group]
        by_kv_head, own = out.view(length, self.kv_heads, group, -1), F.normalize(v, dim=-1)[:, :, None]
        by_kv_head = by_kv_head - (by_kv_head * own).sum(-1, keepdim=True) * own
        return by_kv_head.reshape(length, -1) @ w[f"blocks.{i}.attn.proj.weight"].T

    def mlp(self, i, n):
        hidden = F.leaky_relu(n @ self.w[f"blocks.{i}.mlp.fc.weight"].T, 0.5).square()
        return hidden @ self.w[f"blocks.{i}.mlp.proj.weight"].T

    def block(self, i, x, x0, allowed):
        mix, factor = self.w[f"blocks.{i}.resid_mix"], (i + 1) ** -0.5
        attn_scale, mlp_scale = self.w[f"blocks.{i}.attn_scale"], self.w[f"blocks.{i}.mlp_scale"]
        u = mix[0] * x + mix[1] * x0
        n = self.norm(u) * factor
        if i >= self.parallel_from:
            return u + attn_scale * self.attention(i, n, allowed) + mlp_scale * self.mlp(i, n)
        u = u + attn_scale * self.attention(i, n, allowed)
        return u + mlp_scale * self.mlp(i, self.norm(u) * factor)

    def logits(self, ids, looping, starts):
        """ids: one row of tokens; starts: where documents begin in it, for attention inside them."""
        if looping:
            segment = list(range(self.loop_start, self.loop_end + 1))
            order = [*range(self.loop_start), *segment * (self.num_loops + 1), *range(self.loop_end + 1, 11)]
            encoder, decoder = order[: len(order) // 2], order[len(order) // 2 :]
            assert (encoder, decoder) == ([0, 1, 2, 3, 4, 5, 3, 4], [5, 3, 4, 5, 6, 7, 8, 9, 10])
        else:
            encoder, decoder = [0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10]
        allowed = torch.zeros(len(ids), len(ids), dtype=torch.bool)
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            allowed[start:end, start:end] = torch.ones(end - start, end - start).tril().bool()
        x = x0 = self.norm(self.w["tok_emb.weight"][ids])
        skips = []
        for i in encoder:
            x = self.block(i, x, x0, allowed)
            skips.append(x)
        for j, i in enumerate(decoder):
            if j < len(self.w["skip_weights"]) and skips:
                x = x + self.w["skip_weights"][j] * skips.pop()
            x = self.block(i, x, x0, allowed)
        return 30 * torch.tanh(self.norm(x) @ self.w["tok_emb.weight"].T / 30)


def theirs(name):
    for ours, record in (
        ("token_embedding", "tok_emb"), ("kv_projections", "blocks"), (".key.", ".attn.c_k."),
        (".value.", ".attn.c_v."), ("attention.query", "attn.c_q"), ("attention.output", "attn.proj"),
        ("attention.qk_gain", "attn.q_gain"), ("attention_scale", "attn_scale"), ("residual_mix", "resid_mix"),
        ("mlp.input", "mlp.fc"), ("mlp.output", "mlp.proj"),
    ):  # fmt: skip
        name = name.replace(ours, record)
    return name


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("looping", [False, True])
def test_the_logits_are_those_of_the_record(looping, documents):
    network = build_network(replace(CONFIG, document_attention=documents), torch.float64).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.2, generator=generator)
        network.smear.gate.fill_(-100.0)  # the script has no smear gate
    state = {theirs(name): parameter.detach() for name, parameter in network.named_parameters()}
    ids = torch.randint(2, 64, (40,), generator=generator)
    ids[[0, 13, 14, 30]] = 1
    starts = [0, 13, 14, 30] if documents else [0]
    expected = Record(state, heads=4, kv_heads=2).logits(ids, looping, starts)
    with torch.no_grad():
        found = network.logits(network.hidden(ids[None], looping=looping))[0]
    assert expected.std() > 0.5
    assert (found - expected).abs().max() < 1e-5
