"""requirements.lock pins what pyproject.toml declares, by hash and without naming an index;
advisories are matched to it."""

from __future__ import annotations

import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.advisories import affecting, main, pins

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def test_the_lock_holds_every_declared_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: list(map(Requirement, texts)) for name, texts in project["optional-dependencies"].items()}
    declared, pinned = [*map(Requirement, project["dependencies"]), *extras["test"]], pins(LOCK)
    for requirement in declared:
        if requirement.name == project["name"]:
            declared += [inner for extra in requirement.extras for inner in extras[extra]]
        else:
            name = requirement.name.lower().replace("_", "-")
            assert requirement.specifier.contains(pinned[name]), requirement


def test_every_pin_has_a_hash_and_no_line_an_address() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(LOCK)) > 40
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "://" not in LOCK and "index" not in LOCK


def _record(name: str, **affected: object) -> dict[str, object]:
    return {"id": "X-1", "affected": [{"package": {"ecosystem": "PyPI", "name": name}, **affected}]}


@pytest.mark.parametrize(
    ("events", "hit"),
    [
        ([{"introduced": "0"}, {"fixed": "2.0"}], True),
        ([{"introduced": "0"}, {"fixed": "1.5"}], False),
        ([{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "1.4"}], True),
        ([{"introduced": "0"}, {"last_affected": "1.5"}], True),
        ([{"introduced": "1.6"}], False),
    ],
)
def test_ranges_of_advisories(events: list[dict[str, str]], hit: bool) -> None:
    pinned = {"a-b": Version("1.5+cpu")}
    assert (list(affecting(_record("A_B", ranges=[{"type": "ECOSYSTEM", "events": events}]), pinned)) != []) is hit
    assert list(affecting(_record("a.b", versions=["1.5"]), pinned)) == ["a-b"]
    assert list(affecting(_record("other", versions=["1.5"]), pinned)) == []


def test_the_check_needs_two_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("X-1.json", json.dumps(_record("numpy", versions=[str(pins(LOCK)["numpy"])])))
    monkeypatch.setattr(sys, "argv", ["advisories", str(tmp_path / "all.zip")])
    assert main() == 1
    assert "numpy" in capsys.readouterr().out
