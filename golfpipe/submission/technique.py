"""What a configuration does, in sentences; nothing is said that the configuration does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from golfpipe.codec.coders import CODERS
from golfpipe.config.schema import PipelineConfig
from golfpipe.model.config import LastLayers, LayerChoice, LoopedLayers, ModelConfig
from golfpipe.quant.config import ClassScheme, QuantPolicy
from golfpipe.quant.quantizers import QUANTIZERS
from golfpipe.scoring.config import EvaluateConfig


def technique_lines(
    config: PipelineConfig, sections: Mapping[str, Any], adapted: Sequence[int] = ()
) -> tuple[str, ...]:
    """One line per topic. `sections` names what ran: without `ttt` in it there was no test-time training. `adapted`:
    how many documents each seed's test-time training learned from, where a setting bounds that."""
    lines = [_model(config.model), _tables(config.model), _training(config)]
    if "quantize" in sections:
        lines.append(_quantization(config))
    if "pack" in sections:
        lines.append(f"Packing: {CODERS.load(config.pack.coder).about}, one file.")
    method = config.ttt.chosen if "ttt" in sections else None
    counts = " to ".join(f"{number:,}" for number in sorted({min(adapted), max(adapted)})) if adapted else ""
    bound = f"; the {counts} longest documents are learned from" if counts else ""
    about = (
        f"Test-time training: {method.describe(config.ttt.recipe())}{bound}." if method else "No test-time training."
    )
    lines.append(about)
    if "evaluate" in sections and not (method and method.by_document):  # its windows are then its own
        lines.append(_evaluation(config.evaluate))
    return tuple(lines)


def one_line(config: PipelineConfig) -> str:
    """The design in a few words: '16L 512d MLP x3.5, int4 MLP, int6 attention'."""
    model, quantize = config.model, config.quantize
    stored = f"{_stored(quantize.mlp)} MLP, {_stored(quantize.attention)} attention"
    if quantize.is_open:
        stored = f"{quantize.quantizer} codes"
    return f"{model.num_layers}L {model.model_dim}d MLP x{model.mlp_ratio:g}, {stored}"


def _model(model: ModelConfig) -> str:
    activation = "ReLU" if model.leaky_slope == 0 else f"leaky ReLU({model.leaky_slope:g})"
    parts = [
        f"{model.num_layers} layers of width {model.model_dim}",
        f"{model.num_heads} query and {model.num_kv_heads} key/value heads",
        f"MLP x{model.mlp_ratio:g} with squared {activation}",
        f"rotary embedding on {model.rope_fraction:.0%} of each head" if model.rope_dim else "no rotary embedding",
        _kv_sharing(model),
    ]
    exclusive = _layers(model.exclusive_attention)
    if exclusive:
        parts.append(f"exclusive self-attention in {exclusive}")
    if isinstance(model.loop, LoopedLayers):
        loop = model.loop
        parts.append(f"layers {loop.first} to {loop.last} (from 0) run {loop.passes} times")
    if parallel := _layers(model.parallel_residual):
        parts.append(f"attention and MLP in parallel in {parallel}")
    if model.document_attention:
        parts.append("attention inside documents")
    if model.depth_scale:
        parts.append("normed inputs divided by the root of the depth")
    embeddings = "tied embeddings" if model.tied_embeddings else "untied embeddings"
    return f"Model: {', '.join(part for part in parts if part)}, {embeddings}, logit softcap {model.logit_softcap:g}."


def _kv_sharing(model: ModelConfig) -> str:
    if model.kv_sharing == "none":
        return ""
    if model.kv_sharing == "all":
        return "one K/V projection pair shared by all layers"
    assert isinstance(model.kv_sharing, LastLayers)
    last = model.kv_sharing.last
    return f"the last {last} layers use the K/V projections of the {last} before them"


def _layers(choice: LayerChoice) -> str:
    if choice == "none":
        return ""
    return (
        "all layers" if choice == "all" else f"the last {choice.last} layers" if isinstance(choice, LastLayers) else ""
    )


def _tables(model: ModelConfig) -> str:
    tables = [
        f"{name} {buckets} x {width}"
        for name, buckets, width in (
            ("bigram", model.bigram_buckets, model.bigram_dim),
            ("trigram", model.trigram_buckets, model.trigram_dim),
        )
        if buckets
    ]
    hashed = f"hashed tables {' and '.join(tables)}" if tables else "no n-gram tables"
    subject = "tables and smear gate" if tables else "the smear gate"
    see = "stop at" if tables else "stops at"
    if not model.mask_document_boundaries:
        see = "look across" if tables else "looks across"
    return f"Input: token embedding of {model.vocab_size} pieces, {hashed}; {subject} {see} document boundaries."


def _training(config: PipelineConfig) -> str:
    train, optim = config.train, config.optim
    cap = f" or {train.max_seconds:g} s" if train.max_seconds else ""
    parts = [
        f"at most {train.max_steps} steps{cap} of {train.batch_tokens} tokens at context"
        f" {', then '.join(map(str, train.context_lengths))}",
        f"Muon (lr {optim.matrix_lr:g}) for matrices, AdamW for tables ({optim.embed_lr:g})"
        f" and gains ({optim.scalar_lr:g})",
    ]
    if train.ema_decay:
        kind = "bias-corrected" if train.ema_bias_correction else "plain"
        parts.append(f"{kind} weight average with decay {train.ema_decay:g}")
    if config.model.loop != "none" and train.loop_start:
        parts.append(f"loops after {train.loop_start:.0%} of training")
    parts.append(_quantization_aware(train.qat, train.qat_start))
    if train.rate_penalty:
        parts.append(f"a penalty of {train.rate_penalty:g} nats for each bit per weight")
    return f"Training: {', '.join(parts)}, {train.precision}."


def _quantization_aware(policy: QuantPolicy, start: float) -> str:
    if start >= 1:
        return "no quantization-aware training"
    chosen = [
        f"{_stored(scheme)} {name}"
        for name, scheme in (("MLP", policy.mlp), ("attention", policy.attention), ("n-gram tables", policy.ngram))
        if not scheme.is_float
    ]
    if not chosen:
        return "no quantization-aware training"
    begin = "from the start" if start == 0 else f"after {start:.0%} of training"
    return f"quantization-aware ({', '.join(chosen)}) {begin}"


def _quantization(config: PipelineConfig) -> str:
    quantize = config.quantize
    classes = (
        ("MLP", quantize.mlp), ("attention", quantize.attention), ("n-gram tables", quantize.ngram),
        ("token embedding", quantize.token_table), ("gains and gates", quantize.small),
    )  # fmt: skip
    chosen = ", ".join(f"{name} {_stored(scheme)}" for name, scheme in classes)
    pruned = (
        f"; the smallest {quantize.prune_fraction:.1%} of each large matrix set to zero"
        if quantize.prune_fraction
        else ""
    )
    about = QUANTIZERS.load(quantize.quantizer).about
    if not quantize.is_open:
        return f"Quantization: {about}; {chosen}{pruned}."
    target = f"{quantize.target_bits:g} bits per weight" if quantize.target_bits else f"{quantize.target_bytes} bytes"
    solved = f", steps solved for {target}" if quantize.has_target else f"; {chosen}"
    calibrated = "" if quantize.calibration == "none" else f", calibrated on {quantize.calibration} tokens"
    return f"Quantization: {about}{solved}{calibrated}{pruned}."


def _evaluation(evaluate: EvaluateConfig) -> str:
    windows = "disjoint windows" if evaluate.method == "chunked" else f"sliding window, stride {evaluate.stride}"
    part = f"; the first {evaluate.max_targets} targets only" if evaluate.max_targets else ""
    return f"Evaluation: {windows}, context {evaluate.context_length}, {evaluate.precision}{part}."


def _stored(scheme: ClassScheme) -> str:
    if scheme.step:
        return f"step {scheme.step:g}"
    return f"fp{scheme.bits}" if scheme.is_float else f"int{scheme.bits}"
