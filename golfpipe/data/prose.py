"""Tell English prose from code, tables, grammars and license texts, one paragraph at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator

MIN_PARAGRAPH_CHARACTERS = 24
MIN_WORDS = 4
MIN_LETTER_SHARE = 0.78
"""The least share of letters and spaces among all characters. Code and tables stay below, prose with names above."""
MIN_FUNCTION_WORD_SHARE = 0.16
"""The least share of function words among all words. Prose has about 0.4; identifiers and word lists hardly any."""
MIN_FUNCTION_WORD_SHARE_OF_NOTES = 0.25
"""The same for text without a capital letter or a period, as in many comments, where more must speak for a sentence."""

_FUNCTION_WORD_LIST = """
    a about above after all also an and any are as at be because been before being below between both but by can
    cannot could do does each either else for from had has have how if in instead into is it its itself may might
    more most must no not of on one only or other our same shall should since so some such than that the their
    them then there these they this those through to too two under until up use used using very was we were what
    when where whether which while who whose will with within without would you your
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())
_LEGAL = re.compile(
    r"copyright|all rights reserved|licen[sc]e[ds]? |warrant(?:y|ies)|permission (?:to|is)|merchantab|liabilit"
    r"|redistribut|public domain|contributed by|written by|author[:s]|e-?mail:|@\w+\.\w+|\$id|-\*-",
    re.IGNORECASE,
)
_CODE = re.compile(
    r">>>|::=|^\s*\.\.\. |\bdef \w+\(|\bself\.\w+ = |^\s*(?:import|from) \w+|^\s*\w+ = |^\s*@"
    r"|^\s*(?:usage|options):|%\(|\\n",
    re.IGNORECASE | re.MULTILINE,
)
_NOTES = re.compile(
    r"\b(?:XXX|TODO|FIXME|NOTE\(|bpo-?\d|gh-\d|type: ignore|noqa|pragma|pylint|issue ?#?\d|bug ?#?\d|patch ?#?\d|SF )",
    re.IGNORECASE,
)
_ROLE = re.compile(r":(?:\w+:)?\w+:`~?\.?([^`<]+?)(?:\s*<[^`]*>)?`")  # :class:`~queue.Queue` is Queue's name
_QUOTED_CODE = re.compile(r"`{1,2}([^`\n]+)`{1,2}_{0,2}")
_RULE_LINE = re.compile(r"\s*([^\w\s])\1{2,}\s*")  # an underlined heading's ----, ====, ****
_DIRECTIVE = re.compile(r"^\.\. [\w-]+::\s*\S*\s*$", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z']+")
_LOWER_FIRST_WORD = re.compile(r"[a-z]{1,14}(?=,? [a-z(\"'])")
_NOT_CAPITALIZED = frozenset({"self", "cls", "str", "int", "dict"})
_SPACES = re.compile(r"\s+")
_BULLET = re.compile(r"^(?:[*+o-]|\d{1,2}[.)]|\(\d{1,2}\)|[a-z]\))\s+")


def prose_paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring, comment or manual page that are English sentences, each on one line.

    Blank lines, list items and a smaller indentation begin a paragraph; reST markup is removed. A sentence without
    capital or period, as in many comments, gets them.
    """
    for raw in _split_paragraphs(_DIRECTIVE.sub("", text)):
        if _CODE.search(raw) or _LEGAL.search(raw) or _NOTES.search(raw):
            continue
        paragraph = _QUOTED_CODE.sub(r"\1", _ROLE.sub(r"\1", raw))
        paragraph = _BULLET.sub("", _SPACES.sub(" ", paragraph).strip())
        repaired = _repair_ends(paragraph)
        if is_prose(repaired, MIN_FUNCTION_WORD_SHARE if repaired == paragraph else MIN_FUNCTION_WORD_SHARE_OF_NOTES):
            yield repaired


def is_prose(paragraph: str, min_function_word_share: float = MIN_FUNCTION_WORD_SHARE) -> bool:
    """Return True if a line of text is one English sentence or more. Strict: text is plentiful, and noise does harm."""
    if len(paragraph) < MIN_PARAGRAPH_CHARACTERS or paragraph[-1] not in ".!?" or paragraph.endswith(" ..."):
        return False
    if not (paragraph[0].isupper() or paragraph[0] in "\"'("):
        return False
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    if letters < MIN_LETTER_SHARE * len(paragraph):
        return False
    words = _WORD.findall(paragraph.lower())
    function_words = sum(word in _FUNCTION_WORDS for word in words)
    return len(words) >= MIN_WORDS and function_words >= min_function_word_share * len(words)


def _repair_ends(paragraph: str) -> str:
    """Capitalize a plain English first word, and add a period after a last word that can end a sentence."""
    first_word = _LOWER_FIRST_WORD.match(paragraph)
    if first_word and first_word[0] not in _NOT_CAPITALIZED:
        paragraph = paragraph[0].upper() + paragraph[1:]
    last_word = paragraph[paragraph.rfind(" ") + 1 :]
    complete = last_word[-1:].isalnum() and last_word not in _FUNCTION_WORDS  # "such that" goes on in dropped code
    return paragraph + "." if complete or last_word.endswith(")") else paragraph


def _split_paragraphs(text: str) -> Iterator[str]:
    """Yield runs of lines. A run ends at a blank or ruled line, before a bullet, and before a line further left."""
    run: list[str] = []
    for line in text.expandtabs().splitlines():
        stripped = line.strip()
        breaks = not stripped or _RULE_LINE.fullmatch(line) is not None
        starts = bool(_BULLET.match(stripped)) or (len(run) > 1 and _indent(line) < min(map(_indent, run[1:])))
        if run and (breaks or starts):
            yield "\n".join(run)
            run = []
        if not breaks:
            run.append(line)
    if run:
        yield "\n".join(run)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
