"""Completion of option values in the shell (`golfpipe --install-completion`)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from golfpipe.cli.terminal import print_lines
from golfpipe.visible import visible_line

_MODE = "_GOLFPIPE_COMPLETE"
"""The variable that is set while a shell asks, for bash to 'complete_bash'."""


def complete_preset(incomplete: str) -> list[tuple[str, str]]:
    """Return the presets of ./stages.yaml, else of golfpipe's own file, with their purposes."""
    from golfpipe.config.completion import preset_names

    found = preset_names()
    return [(visible_line(name), visible_line(about)) for name, about in found if name.startswith(incomplete)]


def complete_machine(incomplete: str) -> list[tuple[str, str]]:
    """Return the machines of ./stages.yaml, else of golfpipe's own file, with what they are."""
    from golfpipe.config.completion import machine_names

    found = machine_names()
    return [(visible_line(name), visible_line(about)) for name, about in found if name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """Complete a setting to KEY=, and to KEY=VALUE where the value is one of a few words."""
    from golfpipe.config.completion import setting_words

    return setting_words(incomplete)


def complete_key(incomplete: str) -> list[str]:
    """Complete the name of a setting."""
    from golfpipe.config.completion import setting_words

    return [word.rstrip("=") for word in setting_words(incomplete)]


@contextmanager
def bash_equals_signs() -> Iterator[None]:
    """Adapt question and answer to bash, for which '=' ends a word: 'pack.coder=r' arrives as three words, and the
    answer must complete only the last."""
    if os.environ.get(_MODE) != "complete_bash":
        yield
        return
    words, current = _joined(os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0")))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(current)}
    before, equals, _ = words[current].rpartition("=") if current < len(words) else ("", "", "")
    answer = io.StringIO()
    try:
        with redirect_stdout(answer):
            yield
    finally:
        for line in answer.getvalue().splitlines():
            print_lines([line.removeprefix(before.rpartition("=")[2] + equals)])


def _joined(words: list[str], current: int) -> tuple[list[str], int]:
    """Return the words with those around a '=' joined, and the new place of the current one."""
    joined: list[str] = []
    place = current
    for number, word in enumerate(words):
        if joined and (word == "=" or joined[-1].endswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
        if number == current:
            place = len(joined) - 1
    return joined, place
