"""Completion of option values in the shell (`golfpipe --install-completion`)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_MODE = "_GOLFPIPE_COMPLETE"
"""Set while a shell asks; 'complete_bash' for bash."""


def complete_preset(incomplete: str) -> list[tuple[str, str]]:
    """Presets of ./stages.yaml, else golfpipe's own, with what they are for."""
    from golfpipe.config.completion import preset_names

    return [(name, about) for name, about in preset_names() if name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """KEY=, and VALUE where it is one of a few words."""
    from golfpipe.config.completion import setting_words

    return setting_words(incomplete)


@contextmanager
def bash_equals_signs() -> Iterator[None]:
    """Around the answer to bash, to which '=' ends a word: 'pack.coder=r' comes as three words, and what it completes
    is the last of them alone."""
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
            print(line.removeprefix(before.rpartition("=")[2] + equals))


def _joined(words: list[str], current: int) -> tuple[list[str], int]:
    """Words around a '=' as one, and the place of the current one then."""
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
