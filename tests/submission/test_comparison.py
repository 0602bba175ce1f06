"""`compare` on real evaluations, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from golfpipe.cli.app import main
from golfpipe.data.text_files import find_text_files
from golfpipe.errors import UsageError
from golfpipe.submission.comparison import compare_evaluations


@pytest.fixture(scope="module")
def evaluations(chain: Any) -> dict[str, Any]:
    short = ("evaluate.max_targets=1500", "evaluate.method=chunked")
    return {
        "train": chain.run("evaluate", "c/train", *short, model=chain.trained, data=chain.data),
        "pack": chain.run("evaluate", "c/pack", *short, model=chain.packed, data=chain.data),
        "shorter": chain.run("evaluate", "c/shorter", short[1], "evaluate.max_targets=900", model=chain.packed,
                             data=chain.data),
    }  # fmt: skip


def test_the_difference_is_that_of_the_scores(evaluations: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    first, second = evaluations["train"], evaluations["pack"]
    assert main(["compare", str(first.path), str(second.path), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    expected = second.manifest.metrics["val_bpb"] - first.manifest.metrics["val_bpb"]
    assert metrics["difference"] == pytest.approx(expected, abs=1e-12)
    assert metrics["low"] <= metrics["difference"] <= metrics["high"]
    assert main(["compare", str(first.path), str(second.path)]) == 0
    assert "the interval" in capsys.readouterr().out
    assert main(["compare", str(first.path), str(first.path)]) == 0
    assert "the same in every document" in capsys.readouterr().out


def test_other_windows_are_refused(evaluations: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="different windows: scored_targets: 1500 -> 900"):
        compare_evaluations(evaluations["train"].path, evaluations["shorter"].path)


def test_other_text_is_refused(chain: Any, evaluations: dict[str, Any], fresh: Callable[[str], str]) -> None:
    files = {"files": find_text_files([chain.folder / "my-texts"]).files, "tokenizer": None, "processes": 1}
    data = chain.run("data-tokenize", fresh("d"), "data.val_fraction=0.4", arguments=files)
    other = chain.run("evaluate", fresh("e"), "evaluate.max_targets=1500", model=chain.trained, data=data)
    with pytest.raises(UsageError, match="scored different text"):
        compare_evaluations(evaluations["train"].path, other.path)


def test_one_document_is_refused(chain: Any, fresh: Callable[[str], str]) -> None:
    one = chain.run("evaluate", fresh("e"), "evaluate.max_targets=40", model=chain.trained, data=chain.data)
    with pytest.raises(UsageError, match="one document cannot be resampled"):
        compare_evaluations(one.path, one.path)


def test_only_evaluations_compare(chain: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(chain.packed.path), str(chain.packed.path)]) == 3
    assert "kind packed_model, expected evaluation" in capsys.readouterr().err
