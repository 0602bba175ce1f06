"""Every command of the README runs as written, each block in order, on a very small scale.

The set-up and test lines are what .ci/run executes; blocks that need published data or a GPU are marked `text`.
"""

import os
import re
import subprocess

import pytest
from shell_lines import run_line
from small_chain import ROOT, write_small_stages
from sweep_inline import in_this_process

COVERED_BY_CI = ("python3 -m venv", ".venv/bin/pip")


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def readme_commands() -> list[list[str]]:
    """The commands of each block that has some."""
    blocks = [[line for line in block.splitlines() if line.strip()] for block in readme_blocks("sh")]
    return [block for block in blocks if not block[0].startswith(COVERED_BY_CI)]


def test_the_first_commands_run_in_an_empty_folder(finished_runs, tmp_path, monkeypatch, capsys):
    write_small_stages(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in readme_commands()[0]:
        run_line(command, capsys)


@pytest.mark.parametrize("commands", readme_commands()[1:], ids=lambda commands: commands[0])
def test_the_others_run_where_runs_are_finished(commands, run_folder, monkeypatch, capsys):
    in_this_process(monkeypatch)
    for command in commands:
        run_line(command, capsys)


def test_there_are_many():
    assert sum(map(len, readme_commands())) >= 20


def test_ci_runs_the_set_up_and_test_lines():
    script = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    lines = [line for block in readme_blocks("sh") for line in block.splitlines() if line.startswith(COVERED_BY_CI)]
    assert len(lines) == 2
    assert "readme_line 'python3 -m venv'" in script and r"readme_line '\.venv/bin/pip install -e'" in script
    # the first line leaves a shell in which `golfpipe` works, and .ci/run takes away its end
    assert lines[0].endswith(" && . .venv/bin/activate && pip install . && golfpipe run")
    assert "${setup% && golfpipe run}" in script
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=False).returncode == 0


def test_the_file_tree_lists_every_package():
    tree = next(block for block in readme_blocks("text") if "stages.yaml" in block and "cli/" in block)
    packages = {path.parent.name for path in (ROOT / "golfpipe").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^  (\w+)/", tree, re.MULTILINE))
