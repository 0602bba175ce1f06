"""How OpenMP's threads wait is set before torch loads, in every kind of process, and never over the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from golfpipe.config.schema import PipelineConfig
from golfpipe.machine.doctor import check_machine
from golfpipe.openmp import SHORT_CIRCLE, VARIABLES, shorten_waiting, waiting
from golfpipe.script.generate import generate_script, script_settings_of
from golfpipe.stages.verify_script import script_environment
from golfpipe.sweeps.processes import ProcessWorkers

ROOT = Path(__file__).resolve().parents[1]
SHOW = "import os; print([os.environ.get(name) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')])"


def _shown(program: str, **own: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | own
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_it_is_set_when_golfpipe_is_imported_and_torch_is_not_loaded_by_it() -> None:
    assert _shown(f"import sys, golfpipe; assert 'torch' not in sys.modules; {SHOW}") == "[None, '10000', '1']"


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "['ACTIVE', None, None]"),
        ({"GOMP_SPINCOUNT": "7"}, "[None, '7', None]"),
        ({"KMP_BLOCKTIME": "infinite"}, "[None, None, 'infinite']"),
    ],
)
def test_what_the_user_has_set_stands_and_nothing_is_added(own: dict[str, str], shown: str) -> None:
    assert _shown(f"import golfpipe; {SHOW}", **own) == shown


def test_the_library_that_torch_loads_reads_it() -> None:
    """GNU's OpenMP shows the settings that it has read where OMP_DISPLAY_ENV asks for them."""
    program = "import golfpipe, torch; print(any('libgomp' in line for line in open('/proc/self/maps')))"
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment["OMP_DISPLAY_ENV"] = "verbose"
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=True)
    if done.stdout.strip() != b"True":
        pytest.skip("torch computes with another OpenMP here")
    assert b"GOMP_SPINCOUNT = '10000'" in done.stderr


def test_processes_of_a_sweep_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    workers = ProcessWorkers(1, 1)
    with workers:
        assert [report for future in workers.submit([[]]) for report in future.result()] == []  # a process has begun
        assert workers.pool is not None
        assert {name: workers.pool.submit(os.getenv, name).result() for name in SHORT_CIRCLE} == SHORT_CIRCLE


def test_a_generated_script_sets_it_before_it_loads_torch() -> None:
    text = generate_script(script_settings_of(PipelineConfig(), "none"), "readable").decode()
    last_lines = text[text.index("install(MODULES)\n\nimport os") :]
    assert last_lines.index("shorten_waiting(os.environ)") < last_lines.index("from golfpipe.script.entry import main")
    assert "MODULES['golfpipe.openmp']" in text


def test_a_script_that_is_verified_keeps_the_users_own(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert script_environment(chain.data, 0, {})["OMP_WAIT_POLICY"] == "passive"


def test_it_is_said_who_set_what() -> None:
    environment: dict[str, str] = {}
    assert waiting(environment) == "as the library does by itself"
    shorten_waiting(environment)
    assert waiting(environment) == "GOMP_SPINCOUNT=10000, KMP_BLOCKTIME=1, set by golfpipe"
    assert waiting({"OMP_WAIT_POLICY": "passive"}) == "OMP_WAIT_POLICY=passive, set by the environment"


def test_the_doctor_says_it() -> None:
    assert [check.found for check in check_machine() if check.name == "waiting threads"] == [waiting(os.environ)]
