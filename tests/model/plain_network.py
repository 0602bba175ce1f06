"""The network of docs/model.md once more, in plain float64 numpy with loops: slow, obvious, and sharing no code."""

from __future__ import annotations

import math

import numpy as np


def rms(x):
    return x / math.sqrt(float(np.mean(x * x)) + 1.1920929e-07)


def bucket(tokens, t, buckets, factors, bos, masked):
    order = len(factors)
    if t < order - 1:
        return buckets - 1
    if masked and any(tokens[t - back] == bos for back in range(order - 1)):
        return buckets - 1
    value = 0
    for back, factor in enumerate(factors):
        value ^= factor * int(tokens[t - back])
    return value % (buckets - 1)


def rotate(head, t, rope_dim, base):
    out = head.copy()
    half = rope_dim // 2
    for i in range(half):
        angle = t * base ** (-2 * i / rope_dim)
        a, b = head[i], head[i + half]
        out[i] = a * math.cos(angle) + b * math.sin(angle)
        out[i + half] = -a * math.sin(angle) + b * math.cos(angle)
    return out


def attend(c, w, layer, xs):
    """xs: normed inputs [T][D] -> attention output before the scale."""
    owner, own = f"kv_projections.{c.kv_source[layer]}", f"blocks.{layer}.attention"
    width, group = c.head_dim, c.num_heads // c.num_kv_heads
    rope_dim = 0 if c.rope_fraction == 0 else max(2, (int(width * c.rope_fraction) // 2) * 2)
    queries = [w[f"{own}.query.weight"] @ x for x in xs]
    keys = [w[f"{owner}.key.weight"] @ x for x in xs]
    values = [w[f"{owner}.value.weight"] @ x for x in xs]
    outs = []
    for t in range(len(xs)):
        heads = []
        for h in range(c.num_heads):
            k = h // group
            q = rotate(rms(queries[t][h * width : (h + 1) * width]), t, rope_dim, c.rope_base)
            q = q * w[f"{own}.qk_gain"][h]
            scores = []
            for s in range(t + 1):
                key = rotate(rms(keys[s][k * width : (k + 1) * width]), s, rope_dim, c.rope_base)
                scores.append(float(q @ key) / math.sqrt(width))
            peak = max(scores)
            weights = [math.exp(s - peak) for s in scores]
            y = sum(p * values[s][k * width : (k + 1) * width] for s, p in enumerate(weights)) / sum(weights)
            if c.exclusive_layers[layer]:
                v = values[t][k * width : (k + 1) * width]
                y = y - (y @ v) / (v @ v) * v
            heads.append(y)
        outs.append(w[f"{own}.output.weight"] @ np.concatenate(heads))
    return outs


def plain_logits(c, w, tokens):
    """Softcapped logits [T, V] in float64. c: ModelConfig, w: name -> float64 array, tokens: list of ids."""
    xs = []
    for t, token in enumerate(tokens):
        x = w["token_embedding.weight"][token].copy()
        for name, buckets, factors in (
            ("bigram", c.bigram_buckets, (36313, 27191)),
            ("trigram", c.trigram_buckets, (73856, 19349, 83492)),
        ):
            if buckets:
                row = w[f"{name}.table.weight"][
                    bucket(tokens, t, buckets, factors, c.bos_id, c.mask_document_boundaries)
                ]
                x = x + w[f"{name}.scale"] * (w[f"{name}.projection.weight"] @ row)
        xs.append(rms(x))
    gate = 1 / (1 + np.exp(-w["smear.gate"]))
    smeared = []
    for t, x in enumerate(xs):
        cut = t == 0 or (c.mask_document_boundaries and tokens[t] == c.bos_id)
        smeared.append((1 - gate) * x + gate * (np.zeros_like(x) if cut else xs[t - 1]))
    first, xs, stack = smeared, list(smeared), []
    half = c.num_layers // 2
    for layer in range(c.num_layers):
        p = f"blocks.{layer}"
        if layer >= half and stack:
            saved = stack.pop()
            xs = [x + w["skip_weights"][layer - half] * s for x, s in zip(xs, saved, strict=True)]
        mix = w[f"{p}.residual_mix"]
        xs = [mix[0] * x + mix[1] * x0 for x, x0 in zip(xs, first, strict=True)]
        attended = attend(c, w, layer, [rms(x) for x in xs])
        xs = [x + w[f"{p}.attention_scale"] * y for x, y in zip(xs, attended, strict=True)]
        after = []
        for x in xs:
            h = w[f"{p}.mlp.input.weight"] @ rms(x)
            h = np.where(h > 0, h, c.leaky_slope * h) ** 2
            after.append(x + w[f"{p}.mlp_scale"] * (w[f"{p}.mlp.output.weight"] @ h))
        xs = after
        if layer < half:
            stack.append(xs)
    logits = np.stack([w["token_embedding.weight"] @ rms(x) for x in xs])
    return c.logit_softcap * np.tanh(logits / c.logit_softcap)
