"""Everything but what an extra is for works without the extra's packages."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from small_chain import write_small_stages

import golfpipe
from golfpipe.errors import StageFailed
from golfpipe.extras import EXTRAS, require
from golfpipe.machine.doctor import PACKAGES, check_machine

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
COMMANDS = (
    "run artifacts/data/x --preset demo --name a --threads 1",
    "audit artifacts/a/submit",
    "report artifacts/a",
    "report artifacts/a --markdown",
    "sweep artifacts/a/train --grid quantize.mlp.bits=3,4 --threads 1 -j 1",
    "doctor",
    "compare artifacts/a/evaluate-pack artifacts/a/evaluate-pack",
    "submit artifacts/a/evaluate-pack -o artifacts/b/submit --against 2.5",
    "data fetch -o artifacts/data/fetched",
    "sweep artifacts/a/train --grid quantize.mlp.bits=3,4 --executor slurm",
    "train artifacts/data/x --preset demo --name c --set train.track=trackio",
)
WITHOUT = {6: "significance", 7: "significance", 8: "fetch", 9: "slurm", 10: "track"}
"""Number of the command -> the extra that it needs."""
CODE = f"""
import sys
sys.modules.update(dict.fromkeys({list(EXTRAS)!r}))
from golfpipe.cli.app import main
for number, words in enumerate({COMMANDS!r}):
    print(number, main(words.split() + (["-q"] if number < 5 else [])), file=sys.stderr, flush=True)
"""


def test_the_extras_are_those_of_the_distribution() -> None:
    declared = {
        re.split(r"[>=<]", package)[0]: extra
        for extra, packages in PROJECT["optional-dependencies"].items()
        for package in packages
        if extra not in ("test", "dev")
    }
    assert declared == {package: extra.name for package, extra in EXTRAS.items()}
    assert not declared.keys() & {re.split(r"[>=<]", package)[0] for package in PROJECT["dependencies"]}


def test_every_import_is_of_a_package_that_is_declared() -> None:
    """A package that only the tests install would be missing after `pip install .`, and in nobody's tests."""
    imported = set()
    for path in Path(golfpipe.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [part.name for part in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    owners = metadata.packages_distributions()
    others = imported - sys.stdlib_module_names - {"golfpipe"}
    found = {_normal(owner) for name in others for owner in owners.get(name, [name])}
    needed = {_normal(re.split(r"[>=<]", package)[0]) for package in PROJECT["dependencies"]}
    assert "zstandard" in found and found <= needed | {_normal(package) for package in EXTRAS}
    assert needed == {_normal(package) for package in PACKAGES}  # those that `doctor` looks for


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require("scipy")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(
        StageFailed, match="the package scipy, used by compare, submit --against and the noise of sweeps, is not"
    ) as caught:
        require("scipy")
    assert caught.value.hint == "pip install 'golfpipe[significance]'"


def test_doctor_notes_what_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_is_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", none_is_installed)
    found = {check.name: check for check in check_machine()}
    assert found["numpy"].status == "missing"
    for package, extra in EXTRAS.items():
        assert found[package].status == "note" and extra.command in found[package].found


def test_the_whole_chain_works_without_them(finished_runs: Path, tmp_path: Path) -> None:
    write_small_stages(tmp_path)
    shutil.copytree(finished_runs / "artifacts" / "data" / "x", tmp_path / "artifacts" / "data" / "x")
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    parts = re.split(r"^(\d+) (\d+)\n", done.stderr, flags=re.MULTILINE)
    said, codes = parts[0::3], [int(code) for code in parts[2::3]]
    assert codes == [1 if number in WITHOUT else 0 for number in range(len(COMMANDS))], done.stderr
    for number, extra in WITHOUT.items():
        assert f"pip install 'golfpipe[{extra}]'" in said[number], COMMANDS[number]
    assert (tmp_path / "artifacts/a/report.html").is_file() and (
        tmp_path / "artifacts/a/submit/manifest.json"
    ).is_file()
    assert len((tmp_path / "artifacts/a/sweep/results.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "artifacts/b").exists() or not list((tmp_path / "artifacts/b").iterdir())
    assert json.loads((tmp_path / "artifacts/a/train/manifest.json").read_text())["kind"] == "trained_model"
