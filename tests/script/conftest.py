from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from script_runs import CleanProcess, Small
from small_chain import write_small_stages, write_texts

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.data.text_files import find_text_files
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
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
        arguments={"files": find_text_files([folder / "my-texts"]).files, "tokenizer": None, "processes": 1},
        context=Context(),
    )
    clean = CleanProcess(folder)
    yield Small(folder, run_job(job).artifact, clean)
    clean.close()
