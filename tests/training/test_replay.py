import json

import pytest

from golfpipe.errors import DataError
from golfpipe.training.replay import Replay, parse_replay

STEPS = [json.dumps({"type": "step", "step": n, "lr_factor": 1 / n}) for n in (1, 2, 3)]
END = json.dumps({"type": "end", "steps": 3, "qat_first_step": 2})


def test_factors_and_quantization_start_are_read():
    other = json.dumps({"type": "validation", "step": 2})
    assert parse_replay([STEPS[0], other, *STEPS[1:], END], "log") == Replay((1.0, 0.5, 1 / 3), 2)
    looped = json.dumps({"type": "end", "steps": 3, "qat_first_step": None, "loop_first_step": 1})
    assert parse_replay([*STEPS, looped], "log") == Replay((1.0, 0.5, 1 / 3), None, (), 1)


def test_growth_of_the_context_is_read_where_there_was_one():
    end = json.dumps({"type": "end", "steps": 3, "qat_first_step": None, "context_first_steps": [1, 3]})
    assert parse_replay([*STEPS, end], "log").context_first_steps == (1, 3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "not the log of a finished run"),
        (STEPS, "not the log of a finished run"),
        ([*STEPS[1:], END], "line 1"),
        (["{", END], "line 1"),
        ([*STEPS, "[]"], "line 4"),
        ([*STEPS, END.replace("}", ', "loop_first_step": 4}')], "field loop_first_step"),
        ([*STEPS, END.replace("}", ', "context_first_steps": [4]}')], "context_first_steps"),
    ],
)
def test_other_files_are_refused(lines, message):
    with pytest.raises(DataError, match=message):
        parse_replay(lines, "log")
