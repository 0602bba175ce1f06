"""The network's architecture as settings. Torch-free, so that the command line can read and check them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from golfpipe.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class LastLayers:
    """A choice of layers: the last `last` ones. In YAML: `{last: 4}`."""

    last: int


LayerChoice = Literal["none", "all"] | LastLayers


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopedLayers:
    """The layers `first` to `last`, which run `passes` times. In YAML: `{first: 3, last: 5, passes: 3}`."""

    first: int
    last: int
    passes: int


Loop = Literal["none"] | LoopedLayers


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Sizes and techniques of the network (docs/model.md). The defaults are those of preset `16l`."""

    vocab_size: int = 1024
    """The number of the tokenizer's pieces."""
    num_layers: int = 16
    """The number of layers, each with attention and an MLP."""
    model_dim: int = 512
    """The width of the residual stream."""
    num_heads: int = 8
    """The number of query heads."""
    num_kv_heads: int = 4
    """The number of key/value heads; each serves num_heads / num_kv_heads query heads."""
    mlp_ratio: float = 3.5
    """The hidden width of the MLP, divided by model_dim."""
    leaky_slope: float = 0.5
    """The MLP's activation is leaky_relu(x, leaky_slope) squared; 0 gives relu squared."""
    rope_fraction: float = 0.25
    """The share of head_dim that rotary positions turn; 0 means no rotation."""
    rope_base: float = 10000.0
    """The base of the rotary frequencies; a larger one turns more slowly."""
    qk_gain_init: float = 1.5
    """The initial gain of each query head, which multiplies the normed query."""
    logit_softcap: float = 30.0
    """The bound c of the logits, which are c * tanh(z / c)."""
    bigram_buckets: int = 20480
    """The number of rows of the hashed bigram table, the no-context row included; 0 leaves the table out."""
    bigram_dim: int = 128
    """The width of a row of the bigram table, before it is projected to model_dim."""
    trigram_buckets: int = 10240
    """The number of rows of the hashed trigram table, the no-context row included; 0 leaves the table out."""
    trigram_dim: int = 64
    """The width of a row of the trigram table, before it is projected to model_dim."""
    kv_sharing: LayerChoice = "all"
    """The layers that use another layer's K/V *projections*: none; all (layers 1.. use layer 0's);
    {last: N} (layer i of the last N uses layer i - N)."""
    exclusive_attention: LayerChoice = "none"
    """The layers whose heads drop their output's component along the position's own value (arXiv 2603.09078)."""
    mask_document_boundaries: bool = True
    """True: n-gram hashes and the smear gate do not look back across the last BOS."""
    bos_id: int = 1
    """The token with which every document begins."""
    tied_embeddings: bool = True
    """True: the output matrix is the token table. False, in imported models only: it is a matrix of its own."""
    loop: Loop = "none"
    """The layers that run several times, one pass after the other, with the same weights. Training may begin without
    (train.loop_start)."""
    parallel_residual: LayerChoice = "none"
    """The layers whose MLP reads the same input as their attention, instead of the attention's result."""
    document_attention: bool = False
    """True: attention does not look back across the last BOS."""
    depth_scale: bool = False
    """True: the normed inputs of attention and MLP of layer i are divided by sqrt(i + 1)."""

    def __post_init__(self) -> None:
        for key in ("vocab_size", "num_layers", "model_dim", "num_heads", "num_kv_heads"):
            _require(getattr(self, key) >= 1, key, getattr(self, key), "must be at least 1")
        _require(self.vocab_size <= 65536, "vocab_size", self.vocab_size, "must fit uint16 shards (at most 65536)")
        _require(self.num_layers <= 1024, "num_layers", self.num_layers, "must be at most 1024")
        _require(self.model_dim <= 65536, "model_dim", self.model_dim, "must be at most 65536")
        _require(
            self.model_dim % self.num_heads == 0 and self.head_dim % 2 == 0,
            "model_dim",
            self.model_dim,
            f"must be an even multiple of num_heads ({self.num_heads})",
        )
        _require(
            self.num_heads % self.num_kv_heads == 0,
            "num_heads",
            self.num_heads,
            f"must be a multiple of num_kv_heads ({self.num_kv_heads})",
        )
        _require(0 < self.mlp_ratio <= 64, "mlp_ratio", self.mlp_ratio, "must lie in (0, 64]")
        _require(self.mlp_hidden >= 1, "mlp_ratio", self.mlp_ratio, "gives an MLP without hidden units")
        _require(0 <= self.leaky_slope <= 1, "leaky_slope", self.leaky_slope, "must lie in 0..1")
        _require(0 <= self.rope_fraction <= 1, "rope_fraction", self.rope_fraction, "must lie in 0..1")
        _require(self.rope_base > 1, "rope_base", self.rope_base, "must be above 1")
        _require(self.logit_softcap > 0, "logit_softcap", self.logit_softcap, "must be positive")
        for table in ("bigram", "trigram"):
            buckets, width = getattr(self, f"{table}_buckets"), getattr(self, f"{table}_dim")
            _require(
                buckets == 0 or 2 <= buckets <= 1 << 26,
                f"{table}_buckets",
                buckets,
                "must be 0 (no table) or 2..67108864",
            )
            _require(1 <= width <= 65536, f"{table}_dim", width, "must lie in 1..65536")
        _require(0 <= self.bos_id < self.vocab_size, "bos_id", self.bos_id, "must be a token of the vocabulary")
        for key in ("kv_sharing", "exclusive_attention", "parallel_residual"):
            choice = getattr(self, key)
            if isinstance(choice, LastLayers):
                most = self.num_layers // 2 if key == "kv_sharing" else self.num_layers
                _require(
                    1 <= choice.last <= most,
                    f"{key}.last",
                    choice.last,
                    f"must lie in 1..{most}"
                    + (" (layer i uses layer i - N, so 2 N <= num_layers)" if key == "kv_sharing" else ""),
                )
        if isinstance(self.loop, LoopedLayers):
            first, last, passes = self.loop.first, self.loop.last, self.loop.passes
            within = 0 <= first <= last < self.num_layers
            _require(within, "loop", f"{first}..{last}", f"must lie in 0..{self.num_layers - 1}")
            _require(2 <= passes <= 16, "loop.passes", passes, "must lie in 2..16")

    @property
    def head_dim(self) -> int:
        return self.model_dim // self.num_heads

    @property
    def mlp_hidden(self) -> int:
        return int(self.mlp_ratio * self.model_dim)

    @property
    def rope_dim(self) -> int:
        """The number of values of each head that are rotated: even and at least 2, or 0 for no rotation."""
        if self.rope_fraction == 0:
            return 0
        return max(2, (int(self.head_dim * self.rope_fraction) // 2) * 2)

    @property
    def kv_source(self) -> tuple[int, ...]:
        """For each layer, the index of the pair of K/V projections that it uses. Owners are numbered in layer order.

        `none`: 0, 1, 2, ...; `all`: 0, 0, 0, ...; `{last: N}`: the last N repeat the N before them.
        """
        if self.kv_sharing == "none":
            return tuple(range(self.num_layers))
        if self.kv_sharing == "all":
            return (0,) * self.num_layers
        assert isinstance(self.kv_sharing, LastLayers)
        owners = self.num_layers - self.kv_sharing.last
        return tuple(i if i < owners else i - self.kv_sharing.last for i in range(self.num_layers))

    @property
    def num_kv_projections(self) -> int:
        return max(self.kv_source) + 1

    @property
    def exclusive_layers(self) -> tuple[bool, ...]:
        """For each layer, True if its attention is exclusive."""
        return self._chosen(self.exclusive_attention)

    @property
    def parallel_layers(self) -> tuple[bool, ...]:
        """For each layer, True if its MLP reads the same input as its attention."""
        return self._chosen(self.parallel_residual)

    def _chosen(self, choice: LayerChoice) -> tuple[bool, ...]:
        if isinstance(choice, LastLayers):
            return tuple(i >= self.num_layers - choice.last for i in range(self.num_layers))
        return (choice == "all",) * self.num_layers

    def layer_order(self, looping: bool = True) -> tuple[int, ...]:
        """Return the layers in the order in which they run: looped ones once per pass, unless `looping` is False."""
        layers = tuple(range(self.num_layers))
        if not looping or not isinstance(self.loop, LoopedLayers):
            return layers
        first, end = self.loop.first, self.loop.last + 1
        return layers[:first] + layers[first:end] * self.loop.passes + layers[end:]

    @property
    def num_skips(self) -> int:
        """The number of U-Net connections, from the first half of the layer order to the second."""
        return len(self.layer_order()) // 2


IDLE: Mapping[str, Any] = {
    "loop": "none",
    "parallel_residual": "none",
    "document_attention": False,
    "depth_scale": False,
}
"""Settings that came later than the first models, and their values in those (golfpipe/config/later.py)."""


def plain_model(config: ModelConfig) -> dict[str, Any]:
    """Return the architecture as what a model carries of it: nested dictionaries, without idle settings."""
    return {key: value for key, value in asdict(config).items() if key not in IDLE or value != IDLE[key]}


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every distinct parameter by name, in the order in which files list them.

    This is the one list of names: the network is checked against it, and readers derive from it what a file must hold.
    """
    dim, kv_dim = config.model_dim, config.num_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"token_embedding.weight": (config.vocab_size, dim)}
    for table in ("bigram", "trigram"):
        buckets, width = getattr(config, f"{table}_buckets"), getattr(config, f"{table}_dim")
        if buckets:
            shapes[f"{table}.table.weight"] = (buckets, width)
            shapes[f"{table}.projection.weight"] = (dim, width)
            shapes[f"{table}.scale"] = ()
    shapes["smear.gate"] = (dim,)
    if config.num_skips:
        shapes["skip_weights"] = (config.num_skips, dim)
    for i in range(config.num_kv_projections):
        shapes[f"kv_projections.{i}.key.weight"] = (kv_dim, dim)
        shapes[f"kv_projections.{i}.value.weight"] = (kv_dim, dim)
    for i in range(config.num_layers):
        block = f"blocks.{i}"
        shapes[f"{block}.attention.query.weight"] = (dim, dim)
        shapes[f"{block}.attention.output.weight"] = (dim, dim)
        shapes[f"{block}.attention.qk_gain"] = (config.num_heads,)
        shapes[f"{block}.mlp.input.weight"] = (config.mlp_hidden, dim)
        shapes[f"{block}.mlp.output.weight"] = (dim, config.mlp_hidden)
        shapes[f"{block}.attention_scale"] = (dim,)
        shapes[f"{block}.mlp_scale"] = (dim,)
        shapes[f"{block}.residual_mix"] = (2, dim)
    if not config.tied_embeddings:
        shapes["output_head.weight"] = (config.vocab_size, dim)
    return shapes


def possible_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of all parameters that a model of this depth could have, with every optional part on; one of a
    single layer also has the skips of two, which rules for all models name."""
    full = replace(
        config,
        num_layers=max(2, config.num_layers),
        bigram_buckets=2,
        trigram_buckets=2,
        kv_sharing="none",
        tied_embeddings=False,
    )
    return tuple(parameter_shapes(full))


def parameter_count(config: ModelConfig) -> int:
    """Return the number of distinct parameters; shared projections count once."""
    total = 0
    for shape in parameter_shapes(config).values():
        size = 1
        for width in shape:
            size *= width
        total += size
    return total


def multiplied_weights(config: ModelConfig, looping: bool = True) -> int:
    """Return the number of weights that take part in a product for each token: the projections of every layer (shared
    ones once per layer, looped ones once per pass), the n-gram projections, and the output matrix."""
    kv = 2 * config.model_dim * config.num_kv_heads * config.head_dim
    passes = Counter(f"blocks.{layer}" for layer in config.layer_order(looping))
    total = passes.total() * kv + config.vocab_size * config.model_dim
    ends = ("query.weight", "output.weight", "input.weight", "projection.weight")
    for name, shape in parameter_shapes(config).items():
        if name.endswith(ends):
            total += shape[0] * shape[1] * passes.get(".".join(name.split(".")[:2]), 1)
    return total


def forward_flops(config: ModelConfig, context: int, looping: bool = True) -> float:
    """Return the operations of one token's forward pass: 2 N for N multiplied weights, and 2 L d T for attention over
    the causal half of T positions in L layers (passes of looped ones) of width d. A training step takes three times as
    many. Attention inside documents counts as attention over the whole context."""
    attention = len(config.layer_order(looping)) * config.model_dim * context
    return 2 * multiplied_weights(config, looping) + 2 * attention


def _require(condition: bool, key: str, value: object, rule: str) -> None:
    if not condition:
        raise ConfigError(f"model.{key}={value} {rule}")
