"""A few megabytes of English that every machine with Python has: the manual and comments of its standard library.

Sources are `pydoc_data.topics` (the language reference) and the docstrings and comment blocks of the library's modules,
as far as they are prose. Modules are parsed, never imported. The same Python build always gives the same corpus.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from golfpipe.data.prose import prose_paragraphs
from golfpipe.errors import DataError

MIN_DOCUMENT_CHARACTERS = 200
ENOUGH_CHARACTERS = 1500
"""A document of at least this size ends with its subject; smaller subjects of one module are put together."""
MAX_DOCUMENT_CHARACTERS = 6000
"""Longer documents are cut between paragraphs, so that the validation split comes from many places."""
MIN_CORPUS_CHARACTERS = 1_000_000
"""The least that is expected. Less means that this Python comes without the sources of its library."""

SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "encodings", "turtledemo"}
    | {"__pycache__", "_vendor", "_bundled", "ensurepip", "__phello__", "pydoc_data", "lib-dynload"}
)
"""Folders that are left out: tests, other people's packages, and tables."""
MAX_SOURCE_BYTES = 400_000
"""Larger sources are generated tables."""


def demo_documents(library: Path | None = None) -> list[str]:
    """Return the documents of the corpus in an order that mixes subjects. Newlines separate a document's paragraphs.

    `library` is the folder of standard library sources, this Python's by default. Raises DataError if that has too
    little text.
    """
    seen: set[bytes] = set()
    documents: list[str] = []
    for subjects in _sources(library if library is not None else Path(sysconfig.get_paths()["stdlib"])):
        fresh = [[paragraph for paragraph in subject if _first_time(paragraph, seen)] for subject in subjects]
        documents.extend(text for text in _join(fresh) if len(text) >= MIN_DOCUMENT_CHARACTERS)
    num_characters = sum(map(len, documents))
    if library is None and num_characters < MIN_CORPUS_CHARACTERS:
        raise DataError(
            f"this Python's standard library has {num_characters} characters of prose, expected at least "
            f"{MIN_CORPUS_CHARACTERS}",
            hint="its sources are not installed; use `golfpipe data tokenize` with text of your own",
        )
    # The order by hash mixes subjects: neighbors in the library are about the same thing, which a batch of training
    # should not be.
    return sorted(documents, key=_digest)


def source_digest(documents: Iterable[str]) -> str:
    """Return the sha256 (hex) of the documents in their order; it names the corpus in keys and manifests."""
    digest = hashlib.sha256()
    for text in documents:
        digest.update(_digest(text))
    return digest.hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


def _first_time(paragraph: str, seen: set[bytes]) -> bool:
    digest = _digest(paragraph)
    if digest in seen:
        return False
    seen.add(digest)
    return True


def _sources(library: Path) -> Iterator[list[list[str]]]:
    """Yield, per manual topic or module, the paragraphs by subject: the topic, each class, what is in between."""
    for text in _manual_topics(library):
        yield [list(prose_paragraphs(text))]
    for path in module_paths(library):
        yield list(_module_prose(path))


def module_paths(folder: Path) -> Iterator[Path]:
    """Yield the Python sources below `folder`, sorted. Skipped folders are not entered: they may hold 100,000 files."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_dir():
            if path.name not in SKIPPED_FOLDERS:
                yield from module_paths(path)
        elif path.suffix == ".py" and path.stat().st_size <= MAX_SOURCE_BYTES:
            yield path


def _manual_topics(library: Path) -> list[str]:
    """Return the texts of pydoc_data/topics.py, read as a literal; none on a Python that leaves them out."""
    path = library / "pydoc_data" / "topics.py"
    if not path.is_file():
        return []
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(node.value)
            return [topics[name] for name in sorted(topics)]
    return []


def _module_prose(path: Path) -> Iterator[list[str]]:
    """Yield the prose of docstrings and comments in order, per top-level class and per stretch between."""
    source_bytes = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in somebody else's source
        try:
            source = importlib.util.decode_source(source_bytes)
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return
    docstrings, string_lines = _docstrings(tree)
    texts = sorted([*docstrings, *_comment_blocks(source, string_lines)])
    class_of_line = _class_of_line(tree)
    for _, group in groupby(texts, key=lambda text: class_of_line.get(text[0], 0)):
        yield [paragraph for _, text in group for paragraph in prose_paragraphs(text)]


def _docstrings(tree: ast.Module) -> tuple[list[tuple[int, str]], set[int]]:
    """Return the line and text of every docstring, and the line numbers inside multi-line strings."""
    docstrings = []
    string_lines: set[int] = set()
    for node in _nodes_of_several_lines(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.end_lineno != node.lineno:
            string_lines.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                docstrings.append((node.body[0].lineno, docstring))
    return docstrings, string_lines


def _nodes_of_several_lines(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes in any order, without expressions on one line, which most are and which hold none of others."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        parts = ast.iter_child_nodes(node)
        waiting += [part for part in parts if not isinstance(part, ast.expr) or part.end_lineno != part.lineno]


def _comment_blocks(source: str, string_lines: set[int]) -> list[tuple[int, str]]:
    """Return the line and text of each run of lines that hold only comments."""
    blocks: list[tuple[int, str]] = []
    run: list[str] = []
    for number, line in enumerate([*source.splitlines(), ""], start=1):
        stripped = line.lstrip()
        if stripped.startswith("#") and not stripped.startswith("#!") and number not in string_lines:
            run.append(stripped.lstrip("#").removeprefix(" "))
        elif run:
            blocks.append((number - len(run), "\n".join(run)))
            run = []
    return blocks


def _class_of_line(tree: ast.Module) -> dict[int, int]:
    """Return the first line of the top-level class that a line is in, for all lines inside classes."""
    lines: dict[int, int] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            lines.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), node.lineno))
    return lines


def _join(subjects: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield documents of whole paragraphs. Each ends with a subject, or before it exceeds MAX_DOCUMENT_CHARACTERS."""
    document: list[str] = []
    num_characters = 0
    for subject in subjects:
        if num_characters >= ENOUGH_CHARACTERS:
            yield "\n".join(document)
            document, num_characters = [], 0
        for paragraph in subject:
            if document and num_characters + len(paragraph) > MAX_DOCUMENT_CHARACTERS:
                yield "\n".join(document)
                document, num_characters = [], 0
            document.append(paragraph)
            num_characters += len(paragraph) + 1
    if document:
        yield "\n".join(document)
