"""A sample of the programs that break stages on purpose; `python -m reliability` has the full counts.

They fork, so they run in a process of their own, without the threads of a test runner.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


WORKER = """
import importlib, json, sys
for line in sys.stdin:
    name, call = json.loads(line)
    print(json.dumps(eval(call, vars(importlib.import_module(f"reliability.{name}")))), flush=True)
"""


@pytest.fixture(scope="module")
def sample() -> Iterator[Callable[[str], Any]]:
    """What a program finds. One process runs them all, because the small run that they break takes seconds."""
    command = [sys.executable, "-c", WORKER]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None

    def found(name: str) -> Any:
        print(json.dumps([name, PROGRAMS[name]]), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    yield found
    process.communicate()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_sample_of_each_program_finds_nothing(sample: Callable[[str], Any], name: str) -> None:
    assert sample(name)["failures"] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_is_in_the_list(name: str) -> None:
    from reliability.__main__ import PROGRAMS as listed

    assert listed[name] >= 90
