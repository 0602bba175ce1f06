"""The plain baseline: the formulas of docs/model.md and docs/stages/ as an ordinary eager script would write them.

bf16 by autocast, composed norms, whole-batch logits, one Newton-Schulz iteration per matrix in bf16, a foreach-free
weight average, torch's own AdamW with its defaults, full logits and repeated windows in evaluation, a clip search over
whole tensors, zstd over the concatenated codes. It is what the fast paths are measured against.
"""

# Shapes: B batch, T time, D model width, H query heads, K kv heads, E head width

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golfpipe.model.config import ModelConfig
from golfpipe.scoring.windows import Window


def norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), eps=1.1920929e-07)


class PlainNetwork(nn.Module):
    """Takes the weights of a golfpipe network by name (`load`) and computes the same loss."""

    def __init__(self, config: ModelConfig, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(weight.detach().clone()) for name, weight in weights.items()}
        )

    def w(self, name: str) -> Tensor:
        return self.weights[name.replace(".", "/")]

    def ngram(self, name: str, tokens_BT: Tensor, buckets: int, factors: tuple[int, ...]) -> Tensor:
        hashed = factors[0] * tokens_BT
        for back in range(1, len(factors)):
            hashed = hashed ^ (factors[back] * F.pad(tokens_BT, (back, 0))[:, : tokens_BT.shape[1]])
        bucket = hashed % (buckets - 1)
        bucket[:, : len(factors) - 1] = buckets - 1
        rows = F.embedding(bucket, self.w(f"{name}.table.weight"))
        return F.linear(rows, self.w(f"{name}.projection.weight")) * self.w(f"{name}.scale")

    def attention(self, x: Tensor, layer: int, cos: Tensor, sin: Tensor) -> Tensor:
        c, block, kv = self.config, f"blocks.{layer}.attention", f"kv_projections.{self.config.kv_source[layer]}"
        batch, length, _ = x.shape

        def heads(weight: Tensor, count: int) -> Tensor:
            return F.linear(x, weight).view(batch, length, count, c.head_dim).transpose(1, 2)

        def rotate(y: Tensor) -> Tensor:
            half = c.rope_dim // 2
            a, b, rest = y[..., :half], y[..., half : 2 * half], y[..., 2 * half :]
            return torch.cat((a * cos + b * sin, -a * sin + b * cos, rest), dim=-1).to(y.dtype)

        q = rotate(norm(heads(self.w(f"{block}.query.weight"), c.num_heads)))
        k = rotate(norm(heads(self.w(f"{kv}.key.weight"), c.num_kv_heads)))
        v = heads(self.w(f"{kv}.value.weight"), c.num_kv_heads)
        q = q * self.w(f"{block}.qk_gain").to(q.dtype)[:, None, None]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        y = y.transpose(1, 2).reshape(batch, length, -1)
        return F.linear(y, self.w(f"{block}.output.weight"))

    def logits(self, tokens_BT: Tensor) -> Tensor:
        c = self.config
        x = F.embedding(tokens_BT, self.w("token_embedding.weight"))
        x = x + self.ngram("bigram", tokens_BT, c.bigram_buckets, (36313, 27191))
        x = x + self.ngram("trigram", tokens_BT, c.trigram_buckets, (73856, 19349, 83492))
        x = norm(x)
        g = torch.sigmoid(self.w("smear.gate"))
        x = (1 - g) * x + g * F.pad(x, (0, 0, 1, 0))[:, :-1]
        x0, stack, half = x, [], c.num_layers // 2
        theta = c.rope_base ** (-torch.arange(0, c.rope_dim, 2).float() / c.rope_dim)
        angle = torch.arange(tokens_BT.shape[1]).float()[:, None] * theta
        cos, sin = angle.cos(), angle.sin()
        for layer in range(c.num_layers):
            block = f"blocks.{layer}"
            if layer >= half and stack:
                x = x + self.w("skip_weights")[layer - half] * stack.pop()
            mix = self.w(f"{block}.residual_mix")
            x = mix[0] * x + mix[1] * x0
            x = x + self.w(f"{block}.attention_scale") * self.attention(norm(x), layer, cos, sin)
            w_in, w_out = self.w(f"{block}.mlp.input.weight"), self.w(f"{block}.mlp.output.weight")
            if self.training:
                w_in, w_out = fake_int4(w_in), fake_int4(w_out)
            h = F.leaky_relu(F.linear(norm(x), w_in), c.leaky_slope).square()
            x = x + self.w(f"{block}.mlp_scale") * F.linear(h, w_out)
            if layer < half:
                stack.append(x)
        logits = F.linear(norm(x), self.w("token_embedding.weight"))
        return c.logit_softcap * torch.tanh(logits / c.logit_softcap)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(tokens_BT).float().flatten(0, 1), targets_BT.flatten())


def fake_int4(w: Tensor) -> Tensor:
    """Row maximum / 7, straight through: the PR's fake quantizer, inside the graph at every forward pass."""
    scale = w.detach().abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 7
    return w + ((w / scale).round().clamp(-8, 7) * scale - w).detach()


class PlainTrainer:
    """A step of Muon for matrices and AdamW for the rest, with gradient clipping and a weight average."""

    def __init__(self, network: PlainNetwork, autocast: bool) -> None:
        self.network, self.autocast = network, autocast
        named = [(name.replace("/", "."), p) for name, p in network.weights.items()]
        tables = ("token_embedding.weight", "bigram.table.weight", "trigram.table.weight")
        self.matrices = [p for name, p in named if p.ndim == 2 and name.endswith("weight") and name not in tables]
        chosen = {id(p) for p in self.matrices}
        self.adam = torch.optim.AdamW([p for _, p in named if id(p) not in chosen], lr=0.02, betas=(0.9, 0.95))
        self.momentum = [torch.zeros_like(p) for p in self.matrices]
        self.average = {name: p.detach().clone() for name, p in named}

    def gradients(self, tokens_BT: Tensor, targets_BT: Tensor) -> float:
        self.network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            loss = self.network(tokens_BT, targets_BT)
        loss.backward()
        return loss.item()

    @torch.no_grad()
    def update(self) -> None:
        nn.utils.clip_grad_norm_(self.network.parameters(), 0.3)
        for p, momentum in zip(self.matrices, self.momentum, strict=True):
            assert p.grad is not None
            momentum.mul_(0.95).add_(p.grad)
            x = p.grad.add(momentum, alpha=0.95).bfloat16()
            tall = x.shape[0] > x.shape[1]
            x = x.T if tall else x
            x = x / (x.norm() + 1e-7)
            for _ in range(5):
                gram = x @ x.T
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
            x = x.T if tall else x
            p.mul_(1 - 0.02 * 0.04).add_(x.float(), alpha=-0.02 * max(1, p.shape[0] / p.shape[1]) ** 0.5)
        self.adam.step()
        for name, p in self.network.weights.items():
            self.average[name.replace("/", ".")].mul_(0.999).add_(p.detach(), alpha=0.001)


class PlainAdapter:
    """A step of full-model test-time training: AdamW without decay, MLP matrices with learning rates of their own."""

    def __init__(self, network: PlainNetwork, autocast: bool) -> None:
        self.network, self.autocast = network, autocast
        scales = {"mlp/output/weight": 3.0, "mlp/input/weight": 0.5}
        groups: dict[float, list[nn.Parameter]] = {1.0: [], 3.0: [], 0.5: []}
        for name, parameter in network.weights.items():
            groups[next((s for end, s in scales.items() if name.endswith(end)), 1.0)].append(parameter)
        self.adam = torch.optim.AdamW([{"params": p, "lr": 5e-4 * s} for s, p in groups.items()], weight_decay=0.0)

    def step(self, tokens_BT: Tensor, targets_BT: Tensor) -> float:
        self.adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            loss = self.network(tokens_BT, targets_BT)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.adam.step()
        return loss.item()


@torch.inference_mode()
def plain_nats(network: PlainNetwork, tokens: np.ndarray, windows: list[Window], autocast: bool) -> Tensor:
    """Scores of windows of one length, full logits for every position."""
    run = torch.from_numpy(np.stack([tokens[w.start : w.end + 1] for w in windows]).astype(np.int64))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits_BTV = network.logits(run[:, :-1]).float()
    nats_BT = F.cross_entropy(logits_BTV.flatten(0, 1), run[:, 1:].flatten(), reduction="none").view(len(windows), -1)
    return torch.cat([row[w.score_start - w.start :] for row, w in zip(nats_BT, windows, strict=True)])


def plain_quantize(
    weights: dict[str, Tensor], bits_of: dict[str, int], ratios: tuple[float, ...]
) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Clip search per row (docs/quantization.md): name -> (int8 codes, fp16 scales), or (fp16 values, None) at 16
    bits."""
    found: dict[str, tuple[Tensor, Tensor | None]] = {}
    for name, w in weights.items():
        if bits_of[name] >= 16:
            found[name] = (w.half(), None)
            continue
        top = 2 ** (bits_of[name] - 1) - 1
        most = w.abs().amax(dim=1, keepdim=True)
        best_error = torch.full((len(w), 1), float("inf"), dtype=torch.float64)
        best_codes, best_scale = torch.zeros_like(w), torch.zeros_like(most)
        for ratio in reversed(ratios):
            scale = (most * ratio / top).half().float()
            codes = (w / scale).round().clamp(-top - 1, top)
            error = (w - codes * scale).double().square().sum(dim=1, keepdim=True)
            better = error < best_error
            best_error = torch.where(better, error, best_error)
            best_codes = torch.where(better, codes, best_codes)
            best_scale = torch.where(better, scale, best_scale)
        found[name] = (best_codes.to(torch.int8), best_scale.half())
    return found


def plain_pack(found: dict[str, tuple[Tensor, Tensor | None]], bits_of: dict[str, int]) -> bytes:
    """Two int4 codes to a byte, wider ones a byte each, all tensors after each other, zstd level 22."""
    import zstandard

    parts = []
    for name, (codes, scales) in found.items():
        if bits_of[name] == 4:
            codes = (codes[:, ::2] & 15) | (codes[:, 1::2] << 4)
        parts.append(codes.numpy().tobytes())
        if scales is not None:
            parts.append(scales.numpy().tobytes())
    return zstandard.ZstdCompressor(level=22).compress(b"".join(parts))
