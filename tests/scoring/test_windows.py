import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.errors import ConfigError
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.windows import batch_windows, chunked_windows, plan_windows, sliding_windows, spread_windows


def check_plan(windows, total, context):
    hits = torch.zeros(total, dtype=torch.int32)
    for window in windows:
        assert 0 <= window.start <= window.score_start < window.score_end == window.end <= total
        assert window.end - window.start <= context
        hits[window.score_start : window.score_end] += 1
    assert hits.eq(1).all()


@given(total=st.integers(0, 300), context=st.integers(1, 64), data=st.data())
def test_every_target_is_scored_exactly_once(total, context, data):
    stride = data.draw(st.integers(1, context))
    check_plan(sliding_windows(total, context, stride), total, context)
    check_plan(chunked_windows(total, context), total, context)


@pytest.mark.parametrize(("total", "context", "stride"), [(4096, 256, 64), (1000, 128, 128), (65, 64, 7), (64, 64, 7)])
def test_sliding_windows_all_have_the_full_context(total, context, stride):
    windows = list(sliding_windows(total, context, stride))
    assert all(window.end - window.start == context for window in windows)
    assert windows[0].score_start == 0
    assert all(window.score_end - window.score_start == stride for window in windows[1:-1])
    assert windows[-1].end == total


def test_chunked_windows_end_with_a_shorter_one():
    assert [w.end - w.start for w in chunked_windows(10, 4)] == [4, 4, 2]


@given(total=st.integers(1, 300), context=st.integers(1, 32), most=st.integers(0, 320))
def test_spread_windows_are_chunked_ones_from_everywhere(total, context, most):
    windows = spread_windows(total, context, most)
    if most == 0 or most >= total:
        assert windows == list(chunked_windows(total, context))
        return
    assert sum(window.end - window.start for window in windows) == most // min(context, most) * min(context, most)
    if most >= context:
        assert set(windows) <= set(chunked_windows(total, context))
    centers = [(window.start + window.end) / 2 / total for window in windows]
    widest = 1.5 / len(windows) + context / total
    assert all(after - before <= widest for before, after in zip([0, *centers], [*centers, 1], strict=True))


@given(total=st.integers(1, 200), context=st.integers(1, 32), batch=st.integers(1, 100))
def test_batches_keep_order_length_and_size(total, context, batch):
    plan = list(chunked_windows(total, context))
    batches = list(batch_windows(iter(plan), batch))
    assert [window for windows in batches for window in windows] == plan
    for windows in batches:
        lengths = {window.end - window.start for window in windows}
        assert len(lengths) == 1
        assert len(windows) == 1 or len(windows) * lengths.pop() <= batch


def test_windows_of_a_batch_score_equally_many_targets():
    sizes = [{w.score_end - w.score_start for w in batch} for batch in batch_windows(sliding_windows(100, 16, 5), 64)]
    assert sizes == [{16}, *[{5}] * 4, {4}]


def test_the_stride_of_the_configuration_is_what_runs():
    strides = {
        stride: sum(1 for _ in plan_windows(1000, EvaluateConfig(context_length=128, stride=stride)))
        for stride in (32, 64)
    }
    assert strides == {32: 1 + -(-872 // 32), 64: 1 + -(-872 // 64)}


def test_a_stride_beyond_the_context_is_refused():
    with pytest.raises(ConfigError, match=r"evaluate.stride=65 must lie in 1..context_length \(64\)"):
        EvaluateConfig(context_length=64, stride=65)
