"""One small token data for all scripts, and how they are run: alone, and as stages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.config.schema import PipelineConfig
from golfpipe.script.entry import Settings
from golfpipe.script.generate import script_settings_of
from golfpipe.script.modules import read_source
from golfpipe.stages.verify_script import BARRIER, SCRIPT_NAME, Numbers, read_numbers, run_stages, script_environment
from golfpipe.store.artifact import Artifact

_SERVER = (
    BARRIER
    + """
import json, os, runpy, traceback
import constriction, numpy, safetensors.torch, sentencepiece, torch
for line in sys.stdin:
    folder, environment = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        log = os.open(folder + ".out", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            runpy.run_path("train_gpt.py", run_name="__main__")
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)


class CleanProcess:
    """`python -I` without golfpipe that has imported the libraries and forks for each script: importing torch takes
    longer than running one of these. The real process of `run_script` has tests of its own."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _SERVER],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, environment: dict[str, str]) -> str:
        """What train_gpt.py in `folder` printed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([str(folder), environment]), file=self.process.stdin, flush=True)
        code = self.process.stdout.readline().strip()
        output = folder.with_name(folder.name + ".out").read_text()
        assert code == "0", output
        return output

    def close(self) -> None:
        self.process.communicate()


@dataclass
class Small:
    """The small chain's settings and data."""

    folder: Path
    data: Artifact
    clean: CleanProcess

    def config(self, *overrides: str, preset: str = "demo") -> PipelineConfig:
        return resolve_config(load_stages(self.folder / "stages.yaml"), preset=preset, overrides=overrides).config

    def settings(self, *overrides: str, adaptation="none") -> Settings:
        return script_settings_of(self.config(*overrides), adaptation)

    def run(self, script: bytes, place: Path, **changes: int | float) -> Numbers:
        """The numbers of a script run alone; `changes`: train__max_steps=2."""
        place.mkdir()
        (place / SCRIPT_NAME).write_bytes(script)
        settings = {key.replace("__", "."): value for key, value in changes.items()}
        return read_numbers(self.clean.run(place, script_environment(self.data, 0, settings)))

    def stages(self, config: PipelineConfig, adaptation, place: Path) -> Numbers:
        return run_stages(config, adaptation, self.data, place)


def sources_with(module: str, pattern: str, replacement: str) -> Callable[[str], str]:
    """A reader of the real sources in which one place of one module is changed."""

    def read(name: str) -> str:
        text = read_source(name)
        if name == module:
            text, count = re.subn(pattern, replacement, text)
            assert count == 1, f"{pattern} is {count} times in {module}"
        return text

    return read
