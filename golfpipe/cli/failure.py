"""How a command ends: its answer on stdout, or one message on stderr, and the exit code."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import typer

from golfpipe.cli.answer import Answer, answer_json
from golfpipe.cli.terminal import print_lines, print_message, print_path
from golfpipe.cli.torchrun import lost_the_others, speaks_for_all
from golfpipe.errors import ArtifactError, GolfpipeError, Interrupted, StageFailed, UsageError
from golfpipe.units import format_bytes

# typer brings its own copy of click from 0.26 on, and uses the package before; both have this ancestor.
_ClickException: type[Any] = typer.BadParameter.__mro__[2]


_MEMORY_HINTS = {
    "run": "lower train.micro_batch_sequences, evaluate.batch_tokens or ttt.cosine.batch_sequences, or use another"
    " --device",
    "train": "lower train.micro_batch_sequences, or use another --device",
    "ttt": "lower ttt.cosine.batch_sequences, or use another --device",
    "evaluate": "lower evaluate.batch_tokens or the batch of the ttt method, or use another --device",
    "sweep": "fewer cells at a time: --jobs 1",
    "data": "fewer --processes, or a smaller text",
    "audit": "without --execute nothing is computed; or use another --device",
    "generate": "use another --device, or a machine with more memory",
}
"""What helps where memory ran out, by command. Each names only what that command has."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How to print. It is read from the words themselves, because even the parsing of options may fail."""

    json: bool
    quiet: bool
    verbose: bool
    words: tuple[str, ...] = ()
    """All words after `golfpipe`."""
    command: str = ""
    """The command's name, for hints; of a group its first word."""

    @classmethod
    def of(cls, words: Sequence[str]) -> Mode:
        options = [word for word in words[: words.index("--") if "--" in words else None] if word.startswith("-")]

        def has(short: str, long: str) -> bool:
            return long in options or any(re.fullmatch(f"-[qv]*{short}[qv]*", word) for word in options)

        command = next((word for word in words if not word.startswith("-")), "")
        return cls(
            json="--json" in options,
            quiet=has("q", "--quiet"),
            verbose=has("v", "--verbose"),
            words=tuple(words),
            command=command,
        )


def show_answer(answer: Answer, mode: Mode) -> int:
    """Print the answer and return the exit code."""
    if answer.error is not None:
        answer = replace(answer, error=_with_hint(answer.error, mode))
    if mode.json:
        print_lines([answer_json(answer)])
    elif not mode.quiet:
        print_lines(answer.lines)
    elif answer.path is not None:
        print_path(answer.path)
    if answer.error is None:
        return 0
    _print_error(answer.error)
    return answer.error.exit_code


def show_failure(error: BaseException, mode: Mode) -> int:
    """Print what went wrong and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough
        return 1
    known = _as_golfpipe_error(error, mode)
    if known is None:
        known = _bug(error)
        if mode.verbose:
            print_message("".join(traceback.format_exception(error)).rstrip("\n"))
    speaks, code = speaks_for_all(known.exit_code, error)
    if speaks:
        if mode.json:
            with suppress(BrokenPipeError, StageFailed):  # stderr has the message, too
                print_lines([answer_json(Answer(error=known))])
        _print_error(known)
    return code


def interruption(error: BaseException) -> Interrupted:
    """Return the error for Ctrl-C or, where `error` has the exit code 143, for SIGTERM."""
    code = getattr(error, "exit_code", 130)
    again = shlex.join(["golfpipe", *sys.argv[1:]])
    return Interrupted(
        "terminated" if code == 143 else "interrupted",
        hint=f"finished artifacts are as they were; to go on: {again}",
        exit_code=code,
    )


def _as_golfpipe_error(error: BaseException, mode: Mode) -> GolfpipeError | None:
    """Return the user-facing form of an expected error of that command line; None for a bug."""
    if isinstance(error, GolfpipeError):
        return _with_hint(error, mode)
    if isinstance(error, _ClickException):
        context = getattr(error, "ctx", None)
        hint = f"{context.command_path} --help" if context is not None else "golfpipe --help"
        message = error.format_message().replace("Value error, ", "")
        return UsageError(message or "a command is missing", hint=hint)
    if isinstance(error, KeyboardInterrupt | typer.Abort) or _is_interrupted_import(error):
        return interruption(error)
    if isinstance(error, MemoryError) or _is_torch_memory_error(error):
        return StageFailed(
            f"out of memory: {str(error).splitlines()[0] if str(error) else 'the system gave no more'}",
            hint=_MEMORY_HINTS.get(mode.command, "end other programs, or use a machine with more memory"),
        )
    if isinstance(error, OSError):
        return _system_error(error)
    if lost_the_others(error):
        return StageFailed(
            f"process {os.environ['RANK']} lost its connection to another one: {str(error).splitlines()[0][:200]}",
            hint="that one was killed, or the network failed; torchrun's own messages name it",
        )
    return None


def _with_hint(error: GolfpipeError, mode: Mode) -> GolfpipeError:
    """Return the error with a hint that only a look at the disk can give: the command that leads on."""
    if error.wanted:
        from golfpipe.review.right_command import with_right_command

        return with_right_command(error, mode.words)
    if isinstance(error, ArtifactError):
        from golfpipe.review.remake import with_way_out

        return with_way_out(error)
    return error


def _system_error(error: OSError) -> GolfpipeError:
    path = error.filename if isinstance(error.filename, str) else None
    hint = None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = f"{format_bytes(shutil.disk_usage(os.getcwd()).free)} are free here; earlier artifacts are as they were"
    return StageFailed(f"{path + ': ' if path else ''}{error.strerror or error}", hint=hint, path=path)


def _is_interrupted_import(error: BaseException) -> bool:
    """Return True for Ctrl-C during an import inside the entropy coder: it imports NumPy at its first call, and the
    interrupt then comes out as a panic of its Rust code."""
    return type(error).__name__ == "PanicException" and "KeyboardInterrupt" in str(error)


def _is_torch_memory_error(error: BaseException) -> bool:
    """Return True for an error of lacking memory, told by name and text so as not to import torch."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _bug(error: BaseException) -> GolfpipeError:
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile(
        "w", prefix="golfpipe-traceback-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
    ) as stream:
        stream.write(text)
    summary = " ".join(str(error).split())[:300]
    return StageFailed(
        f"this is a bug in golfpipe, please report it: {type(error).__name__}: {summary}",
        hint=f"the traceback is in {stream.name}; finished artifacts are as they were",
        path=stream.name,
    )


def _print_error(error: GolfpipeError) -> None:
    print_message(f"error: {error.message}")
    if error.hint:
        print_message(f"hint: {error.hint}")
