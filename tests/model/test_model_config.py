from dataclasses import replace

import pytest

from golfpipe.errors import ConfigError
from golfpipe.model.config import LastLayers, ModelConfig, parameter_count, parameter_shapes, possible_names


def test_the_16_layer_design_has_the_published_number_of_parameters():
    assert parameter_count(ModelConfig()) == 41_947_778


@pytest.mark.parametrize(
    ("sharing", "layers", "expected"),
    [
        ("none", 4, (0, 1, 2, 3)),
        ("all", 4, (0, 0, 0, 0)),
        (LastLayers(last=4), 12, (0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7)),
        (LastLayers(last=2), 4, (0, 1, 0, 1)),
    ],
)
def test_owner_map(sharing, layers, expected):
    config = ModelConfig(num_layers=layers, kv_sharing=sharing)
    assert config.kv_source == expected
    assert config.num_kv_projections == len(set(expected))


@pytest.mark.parametrize("last", [0, -1, 9])
def test_sharing_that_would_wrap_round_is_rejected(last):
    with pytest.raises(ConfigError, match=r"kv_sharing.last=.*1\.\.8"):
        ModelConfig(num_layers=16, kv_sharing=LastLayers(last=last))


@pytest.mark.parametrize(("fraction", "width"), [(0.25, 16), (0.0, 0), (1.0, 64), (0.01, 2), (0.3, 18), (0.5, 32)])
def test_rotary_width_is_even_and_at_least_two(fraction, width):
    assert ModelConfig(rope_fraction=fraction).rope_dim == width


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_heads": 7}, {"num_kv_heads": 3}, {"num_layers": 0}, {"mlp_ratio": 0.0}, {"rope_fraction": 1.5},
        {"bigram_buckets": 1}, {"bos_id": 1024}, {"logit_softcap": 0.0}, {"leaky_slope": -0.1}, {"vocab_size": 70000},
        {"exclusive_attention": LastLayers(last=17)},
    ],
)  # fmt: skip
def test_impossible_sizes_are_config_errors_naming_the_key(wrong):
    key = next(iter(wrong))
    with pytest.raises(
        ConfigError, match="model." + {"num_kv_heads": "num_heads", "num_heads": "model_dim"}.get(key, key)
    ):
        ModelConfig(**wrong)


def test_a_model_of_one_layer_has_the_names_that_rules_for_all_models_have():
    config = ModelConfig(num_layers=1)
    assert "skip_weights" in possible_names(config) and "skip_weights" not in parameter_shapes(config)


def test_possible_names_cover_every_variant():
    config = ModelConfig(num_layers=6)
    names = set(possible_names(config))
    for variant in (
        config,
        replace(config, bigram_buckets=0, trigram_buckets=0),
        replace(config, kv_sharing=LastLayers(last=3)),
        replace(config, tied_embeddings=False),
    ):
        assert names >= parameter_shapes(variant).keys()
