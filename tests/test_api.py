"""The Python API: lazy, typed like the commands, and the example in the docs runs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import FakeRun
from small_chain import ROOT, write_small_stages, write_texts

import golfpipe
from golfpipe.cli.app import COMMANDS, main, vendor_app
from golfpipe.errors import ConfigError

OF_COMMANDS = {
    "demo": "demo_data",
    "tokenize": "tokenize",
    "report": "write_report",
    "evaluate merge": "evaluate_merge",
}
WITHOUT_FUNCTION = {"add", "inspect", "fetch", "show", "docs", "init", "presets", "doctor", "clean", "import", "plan"}
"""Commands about files, settings or the machine, `plan`, whose answers are commands, and `import`, a word of Python."""
WITHOUT_COMMAND = {"open_artifact", "Calibration", "compress", "decompress", "split"}


def test_importing_golfpipe_is_light() -> None:
    code = (
        "import sys, golfpipe; light = [m for m in ('torch', 'numpy', 'yaml', 'pydantic') if m in sys.modules]\n"
        "golfpipe.train; print(light, 'torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False False\n"


def test_every_command_has_its_function_and_every_function_its_documentation() -> None:
    # `vendor` writes files with `compress` and `decompress`, which are no commands themselves.
    commands = {name for group, name, _, _ in COMMANDS if group is not vendor_app} - WITHOUT_FUNCTION
    assert {OF_COMMANDS.get(name, name) for name in commands} == set(golfpipe.__all__) - WITHOUT_COMMAND
    for name in golfpipe.__all__:
        function = getattr(golfpipe, name)
        assert inspect.getdoc(function), name
        assert all(p.annotation is not p.empty for p in inspect.signature(function).parameters.values()), name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        golfpipe.trian  # noqa: B018


def test_an_unknown_keyword_is_an_error_with_the_nearest_name() -> None:
    for name in golfpipe.__all__:
        function = getattr(golfpipe, name)
        needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
        values = ["nothing" for p in needed if p.kind is p.POSITIONAL_OR_KEYWORD]
        with pytest.raises((ConfigError, TypeError), match="setings"):
            function(*values, setings={})
    with pytest.raises(ConfigError, match=r"keyword of train\(\): setings") as caught:
        golfpipe.train("nothing", setings={})  # type: ignore[call-arg]  # the mistake
    assert caught.value.hint == "did you mean settings?" and caught.value.__notes__ == ["hint: did you mean settings?"]
    with pytest.raises(ConfigError) as caught:
        golfpipe.train("nothing", resum=True)  # type: ignore[call-arg]  # the mistake
    assert caught.value.hint == "did you mean resume?"


def test_completion_lists_the_functions() -> None:
    assert set(golfpipe.__all__) <= set(dir(golfpipe))


def test_an_artifact_is_shown_with_its_numbers(fake: FakeRun) -> None:
    packed = fake.open("pack")
    assert repr(packed).startswith("<packed_model ") and ": total_bytes " in repr(packed) and len(repr(packed)) < 200
    assert "<td>total_bytes</td>" in packed._repr_html_()
    odd = replace(packed, path=Path("a<b>"))
    assert "a&lt;b&gt;" in odd._repr_html_() and "<b>" not in odd._repr_html_()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_small_stages(tmp_path)
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_in_the_docs_runs(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "python-api.md").read_text()
    cells = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(cells) >= 6
    names: dict[str, object] = {"__name__": "notebook"}
    for cell in cells:
        exec(compile(cell, "docs/python-api.md", "exec"), names)
    assert names["hint"] == "did you mean quantize.mlp.bits?"
    rows = names["rows"]
    assert isinstance(rows, list) and [row.state for row in rows] == ["done", "done"]
    capsys.readouterr()
    # The commands see the same artifacts.
    assert main(["pack", "artifacts/notebook/quantize", "-v"]) == 0
    assert "up to date" in capsys.readouterr().out


def test_the_whole_chain_and_what_looks_at_it(workspace: Path) -> None:
    data = golfpipe.tokenize("my-texts", name="mine", processes=1, settings={"data.val_fraction": 0.3})
    said: list[str] = []
    done = golfpipe.run(
        data, name="a", preset="demo", until="evaluate-pack", threads=1, on_step=lambda s: said.append(s.state)
    )
    assert said.count("missing") >= 4
    assert done["pack"].manifest.kind == "packed_model"
    assert golfpipe.evaluate(done["evaluate-pack"]).path == done["evaluate-pack"].path
    with pytest.raises(KeyError):
        done["submit"]
    assert golfpipe.status(done.folder).stale == ()
    assert golfpipe.audit(done["pack"]).totals.packed_bytes == done["pack"].manifest.metrics["packed_bytes"]
    assert golfpipe.unpack(done["pack"]).path.is_file()
    assert golfpipe.write_report(done.folder).read_text().startswith("<!doctype html>")
    assert (
        golfpipe.ttt(done["pack"], settings={"ttt.method": "score_first_sgd"}, threads=1).manifest.kind == "evaluation"
    )
    assert golfpipe.submit(done["evaluate-pack"], settings={"submit.author": "Ada"}).manifest.kind == "submission"
    warm = golfpipe.train(data, name="w", preset="demo", init=done["pack"], threads=1)
    assert golfpipe.train(resume=True, name="w", threads=1).manifest.digest == warm.manifest.digest
    with pytest.raises(ConfigError, match=r"train\.max_step"):
        golfpipe.train(data, settings={"train.max_step": 1})
