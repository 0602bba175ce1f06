"""Every example in every --help runs as written, in a folder that holds what it names.

Stages cost nothing here, because the docs and the README run them all; what looks at artifacts looks at real ones.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from executed_numbers import HONEST
from fake_hub import FakeHub, serving
from safetensors.torch import save_file
from shell_lines import run_line
from sweep_inline import in_this_process
from their_checkpoint import state

from golfpipe import Calibration
from golfpipe.cli.app import COMMANDS, GROUPS, main
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.data.shard_format import shard_header
from golfpipe.jobs.registry import STAGES
from golfpipe.submission.trial.file_scorer import TEMPLATE

REAL = {
    "run", "audit", "trial", "compare", "generate", "unpack", "report", "status", "ls", "diff", "clean",
    "data inspect", "data add", "data fetch",
}  # fmt: skip
"""Commands that read artifacts or files for what is in them."""
SECTIONS = {id(group): f"{name} " for group, name, _ in GROUPS}
EXAMPLES = [
    (f"{SECTIONS.get(id(app), '')}{name}", line.strip())
    for app, name, _, function in COMMANDS
    for line in re.findall(r"^ +(golfpipe .*)$", (function.__doc__ or "").partition("Examples:")[2], re.MULTILINE)
]


@pytest.fixture
def examples_folder(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shards = Path("fineweb10B_sp1024")
    shards.mkdir()
    for path in Path("artifacts/data/demo").glob("*.bin"):
        shutil.copy(path, shards)
    tokenizer = next(Path("artifacts/data/demo").glob("*.model"))
    for name in ("fineweb_1024_bpe.model", "sp.model"):
        shutil.copy(tokenizer, name)
    shutil.copy("my-texts/lines.jsonl", "corpus.jsonl")
    shutil.copy(TEMPLATE, "scorer.py")
    shutil.copytree("my-texts", "texts")
    model = resolve_config(load_stages(), preset="16l").config.model
    torch.save(state(model), "final_model.pt")
    save_file({"qo_bank": torch.randn(2, 8, 8)}, "theirs.safetensors")
    assert main(["import", "theirs.safetensors", "--as", "weights", "-q"]) == 0
    calibration = Calibration(torch.nn.Module())
    calibration.add("qo_bank.0", torch.ones(2, 8))
    calibration.save("c.safetensors")
    monkeypatch.setattr("golfpipe.stages.submit.script_obstacle", lambda config: "generating it takes seconds")
    for seed in "123":
        shutil.copytree("artifacts/demo", f"artifacts/seed{seed}")
    yield run_folder


@pytest.fixture
def hub(examples_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = {"datasets/tokenizers/fineweb_1024_bpe.model": Path("sp.model").read_bytes()}
    files["datasets/tokenizers/fineweb_4096_bpe.model"] = files["datasets/tokenizers/fineweb_1024_bpe.model"]
    tokens = next(Path("artifacts/data/demo").glob("*val*.bin")).read_bytes()
    short = np.frombuffer(tokens, "<u2", count=2000, offset=1024)
    train = shard_header(len(short)) + short.tobytes()
    for variant in ("sp1024", "sp4096"):
        folder = f"datasets/datasets/fineweb10B_{variant}"
        files |= {f"{folder}/fineweb_train_{n:06d}.bin": train for n in range(10)}
        files[f"{folder}/fineweb_val_000000.bin"] = tokens
    with serving(FakeHub(files, repository=None)) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield


def test_examples_stay_whole_where_80_columns_are_shown() -> None:
    assert [line for _, line in EXAMPLES if len(line) > 76] == []


@pytest.mark.parametrize(("command", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_runs_as_written(
    command: str,
    line: str,
    examples_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if command == "data fetch":
        request.getfixturevalue("hub")
    if command == "config init":
        Path("stages.yaml").unlink()  # a folder in which nobody wrote one yet
    if "--interactive" in line:
        monkeypatch.setattr("sys.stdin", io.StringIO("The function returns\n"))
    if "evaluate-train" in line:
        assert main(["evaluate", "artifacts/demo/train", "-q"]) == 0
    if "shard-" in line:
        for shard in ("1/2", "2/2"):
            assert main(["evaluate", "artifacts/demo/pack", "--shard", shard, "-q"]) == 0
    if "artifacts/demo/submit" in line:
        assert main(["submit", "artifacts/demo/evaluate-pack", "-q"]) == 0
    if command not in REAL:
        for name, stage in STAGES.items():
            monkeypatch.setitem(STAGES, name, replace(stage, module="fake_stages"))
    if line.endswith(" --execute"):  # as the README runs it, for real
        monkeypatch.setattr("golfpipe.review.audit.execute", lambda lineage, **more: HONEST)
    if command == "trial":
        monkeypatch.setattr("golfpipe.review.trial.execute_file", lambda file, data, **more: HONEST)
    if command == "sweep":
        pytest.importorskip("submitit")
        in_this_process(monkeypatch)
    run_line(line.replace("/mnt/shared/fineweb", "artifacts/data/demo"), capsys)
