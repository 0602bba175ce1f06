"""Which modules a script carries, and their source text, whole or stripped of what only people need."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import python_minifier

ReadSource = Callable[[str], str]
"""Module name -> source text."""
OWN = "golfpipe."
"""How the names of golfpipe's modules begin."""
IMPORTER = "golfpipe.script.importer"
"""The module whose text lets a file import the modules that it carries."""


def read_source(module: str) -> str:
    """Return the source text of a module of this package."""
    root = Path(__file__).resolve().parents[2]
    return root.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")


def needed_modules(wanted: Iterable[str], read: ReadSource = read_source) -> dict[str, str]:
    """Return name -> source text of the wanted modules and of all golfpipe modules that they import, anywhere in them.

    What a module imports for type checkers alone is left out.
    """
    found: dict[str, str] = {}
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = read(name)
            waiting += own_imports(ast.walk(_without_type_checking(ast.parse(found[name], name))))
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Kept:
    """Which checks stay in code that is stripped."""

    errors: frozenset[str] = frozenset()
    """Names of errors whose checks stay wherever they are."""
    functions: frozenset[str] = frozenset()
    """Names of functions in which all checks stay."""


NO_CHECKS = Kept()


def bare(name: str, text: str, kept: Kept = NO_CHECKS) -> ast.Module:
    """Return a module without annotations and checks.

    Settings in a script are ones that golfpipe accepted, and the only payload that it reads is the one it wrote, so a
    run that nothing refuses computes the same with and without the checks.
    """
    tree = _without_type_checking(ast.parse(text, name))
    _WithoutChecks(_golfpipe_errors(tree) - kept.errors, kept).visit(tree)
    return ast.fix_missing_locations(tree)


def minified(tree: ast.Module, preserved: Collection[str] | None = None) -> str:
    """Return a module as text, without documentation and with short local names.

    preserved: the names of the module that others use; the rest become short, too. None keeps all of them.
    """
    text = ast.unparse(_without_unused_imports(tree))
    return _minified(text, None if preserved is None else frozenset(preserved))


@functools.lru_cache(maxsize=1024)
def _minified(text: str, preserved: frozenset[str] | None) -> str:
    """Minify the text of a bare module. Most modules are the same in the next script of a process."""
    return python_minifier.minify(
        text,
        remove_literal_statements=True,
        remove_asserts=True,
        hoist_literals=False,
        rename_globals=preserved is not None,
        preserve_globals=sorted(preserved or ()),
        # Passes that have nothing to do in a bare module, whose fields alone have annotations.
        remove_annotations=False,
        remove_object_base=False,
        remove_dead_branches=False,
    )


class _WithoutChecks(ast.NodeTransformer):
    """Drops every `raise` of golfpipe's own errors with its `if` or `except`, validation (every __post_init__, and
    calls of functions named check_... for their own sake), overloads, abstract methods, and annotations."""

    def __init__(self, errors: set[str], kept: Kept) -> None:
        self.errors, self.kept = errors, kept

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if not node.orelse and self._refuses(node.body) else self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.AST | list[ast.stmt]:
        is_check = all(self._refuses(handler.body) for handler in node.handlers)
        handlers, node.handlers = node.handlers, []
        self.generic_visit(node)
        node.handlers = handlers
        return node.body if is_check and not node.orelse and not node.finalbody else node

    def visit_Raise(self, node: ast.Raise) -> ast.AST | None:
        return None if self._refuses([node]) else node

    def _refuses(self, body: Sequence[ast.stmt]) -> bool:
        last = body[-1]
        error = last.exc.func if isinstance(last, ast.Raise) and isinstance(last.exc, ast.Call) else None
        return isinstance(error, ast.Name) and error.id in self.errors

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        function = node.value.func if isinstance(node.value, ast.Call) else None
        name = getattr(function, "attr", getattr(function, "id", ""))
        is_check = name not in self.kept.functions and re.fullmatch("_?check(_.*)?", name)
        return None if is_check else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        marks = {ast.unparse(part) for part in node.decorator_list}
        if node.name == "__post_init__" or marks & {"overload", "abstractmethod"}:
            return None
        node.returns = None
        errors, self.errors = self.errors, set() if node.name in self.kept.functions else self.errors
        self.generic_visit(node)
        self.errors = errors
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Of the fields' annotations dataclasses only ask whether they are there, or a ClassVar's."""
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and "ClassVar" not in ast.unparse(part.annotation):
                part.annotation = ast.Constant(0)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if isinstance(node.annotation, ast.Constant):
            return self.generic_visit(node)
        return self.generic_visit(ast.Assign([node.target], node.value)) if node.value is not None else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Leave out imports from the future, which are about annotations, and there are none left to evaluate."""
        return None if node.module == "__future__" else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node


def _without_unused_imports(tree: ast.Module) -> ast.Module:
    """Drop what the module imports by name only for what is left out of it: annotations and errors."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
            if not node.names:
                tree.body.remove(node)
    return tree


def _golfpipe_errors(tree: ast.Module) -> set[str]:
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "golfpipe.errors"
        for alias in node.names
    }


def own_imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the golfpipe modules that some of the nodes import names from."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OWN):
            yield str(node.module)


def _without_type_checking(tree: ast.Module) -> ast.Module:
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
    ]
    return tree
