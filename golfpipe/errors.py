"""One error tree. Each class carries the exit code that the command line returns for it.

Messages name the thing (file, key, tensor), the value found and what was expected; `hint` gives the way out.
"""

from __future__ import annotations


class GolfpipeError(Exception):
    """Root of everything a user can cause. Anything else that escapes is a bug in golfpipe."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path


class StageFailed(GolfpipeError):
    """The work itself went wrong: a diverged run, a full disk, a missing library."""


class UsageError(GolfpipeError):
    """Wrong arguments, or input that is not what the command takes."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown key, a wrong type, or values that contradict each other."""


class DataError(UsageError):
    """Text, shards or a tokenizer that cannot be used."""


class ArtifactError(GolfpipeError):
    """An artifact folder that is damaged, unfinished or of another kind."""

    exit_code = 3


class OverLimit(GolfpipeError):
    """Over the byte limit or the time limit. The artifact is complete and says so."""

    exit_code = 4


class RuleBroken(GolfpipeError):
    """A rule of the chosen track is broken."""

    exit_code = 5


class Busy(GolfpipeError):
    """Another process holds the output folder (EX_TEMPFAIL)."""

    exit_code = 75


class Interrupted(GolfpipeError):
    """SIGINT or SIGTERM; `hint` holds the command that resumes."""

    exit_code = 130

    def __init__(self, message: str, *, hint: str | None = None, path: str | None = None, exit_code: int = 130) -> None:
        super().__init__(message, hint=hint, path=path)
        self.exit_code = exit_code
