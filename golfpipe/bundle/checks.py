"""Leave out what only refuses input: guards that raise golfpipe's own errors, validation, assertions.

The configuration in a script is one that golfpipe accepted, and the only payload that it reads is the one it wrote. A
run that nothing refuses computes the same with and without them. Kept: SystemExit, and whatever else the entry raises.
"""

from __future__ import annotations

import ast
import re

from golfpipe.bundle.program import Program, walk
from golfpipe.bundle.types import Types

_CHECK_NAME = re.compile(r"_?(check|require)(_|$)")


def drop_checks(program: Program) -> None:
    """Remove them in place. Functions named check_* or require_* that return nothing count as checks by convention."""
    types = Types(program)
    errors = _error_classes(types)
    checks = {
        function.name
        for function in [*types.functions.values(), *(m for c in types.classes.values() for m in c.methods.values())]
        if _CHECK_NAME.match(function.name)
        and isinstance(function.returns, ast.Constant)
        and function.returns.value is None
    }
    dropper = _Dropper(errors, checks)
    for definition in program.definitions:
        if definition.module.endswith("errors"):
            continue
        definition.node = dropper.visit(definition.node)
        if isinstance(definition.node, ast.ClassDef) and definition.module.endswith(".config"):
            # Settings validate themselves and do nothing else when they are made.
            definition.node.body = [
                s for s in definition.node.body if not (isinstance(s, ast.FunctionDef) and s.name == "__post_init__")
            ] or [ast.Pass()]
        if isinstance(definition.node, ast.ClassDef):
            definition.node.body = [s for s in definition.node.body if not _is_idle(s)] or [ast.Pass()]


def _is_idle(node: ast.stmt) -> bool:
    """A __post_init__ that does nothing any more."""
    if not (isinstance(node, ast.FunctionDef) and node.name == "__post_init__"):
        return False
    return not any(isinstance(n, ast.Assign | ast.AugAssign | ast.Call | ast.Return | ast.Raise) for n in walk(node))


def _error_classes(types: Types) -> set[str]:
    return {name for name in types.classes if "GolfpipeError" in types.lineage(name)}


class _Dropper(ast.NodeTransformer):
    def __init__(self, errors: set[str], checks: set[str]) -> None:
        self.errors, self.checks = errors, checks

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.stmt | ast.ExceptHandler) and getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[union-attr]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "zip":
            node.keywords = []  # strict=True only refuses
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Call):
            func = node.value.func
            name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
            if name in self.checks or name == "__post_init__":
                return None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        if self._only_raises(node.body):
            if not node.orelse:
                return None
            rest = [self.visit(statement) for statement in node.orelse]
            return [s for part in rest for s in (part if isinstance(part, list) else [part]) if s is not None]
        if len(node.orelse) >= 1 and self._only_raises(node.orelse):
            node.orelse = []
        return self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if not node.finalbody and all(self._only_raises(handler.body) for handler in node.handlers):
            return [*node.body, *node.orelse]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if self._is_ours(node):
            return ast.Raise(exc=ast.Name("ValueError", ast.Load()), cause=None)
        return node

    def _only_raises(self, body: list[ast.stmt]) -> bool:
        last = body[-1]
        return (len(body) == 1 and isinstance(last, ast.Raise) and self._is_ours(last)) or (
            # a sentence put together first
            all(isinstance(s, ast.Assign) for s in body[:-1]) and isinstance(last, ast.Raise) and self._is_ours(last)
        )

    def _is_ours(self, node: ast.Raise) -> bool:
        func = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return (isinstance(func, ast.Name) and func.id in self.errors | {"ValueError"}) or node.exc is None
