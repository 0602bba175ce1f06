import pytest

from golfpipe.optim.config import OptimConfig
from golfpipe.optim.schedule import muon_momentum, step_factor, time_factor


def test_step_form_is_one_and_then_linear_to_zero():
    factors = [step_factor(step, 100, 40) for step in range(101)]
    assert factors[:61] == [1.0] * 61
    assert factors[80] == pytest.approx(0.5)
    assert factors[100] == 0.0
    assert step_factor(50, 100, 0) == 1.0


def test_time_form_uses_the_mean_step():
    assert time_factor(10, 100, 20, 1.0) == 1.0
    assert time_factor(90, 100, 20, 1.0) == pytest.approx(0.5)
    assert time_factor(120, 100, 20, 1.0) == 0.0


def test_momentum_warms_up_linearly():
    config = OptimConfig(momentum=0.99, momentum_start=0.92, momentum_warmup_steps=1500)
    assert muon_momentum(0, config) == pytest.approx(0.92)
    assert muon_momentum(750, config) == pytest.approx(0.955)
    assert muon_momentum(5000, config) == pytest.approx(0.99)
