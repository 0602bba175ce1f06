"""Rules: first match wins; unmatched tensors and dead rules are errors."""

import pytest

from golfpipe.errors import ConfigError
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.quant.config import DEFAULT_RULES, MLP_ONLY, QuantPolicy, Rule
from golfpipe.quant.policy import assign_classes, assign_schemes, require_live_rules

SHAPES = parameter_shapes(ModelConfig())
UNIVERSE = parameter_shapes(ModelConfig(tied_embeddings=False))


def test_default_rules_classify_the_16_layer_model():
    classes = assign_classes(QuantPolicy(), SHAPES, UNIVERSE)
    assert list(classes) == list(SHAPES)
    assert classes["token_embedding.weight"] == "token_table"
    assert classes["bigram.table.weight"] == classes["trigram.projection.weight"] == "ngram"
    assert classes["bigram.scale"] == classes["blocks.7.mlp_scale"] == classes["skip_weights"] == "small"
    assert classes["kv_projections.0.key.weight"] == classes["blocks.0.attention.output.weight"] == "attention"
    assert classes["blocks.15.mlp.output.weight"] == "mlp"
    schemes = assign_schemes(QuantPolicy(), classes)
    assert (schemes["blocks.15.mlp.output.weight"].bits, schemes["smear.gate"].bits) == (4, 16)
    assert sum(scheme.bits == 4 for scheme in assign_schemes(MLP_ONLY, classes).values()) == 32


def test_unmatched_tensor_is_named():
    policy = QuantPolicy(rules=(Rule(match="blocks.*", to="mlp"),))
    with pytest.raises(ConfigError, match=r"no quantization rule matches tensor token_embedding\.weight \[1024, 512\]"):
        assign_classes(policy, SHAPES, UNIVERSE)


def test_rule_for_an_optional_feature_that_is_off_is_fine():
    shapes = parameter_shapes(ModelConfig(trigram_buckets=0))
    assert "trigram.table.weight" not in assign_classes(QuantPolicy(), shapes, UNIVERSE)


@pytest.mark.parametrize(
    ("rules", "dead"),
    [
        ((*DEFAULT_RULES, Rule(match="bloks.*", to="mlp")), 13),
        ((Rule(match="*", to="small"), Rule(match="blocks.*", to="mlp")), 2),
        ((Rule(match="*", max_values=8192, to="small"), Rule(match="*scale", max_values=100, to="mlp")), 2),
        ((Rule(match="*", to="small"), Rule(match="*", max_values=9, to="mlp")), 2),
    ],
)
def test_dead_rules_are_named_with_their_position(rules, dead):
    with pytest.raises(ConfigError, match=rf"quantization rule {dead} \(match '.*can never match"):
        require_live_rules(QuantPolicy(rules=rules), UNIVERSE)


def test_size_rule_counts_as_able_to_match_and_shadows_nothing_larger():
    rules = (Rule(match="*", max_values=8192, to="small"), *DEFAULT_RULES)
    require_live_rules(QuantPolicy(rules=rules), UNIVERSE)
    shapes = {"blocks.0.mlp.input.weight": (16, 8), "blocks.1.mlp.input.weight": (1792, 512)}
    assert assign_classes(QuantPolicy(rules=rules), shapes, UNIVERSE) == {
        "blocks.0.mlp.input.weight": "small",
        "blocks.1.mlp.input.weight": "mlp",
    }
