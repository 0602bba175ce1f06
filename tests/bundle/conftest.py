from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from small_chain import write_small_stages, write_texts

from golfpipe.bundle.entry import Settings
from golfpipe.bundle.generate import script_settings_of
from golfpipe.bundle.sources import read_source
from golfpipe.bundle.verify import Numbers, run_script, run_stages
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.config.schema import PipelineConfig
from golfpipe.stages.base import STAGES, Context, Job, run_job
from golfpipe.store.artifact import Artifact


@dataclass
class Small:
    """The small chain's settings and data."""

    folder: Path
    data: Artifact

    def config(self, *overrides: str, preset: str = "demo") -> PipelineConfig:
        return resolve_config(load_stages(self.folder / "stages.yaml"), preset=preset, overrides=overrides).config

    def settings(self, *overrides: str, adaptation="none") -> Settings:
        return script_settings_of(self.config(*overrides), adaptation)

    def run(self, script: bytes, place: Path, **changes: int | float) -> Numbers:
        """The numbers of a script run alone; `changes`: train__max_steps=2."""
        return run_script(
            script, self.data, place, 0, {key.replace("__", "."): value for key, value in changes.items()}
        )

    def stages(self, config: PipelineConfig, adaptation, place: Path) -> Numbers:
        return run_stages(config, adaptation, self.data, place)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bundle")
    write_small_stages(folder)
    write_texts(folder)
    config = resolve_config(
        load_stages(folder / "stages.yaml"), preset="demo", overrides=["data.val_fraction=0.3"]
    ).config
    job = Job(
        stage=STAGES["data-tokenize"],
        config=config,
        inputs={},
        out=folder / "data",
        arguments={"files": [folder / "my-texts"], "tokenizer": None, "processes": 1},
        context=Context(),
    )
    return Small(folder, run_job(job).artifact)


def sources_with(module: str, pattern: str, replacement: str) -> Callable[[str], str]:
    """A reader of the real sources in which one place of one module is changed."""

    def read(name: str) -> str:
        text = read_source(name)
        if name == module:
            text, count = re.subn(pattern, replacement, text)
            assert count == 1, f"{pattern} is {count} times in {module}"
        return text

    return read
