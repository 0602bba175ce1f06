"""No text of a stranger's run changes what a generated file does: each text field in turn is filled with what every
language would act on, and the files parse to the same tree as with a harmless word."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from fake_run import FakeRun, submit_job

from golfpipe.cli.app import main
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.config.schema import build_config, plain_config
from golfpipe.jobs.run import run_job
from golfpipe.report.svg import Drawing
from golfpipe.script.generate import generate_script, script_settings_of
from golfpipe.store.artifact import open_artifact
from golfpipe.submission.records_folder import records_folder
from reliability.forged_fields import Field, fields, fill
from reliability.payloads import EVERYTHING, HARMLESS, HIDDEN, as_name, lets_through
from reliability.syntax_trees import REFUSED, python_tree, trees

LAUNCHERS = 'submit.launchers=["torchrun","modal","slurm"]'


@pytest.fixture(scope="module")
def patched() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("golfpipe.stages.submit.script_obstacle", lambda config: "a fake run has none")
        for section in ("stages", "sizes", "sweep"):  # matplotlib takes seconds; it escapes what it writes
            patch.setattr(f"golfpipe.report.section_{section}.drawing", lambda draw, *, name, title: Drawing(title, []))
        yield


@pytest.fixture(scope="module")
def base(patched: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a submission and a sweep."""
    folder = tmp_path_factory.mktemp("base") / "alpha"
    run = FakeRun(folder).build()
    run_job(submit_job([run.open("evaluate-pack")], folder / "submit", LAUNCHERS))
    (folder / "sweep").mkdir()
    rows = [{"settings": {"quantize.mlp.bits": bits, "pack.coder": coder}, "val_bpb": 2.0 + bits, "error": "failed"}
            for bits, coder in ((3, "range"), (4, "nibble"))]  # fmt: skip
    (folder / "sweep" / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def outputs(run: Path, out: Path) -> dict[str, str]:
    """What submit, report and report --markdown write; 'refused' in place of what they refuse. What they, status and
    audit say on the terminal is checked on the way."""
    made: dict[str, str] = {}
    if command("submit", str(run / "evaluate-pack"), "-o", str(out), "--set", LAUNCHERS) == 0:
        folder = records_folder(open_artifact(out))
        assert folder.resolve().is_relative_to(out.resolve())
        made |= {path.name: path.read_text() for path in folder.iterdir()}
    else:
        made["submission.json"] = REFUSED
    for name, more in (("report.html", ()), ("report.md", ("--markdown",))):
        file = out.with_name(name)
        refused = command("report", str(run), "-o", str(file), *more) != 0
        made[name] = REFUSED if refused else file.read_text()
    command("status", str(run))
    command("audit", str(run / "evaluate-pack"))
    command("audit", str(run / "submit"))
    return made


def command(*words: str) -> int:
    """Run a command, and hold that nothing it says acts on a terminal, forges a line or names a bug."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = main(words)
    text = said.getvalue()
    assert "this is a bug" not in text and lets_through(text) is None, f"{words}: {text}"
    return code


def check(hostile: dict[str, str], usual: dict[str, Any], harmless: Callable[[], dict[str, str]]) -> None:
    """The trees of the files are the usual ones, or those with a harmless word."""
    found = trees(hostile)
    if found != {name: tree for name, tree in usual.items() if name in found}:
        assert found == {name: tree for name, tree in trees(harmless()).items() if name in found}
    for name in found:
        assert not HIDDEN & set(hostile[name]), f"{name}: control characters"


@pytest.mark.parametrize("part", range(3))
def test_every_text_field_in_turn(base: Path, tmp_path: Path, part: int) -> None:
    plain = outputs(base, tmp_path / "plain")
    assert REFUSED not in plain.values() and len(plain) == 10
    usual, texts = trees(plain), fields(base, str)
    assert len(texts) > 80
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}

    def outputs_with(text: str, field: Field) -> dict[str, str]:
        fill(base, field, text)
        try:
            return outputs(base, Path(tempfile.mkdtemp(dir=tmp_path)) / "made")
        finally:
            for path, content in before.items():
                path.write_bytes(content)

    reached, refused = set(), 0
    for field in texts[part::3]:
        made = outputs_with(EVERYTHING, field)
        changed = {name: text for name, text in made.items() if text != plain.get(name)}
        check(changed, usual, lambda field=field: outputs_with(HARMLESS, field))
        reached |= {name for name, text in changed.items() if text != REFUSED}
        refused += REFUSED in changed.values()
    assert {"config.yaml", "report.html", "report.md"} <= reached
    assert part == 0 or {"README.md", "submission.json"} <= reached
    assert refused > 3


def test_the_name_of_the_run(patched: None, tmp_path: Path) -> None:
    made = []
    for name in (as_name(EVERYTHING), HARMLESS):
        run = FakeRun(tmp_path / str(len(name)) / name).build()
        made.append(outputs(run.folder, tmp_path / str(len(name)) / "made"))
    assert REFUSED not in made[0].values()
    check(made[0], trees(made[1]), lambda: made[1])


def test_settings_in_the_script() -> None:
    """The only settings that are free text are the patterns of names."""
    made = []
    for text in (EVERYTHING, HARMLESS):
        plain = plain_config(resolve_config(load_stages(), preset="tiny").config)
        for policy in (plain["quantize"], plain["train"]["qat"]):
            policy["rules"][0]["match"] = text
        made.append(generate_script(script_settings_of(build_config(plain), "none"), "readable").decode())
    assert ascii(EVERYTHING)[1:20] in made[0] and python_tree(made[0]) == python_tree(made[1])
