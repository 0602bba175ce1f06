"""Rising losses and sizes that a model bears."""

import math
import random

from golfpipe.loading.warning_signs import (
    MOST_CALIBRATED_ERROR,
    MOST_RELATIVE_ERROR,
    VALIDATION_RISE,
    Validation,
    bearable_bytes,
    rise,
)


def test_a_loss_rose_where_an_earlier_one_is_lower_by_more_than_the_share():
    source = random.Random(0)
    seen = set()
    for _ in range(2000):
        losses = [round(source.uniform(2.0, 2.1), 3) for _ in range(source.randint(1, 4))]
        validations = [Validation(50 * (i + 1), loss) for i, loss in enumerate(losses)]
        expected = any(losses[-1] > (1 + VALIDATION_RISE) * loss for loss in losses[:-1])
        found = rise(validations)
        assert (found is not None) == expected
        if found is not None:
            assert found.best.loss_nats == min(losses) and found.last == validations[-1]
        seen.add(expected)
    assert seen == {True, False}
    assert rise([]) is None


def test_small_errors_need_no_more_bytes():
    for calibrated, most in ((False, MOST_RELATIVE_ERROR), (True, MOST_CALIBRATED_ERROR)):
        assert bearable_bytes(60_000, 800_000, most, calibrated=calibrated) is None
        assert bearable_bytes(60_000, 800_000, 1.01 * most, calibrated=calibrated) is not None
        assert bearable_bytes(60_000, 800_000, math.inf, calibrated=calibrated) is None


def test_four_times_the_error_takes_a_bit_a_weight():
    size, weights = 60_000, 800_000
    for bits in (1, 2, 3):
        found = bearable_bytes(size, weights, MOST_RELATIVE_ERROR * 4**bits, calibrated=False)
        exact = size + weights * (bits + 0.5 * math.log2(4 / 3)) / 8  # three quarters of the error are aimed at
        assert found is not None and exact <= found <= 1.1 * exact  # rounded up to two digits
        doubled = bearable_bytes(size, weights, MOST_CALIBRATED_ERROR * 2**bits, calibrated=True)
        assert doubled is not None and doubled >= found


def test_the_larger_the_error_the_more_bytes():
    sizes = [bearable_bytes(50_000, 1_000_000, error / 100, calibrated=False) or 0 for error in range(1, 100)]
    assert sizes == sorted(sizes) and sizes[-1] > 50_000
