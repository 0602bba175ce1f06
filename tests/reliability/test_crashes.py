"""A sample of the programs that break stages on purpose; `python -m reliability` has the full counts.

They fork, so each runs in a process of its own, without the threads of a test runner.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "kill": "run(3, 1, ('train', 'pack'), command_line=False)",
    "io_errors": "run(1, 1, ('train', 'pack'))",
    "interrupts": "run(2, 1)",
    "training_faults": "run(10, 1)",
    "double_start": "run(1, 1)",
    "lost_locks": "run(4, 1, ('train',))",
}


def test_a_sample_of_each_program_finds_nothing() -> None:
    calls = "; ".join(
        f"import reliability.{name} as {name}; print(json.dumps({name}.{call}))" for name, call in PROGRAMS.items()
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import json; {calls}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(PROGRAMS)
    assert [result["failures"] for result in found] == [[]] * len(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_is_in_the_list(name: str) -> None:
    from reliability.__main__ import PROGRAMS as listed

    assert listed[name] >= 90
