"""What the script of a records folder is, by looking at it: size, kind, readable source. It is never run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from golfpipe.records.evidence import printable
from golfpipe.records.unpacking import MOST_SOURCE, TooLarge, payload_share, unpack
from golfpipe.submission.records_folder import SCRIPT_FILE

Kind = Literal["plain", "self-extracting", "stub", "unreadable", "empty"]
_STUB_CHARACTERS = 2000
_RUNS_CODE = re.compile(r"\b(exec|eval|compile)\s*\(|runpy|ModuleType|__import__")
_OPENS = re.compile(r"exec|open|run_path|run_module|spec_from_file|subprocess|execv|import_module|system|read_text")
_NEIGHBORS = re.compile(r"\.(py|pyc|xz|lzma|br|bin|z|zz|gz|b85|txt|dat)$")
_COMPRESSORS = ("lzma", "zlib", "brotli", "bz2", "gzip", "zstandard", "zstd")


@dataclass(frozen=True, kw_only=True)
class Script:
    """The code of a folder."""

    name: str
    kind: Kind
    own_bytes: int
    packing: str = ""
    """'lzma, base85' of a script that extracts itself."""
    neighbors: Mapping[str, int] = field(default_factory=dict)
    """Files of the folder that it runs or imports, with their sizes."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """The readable text by file name; empty where there is none."""
    reason: str = ""
    """Why it cannot be read."""

    @property
    def bytes(self) -> int:
        """What counts: for a stub also the files that it runs."""
        return self.own_bytes + (sum(self.neighbors.values()) if self.kind == "stub" else 0)

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes under which the code may have been counted, by what has them; first the one that counts."""
        found = {self.name: self.own_bytes}
        if self.kind == "stub":
            whole = " + ".join([self.name, *self.neighbors])
            found = {whole: self.bytes, **self.neighbors, **found}
        if self.kind == "self-extracting":
            found[f"{self.name}, unpacked"] = sum(len(text.encode()) for text in self.sources.values())
        return found

    @property
    def sentence(self) -> str:
        """What it is, in words."""
        if self.kind == "self-extracting":
            source = sum(len(text) for text in self.sources.values())
            what = f"extracts itself ({self.packing}); its source has {source:,} characters" if source else self.reason
            return f"{self.name} {what}"
        if self.kind == "stub":
            return f"{self.name} is a stub that runs {', '.join(self.neighbors)}"
        if self.kind == "unreadable":
            return f"{self.name} cannot be read: {self.reason}"
        helpers = f"; it imports {', '.join(self.neighbors)}, whose bytes the script's own size does not hold"
        return f"{self.name} is {self.kind}{helpers if self.neighbors else ''}"


def look_at_scripts(folder: Path) -> Script | None:
    """Return the folder's script, train_gpt.py or what is there in its place; None where there is no code. A link may
    lead anywhere and is not followed."""
    try:
        files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()}
    except OSError:
        return None
    name = _script_name(files)
    if name is None:
        return None
    try:
        size = files[name].stat().st_size
        content = _read(files[name])
    except OSError:
        return None
    return _look(printable(name), size, content, {other: path for other, path in files.items() if other != name})


def _script_name(files: Mapping[str, Path]) -> str | None:
    code = [name for name in files if name.endswith(".py")]
    likely = [name for name in code if re.match(r"train|main|run|submission", name)]
    return SCRIPT_FILE if SCRIPT_FILE in files else next(iter(likely or code), None)


def _look(name: str, size: int, content: bytes, others: Mapping[str, Path]) -> Script:
    if not content.strip():
        return Script(name=name, kind="empty", own_bytes=size)
    if size > MOST_SOURCE:
        return Script(name=name, kind="unreadable", own_bytes=size, reason=f"more than {MOST_SOURCE:,} bytes")
    text = content.decode("utf-8", "replace")
    binary = len(re.findall(rb"[^\t\n\r -~\x80-\xff]", content)) * 10 > len(content) or "\x00" in text
    packed = _RUNS_CODE.search(text) is not None and (binary or payload_share(content) > 0.5)
    if packed or binary:
        return _packed(name, size, content)
    neighbors = {other: path for other, path in others.items() if _is_used(other, text)}
    if neighbors and len(text.strip()) < _STUB_CHARACTERS:
        return _stub(name, size, text, neighbors)
    sizes = {printable(other): path.stat().st_size for other, path in neighbors.items() if other.endswith(".py")}
    return Script(name=name, kind="plain", own_bytes=size, neighbors=sizes, sources={name: text})


def _packed(name: str, size: int, content: bytes) -> Script:
    text = content.decode("latin-1")
    named = [word for word in _COMPRESSORS if re.search(rf"\b{word}\b", text)]
    try:
        found = unpack(content)
    except TooLarge:
        reason = f"unpacks to more than {MOST_SOURCE:,} bytes, and was left packed"
        return Script(name=name, kind="self-extracting", own_bytes=size, packing=", ".join(named), reason=reason)
    if found is not None:
        packing, source = found
        sources = {name: source.decode("utf-8", "replace")}
        return Script(name=name, kind="self-extracting", own_bytes=size, packing=packing, sources=sources)
    reason = f"packed in a way that is not known ({', '.join(named) or 'no compressor is named'})"
    if "brotli" in named and find_spec("brotli") is None:
        reason = "packed with brotli, which is not installed: pip install 'golfpipe[records]'"
    return Script(name=name, kind="unreadable", own_bytes=size, packing=", ".join(named), reason=reason)


def _stub(name: str, size: int, text: str, neighbors: Mapping[str, Path]) -> Script:
    """The neighbors are what is read."""
    sources, packing, sizes = {name: text}, "", {}
    for other, path in neighbors.items():
        found = _look(printable(other), path.stat().st_size, _read(path), {})
        sizes[printable(other)] = found.own_bytes
        sources |= found.sources
        packing = packing or found.packing
    return Script(name=name, kind="stub", own_bytes=size, packing=packing, neighbors=sizes, sources=sources)


def _is_used(other: str, text: str) -> bool:
    """Return True if a script imports or opens the file `other` of its folder."""
    if _NEIGHBORS.search(other) is None or len(other) < 4:
        return False
    stem = re.escape(other.rpartition(".")[0])
    if other.endswith(".py") and re.search(rf"^[ \t]*(?:from|import)[ \t]+{stem}\b", text, re.MULTILINE):
        return True
    return any(other in line and _OPENS.search(line) for line in _code_lines(text))


def _code_lines(text: str) -> Iterator[str]:
    yield from (line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MOST_SOURCE)
