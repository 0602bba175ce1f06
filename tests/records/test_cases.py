"""Every shape of a records folder is judged by what is there, and never ends in an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from more_records_folders import CASES
from records_folders import FIRST, write

from golfpipe.cli.app import main


@pytest.mark.parametrize("name", CASES)
def test_what_is_true_of_a_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    code = main(["audit", "--json", str(write(tmp_path, case))])
    answer = json.loads(capsys.readouterr().out)
    rules = {rule["number"]: rule for rule in answer["rules"]}
    found = {
        key: rules[key]["status"] if isinstance(key, int) else code if key == "exit" else answer["metrics"][key]
        for key in case.expected
    }
    assert found == _close(case.expected, found)
    told = " ".join([*(rule["evidence"] for rule in rules.values()), *answer["notes"]])
    for part in case.says:
        assert part in told


def _close(expected, found):
    """The expected values; floats that differ only in rounding as they were found."""
    return {
        key: found[key] if isinstance(value, float) and found[key] == pytest.approx(value) else value
        for key, value in expected.items()
    }


def test_there_are_as_many_own_shapes_as_first_ones() -> None:
    assert len(FIRST) == 23 and len(CASES) >= 2 * len(FIRST)
