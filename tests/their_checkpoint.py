"""A checkpoint as the pull request's script saves it: its names, random weights."""

from __future__ import annotations

import torch

from golfpipe.model.config import ModelConfig, parameter_shapes

BLOCK = {
    "attention.query.weight": "attn.c_q.weight",
    "attention.output.weight": "attn.proj.weight",
    "attention.qk_gain": "attn.q_gain",
    "mlp.input.weight": "mlp.fc.weight",
    "mlp.output.weight": "mlp.proj.weight",
    "attention_scale": "attn_scale",
    "mlp_scale": "mlp_scale",
    "residual_mix": "resid_mix",
}


def theirs(name: str, config: ModelConfig) -> str:
    """golfpipe's name in the pull request's words; written out again, so that a slip in the table shows."""
    if name.startswith("blocks."):
        _, number, rest = name.split(".", 2)
        return f"blocks.{number}.{BLOCK[rest]}"
    if name.startswith("kv_projections."):
        _, number, rest = name.split(".", 2)
        owner = config.kv_source.index(int(number))
        return f"blocks.{owner}.attn.c_{rest[0]}.weight"
    for ours, other in (
        ("token_embedding", "tok_emb"),
        ("output_head", "lm_head"),
        (".table.", ".embed."),
        (".projection.", ".proj."),
    ):
        name = name.replace(ours, other)
    return name


def state(model: ModelConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        theirs(name, model): torch.randn(shape, generator=generator) * 0.1
        for name, shape in parameter_shapes(model).items()
    }
