"""Calibration of any model: what is counted, against sums and gradients made by hand."""

import pytest
import torch
import torch.nn.functional as F
from small_gpt import small_gpt, token_batches
from states import gaussian, relative_error

from golfpipe import Calibration, compress, split
from golfpipe.errors import ArtifactError, ConfigError, StageFailed, UsageError
from golfpipe.quant import calibrator


def test_every_pass_of_a_looped_layer_and_every_subclass_counts():
    model, batches = small_gpt(), token_batches(3)
    with Calibration(model) as calibration, torch.no_grad():
        for tokens in batches:
            model(tokens, calibration)
    found = calibration.data().moments
    assert found.keys() == {"mix.weight", "bank.0", "bank.1", "out.weight"}  # the head is the table
    expected = torch.zeros(32, 32, dtype=torch.float64)
    for tokens in batches:
        x = model.tok_emb(tokens)
        for _ in range(2):
            rows = x.detach().double().reshape(-1, 32)
            expected += rows.T @ rows
            x = x + torch.tanh(model.mix(x))
    torch.testing.assert_close(found["mix.weight"].double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["bank.0"], found["bank.0"].T)


def test_hooks_end_with_the_block():
    model, batches = small_gpt(), token_batches(2)
    calibration = Calibration(model)
    with calibration:
        model(batches[0])
    before = calibration.data().moments["out.weight"].clone()
    model(batches[1])
    assert torch.equal(calibration.data().moments["out.weight"], before)
    with pytest.raises(RuntimeError, match="on purpose"), calibration:
        raise RuntimeError("on purpose")
    assert not model.out._forward_pre_hooks


def test_the_fisher_diagonal_is_the_mean_square_of_gradients_for_drawn_targets():
    model, batches = small_gpt(), token_batches(4)
    calibration = Calibration(model)
    model.out.bias.grad = torch.full((32,), 7.0)
    for tokens in batches:
        calibration.observe(model(tokens))
    assert torch.equal(model.out.bias.grad, torch.full((32,), 7.0)) and model.bank.grad is None
    generator = torch.Generator().manual_seed(calibrator.CALIBRATION_SEED)
    sums = torch.zeros_like(model.bank)
    for tokens in batches:
        logits = model(tokens).flatten(0, 1)
        drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)[:, 0]
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, drawn), [model.bank])
        sums += gradient**2 * tokens.numel() / len(batches)
    torch.testing.assert_close(calibration.data().fisher["bank"].reshape(2, 32, 32), sums)
    assert calibration.data().fisher.keys() == {"tok_emb.weight", "mix.weight", "bank", "out.weight", "out.bias"}


def test_memory_does_not_grow_with_what_is_observed(monkeypatch):
    model, sizes = small_gpt(), []
    with Calibration(model) as calibration:
        for tokens in token_batches(5):
            calibration.observe(model(tokens, calibration))
            data = calibration.data()
            sizes.append(sum(t.numel() for t in (*data.fisher.values(), *data.moments.values())))
    assert len(set(sizes)) == 1
    monkeypatch.setattr(calibrator, "MAX_INPUTS", 31)
    narrow = Calibration(model)
    narrow.add("bank.0", gaussian(4, 32))
    with pytest.raises(ArtifactError, match="has seen nothing"):
        narrow.data()


def test_what_cannot_be_observed_is_named():
    model = small_gpt()
    calibration = Calibration(model)
    with pytest.raises(UsageError, match="no graph"), torch.no_grad():
        calibration.observe(model(token_batches(1)[0]))
    with pytest.raises(UsageError, match="NaN or infinite"):
        calibration.observe(model(token_batches(1)[0]) * torch.nan)
    calibration.add("bank.0", gaussian(4, 32))
    with pytest.raises(UsageError, match="inputs of 16 numbers after inputs of 32"):
        calibration.add("bank.0", gaussian(4, 16))
    with pytest.raises(UsageError, match="expected floats"):
        calibration.add("bank.1", torch.arange(4))
    calibration.add("bank.1", gaussian(4, 32) * torch.inf)
    with pytest.raises(StageFailed, match="second moments are NaN or infinite"):
        compress(model.state_dict(), bits=3.0, rules={"bank": split(0), "*": "coded"}, calibration=calibration)


def test_a_calibration_file_gives_the_same_bytes(tmp_path):
    model = small_gpt()
    with Calibration(model) as calibration:
        for tokens in token_batches(3):
            calibration.observe(model(tokens, calibration))
    calibration.save(tmp_path / "a.safetensors")
    loaded = Calibration.load(tmp_path / "a.safetensors")
    rules = {"bank": split(0), "*.weight": "coded"}
    first = compress(model.state_dict(), bits=3.0, rules=rules, calibration=calibration)
    assert compress(model.state_dict(), bits=3.0, rules=rules, calibration=loaded) == first
    assert compress(model.state_dict(), bits=3.0, rules=rules) != first
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-4])
    with pytest.raises(ArtifactError, match="not a readable safetensors file"):
        Calibration.load(tmp_path / "b.safetensors")
    with pytest.raises(UsageError, match="cannot be read"):
        Calibration.load(tmp_path / "none.safetensors")
    loaded._fisher["bank"].fill_(torch.nan)
    loaded.save(tmp_path / "c.safetensors")
    with pytest.raises(ArtifactError, match="finite"):
        Calibration.load(tmp_path / "c.safetensors")


def test_error_feedback_lowers_the_error_of_the_outputs():
    width, inputs = 96, gaussian(4000, 96, deviation=1.0) @ (torch.eye(96) + gaussian(96, 96, seed=1, deviation=0.2))
    model = torch.nn.Linear(width, width, bias=False)
    with Calibration(model) as calibration:
        model(inputs)
    state = {"weight": model.weight}

    def output_error(weight: torch.Tensor) -> float:
        return relative_error(inputs @ weight.T, inputs @ model.weight.T)

    plain = compress(state, bits=2.5, return_weights=True)[1]["weight"]
    informed = compress(state, bits=2.5, calibration=calibration, return_weights=True)[1]["weight"]
    assert output_error(informed) < 0.8 * output_error(plain)


def test_sensitive_rows_get_finer_steps_and_tensors_without_gradients_a_share():
    state = {"a": gaussian(128, 96), "b": gaussian(128, 96, seed=1), "unseen": gaussian(128, 96, seed=2)}
    model = torch.nn.Module()
    model.a, model.b = (torch.nn.Parameter(state[name]) for name in "ab")
    calibration = Calibration(model)
    inputs = gaussian(500, 96, deviation=1.0)
    calibration.observe(inputs @ (model.a.T * torch.linspace(0.05, 2, 128)) + inputs @ model.b.T)
    weights = compress(state, bits=3.0, calibration=calibration, return_weights=True)[1]
    rows = [relative_error(weights["a"][i : i + 32], state["a"][i : i + 32]) for i in (0, 32, 64, 96)]
    assert rows == sorted(rows, reverse=True) and rows[0] > 4 * rows[3]
    assert 2**-9 < relative_error(weights["unseen"], state["unseen"]) < 2**-4


def test_a_calibration_of_another_model_is_named():
    calibration = Calibration(small_gpt())
    calibration.add("bank.0", gaussian(4, 32))
    state = small_gpt().state_dict()
    with pytest.raises(ConfigError, match=r"calibrated: bank\.0") as caught:
        compress(state, bits=3.0, rules={"*": "coded"}, calibration=calibration)
    assert "split(0)" in caught.value.hint
    calibration.add("out.weight", gaussian(4, 16))
    with pytest.raises(ConfigError, match=r"out\.weight: 32 inputs, but it was calibrated with 16"):
        compress(state, bits=3.0, rules={"bank": split(0), "*": "coded"}, calibration=calibration)
