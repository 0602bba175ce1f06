"""The tree of errors. Each class carries the exit code that the command line returns for it.

Messages name the thing (file, key, tensor), the value found and what was expected; `hint` says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class GolfpipeError(Exception):
    """The root of all errors that a user can cause. Any other exception that escapes is a bug in golfpipe."""

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str | None = None, path: str | None = None, wanted: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path
        self.wanted = tuple(wanted)
        """What an input at `path` should have been, the best first: kinds of artifact, or artifact (any), run, text,
        shards, checkpoint; with `there`, nothing need be made for it. The command line looks at what lies there and
        says how to come from it to that."""


class StageFailed(GolfpipeError):
    """The work itself went wrong: a diverged run, a full disk, a missing library."""


class UsageError(GolfpipeError):
    """Arguments are wrong, or an input is not what the command takes."""

    exit_code = 2


class ConfigError(UsageError):
    """A key is unknown, a value has the wrong type, or values contradict each other."""


class DataError(UsageError):
    """Text, shards or a tokenizer cannot be used."""


class ArtifactError(GolfpipeError):
    """An artifact folder is damaged, unfinished or of another kind."""

    exit_code = 3


class OverLimit(GolfpipeError):
    """The byte limit or the time limit is exceeded. The artifact is complete and says so."""

    exit_code = 4


class RuleBroken(GolfpipeError):
    """A rule of the chosen track is broken."""

    exit_code = 5


class Busy(GolfpipeError):
    """Another process holds the output folder (EX_TEMPFAIL)."""

    exit_code = 75


class Interrupted(GolfpipeError):
    """The run was stopped by SIGINT or SIGTERM; `hint` holds the command that resumes it."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str | None = None, path: str | None = None, exit_code: int = 130) -> None:
        super().__init__(message, hint=hint, path=path)
        self.exit_code = exit_code
