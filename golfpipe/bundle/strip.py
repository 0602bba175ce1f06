"""Remove what only people read: documentation and annotations."""

from __future__ import annotations

import ast
from itertools import pairwise

from golfpipe.bundle.bake import SETTINGS_CLASS
from golfpipe.bundle.program import Program, walk
from golfpipe.bundle.types import Types


def strip_words(program: Program) -> None:
    """In place. Fields of dataclasses and named tuples keep an annotation, which makes them fields."""
    for definition in program.definitions:
        definition.note = None
        stripped = _Stripper().visit(definition.node)
        if isinstance(stripped, ast.AnnAssign) and stripped.value is not None:
            stripped = ast.Assign([stripped.target], stripped.value, lineno=stripped.lineno)
        definition.node = stripped


def name_stand_ins(program: Program) -> None:
    """Annotate with the class that has a protocol's methods, where there is one: the protocol itself is about to go."""
    stand_ins = Types(program).stand_ins
    for definition in program.definitions:
        for node in walk(definition.node):
            if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name):
                node.annotation.id = stand_ins.get(node.annotation.id, node.annotation.id)


class _Stripper(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        is_cast = isinstance(node.func, ast.Name) and node.func.id == "cast" and len(node.args) == 2
        return node.args[1] if is_cast else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body = _without_strings(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for statement in node.body:
            if not isinstance(statement, ast.AnnAssign):
                self.visit(statement)
        node.body = _without_strings(node.body)
        return node


def strip_annotations(program: Program) -> None:
    """In place, once no pass needs types any more."""
    for definition in program.definitions:
        if isinstance(definition.node, ast.ClassDef):
            is_settings = definition.module.endswith(".config") or definition.node.name == SETTINGS_CLASS
            decorators = definition.node.decorator_list
            definition.node.decorator_list = [_plain_dataclass(d, definition.node, is_settings) for d in decorators]
        definition.node = _AnnotationStripper().visit(definition.node)


class _AnnotationStripper(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                statement.annotation = ast.Name("int", ast.Load())
            else:
                self.visit(statement)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.Assign([node.target], node.value, lineno=node.lineno)


def _plain_dataclass(decorator: ast.expr, node: ast.ClassDef, is_settings: bool) -> ast.expr:
    """Settings stay frozen, for they are default values of others. Fields without default behind others need kw_only.
    The rest keeps people from mistakes."""
    if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "dataclass"):
        return decorator
    fields = [s for s in node.body if isinstance(s, ast.AnnAssign)]
    late = any(a.value is not None and b.value is None for a, b in pairwise(fields))
    keywords = [k for k in decorator.keywords if (k.arg == "frozen" and is_settings) or (k.arg == "kw_only" and late)]
    return ast.Call(decorator.func, [], keywords) if keywords else decorator.func


def _without_strings(body: list[ast.stmt]) -> list[ast.stmt]:
    return [
        s
        for s in body
        if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) and isinstance(s.value.value, str))
    ] or [ast.Pass()]
