"""Many processes: starting them with torchrun, and ending all of them with one message when one fails."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import settings_of, work
from golfpipe.cli.options import SharedOptions
from golfpipe.errors import StageFailed, UsageError

if TYPE_CHECKING:  # the command line sees these only through the pipeline
    from golfpipe.jobs.job import Job

COMMANDS = ("train", "ttt", "evaluate")
"""Commands whose work many processes can share."""
LAUNCHED = "GOLFPIPE_LAUNCHED"
"""A variable of processes that golfpipe itself started: it then reports those that were killed."""
SAVE_SECONDS = 900
"""Seconds that the processes have after Ctrl-C, for the step at hand and the checkpoint, before torchrun kills them."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that torchrun passes on to the processes."""


@dataclass(frozen=True, slots=True)
class Launch:
    """The answer of a command that must be started anew as `nproc` processes."""

    nproc: int


def num_processes() -> int:
    """Return the number of processes of the run that this one is part of; 1 without torchrun."""
    size = os.environ.get("WORLD_SIZE", "1")
    started = all(name in os.environ for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"))
    return int(size) if started and size.isdigit() else 1


def wanted_processes(options: SharedOptions) -> int:
    """Return the number of processes that the options ask for: --nproc, else that of --machine. Raises ConfigError."""
    from golfpipe.pipeline.settings import machine_of

    if options.nproc is not None:
        return options.nproc
    machine = machine_of(settings_of(options))
    return machine.processes if machine is not None else 1


def check_can_share(words: Sequence[str]) -> None:
    """Check that torchrun did not start many processes of a command for one. Raises UsageError."""
    if num_processes() > 1 and not set(words[:1]) <= set(COMMANDS):
        raise UsageError(
            f"golfpipe {' '.join(words[:1])} runs in one process, torchrun started {num_processes()}",
            hint=f"without torchrun; it is for {', '.join(COMMANDS)}",
        )


def work_together(job: Job, options: SharedOptions) -> Answer | Launch | None:
    """Run the job of a command that many processes can share. With --nproc, the answer is to start them; the processes
    that torchrun started give none, except the first."""
    wanted = wanted_processes(options)
    if options.dry_run or (wanted == 1 and num_processes() == 1):
        return work(job, options)
    if num_processes() == 1:
        return Launch(wanted)
    from golfpipe.jobs.processes import follow_job, join_processes
    from golfpipe.reporter import SilentReporter

    group = join_processes(job.context.device)
    context = replace(job.context, processes=group)
    answer = None
    if group.rank == 0:
        answer = work(replace(job, context=context), options)
    else:
        follow_job(replace(job, context=replace(context, reporter=SilentReporter())), group)
    group.leave()
    return answer


def launch(wanted: Launch, words: Sequence[str]) -> int:
    """Run `golfpipe WORDS` in many processes under torchrun, and return their exit code. They print their own messages.

    Raises StageFailed where the system killed one.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from golfpipe.machine.devices import cpu_count

    environment = {
        LAUNCHED: "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cpu_count() // wanted.nproc))),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVE_SECONDS),
    }
    options = ["--standalone", f"--nproc-per-node={wanted.nproc}", "--module", "--", "golfpipe", *words]
    with _restored_afterwards(environment):
        try:
            torchrun.run(torchrun.parse_args(options))
        except ChildFailedError as failed:
            return exit_code_of(failed.failures)
        except SignalException as stop:
            return 128 + stop.sigval
    return 0


@contextmanager
def _restored_afterwards(environment: dict[str, str]) -> Iterator[None]:
    """Set these environment variables inside the `with` block; restore all and the signal handlers after it."""
    before, handlers = dict(os.environ), {number: signal.getsignal(number) for number in SIGNALS}
    os.environ.update(environment)
    logging.disable(logging.ERROR)  # the processes themselves report what happens
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def exit_code_of(failures: dict[int, Any]) -> int:
    """Return the exit code of the process that failed; the others were stopped. `failures` are in the order in which
    they were found. Raises StageFailed for a process that was killed."""
    for rank, failure in failures.items():
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            raise StageFailed(
                f"process {rank} was killed by {signal.Signals(-failure.exitcode).name}",
                hint="perhaps for lack of memory: fewer processes, or a lower train.micro_batch_sequences",
            )
    return max(1, *(int(failure.exitcode) for failure in failures.values()))


def speaks_for_all(code: int, error: BaseException) -> tuple[bool, int]:
    """Return whether this process, failing with `code`, should print its error, and the exit code to end with.

    Only the first process to fail prints. The others fail for the same reason, or because the first one is gone.
    """
    if num_processes() == 1:
        return True, code
    from golfpipe.jobs.processes import meeting_store

    mine = f"{os.environ['RANK']}:{code}"
    try:
        first = meeting_store().compare_set("failure", "", mine).decode()
    except Exception:  # the process that kept the store is gone
        return False, code
    silent = lost_the_others(error) and LAUNCHED in os.environ
    return first == mine and not silent, int(first.partition(":")[2])


def lost_the_others(error: BaseException) -> bool:
    """Return True if the error says that other processes are gone, told by name and text so as not to import torch."""
    is_theirs = type(error).__name__.startswith("Dist") or "gloo" in str(error)
    return num_processes() > 1 and isinstance(error, RuntimeError) and is_theirs
