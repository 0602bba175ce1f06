"""The processes that torchrun starts for one run. The first one leads: it takes the lock, writes, and tells the others
what to do. The others compute along and write nothing."""

from __future__ import annotations

import importlib
import os

import torch
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from golfpipe.errors import UsageError
from golfpipe.jobs.job import Job
from golfpipe.machine.devices import select_device
from golfpipe.optim.process_group import ProcessGroup
from golfpipe.store.artifact_writer import IdleWriter
from golfpipe.store.files import partial_folder


def join_processes(device: str) -> ProcessGroup:
    """Join the other processes, which torchrun's environment variables name, and take the GPU of this process's number.

    Raises UsageError where the machine has not one device for each process.
    """
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    chosen = torch.device(select_device(device))
    check_processes(chosen, int(os.environ["LOCAL_WORLD_SIZE"]))
    if chosen.type == "cuda":
        torch.cuda.set_device(local)
    processes = ProcessGroup(rank, size)
    processes.meet(meeting_store())
    return processes


def check_processes(device: torch.device, processes: int) -> None:
    """Raise UsageError where the machine has not one such device for each of its processes."""
    if device.type == "mps" and processes > 1:
        raise UsageError("an mps device serves one process", hint="--device cpu, or leave out --nproc")
    if device.type == "cuda" and processes > torch.cuda.device_count():
        raise UsageError(
            f"{processes} processes on a machine with {torch.cuda.device_count()} GPUs",
            hint="start one process per GPU, or --device cpu",
        )


def meeting_store() -> Store:
    """Return the key-value store that all processes of the run reach."""
    store, _, _ = next(rendezvous("env://"))
    return PrefixStore("golfpipe", store)


def follow_job(job: Job, processes: ProcessGroup) -> None:
    """Compute along with the first process's `run_job`, if there is work to do. All processes but the first call this.

    Raises UsageError where this process was started for another job.
    """
    key, run = processes.first(("", False))
    if key != job.key:
        raise UsageError(
            f"process {processes.rank} has other settings or inputs than process 0",
            hint="start all with the same command, stages.yaml and artifacts",
        )
    if run:
        importlib.import_module(job.stage.module).run(job, IdleWriter(partial_folder(job.out)))
