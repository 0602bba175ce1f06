"""Read documents of text from .txt and .jsonl files and folders of them, one at a time.

A .txt file is one document, or several if a separator line of text such as `<|endoftext|>` is given. A .jsonl file
holds one JSON object per line, whose field `text` is a document. Memory holds one document, whatever the input size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from golfpipe.errors import DataError

TEXT_SUFFIXES = (".txt", ".jsonl")
READ_BYTES = 1 << 20


def find_text_files(sources: Sequence[Path]) -> list[Path]:
    """Return the text files that `sources` name, in order. A folder stands for all its .txt and .jsonl files, sorted by
    path.

    Hidden names in folders are left out. Raises DataError for a missing source, another suffix, or a folder without
    text files.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = sorted(path for path in source.rglob("*") if _is_visible_text(path, source))
            if not found:
                raise DataError(f"{source}: holds no .txt or .jsonl file", path=str(source))
            files.extend(found)
        elif not source.exists():
            raise DataError(f"{source}: does not exist", path=str(source))
        elif source.suffix.lower() not in TEXT_SUFFIXES:
            raise DataError(f"{source}: ends in {source.suffix!r}, expected .txt or .jsonl", path=str(source))
        else:
            files.append(source)
    return files


def read_documents(sources: Sequence[Path], *, separator: str | None = None) -> Iterator[str]:
    """Yield every document of the sources that is not blank.

    `separator` cuts .txt files (not .jsonl) into documents wherever that text occurs. Raises DataError as
    `find_text_files` does; for a bad line, naming file:line; for invalid UTF-8, naming the file and the byte offset;
    and at the end, if there was no document at all.
    """
    files = find_text_files(sources)
    num_documents = 0
    for path in files:
        for text in _file_documents(path, separator):
            if text and not text.isspace():
                num_documents += 1
                yield text
    if num_documents == 0:
        names = ", ".join(str(source) for source in sources)
        raise DataError(f"{names}: every document is empty", hint="give text to tokenize")


def _is_visible_text(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not hidden and path.suffix.lower() in TEXT_SUFFIXES and path.is_file()


def _file_documents(path: Path, separator: str | None) -> Iterator[str]:
    try:
        if path.suffix.lower() == ".jsonl":
            yield from _jsonl_documents(path)
        elif separator:
            yield from _separated_documents(path, separator.encode("utf-8"))
        else:
            yield _decode(path.read_bytes(), path, offset=0)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", path=str(path)) from error


def _separated_documents(path: Path, separator: bytes) -> Iterator[str]:
    """Yield what lies between the separators. Splitting bytes is safe: in UTF-8 a match never starts inside a
    character."""
    offset = 0  # where in the file the buffer begins
    buffer = bytearray()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            searched = max(0, len(buffer) - len(separator) + 1)  # a separator may straddle two blocks
            buffer += block
            start = 0
            while (end := buffer.find(separator, max(start, searched))) >= 0:
                yield _decode(bytes(buffer[start:end]), path, offset=offset + start)
                start = end + len(separator)
            del buffer[:start]
            offset += start
    yield _decode(bytes(buffer), path, offset=offset)


def _jsonl_documents(path: Path) -> Iterator[str]:
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = _decode(line, path, offset=offset)
            offset += len(line)
            if not text.isspace():
                yield _field_text(text, f"{path}:{number}", path)


def _field_text(line: str, place: str, path: Path) -> str:
    """Return the field `text` of one JSON line. Raises DataError naming `place`, which is file:line."""
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


def _decode(data: bytes, path: Path, *, offset: int) -> str:
    """Return the text of `data`, which stands at byte `offset` of the file, without a byte order mark at the file's
    start. Raises DataError naming the offset of invalid UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: invalid UTF-8 at byte {offset + error.start}: {error.reason}",
            hint="convert the file to UTF-8 first",
            path=str(path),
        ) from error
    return text.removeprefix("\ufeff") if offset == 0 else text
