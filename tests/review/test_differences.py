"""What differs between two runs or artifacts is listed, and what is equal is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_run import PROVENANCE, FakeRun

import golfpipe
from golfpipe.cli.app import main
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.review.differences import Differences, diff


@pytest.fixture
def one(fake: FakeRun) -> Path:
    return fake.folder


def _changes(found: Differences) -> dict[str, tuple[Any, Any]]:
    return {item.key: (item.first, item.second) for item in found.found}


def test_a_run_equals_itself(one: Path) -> None:
    found = diff(one, one)
    assert found.found == () and found.only_first == found.only_second == ()
    assert found.equal["settings"] > 120 and found.equal["numbers"] > 20 and found.equal["data"] == 1


def test_settings_and_numbers_that_differ_are_listed(one: Path) -> None:
    other = FakeRun(
        one.parent / "other", seed=1, val_bpb=2.5, packed_size=41_000, overrides=("quantize.mlp.bits=5",), adapted=False
    ).build()
    found = diff(one, other.folder)
    changes = _changes(found)
    assert changes["quantize.mlp.bits"] == (4, 5) and changes["seed"] == (0, 1)
    assert changes["evaluate-train.val_bpb"] == (2.61, 2.5)
    assert {item.subject for item in found.found} == {"settings", "numbers"}
    (bpb,) = (item for item in found.found if item.key == "evaluate-train.val_bpb")
    assert bpb.change == pytest.approx(-0.11)
    assert found.only_first == ("settings of ttt", "step ttt", "step evaluate-ttt")
    assert not any(key.endswith(("seconds", "_digest")) for key in changes)


def test_artifacts_are_compared_in_the_settings_that_made_them(one: Path) -> None:
    found = diff(one / "train", one / "pack")
    assert [item.subject for item in found.found] == []
    assert found.only_second == ("settings of quantize", "settings of pack")
    assert "settings of evaluate" not in found.only_first


def test_other_code_and_other_data_are_told(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = PROVENANCE["packages"]
    monkeypatch.setitem(PROVENANCE, "commit", "feedc0ffee00")
    monkeypatch.setitem(PROVENANCE, "packages", packages | {"torch": "2.13.0+cpu"})
    monkeypatch.setattr("fake_run.BYTES", 1_000_000)
    other = FakeRun(one.parent / "other").build()
    found = diff(one, other.folder)
    changes = _changes(found)
    assert changes["commit"] == ("0123456789ab", "feedc0ffee00")
    assert changes["torch"] == ("2.12.0+cpu", "2.13.0+cpu")
    assert found.found[0].subject == "data" and found.found[0].first != found.found[0].second


def test_the_table_fits_a_terminal_and_json_has_all(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = FakeRun(one.parent / "other", val_bpb=2.5, overrides=("quantize.mlp.bits=5",), adapted=False).build()
    assert main(["diff", str(one), str(other.folder)]) == 0
    shown = capsys.readouterr().out
    assert "quantize.mlp.bits      4       5" in shown
    assert "-0.110000" in shown and "only in the first: settings of ttt" in shown
    assert all(len(line) <= 80 or str(one) in line or str(other.folder) in line for line in shown.splitlines())
    assert main(["diff", str(one), str(other.folder), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"subject": "settings", "key": "quantize.mlp.bits", "first": 4, "second": 5, "change": 1} in answer[
        "differences"
    ]
    assert answer["equal"]["settings"] > 100
    assert golfpipe.diff(one, other.folder) == diff(one, other.folder)


def test_what_is_no_run_is_refused(one: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no artifact"):
        diff(one, tmp_path / "empty")
    with pytest.raises(UsageError, match="no such artifact"):
        diff(one / "nothing", one)
    (one / "pack" / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError):
        diff(one / "pack", one)
