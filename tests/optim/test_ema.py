import numpy as np
import pytest
import torch

from golfpipe.optim.ema import WeightAverage


def run_average(decay, bias_correction, values):
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(7.0)
    average = WeightAverage(module, decay, bias_correction)
    for value in values:
        with torch.no_grad():
            module.weight.fill_(value)
        average.update(module)
    return average.average["weight"].item()


def test_plain_average_keeps_its_share_of_the_initial_weights():
    values = np.linspace(0, 1, 50)
    expected = 7.0
    for value in values:
        expected = 0.9 * expected + 0.1 * value
    assert run_average(0.9, False, values) == pytest.approx(expected, rel=1e-5)


def test_bias_corrected_average_forgets_its_start():
    assert run_average(0.999, True, [1.0] * 200) == pytest.approx(1.0, abs=1e-3)
    assert run_average(0.999, False, [1.0] * 200) > 5.9


def test_average_of_bf16_weights_does_not_stall():
    module = torch.nn.Linear(1, 1, bias=False).bfloat16()
    with torch.no_grad():
        module.weight.fill_(0.0)
    average = WeightAverage(module, 0.999, False)
    with torch.no_grad():
        module.weight.fill_(0.05)
    for _ in range(5000):
        average.update(module)
    assert average.average["weight"].dtype == torch.float32
    assert average.average["weight"].item() == pytest.approx(0.05, rel=0.02)


def test_a_decay_of_zero_is_the_last_weights():
    assert run_average(0.0, True, [1.0, 0.3]) == torch.tensor(0.3).item()
    assert run_average(0.0, False, [1.0, 0.3]) == run_average(0.0, True, [0.3])
