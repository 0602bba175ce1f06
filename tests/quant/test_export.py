"""Whole weights: pieces, reports, restoration, errors."""

import math

import numpy as np
import pytest
import torch

from golfpipe.codec.formats import format_of
from golfpipe.codec.pieces import Piece, format_name
from golfpipe.errors import ConfigError, StageFailed
from golfpipe.model.config import ModelConfig, parameter_shapes
from golfpipe.quant.config import ClassScheme, QuantizeConfig, Rule
from golfpipe.quant.dequantize import dequantize_weights
from golfpipe.quant.export import quantize_weights
from golfpipe.quant.quantizers import QUANTIZERS
from golfpipe.quant.report import relative_squared_error

MODEL = ModelConfig(vocab_size=64, num_layers=2, model_dim=32, num_heads=4, num_kv_heads=2, bigram_buckets=40,
                    bigram_dim=8, trigram_buckets=0)  # fmt: skip
UNIVERSE = parameter_shapes(ModelConfig(tied_embeddings=False))


def random_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in parameter_shapes(MODEL).items()}


def test_pieces_reports_and_progress_of_a_small_model():
    weights, steps = random_weights(), []
    result = quantize_weights(weights, QuantizeConfig(), universe=UNIVERSE, progress=steps.append)
    pieces, reports = result.pieces, result.reports
    assert list(pieces) == list(reports) == list(weights)
    assert steps == [weight.numel() for weight in weights.values()]
    restored = dequantize_weights(pieces)
    for name, weight in weights.items():
        report = reports[name]
        assert restored[name].shape == weight.shape and restored[name].dtype == torch.float32
        error = float(((weight.double() - restored[name].double()) ** 2).sum() / (weight.double() ** 2).sum())
        assert report.relative_squared_error == pytest.approx(error, rel=1e-12, abs=1e-30)
        assert error < {4: 0.03, 6: 0.003, 16: 1e-6}[report.bits]
    mlp = reports["blocks.1.mlp.output.weight"]
    assert (mlp.tensor_class, mlp.bits, mlp.num_values, sum(mlp.ratio_counts)) == ("mlp", 4, 32 * 112, 32)
    assert 2 < mlp.entropy_bits < 4
    assert reports["smear.gate"].entropy_bits is None and reports["smear.gate"].ratio_counts is None


def test_the_same_weights_give_the_same_pieces_on_any_number_of_threads():
    threads, runs = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            runs.append(quantize_weights(random_weights(), QuantizeConfig(), universe=UNIVERSE))
    finally:
        torch.set_num_threads(threads)
    first, second = runs
    assert first.reports == second.reports
    for name, piece in first.pieces.items():
        for part in ("codes", "scales", "floats"):
            np.testing.assert_array_equal(getattr(piece, part), getattr(second.pieces[name], part))


def test_integer_classes_take_vectors_scalars_and_zero_rows():
    config = QuantizeConfig(rules=(Rule(to="small"),), small=ClassScheme(bits=4))
    weights = {"v": torch.tensor([0.7, -0.1]), "s": torch.tensor(-3.5), "z": torch.zeros(2, 3)}
    result = quantize_weights(weights, config, universe=weights)
    pieces, reports = result.pieces, result.reports
    restored = dequantize_weights(pieces)
    assert pieces["s"].codes.shape == (1, 1) and restored["s"].shape == ()
    assert restored["s"].item() == pytest.approx(-3.5, rel=0.02)
    assert restored["z"].tolist() == [[0.0] * 3] * 2
    assert reports["z"].relative_squared_error == 0.0 and reports["z"].entropy_bits == 0.0


def test_rows_at_the_lower_edge_are_reported():
    # One outlier per row; only under the smallest ratio does the rest round to codes other than 0.
    weight = torch.full((10, 400), 0.06)
    weight[:, 0] = 1.0
    weight[:, 1::2] *= -1
    weights = {"blocks.0.mlp.input.weight": weight}
    config = QuantizeConfig(clip_grid="pr951")
    report = quantize_weights(weights, config, universe=UNIVERSE).reports["blocks.0.mlp.input.weight"]
    assert report.lower_edge_share == 1.0 and report.ratio_counts == (10, *[0] * 8)


def test_pruning_counts_in_the_error_and_leaves_small_matrices_alone():
    weights = random_weights()
    config = QuantizeConfig(prune_fraction=0.25, prune_min_values=2000)
    result = quantize_weights(weights, config, universe=UNIVERSE)
    pieces, reports = result.pieces, result.reports
    result = quantize_weights(weights, QuantizeConfig(), universe=UNIVERSE)
    plain, plain_reports = result.pieces, result.reports
    big, small = "token_embedding.weight", "bigram.table.weight"
    assert np.count_nonzero(pieces[big].floats == 0) == math.floor(0.25 * 64 * 32)
    assert reports[big].relative_squared_error > plain_reports[big].relative_squared_error
    assert reports[small] == plain_reports[small]
    np.testing.assert_array_equal(pieces[small].codes, plain[small].codes)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("smear.gate", math.nan, "smear.gate: weights are NaN or infinite"),
        ("smear.gate", 70000.0, r"smear\.gate: weight 70000 exceeds fp16"),
        ("blocks.0.mlp.input.weight", math.inf, r"blocks\.0\.mlp\.input\.weight: weights are NaN or infinite in row 0"),
        ("blocks.0.mlp.input.weight", 1e6, "the scale exceeds fp16 in row 0"),
    ],
)
def test_weights_that_cannot_be_stored_are_named(name, value, message):
    weights = random_weights()
    weights[name].view(-1)[0] = value
    with pytest.raises(StageFailed, match=message):
        quantize_weights(weights, QuantizeConfig(), universe=UNIVERSE)


def test_unmatched_weight_is_a_config_error():
    with pytest.raises(ConfigError, match="stranger"):
        quantize_weights({"stranger": torch.zeros(3)}, QuantizeConfig(), universe=UNIVERSE)


def test_report_formulas_on_known_values():
    for codes, expected in (([[-1, -1, 3, 3]], 4.0), ([[5, 5]], 0.0)):
        one_row = {"bits": 4, "codes": np.int8(codes), "scales": np.float16([[1.0]])}
        assert format_of(4).ideal_size(Piece(name="x", shape=np.shape(codes), **one_row)).codes == expected
    assert relative_squared_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == 1 / 25
    assert relative_squared_error(torch.zeros(2), torch.ones(2)) == math.inf


@pytest.mark.parametrize("method", [name for name in QUANTIZERS.names if not QUANTIZERS.load(name).needs_moments])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_the_settings_tell_which_formats_the_pieces_have(method, step):
    config = QuantizeConfig(method=method, mlp=ClassScheme(bits=4, step=step))
    pieces = quantize_weights(random_weights(), config, universe=UNIVERSE).pieces
    assert {format_name(piece.bits) for piece in pieces.values()} == set(config.formats)
