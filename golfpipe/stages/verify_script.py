"""Run a generated script as a reviewer would, and compare it with the stages at the same settings.

The script runs alone in an empty folder, in a clean process that can import neither golfpipe nor its caller's path and
may not open sockets. Steps and targets are few: the question is whether two programs compute the same, to the last
digit, and a few steps of everything show that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from golfpipe import openmp
from golfpipe.adapt.config import TttConfig
from golfpipe.config.schema import PipelineConfig, differing, with_changes
from golfpipe.errors import StageFailed
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.script.generate import Adaptation
from golfpipe.store.artifact import Artifact

SCRIPT_NAME = "train_gpt.py"
_MOST_STEPS = 3
_MOST_SEQUENCES = 4
_MOST_TARGETS = 4096
_TIMEOUT_SECONDS = 3600
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", *openmp.VARIABLES)
_UNCOMPILED: Mapping[str, int | float | str] = {"train.compile": "off", "ttt.compile": "off", "evaluate.compile": "off"}
"""Settings that turn compiling off, as in the script without a GPU: compiled code rounds in other places."""

BARRIER = """
import sys
class InstalledGolfpipe:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "golfpipe":
            raise ImportError("the script imports " + name + ", which it does not hold")
sys.meta_path.insert(0, InstalledGolfpipe())
"""
"""Keeps a script from importing the installed golfpipe. Its own modules come from its import hook, which is asked
first."""
_LAUNCHER = (
    BARRIER
    + """
import runpy
def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise RuntimeError("the script opens a socket: " + event)
sys.addaudithook(refuse)
runpy.run_path("train_gpt.py", run_name="__main__")
"""
)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers by which two runs are compared."""

    train_loss_nats: float
    packed_sha256: str
    val_loss_nats: float
    val_bpb: float


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Both results, and the reduced settings under which they came about."""

    script: Numbers
    stages: Numbers
    settings: Mapping[str, int | float]
    """The values, by dotted key, that replaced the run's own."""

    @property
    def differences(self) -> tuple[str, ...]:
        """Every number that is not exactly equal, as 'val_bpb: script 2.31, stages 2.32'."""
        left, right = dataclasses.asdict(self.script), dataclasses.asdict(self.stages)
        return tuple(f"{key}: script {left[key]}, stages {right[key]}" for key in left if left[key] != right[key])

    @property
    def equal(self) -> bool:
        return not self.differences

    def record(self) -> dict[str, Any]:
        """Return the verification as it stands in submission.json."""
        return {
            "equal": self.equal,
            "differences": list(self.differences),
            "settings": dict(self.settings),
            "script": dataclasses.asdict(self.script),
            "stages": dataclasses.asdict(self.stages),
        }


def verify(
    script: bytes, config: PipelineConfig, adaptation: Adaptation, data: Artifact, changes: Mapping[str, int | float]
) -> Verification:
    """Run the script and the stages with these values, by dotted key, in place of the run's own. `config` is the run's,
    `data` its token data. Raises StageFailed with the script's last lines if the script fails."""
    with tempfile.TemporaryDirectory(prefix="golfpipe-verify-") as folder:
        by_script = run_script(script, data, Path(folder, "script"), config.seed, changes)
        by_stages = run_stages(
            with_changes(config, {**changes, **_UNCOMPILED}), adaptation, data, Path(folder, "stages")
        )
    return Verification(script=by_script, stages=by_stages, settings=changes)


def reduced_settings(config: PipelineConfig, adaptation: Adaptation) -> dict[str, int | float]:
    """Return settings of few steps and targets, without a clock, which would let speed decide the schedule."""
    train, evaluate = config.train, config.evaluate
    even = math.lcm(*train.context_lengths)  # tokens that sequences of every length fill
    sequences = min(_MOST_SEQUENCES, train.batch_tokens // even)
    targets = min(_MOST_TARGETS, evaluate.max_targets or _MOST_TARGETS)
    wanted: dict[str, int | float] = {
        "train.max_steps": min(train.max_steps, _MOST_STEPS),
        "train.max_seconds": 0.0,
        "train.batch_tokens": sequences * even,
        "train.validation_targets": targets,
        "evaluate.max_targets": targets,
    }
    if adaptation == "ttt":
        wanted |= shortened(config.ttt)
    return differing(config, wanted)


def shortened(ttt: TttConfig) -> dict[str, int | float]:
    """Return the values, by dotted key, with which the chosen method does the least that shows what it computes."""
    found: dict[str, int | float] = {}
    for name, value in ttt.chosen.shortened.items():
        # What `ttt` itself says is said over the method's own section.
        section = "ttt" if getattr(ttt, name, None) is not None else f"ttt.{ttt.method}"
        found[f"{section}.{name}"] = min(value, getattr(ttt.recipe(), name))
    return found


def run_script(script: bytes, data: Artifact, folder: Path, seed: int, changes: Mapping[str, int | float]) -> Numbers:
    """Run the script alone in the new folder `folder`, on the CPU with this process's threads. Raises StageFailed."""
    folder.mkdir()
    (folder / SCRIPT_NAME).write_bytes(script)
    environment = script_environment(data, seed, changes)
    command = [sys.executable, "-I", "-c", _LAUNCHER]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StageFailed(f"{SCRIPT_NAME} did not end within {_TIMEOUT_SECONDS} s") from error
    if done.returncode:
        last = "\n".join([*done.stdout.splitlines()[-3:], *done.stderr.splitlines()[-12:]])
        raise StageFailed(f"{SCRIPT_NAME} ended with {done.returncode}:\n{last}")
    return read_numbers(done.stdout)


def script_environment(data: Artifact, seed: int, changes: Mapping[str, int | float]) -> dict[str, str]:
    """The variables of a script's process: where the data is, what is changed, and little of this process's own."""
    names = {_variable(key): repr(value) for key, value in changes.items()}
    threads = str(torch.get_num_threads())
    return {
        **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "CUDA_VISIBLE_DEVICES": "",
        "DATA_PATH": str(data.folder.resolve()),
        "TOKENIZER_PATH": str((data.folder / str(data.manifest.metrics["tokenizer_file"])).resolve()),
        "SEED": str(seed),
        "RUN_ID": "verify",
        **names,
    }


def _variable(key: str) -> str:
    """Return the script's variable for a dotted key. Its `ttt` is the recipe of the one method that it holds."""
    section, *names = key.split(".")
    return "_".join(["GOLF", section, *(names[-1:] if section == "ttt" else names)]).upper()


def read_numbers(output: str) -> Numbers:
    """Read the numbers from the lines that a script prints. Raises StageFailed where they are missing."""
    exact = re.search(r"exact train_loss:(\S+) val_loss_nats:(\S+) val_bits:(\S+)", output)
    digest = re.search(r"packed_sha256:([0-9a-f]{64})", output)
    if exact is None or digest is None:
        raise StageFailed(f"{SCRIPT_NAME} printed no result; its last lines:\n" + "\n".join(output.splitlines()[-5:]))
    loss, nats, bits = (float(text) for text in exact.groups())
    return Numbers(train_loss_nats=loss, packed_sha256=digest[1], val_loss_nats=nats, val_bpb=bits)


def run_stages(config: PipelineConfig, adaptation: Adaptation, data: Artifact, folder: Path) -> Numbers:
    """Compute the same through the stages, as artifacts in `folder`."""

    def stage(name: str, out: str, **inputs: Artifact) -> Artifact:
        job = Job(stage=STAGES[name], config=config, inputs=inputs, out=folder / out, context=Context(device="cpu"))
        return run_job(job).artifact

    trained = stage("train", "train", data=data)
    packed = stage("pack", "pack", model=stage("quantize", "quantize", model=trained, data=data))
    scored = packed
    if adaptation == "ttt":
        scored = stage("ttt", "ttt", model=packed, data=data)
    if scored.manifest.kind != "evaluation":
        scored = stage("evaluate", "evaluate", model=scored, data=data)
    metrics = scored.manifest.metrics
    return Numbers(
        train_loss_nats=float(trained.manifest.metrics["train_loss_nats"]),
        packed_sha256=hashlib.sha256(packed.read("packed.safetensors")).hexdigest(),
        val_loss_nats=float(metrics["val_loss_nats"]),
        val_bpb=float(metrics["val_bpb"]),
    )
