"""Every command of the README runs as written, in order, on a very small scale.

The set-up and test lines are what .ci/run executes; blocks that need published data or a GPU are marked `text`.
"""

import os
import re
import subprocess

from shell_lines import run_line
from small_chain import ROOT, write_small_stages, write_texts

COVERED_BY_CI = ("python3 -m venv", ".venv/bin/pip")


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def readme_commands() -> list[str]:
    lines = [line for block in readme_blocks("sh") for line in block.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(COVERED_BY_CI)]


def test_commands_run_as_written(tmp_path, monkeypatch, capsys):
    write_small_stages(tmp_path)
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = readme_commands()
    assert len(commands) >= 20
    for command in commands:
        run_line(command, capsys)


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
