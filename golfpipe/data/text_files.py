"""Documents of text from files and folders of them, one at a time.

A .jsonl file holds one JSON object per line, whose field `text` is a document. Any other file is one document, or
several if a separator line of text such as `<|endoftext|>` is given. Files that end in .gz or .zst are decompressed.
Memory holds one document, whatever the input size: longer ones are cut.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import zstandard

from golfpipe.errors import DataError
from golfpipe.store.artifact import try_open

TEXT_SUFFIXES = (".txt", ".md", ".jsonl")
"""What is taken from folders. A file that is named itself may end in anything."""
COMPRESSED_SUFFIXES = (".gz", ".zst")
READ_BYTES = 1 << 20
LONGEST_DOCUMENT = 100_000
"""Characters. Some ten times what any model here sees at once; encoding takes a hundred bytes of memory for each."""
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")


@dataclass(slots=True)
class FoundFiles:
    """The files that some sources stand for."""

    files: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Suffix -> number of files in folders that are not taken; hidden files and folders count as `hidden`."""


def find_text_files(sources: Sequence[Path]) -> FoundFiles:
    """Find the text files that `sources` name, in order. A folder stands for all files in it and below that end in one
    of TEXT_SUFFIXES, compressed or not, sorted by path; linked folders are entered, each folder once.

    Raises DataError for a missing source, a folder or file that cannot be read, or a folder without text files.
    """
    found = FoundFiles()
    for source in sources:
        if source.is_dir():
            if try_open(source) is not None:
                raise DataError(f"{source}: an artifact, no folder of texts", path=str(source), wanted=("text",))
            before = len(found.files)
            found.files.extend(sorted(_files_below(source, found.left_out, set())))
            if len(found.files) == before:
                raise DataError(
                    f"{source}: holds no {', '.join(TEXT_SUFFIXES)} file", path=str(source), wanted=("text",)
                )
        elif not source.exists():
            raise DataError(f"{source}: does not exist", path=str(source), wanted=("text",))
        else:
            found.files.append(source)
    return found


def text_kind(path: Path) -> str:
    """Return the suffix that says how a file is read, without that of compression: `.jsonl` for a.jsonl.gz."""
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix in COMPRESSED_SUFFIXES else suffix


def read_documents(
    files: Sequence[Path], *, separator: str | None = None, longest: int = LONGEST_DOCUMENT
) -> Iterator[str]:
    """Yield every document of the files that is not blank.

    `separator` cuts files (not .jsonl) into documents wherever that text occurs; without one, they are cut into pieces
    of at most `longest` characters, see `cut_text`. So is any document longer than LONGEST_DOCUMENT.
    Raises DataError for a bad line, naming file:line; for invalid UTF-8, naming the file and the byte; and at the end,
    if there was no document at all, or no separator.
    """
    num_documents = 0
    cutting = _Separator(separator) if separator else None
    for path in files:
        for text in _file_documents(path, cutting, longest):
            if text and not text.isspace():
                num_documents += 1
                yield text
    names = ", ".join(str(path) for path in files[:3])
    if cutting is not None and cutting.files and not cutting.found:
        raise DataError(
            f"the separator {separator!r} occurs in none of {cutting.files} files ({names}, ...)",
            hint="a shell passes \\n on as two characters; $'\\n' is a line break in bash and zsh",
        )
    if num_documents == 0:
        raise DataError(f"{names}: every document is empty", hint="give text to tokenize")


def cut_text(text: str, longest: int) -> Iterator[str]:
    """Yield the text in pieces of at most `longest` characters, which join to the whole.

    It is cut behind the last blank line that leaves at least a quarter of `longest`, else behind a line break, else
    behind a space, else anywhere.
    """
    start = 0
    while len(text) - start > longest:
        end = _cut_place(text, start + longest // 4, start + longest)
        yield text[start:end]
        start = end
    yield text[start:]


def _cut_place(text: str, first: int, last: int) -> int:
    blank = [match.end() for match in _BLANK_LINE.finditer(text, first, last)]
    return (blank[-1] if blank else 0) or text.rfind("\n", first, last) + 1 or text.rfind(" ", first, last) + 1 or last


@dataclass(slots=True)
class _Separator:
    text: str
    files: int = 0
    found: int = 0


# ---- folders ------------------------------------------------------------------------------------------------------


def _files_below(folder: Path, left_out: Counter[str], entered: set[tuple[int, int]]) -> Iterator[Path]:
    """Raises DataError for a folder that cannot be listed, and for a text file that is no plain file."""
    try:
        status = folder.stat()
        entries = [(path, path.is_dir(), path.is_file()) for path in sorted(folder.iterdir())]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}", path=str(folder)) from error
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    for path, is_folder, is_file in entries:
        if path.name.startswith("."):
            left_out["hidden"] += 1
        elif is_folder and try_open(path) is not None:
            left_out["artifact"] += 1  # it may hold a log.jsonl
        elif is_folder:
            yield from _files_below(path, left_out, entered)
        elif text_kind(path) not in TEXT_SUFFIXES:
            left_out[path.suffix.lower() or "no suffix"] += 1
        elif not is_file:
            raise DataError(f"{path}: no plain file, or a link to nothing", path=str(path))
        else:
            yield path


# ---- files --------------------------------------------------------------------------------------------------------


def _open(path: Path) -> BinaryIO:
    """Open a file for reading its content, decompressed."""
    if not path.is_file():  # a pipe would block
        raise DataError(f"{path}: not a plain file", path=str(path))
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if suffix == ".zst":
        return io.BufferedReader(_ZstandardFile(path), READ_BYTES)
    return path.open("rb")


class _ZstandardFile(io.RawIOBase):
    """The content of a file of zstandard frames. The library's own reader takes a file that is cut short for whole."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._compressed = self._content = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        """Raises EOFError where the file ends within a frame."""
        while not self._content:
            self._compressed = self._compressed or self._file.read(1 << 16)
            if not self._compressed:
                if not self._frame.eof:
                    raise EOFError("the file is cut short")
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._content = self._frame.decompress(self._compressed)
            self._compressed = self._frame.unused_data
        count = min(len(target), len(self._content))
        target[:count] = self._content[:count]
        self._content = self._content[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _file_documents(path: Path, separator: _Separator | None, longest: int) -> Iterator[str]:
    try:
        with _open(path) as file:
            if text_kind(path) == ".jsonl":
                for text in _jsonl_documents(file, path):
                    yield from cut_text(text, LONGEST_DOCUMENT)
            elif separator is not None:
                separator.files += 1
                for number, text in enumerate(_separated(_decoded(file, path), separator.text)):
                    separator.found = separator.found or number
                    yield from cut_text(text, LONGEST_DOCUMENT)
            else:
                yield from _pieces(_decoded(file, path), longest)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}", path=str(path)) from error
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{path}: cannot be decompressed: {error}", path=str(path)) from error


def _decoded(file: BinaryIO, path: Path) -> Iterator[str]:
    """Yield the text in blocks; a byte order mark at the start is not text. Raises DataError for invalid UTF-8."""
    offset, pending, is_last = 0, b"", False
    while not is_last:
        block = file.read(READ_BYTES)
        is_last = not block
        data = pending + block
        try:
            text, used = codecs.utf_8_decode(data, "strict", is_last)
        except UnicodeDecodeError as error:
            raise _invalid(path, offset + error.start, error) from error
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += used
        pending = data[used:]


def _invalid(path: Path, byte: int, error: UnicodeDecodeError) -> DataError:
    hint = "convert the file to UTF-8 first"
    return DataError(
        f"{path}: invalid UTF-8 at byte {byte}: {error.reason}", hint=hint, path=str(path), wanted=("text",)
    )


def _pieces(blocks: Iterator[str], longest: int) -> Iterator[str]:
    """Yield what `cut_text` makes of all blocks together, while it holds little more than one."""
    buffer = ""
    for block in blocks:
        *whole, buffer = cut_text(buffer + block, longest)
        yield from whole
    yield buffer


def _separated(blocks: Iterator[str], separator: str) -> Iterator[str]:
    """Yield the texts between separators."""
    parts: list[str] = []
    tail = ""
    for block in blocks:
        *whole, tail = (tail + block).split(separator)
        for text in whole:
            yield "".join((*parts, text))
            parts = []
        keep = len(separator) - 1  # a separator may straddle two blocks
        parts.append(tail[: max(0, len(tail) - keep)])
        tail = tail[max(0, len(tail) - keep) :]
    yield "".join((*parts, tail))


def _jsonl_documents(file: BinaryIO, path: Path) -> Iterator[str]:
    offset = 0
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8").removeprefix("\ufeff" if offset == 0 else "")
        except UnicodeDecodeError as error:
            raise _invalid(path, offset + error.start, error) from error
        offset += len(line)
        if not text.isspace():
            yield _field_text(text, f"{path}:{number}", path)


def _field_text(line: str, place: str, path: Path) -> str:
    """Return the `text` field of one JSON line; `place` is file:line."""
    try:
        record = json.loads(line, parse_int=float)  # other fields may hold numbers of any length
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: is not JSON: {error}", path=str(path)) from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        found = f"keys {sorted(record)}" if isinstance(record, dict) else f"a {type(record).__name__}"
        raise DataError(f"{place}: expected an object with a string field 'text', found {found}", path=str(path))
    text: str = record["text"]
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # "\ud800" is legal JSON but no text
        code = f"\\u{ord(text[error.start]):04x}"
        raise DataError(f"{place}: field 'text' holds the lone surrogate {code}", path=str(path)) from error
    return text
