"""The command line as users and scripts meet it: help, exit codes, what is on stdout and what on stderr."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_stages
import pytest
from fake_stages import make_artifact

from golfpipe.cli.answer import KNOWN_METRICS
from golfpipe.cli.app import COMMANDS, GROUPS, main
from golfpipe.cli.failure import _MEMORY_HINTS, Mode, show_failure
from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.errors import Interrupted, StageFailed
from golfpipe.jobs.job import Job
from golfpipe.report.section_settings import flatten

TEXT = "artifacts/data/text"


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.out.count("\n") == 1, self.out
        answer: dict[str, Any] = json.loads(self.out)
        assert answer["exit_code"] == self.code
        assert answer["ok"] == (self.code == 0)
        assert answer.keys() >= {"artifact", "kind", "digest", "up_to_date", "metrics", "error"}
        assert answer["metrics"].keys() >= set(KNOWN_METRICS)
        return answer


@pytest.fixture
def golfpipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], faked_stages: list[str]
) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    make_artifact(Path(TEXT), "token_data")

    def call(line: str) -> Result:
        capsys.readouterr()
        code = main(shlex.split(line))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def _commands() -> list[str]:
    groups = {id(group): f"{name} " for group, name, _ in GROUPS}
    return [groups.get(id(app), "") + name for app, name, _, _ in COMMANDS]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from golfpipe.cli.app import main; main(['--help'])\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'yaml', 'sentencepiece') if m in sys.modules])\n"
        "main(['train', '--help'])\n"  # here typer itself may import pydantic
        "print([m for m in ('torch', 'numpy', 'yaml', 'sentencepiece') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines().count("[]") == 2


@pytest.mark.parametrize("command", _commands())
def test_every_help_says_what_is_read_and_written_and_shows_examples(golfpipe: Any, command: str) -> None:
    result = golfpipe(f"{command} --help")
    assert result.code == 0
    text = re.sub(r"\s+", " ", result.out)
    assert "Reads " in text
    assert "rites " in text
    assert len(re.findall(rf"golfpipe {command}\b", text.partition("Examples:")[2])) >= 2
    assert "\b" not in result.out


def test_commands_are_listed_in_pipeline_order(golfpipe: Any) -> None:
    text = golfpipe("--help").out
    places = [text.index(f" {name} ") for name in ("run", "data", "train", "quantize", "pack", "ttt", "evaluate")]
    assert places == sorted(places)


def test_no_arguments_show_help(golfpipe: Any) -> None:
    for line in ("", "data"):
        result = golfpipe(line)
        assert result.code == 2
        assert "Usage" in result.out + result.err
        assert "error: a command is missing" in result.err


def test_commands_chain_by_their_quiet_output(golfpipe: Any) -> None:
    path = golfpipe(f"train {TEXT} --name a -q").out.strip()
    for command, expected in [
        ("quantize", "quantize"),
        ("pack", "pack"),
        ("evaluate", "evaluate-pack"),
        ("submit", "submit"),
    ]:
        result = golfpipe(f"{command} {path} -q")
        path = result.out.strip()
        assert (result.code, path, result.err) == (0, f"artifacts/a/{expected}", "")


def test_json_of_a_result(golfpipe: Any) -> None:
    golfpipe(f"train {TEXT} --name a")
    golfpipe("quantize artifacts/a/train")
    answer = golfpipe("pack artifacts/a/quantize --json").json
    assert answer["kind"] == "packed_model"
    assert answer["up_to_date"] is False
    assert answer["metrics"]["packed_bytes"] == 600
    assert answer["metrics"]["val_bpb"] is None
    assert answer["error"] is None
    assert golfpipe("pack artifacts/a/quantize --json").json["up_to_date"] is True


def test_over_the_limit_is_exit_4_with_the_artifact_complete(golfpipe: Any) -> None:
    golfpipe(f"train {TEXT} --name a")
    golfpipe("quantize artifacts/a/train")
    for _ in range(2):  # the second one is up to date
        result = golfpipe("pack artifacts/a/quantize --limit-bytes 20500 --json")
        assert result.code == 4
        assert result.json["artifact"] == "artifacts/a/pack"
        assert result.json["error"]["type"] == "OverLimit"
        assert "46,600 B of 20,500 B" in result.json["error"]["message"]
    assert golfpipe("evaluate artifacts/a/pack").code == 0


def test_train_says_which_preset_it_takes(golfpipe: Any) -> None:
    assert "using demo" in golfpipe(f"train {TEXT} --name a").err
    assert "using" not in golfpipe(f"train {TEXT} --preset tiny").err
    assert Path("artifacts/tiny/train").is_dir()


def test_qat_bits_are_steps_of_matrices_and_tables(golfpipe: Any) -> None:
    golfpipe(f"train {TEXT} --name a --qat-bits 3")
    qat = json.loads(Path("artifacts/a/train/manifest.json").read_text())["config"]["train"]["qat"]
    assert {name: qat[name]["step"] for name in ("mlp", "attention", "ngram", "token_table", "small")} == {
        "mlp": 0.5166, "attention": 0.5166, "ngram": 0.5166, "token_table": 0, "small": 0,
    }  # fmt: skip
    golfpipe(f"train {TEXT} --name b --set train.qat.mlp.step=0.7 --qat-bits 3")
    qat = json.loads(Path("artifacts/b/train/manifest.json").read_text())["config"]["train"]["qat"]
    assert (qat["mlp"]["step"], qat["attention"]["step"]) == (0.7, 0.5166)
    assert golfpipe(f"train {TEXT} --name c --qat-bits 0.5").code == 2
    never = golfpipe(f"train {TEXT} --name c --qat-bits 3 --set train.qat_start=1")
    assert never.code == 2 and "never starts" in never.err


def test_dry_run_writes_nothing(golfpipe: Any, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = golfpipe(f"train {TEXT} --dry-run --json").json
    assert answer["plan"]["reasons"] == ["missing"]
    assert answer["plan"]["output_bytes"] > 1_500_000
    assert len(answer["plan"]["key"]) == 64
    text = golfpipe(f"train {TEXT} --dry-run").out
    assert "would run: missing" in text
    assert "500 training steps" in text and "measured with preset tiny" in text
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("evaluate ''", 3, "empty string"),
        ("submit ''", 3, "empty string"),
        ("audit ''", 3, "empty string"),
        ("evaluate nowhere", 2, "nowhere: no such artifact"),
        (f"pack {TEXT}", 3, "kind token_data, expected quantized_model"),
        (f"train {TEXT} -o ''", 2, "-o is an empty string"),
        (f"train {TEXT} --preset dmeo", 2, "unknown preset dmeo"),
        (f"train {TEXT} --set train.max_step=1", 2, "unknown key train.max_step"),
        (f"train {TEXT} --set train.max_steps=x", 2, "train.max_steps"),
        (f"train {TEXT} --config nowhere.yaml", 2, "nowhere.yaml: No such file"),
        (f"train {TEXT} --seed x", 2, "--seed"),
        (f"train {TEXT} --device tpu", 2, "--device"),
        (f"train {TEXT} --name a/b", 2, "--name"),
        (f"train {TEXT} --bogus", 2, "--bogus"),
        ("quantize", 2, "model"),
        ("frobnicate", 2, "frobnicate"),
        ("train --resume", 2, "nothing to resume"),
        ("run --from quantise", 2, "quantise"),
        ("run nowhere", 2, "nowhere: no such artifact"),
        ("data inspect artifacts", 2, "which tokenizer"),
        ("data tokenize nowhere.txt", 2, "nowhere.txt: does not exist"),
        ("data add artifacts", 2, "holds no shard"),
    ],
)
def test_mistakes_are_one_message_and_an_exit_code(golfpipe: Any, line: str, code: int, message: str) -> None:
    result = golfpipe(line)
    assert result.code == code
    assert message in result.err
    assert result.err.count("error: ") == 1
    assert "Traceback" not in result.err
    assert result.out == ""
    answer = golfpipe(f"{line} --json").json
    assert message in answer["error"]["message"]
    assert answer["exit_code"] == code


def test_hints_name_the_way_out(golfpipe: Any) -> None:
    assert "hint: did you mean demo?" in golfpipe(f"train {TEXT} --preset dmeo").err
    golfpipe(f"train {TEXT} --name a")
    near = "nothing is here, but artifacts/a/train is a trained model; try: golfpipe quantize artifacts/a/train"
    assert f"hint: {near}" in golfpipe("quantize artifacts/a/trian").err
    assert "hint: did you mean range?" in golfpipe("quantize artifacts/a/train --set pack.coder=rnage").err
    assert "hint: did you mean pack?" in golfpipe("sweep artifacts/a/train --grid pack.coder=range --stages pakc").err
    assert "--force replaces it" in golfpipe(f"train {TEXT} --name a --set train.max_steps=2").err


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(job: Job, out: object) -> None:
        raise error

    monkeypatch.setattr(fake_stages, "run", fail)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "no space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 1, "/x/y: Permission denied"),
        (MemoryError(), 1, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (type("PanicException", (BaseException,), {})("value: KeyboardInterrupt()"), 130, "interrupted"),
        (Interrupted("stopped after step 3", hint="golfpipe train --resume"), 130, "stopped after step 3"),
        (Interrupted("stopped", exit_code=143), 143, "stopped"),
    ],
)
def test_expected_troubles(
    golfpipe: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    _fail_with(monkeypatch, error)
    result = golfpipe(f"train {TEXT} --json")
    assert result.code == code
    assert message in result.json["error"]["message"]
    assert "Traceback" not in result.err


@pytest.mark.parametrize("command", [*_MEMORY_HINTS, "unpack"])
def test_the_hint_where_memory_runs_out_names_what_the_command_has(
    command: str, golfpipe: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    show_failure(MemoryError(), Mode.of([command, "--json"]))
    hint = json.loads(capsys.readouterr().out)["error"]["hint"]
    helped = golfpipe(f"{'data tokenize' if command == 'data' else command} --help").out
    assert all(option in helped for option in re.findall(r"--\w+", hint))
    keys = re.findall(r"\b\w+\.[\w.]+\w", hint)
    assert all(key.partition(".")[0] == command or command == "run" for key in keys)
    assert set(keys) <= set(flatten(plain_config(PipelineConfig())))


def test_a_bug_says_so_and_keeps_the_traceback(golfpipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    result = golfpipe(f"train {TEXT}")
    assert result.code == 1
    assert "this is a bug in golfpipe" in result.err
    assert "Traceback" not in result.err
    match = re.search(r"the traceback is in (\S+);", result.err)
    assert match is not None
    written = Path(match[1])
    assert "ZeroDivisionError: division by zero" in written.read_text()
    written.unlink()
    result = golfpipe(f"train {TEXT} -v")
    assert "Traceback" in result.err
    Path(re.search(r"the traceback is in (\S+);", result.err)[1]).unlink()  # type: ignore[index]


def test_sigterm_is_143() -> None:
    code = (
        "import os, signal\n"
        "from golfpipe.cli import app as module\n"
        "def stop() -> None:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "module.app.command('pack')(module._interruptible(stop))\n"
        "raise SystemExit(module.main(['pack']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 143
    assert "error: terminated" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [(["presets"], 1, ""), (["--bogus", "--json"], 2, "error: No such option: --bogus\nhint: golfpipe --help\n")],
)
def test_a_closed_pipe_is_no_error_of_its_own(words: list[str], code: int, message: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "golfpipe", *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.stderr, done.returncode) == (message, code)


def test_config_show_names_origins(golfpipe: Any) -> None:
    answer = golfpipe("config show --preset 16l --set train.max_steps=3 --json").json
    assert answer["origin"]["train.max_steps"] == "--set"
    assert answer["origin"]["model.num_layers"] == "preset 16l"
    assert answer["config"]["train.max_steps"] == 3
    assert answer["model"]["parameters"] == 41_947_778
    assert answer["model"]["kv_source"] == [0] * 16
    text = golfpipe("config show").out
    assert re.search(r"train\.max_steps +\d+ +preset demo", text)
    golfpipe(f"train {TEXT} --name a --set train.max_steps=9")
    assert golfpipe("config show artifacts/a/train --json").json["config"]["train.max_steps"] == 9


def test_presets_are_listed(golfpipe: Any) -> None:
    answer = golfpipe("presets --json").json
    assert {"demo", "tiny", "16l"} <= {preset["name"] for preset in answer["presets"]}
    assert "41.9 M" in golfpipe("presets").out


def test_evaluating_an_evaluation_prints_it(golfpipe: Any) -> None:
    golfpipe(f"train {TEXT} --name a")
    path = golfpipe("evaluate artifacts/a/train -q").out.strip()
    answer = golfpipe(f"evaluate {path} --json").json
    assert (answer["artifact"], answer["metrics"]["val_bpb"]) == (path, 1.5)


def test_run_says_why_steps_run(golfpipe: Any) -> None:
    result = golfpipe(f"run {TEXT} --name a --dry-run")
    assert re.search(r"^train +missing$", result.out, re.MULTILINE)
    assert golfpipe(f"run {TEXT} --name a --dry-run --json").json["stages"][1]["state"] == "missing"
    assert golfpipe(f"run {TEXT} --name a --dry-run -q").out == "artifacts/a\n"


@pytest.mark.parametrize("error", [StageFailed("report.html: Read-only file system"), ValueError("alpha")])
def test_a_report_that_fails_is_a_warning_beside_a_finished_run(
    golfpipe: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr("golfpipe.report.page.write_report", fail)
    done = golfpipe(f"run {TEXT} --name try --preset tiny --until quantize --json")
    assert done.code == 0 and done.json["report"] is None and done.json["kind"] == "quantized_model"
    assert "warning: artifacts/try/report.html was not made: " in done.err and str(error) in done.err
