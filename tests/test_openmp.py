"""How OpenMP's threads wait is set before torch loads, in every kind of process, and never over the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from golfpipe.config.schema import PipelineConfig
from golfpipe.machine.doctor import check_machine
from golfpipe.openmp import NO_CIRCLE, SHORT_CIRCLE, VARIABLES, others_use_the_cores, shorten_waiting, waiting
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
    shown = _shown(f"import sys, golfpipe; assert 'torch' not in sys.modules; {SHOW}")
    assert shown in ("[None, '10000', '1']", "[None, '0', '0']")  # as busy as the machine is


@pytest.mark.parametrize(
    ("load", "busy"),
    [
        ("0.50 0.40 0.30 1/200 4242\n", False),  # this process alone
        (f"0.50 0.40 0.30 {os.cpu_count()}/200 4242\n", False),  # a core is free
        (f"9.50 9.40 9.30 {(os.cpu_count() or 1) + 1}/200 4242\n", True),
        ("", False),
        ("0.5 0.4 0.3 x/y 1", False),
    ],
)
def test_a_machine_is_busy_where_others_could_use_every_core(load: str, busy: bool, tmp_path: Path) -> None:
    (tmp_path / "loadavg").write_text(load)
    assert others_use_the_cores(tmp_path / "loadavg") is busy
    assert others_use_the_cores(tmp_path / "none") is False
    environment: dict[str, str] = {}
    shorten_waiting(environment, busy)
    assert environment == (NO_CIRCLE if busy else SHORT_CIRCLE)


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
    program = (
        "import os, golfpipe, torch; print(os.environ['GOMP_SPINCOUNT'], 'libgomp' in open('/proc/self/maps').read())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment["OMP_DISPLAY_ENV"] = "verbose"
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=True)
    rounds, is_gnu = done.stdout.decode().split()
    if is_gnu != "True":
        pytest.skip("torch computes with another OpenMP here")
    assert f"GOMP_SPINCOUNT = '{rounds}'" in done.stderr.decode()


def test_processes_of_a_sweep_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    workers = ProcessWorkers(1, 1)
    with workers:
        assert [report for future in workers.submit([[]]) for report in future.result()] == []  # a process has begun
        assert workers.pool is not None
        seen = {name: workers.pool.submit(os.getenv, name).result() for name in SHORT_CIRCLE}
        assert seen in (SHORT_CIRCLE, NO_CIRCLE)


def test_a_generated_script_sets_it_before_it_loads_torch() -> None:
    text = generate_script(script_settings_of(PipelineConfig(), "none"), "readable").decode()
    last_lines = text[text.index("install(MODULES)\n\nimport os") :]
    assert last_lines.index("shorten_waiting(os.environ, ") < last_lines.index("from golfpipe.script.entry import main")
    assert "MODULES['golfpipe.openmp']" in text


def test_a_script_that_is_verified_keeps_the_users_own(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert script_environment(chain.data, 0, {})["OMP_WAIT_POLICY"] == "passive"


def test_it_is_said_who_set_what() -> None:
    environment: dict[str, str] = {}
    assert waiting(environment) == "as the library does by itself"
    shorten_waiting(environment, busy=False)
    assert waiting(environment) == "GOMP_SPINCOUNT=10000, KMP_BLOCKTIME=1, set by golfpipe"
    said = "GOMP_SPINCOUNT=0, KMP_BLOCKTIME=0, set by golfpipe, as others use the cores"
    assert waiting(NO_CIRCLE) == said
    assert waiting({"OMP_WAIT_POLICY": "passive"}) == "OMP_WAIT_POLICY=passive, set by the environment"


def test_the_doctor_says_it() -> None:
    assert [check.found for check in check_machine() if check.name == "waiting threads"] == [waiting(os.environ)]
