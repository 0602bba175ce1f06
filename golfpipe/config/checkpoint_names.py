"""The architecture that names and shapes in a checkpoint of the PR's script show (docs/file-formats.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from golfpipe.config.schema import PipelineConfig, build_config, plain_config
from golfpipe.errors import ConfigError, DataError
from golfpipe.model.config import LastLayers, LayerChoice, ModelConfig, parameter_shapes

Shape = tuple[int, ...]

PREFIXES = ("_orig_mod.", "module.")
"""Prefixes that torch.compile and data parallelism put before names."""
IGNORED = re.compile(r"(^|\.)(rotary|rope)\.(inv_freq|cos|sin)\w*$")
"""Names of buffers that follow from the settings."""
ASSUMED = (
    "leaky_slope", "rope_fraction", "rope_base", "logit_softcap", "exclusive_attention", "mask_document_boundaries",
    "bos_id", "parallel_residual", "document_attention", "depth_scale",
)  # fmt: skip
"""Keys of `model` that leave no trace in names and shapes. `qk_gain_init` is not among them: only training uses it."""
ASSUMED_CONTEXT = "evaluate.context_length"
"""The context that the model was trained with, in which it is to be scored, leaves no trace either."""

_TOP = {
    "token_embedding.weight": "tok_emb.weight",
    "output_head.weight": "lm_head.weight",
    "smear.gate": "smear.gate",
    "skip_weights": "skip_weights",
    **{
        f"{table}.{ours}": f"{table}.{theirs}"
        for table in ("bigram", "trigram")
        for ours, theirs in (("table.weight", "embed.weight"), ("projection.weight", "proj.weight"), ("scale", "scale"))
    },
}
_BLOCK = {
    "attention.query.weight": "attn.c_q.weight",
    "attention.output.weight": "attn.proj.weight",
    "attention.qk_gain": "attn.q_gain",
    "mlp.input.weight": "mlp.fc.weight",
    "mlp.output.weight": "mlp.proj.weight",
    "attention_scale": "attn_scale",
    "mlp_scale": "mlp_scale",
    "residual_mix": "resid_mix",
}
_KV = {"key.weight": "attn.c_k.weight", "value.weight": "attn.c_v.weight"}
_MAX_LAYERS = 1024


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """What a checkpoint shows of its architecture."""

    model: dict[str, Any]
    """The values of the keys of `model` that its names and shapes show. A missing table has no width here, so that the
    settings give it."""
    sources: dict[str, str]
    """The file's name of each tensor, by golfpipe's name."""
    ignored: tuple[str, ...]
    """Names in the file that hold no weights of the model."""


def stripped(name: str) -> str:
    """Return a name without the prefixes of compilation and data parallelism."""
    while (prefix := next((p for p in PREFIXES if name.startswith(p)), None)) is not None:
        name = name.removeprefix(prefix)
    return name


def infer_model(shapes: Mapping[str, Shape], where: str, *, tied_head: bool = False, loop: Any = "none") -> Inferred:
    """Infer the architecture from the file's names and their shapes. `tied_head` says that the file has a
    lm_head.weight equal to the token table. `loop`, the plain model.loop, has left no trace but the number of skips.

    Raises DataError naming `where` and the tensor that is missing, left over, or of an unexpected shape.
    """
    named = {stripped(name): name for name in shapes}
    if len(named) != len(shapes):
        raise DataError(f"{where}: two names differ only in {' or '.join(PREFIXES)}")
    seen = _Shapes({short: shapes[name] for short, name in named.items()}, where)
    vocab_size, model_dim = seen.of("tok_emb.weight", 2)
    num_layers = _num_layers(named, where)
    (num_heads,) = seen.of("blocks.0.attn.q_gain", 1)
    if not num_heads or model_dim % num_heads:
        raise DataError(f"{where}: {num_heads} heads in blocks.0.attn.q_gain do not divide the width {model_dim}")
    owners = [i for i in range(num_layers) if f"blocks.{i}.attn.c_k.weight" in named]
    if not owners:
        raise DataError(f"{where}: no layer has attn.c_k.weight, so there are no key projections")
    kv_rows, _ = seen.of(f"blocks.{owners[0]}.attn.c_k.weight", 2)
    hidden, _ = seen.of("blocks.0.mlp.fc.weight", 2)
    head_dim = model_dim // num_heads
    if kv_rows % head_dim:
        raise DataError(
            f"{where}: blocks.{owners[0]}.attn.c_k.weight has {kv_rows} rows, no multiple of {head_dim} per head"
        )
    model: dict[str, Any] = {
        "vocab_size": vocab_size,
        "num_layers": num_layers,
        "model_dim": model_dim,
        "num_heads": num_heads,
        "num_kv_heads": kv_rows // head_dim,
        "mlp_ratio": _ratio(hidden, model_dim),
        "kv_sharing": _plain_choice(_kv_sharing(owners, num_layers, where)),
        "tied_embeddings": tied_head or "lm_head.weight" not in named,
        "loop": loop,
    }
    for table in ("bigram", "trigram"):
        model[f"{table}_buckets"] = 0
        if f"{table}.embed.weight" in named:
            model[f"{table}_buckets"], model[f"{table}_dim"] = seen.of(f"{table}.embed.weight", 2)
    config = _checked(model, where)
    sources = {ours: _theirs(ours, owners) for ours in parameter_shapes(config)}
    _check_shapes(parameter_shapes(config), sources, seen)
    ignored = [short for short in named if IGNORED.search(short)]
    if tied_head:
        ignored.append("lm_head.weight")
    left = sorted(named.keys() - set(sources.values()) - set(ignored))
    if left:
        raise DataError(f"{where}: {_some(left)} not known; not a checkpoint of the pull request's script")
    return Inferred(
        model=model,
        sources={ours: named[theirs] for ours, theirs in sources.items()},
        ignored=tuple(named[short] for short in sorted(ignored)),
    )


def fits_preset(model: dict[str, Any], inferred: dict[str, Any]) -> bool:
    """Return True if a resolved `model` section has the architecture that the file shows."""
    return all(model.get(key) == value for key, value in inferred.items())


class _Shapes:
    """Shapes by the file's names without prefixes; errors name the file."""

    def __init__(self, shapes: Mapping[str, Shape], where: str) -> None:
        self.shapes, self.where = shapes, where

    def of(self, name: str, dimensions: int) -> Shape:
        shape = self.shapes.get(name)
        if shape is None:
            raise DataError(f"{self.where}: no tensor {name}; not a checkpoint of the pull request's script")
        if len(shape) != dimensions:
            raise DataError(f"{self.where}: {name} has shape {list(shape)}, expected {dimensions} dimensions")
        return shape


def _num_layers(names: Iterable[str], where: str) -> int:
    numbers = {int(match[1]) for name in names if (match := re.match(r"blocks\.(\d{1,6})\.", name))}
    if not numbers or numbers != set(range(len(numbers))) or len(numbers) > _MAX_LAYERS:
        raise DataError(
            f"{where}: blocks are numbered {_some([str(n) for n in sorted(numbers)]) or 'not at all'},"
            " expected 0, 1, ..."
        )
    return len(numbers)


def _kv_sharing(owners: list[int], num_layers: int, where: str) -> LayerChoice:
    """Return the sharing in which the layers `owners` own K/V projections. Raises DataError if there is none."""
    if len(owners) == num_layers:
        return "none"
    if owners == [0]:
        return "all"
    last = num_layers - len(owners)
    if owners == list(range(len(owners))) and 2 * last <= num_layers:
        return LastLayers(last=last)
    raise DataError(
        f"{where}: layers {_some([str(n) for n in owners])} own K/V projections, which is no sharing that golfpipe has"
    )


def _plain_choice(choice: LayerChoice) -> Any:
    return {"last": choice.last} if isinstance(choice, LastLayers) else choice


def _ratio(hidden: int, model_dim: int) -> float:
    """Return a ratio whose product with the width, rounded down, is the hidden width."""
    ratio = hidden / model_dim
    return ratio if int(ratio * model_dim) == hidden else (hidden + 0.5) / model_dim


def _checked(model: dict[str, Any], where: str) -> ModelConfig:
    try:
        return build_config({"model": model}).model
    except ConfigError as error:
        raise DataError(f"{where}: shapes that make no model: {error.message}") from error


def _theirs(ours: str, owners: list[int]) -> str:
    if ours in _TOP:
        return _TOP[ours]
    kind, number, rest = ours.split(".", 2)
    if kind == "kv_projections":
        return f"blocks.{owners[int(number)]}.{_KV[rest]}"
    return f"blocks.{number}.{_BLOCK[rest]}"


def _check_shapes(expected: Mapping[str, Shape], sources: Mapping[str, str], seen: _Shapes) -> None:
    for ours, shape in expected.items():
        theirs = sources[ours]
        found = seen.shapes.get(theirs)
        if found is None:
            raise DataError(f"{seen.where}: no tensor {theirs}, which this architecture has")
        if found != shape and not (shape == () and found == (1,)):
            raise DataError(f"{seen.where}: {theirs} has shape {list(found)}, expected {list(shape)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def assumed_values(config: PipelineConfig) -> dict[str, Any]:
    """Return the values of the dotted keys that no checkpoint shows."""
    plain = plain_config(config.model)
    return {f"model.{key}": plain[key] for key in ASSUMED} | {ASSUMED_CONTEXT: config.evaluate.context_length}
