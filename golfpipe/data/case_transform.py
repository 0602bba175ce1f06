"""Text with capitals as markers before lower-case words, and back: a word then has the same pieces in either case.

The four markers of a form stand for: first letter, all letters, next letter, and the character itself after this one,
which is a marker that the text has of its own. Only ASCII letters are touched, in runs:

    lower case              as it is
    all upper case, two     ALL, then the run in lower case
    first upper case only   FIRST, then the run in lower case
    anything else           FIRST if the first letter is upper case, and NEXT before every further one that is

`caps` is the form of the challenge's later records: " Word" becomes the space, FIRST, "word", and no piece spans space
and word. In `caps_before_space` FIRST and ALL stand before one space that precedes the run: " Word" becomes FIRST,
" word", whose piece is that of " word" elsewhere. Each form has markers of its own, so a vocabulary tells its form.
"""

from __future__ import annotations

import re
from string import ascii_letters

from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import CASE_MARKERS

_CAPITAL = re.compile("[A-Z]")


class CaseTransform:
    """One of the forms."""

    def __init__(self, form: str) -> None:
        """`form`: a key of CASE_MARKERS."""
        self.form = form
        self.before_space = form == "caps_before_space"
        self.first, self.all, self.next, self.escape = list(CASE_MARKERS[form])
        # A run is looked at from its first letter on, which keeps the search linear.
        self._changed = re.compile(f"[{CASE_MARKERS[form]}]|( ?)(?<![A-Za-z])([a-z]*[A-Z][A-Za-z]*)")

    def encode(self, text: str) -> str:
        """Return the transformed text, of any text."""
        return self._changed.sub(self._encoded, text)

    def decode(self, text: str) -> str:
        """Return the text whose transformed form this is. Raises DataError for a marker that marks nothing."""
        decoder = CaseDecoder(self)
        decoded = decoder.add(text)
        decoder.end()
        if decoder.misplaced is not None:
            raise DataError(
                f"the marker U+{ord(decoder.misplaced):04X} of transform {self.form} stands where it marks nothing",
                hint="this is no text of that transform",
            )
        return decoded

    def _encoded(self, match: re.Match[str]) -> str:
        space, run = match[1], match[2]
        if run is None:
            return self.escape + match[0]
        if len(run) > 1 and run.isupper():
            marker, word = self.all, run.lower()
        else:
            marker = self.first if run[0].isupper() else ""
            word = run[0].lower() + _CAPITAL.sub(lambda letter: self.next + letter[0].lower(), run[1:])
        return marker + space + word if self.before_space else space + marker + word


class CaseDecoder:
    """Takes a transformed text part by part, and returns the text that it stands for.

    A marker that marks nothing adds nothing, as in what a model writes; the last such one is `misplaced`.
    """

    def __init__(self, transform: CaseTransform) -> None:
        self._form = transform
        self._parts = re.compile(f"([{CASE_MARKERS[transform.form]}])")
        self.misplaced: str | None = None
        self._pending = ""
        """The marker that waits for what it marks."""
        self._after_space = False
        """The space before the marked run has come."""
        self._in_capitals = False
        self._in_run = False
        """The text so far ends in a letter."""

    def add(self, text: str) -> str:
        """Return what another part of the transformed text stands for."""
        decoded = []
        for number, part in enumerate(self._parts.split(text)):
            if self._pending == self._form.escape and part:
                decoded.append(self._escaped(part, is_marker=number % 2 == 1))
            elif number % 2 == 1:
                self._mark(part)
            elif part:
                decoded.append(self._plain(part))
        return "".join(decoded)

    def end(self) -> None:
        """The text is over: a marker that still waits is misplaced."""
        if self._pending:
            self._misplace(self._pending)

    def _mark(self, marker: str) -> None:
        if self._pending:
            self._misplace(self._pending)
        form = self._form
        if marker == form.next:
            is_legal = self._in_run
        else:  # within a run, the space of the next run may still follow
            is_legal = marker == form.escape or form.before_space or not self._in_run
        if not is_legal:
            self._misplace(marker)
        else:
            self._pending, self._after_space = marker, False

    def _escaped(self, part: str, *, is_marker: bool) -> str:
        self._pending, self._in_run, self._in_capitals = "", False, False
        if is_marker:
            return part
        self._misplace(self._form.escape)
        return self._plain(part)

    def _plain(self, part: str) -> str:
        marker, form = self._pending, self._form
        space = ""
        if marker in (form.first, form.all) and form.before_space and part[0] == " " and not self._after_space:
            space, part = " ", part[1:]
            self._after_space, self._in_run, self._in_capitals = True, False, False
            if not part:
                return space
        run = len(part) - len(part.lstrip(ascii_letters))
        if marker:
            self._pending = ""
            if not run or (marker != form.next and self._in_run):
                self._misplace(marker)
            elif marker == form.all:
                self._in_capitals = True
            else:
                part = part[0].upper() + part[1:]
        if self._in_capitals:
            part = part[:run].upper() + part[run:]
        self._in_run = part[-1] in ascii_letters
        self._in_capitals = self._in_capitals and run == len(part)
        return space + part

    def _misplace(self, marker: str) -> None:
        self.misplaced, self._pending = marker, ""
