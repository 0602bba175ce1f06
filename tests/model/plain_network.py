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


def layers_in_order(c, looping):
    if c.loop == "none" or not looping:
        return list(range(c.num_layers))
    order = []
    for layer in range(c.num_layers):
        if layer == c.loop.first:
            for _ in range(c.loop.passes - 1):
                order += list(range(c.loop.first, c.loop.last + 1))
        order.append(layer)
    return order


def attend(c, w, layer, xs, tokens):
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
            scores, seen = [], []
            for s in range(t + 1):
                if c.document_attention and any(tokens[between] == c.bos_id for between in range(s + 1, t + 1)):
                    continue
                seen.append(s)
                key = rotate(rms(keys[s][k * width : (k + 1) * width]), s, rope_dim, c.rope_base)
                scores.append(float(q @ key) / math.sqrt(width))
            peak = max(scores)
            weights = [math.exp(s - peak) for s in scores]
            y = sum(p * values[s][k * width : (k + 1) * width] for s, p in zip(seen, weights, strict=True))
            y = y / sum(weights)
            if c.exclusive_layers[layer]:
                v = values[t][k * width : (k + 1) * width]
                y = y - (y @ v) / (v @ v) * v
            heads.append(y)
        outs.append(w[f"{own}.output.weight"] @ np.concatenate(heads))
    return outs


def plain_logits(c, w, tokens, looping=True):
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
    order = layers_in_order(c, looping)
    half = len(order) // 2
    for place, layer in enumerate(order):
        p = f"blocks.{layer}"
        depth = math.sqrt(layer + 1) if c.depth_scale else 1.0
        if place >= half and stack:
            saved = stack.pop()
            xs = [x + w["skip_weights"][place - half] * s for x, s in zip(xs, saved, strict=True)]
        mix = w[f"{p}.residual_mix"]
        xs = [mix[0] * x + mix[1] * x0 for x, x0 in zip(xs, first, strict=True)]
        before = xs
        attended = attend(c, w, layer, [rms(x) / depth for x in xs], tokens)
        xs = [x + w[f"{p}.attention_scale"] * y for x, y in zip(xs, attended, strict=True)]
        after = []
        for x, read in zip(xs, before if c.parallel_layers[layer] else xs, strict=True):
            h = w[f"{p}.mlp.input.weight"] @ (rms(read) / depth)
            h = np.where(h > 0, h, c.leaky_slope * h) ** 2
            after.append(x + w[f"{p}.mlp_scale"] * (w[f"{p}.mlp.output.weight"] @ h))
        xs = after
        if place < half:
            stack.append(xs)
    logits = np.stack([w["token_embedding.weight"] @ rms(x) for x in xs])
    return c.logit_softcap * np.tanh(logits / c.logit_softcap)
