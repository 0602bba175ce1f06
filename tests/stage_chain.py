"""Stages run one after the other in a folder, with small settings."""

from __future__ import annotations

from pathlib import Path

import torch
from small_chain import write_small_stages, write_texts

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.data.text_files import find_text_files
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.store.artifact import Artifact


class Chain:
    """Runs stages in a folder, with the small settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages_file = load_stages(folder / "stages.yaml")

    def job(
        self,
        stage: str,
        out: str,
        *overrides: str,
        inherit: Artifact | None = None,
        preset="demo",
        context=None,
        **inputs,
    ):
        inputs_by_role = {role: artifact for role, artifact in inputs.items() if isinstance(artifact, Artifact)}
        config = resolve_config(
            self.stages_file,
            preset=None if inherit else preset,
            inherited=inherit.manifest.config if inherit else None,
            overrides=overrides,
        ).config
        arguments = inputs.get("arguments", {})
        return Job(
            stage=STAGES[stage],
            config=config,
            inputs=inputs_by_role,
            out=self.folder / out,
            arguments=arguments,
            argument_digest=str(sorted(arguments)),
            context=context or Context(),
        )

    def run(self, stage: str, out: str, *overrides: str, **inputs) -> Artifact:
        return run_job(self.job(stage, out, *overrides, **inputs)).artifact


def packed_chain(folder: Path, *train_overrides: str) -> Chain:
    """data -> train -> quantize -> pack in `folder`: tests write beside them and change nothing of theirs."""
    torch.set_num_threads(1)
    write_small_stages(folder)
    write_texts(folder)
    chain = Chain(folder)
    files = {"files": find_text_files([folder / "my-texts"]).files, "tokenizer": None, "processes": 1}
    chain.data = chain.run("data-tokenize", "data", "data.val_fraction=0.3", arguments=files)
    chain.trained = chain.run("train", "a/train", *train_overrides, data=chain.data)
    chain.quantized = chain.run("quantize", "a/quantize", inherit=chain.trained, model=chain.trained)
    chain.packed = chain.run("pack", "a/pack", inherit=chain.quantized, model=chain.quantized)
    return chain
