"""The modules that a script is made of: their source, what they import from each other, and in which order they go."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from golfpipe.errors import StageFailed

PACKAGE = "golfpipe"
ENTRY = "golfpipe.bundle.entry"

ReadSource = Callable[[str], str]
"""Module name -> source text."""


def read_source(module: str) -> str:
    """The text of a module of this package."""
    root = Path(__file__).resolve().parents[2]
    return root.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, eq=False)
class SourceModule:
    """One parsed module without its imports."""

    name: str
    text: str
    body: list[ast.stmt]
    """Top-level statements in order; no imports, no `if TYPE_CHECKING`, no module docstring."""
    docstring: str | None
    local_imports: dict[str, str]
    """Name -> module of this package that defines it."""
    external_imports: dict[str, str] = field(default_factory=dict)
    """Name that is bound -> import statement that binds it alone."""


def load_modules(entry: str = ENTRY, read: ReadSource = read_source) -> list[SourceModule]:
    """The entry and all that it imports, each after the modules that it needs.

    Raises StageFailed naming module and line for what cannot be flattened.
    """
    loaded: dict[str, SourceModule] = {}
    under_way: list[str] = []

    def visit(name: str) -> None:
        if name in loaded:
            return
        if name in under_way:
            raise StageFailed(f"modules import each other in a circle: {' -> '.join([*under_way, name])}")
        under_way.append(name)
        module = parse_module(name, read(name))
        for needed in dict.fromkeys(module.local_imports.values()):
            visit(needed)
        under_way.pop()
        loaded[name] = module

    visit(entry)
    return list(loaded.values())


def parse_module(name: str, text: str) -> SourceModule:
    """Split a module into imports and the rest. Raises StageFailed for imports that have no place in one namespace."""
    tree = ast.parse(text, name)
    body: list[ast.stmt] = []
    local: dict[str, str] = {}
    external: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                if alias.asname is not None or alias.name == "*":
                    raise StageFailed(f"{name}, line {node.lineno}: only `from module import name` can be flattened")
                local[alias.name] = node.module or ""
        elif isinstance(node, ast.Import | ast.ImportFrom):
            external.update(_bindings(node, name))
        elif not _is_type_checking(node):
            body.append(node)
    for node in body:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                raise StageFailed(f"{name}, line {inner.lineno}: imports inside functions cannot be flattened")
    docstring = ast.get_docstring(tree)
    if docstring is not None:
        body = body[1:]
    return SourceModule(name, text, body, docstring, local, external)


def _bindings(node: ast.Import | ast.ImportFrom, name: str) -> Iterator[tuple[str, str]]:
    for alias in node.names:
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            top = alias.name.split(".")[0]
            if top == PACKAGE:
                raise StageFailed(f"{name}, line {node.lineno}: only `from module import name` can be flattened")
            # `import a.b` binds a; two of them bind it together.
            bound = alias.asname or alias.name
            yield bound, f"import {alias.name}{renamed}"
        elif node.module != "__future__":
            yield alias.asname or alias.name, f"from {node.module} import {alias.name}{renamed}"


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
