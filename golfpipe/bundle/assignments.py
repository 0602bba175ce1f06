"""Remove assignments that nobody reads: to locals, and to attributes of self."""

from __future__ import annotations

import ast
from collections.abc import Collection

from golfpipe.bundle.program import Program, walk
from golfpipe.bundle.purity import Purity
from golfpipe.bundle.types import FunctionNode, Types, functions_of


def drop_locals(program: Program, types: Types, purity: Purity) -> bool:
    """Assignments to names that nobody reads, nested functions that nobody calls, expressions without effect."""
    changed = False
    for function, owner in functions_of(program):
        nodes = types.nodes[id(function)]
        read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load | ast.Del)}
        read |= {name for n in nodes if isinstance(n, ast.Nonlocal | ast.Global) for name in n.names}
        dropper = _LocalDropper(read, purity, types.scope(function, owner), function, nodes)
        dropper.visit(function)
        changed |= dropper.changed
    return changed


def drop_attributes(types: Types, purity: Purity, dynamic: Collection[str]) -> bool:
    """Assignments to attributes of self that nobody reads. Of classes that a library looks into (modules, whose
    attributes may be parameters) only copies of settings.

    dynamic: classes whose attributes are read by computed names, which stay as they are.
    """
    read = types.attributes_read
    changed = False
    for name, info in types.classes.items():
        if name in dynamic:
            continue
        for method in info.methods.values():
            scope = types.scope(method, name)
            dropper = _AttributeDropper(read | info.methods.keys(), purity, scope, types if info.external else None)
            dropper.visit(method)
            changed |= dropper.changed
    return changed


class _AttributeDropper(ast.NodeTransformer):
    def __init__(self, read: set[str], purity: Purity, scope: dict, only_settings: Types | None) -> None:
        self.read, self.purity, self.scope, self.types = read, purity, scope, only_settings
        self.changed = False

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if len(node.targets) != 1:
            return node
        targets, values = [node.targets[0]], [node.value]
        if isinstance(targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            targets, values = targets[0].elts, node.value.elts
        if len(targets) != len(values) or any(isinstance(part, ast.Starred) for part in (*targets, *values)):
            return node
        kept = [pair for pair in zip(targets, values, strict=True) if not self._is_idle(*pair)]
        if len(kept) == len(targets):
            return node
        self.changed = True
        if not kept:
            return ast.Pass()
        if len(kept) == 1:
            return ast.Assign([kept[0][0]], kept[0][1], lineno=node.lineno)
        left, right = [target for target, _ in kept], [value for _, value in kept]
        return ast.Assign([ast.Tuple(left, ast.Store())], ast.Tuple(right, ast.Load()), lineno=node.lineno)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None and self._is_idle(node.target, node.value):
            self.changed = True
            return ast.Pass()
        return node

    def _is_idle(self, target: ast.expr, value: ast.expr) -> bool:
        return (
            isinstance(target, ast.Attribute)
            and ast.unparse(target.value) == "self"
            and target.attr not in self.read
            and self.purity.pure(value, self.scope)
            and (self.types is None or self._is_setting(value, self.types))
        )

    def _is_setting(self, value: ast.expr, types: Types) -> bool:
        while isinstance(value, ast.Attribute | ast.Subscript):
            value = value.value
        owner = types.of(value, self.scope)
        return isinstance(owner, str) and types.classes[owner].is_dataclass and not types.classes[owner].external


def _counters(function: FunctionNode) -> set[str]:
    """Locals that start as numbers: adding to them changes nothing else."""
    made: dict[str, bool] = {a.arg: False for a in walk(function) if isinstance(a, ast.arg)}
    for node in walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.setdefault(node.id, False)
    for node in walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            made[node.targets[0].id] = isinstance(node.value, ast.Constant) and isinstance(
                node.value.value, int | float
            )
    return {name for name, is_number in made.items() if is_number}


class _LocalDropper(ast.NodeTransformer):
    def __init__(
        self, read: set[str], purity: Purity, scope: dict, function: FunctionNode, nodes: list[ast.AST]
    ) -> None:
        self.read, self.purity, self.scope, self.function = read, purity, scope, function
        self.changed = False
        changed_in_place = {
            n.target.id for n in nodes if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
        }
        self.counters = _counters(function) if changed_in_place - read else set()
        self.read = read | (changed_in_place - self.counters)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                block: list[ast.stmt] = []
                for statement in value:
                    visited = self.visit(statement)
                    block += visited if isinstance(visited, list) else [visited] if visited is not None else []
                if len(block) > 1 and any(isinstance(s, ast.Pass) for s in block):
                    block = [s for s in block if not isinstance(s, ast.Pass)]
                setattr(node, name, block or ([ast.Pass()] if name == "body" else []))
            elif isinstance(value, list):
                for part in value:
                    if isinstance(part, ast.ExceptHandler | ast.match_case):
                        self.visit(part)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt] | None:
        if len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id not in self.read:
                self.changed = True
                return self._effect(node.value)
            if (
                isinstance(target, ast.Tuple)
                and isinstance(node.value, ast.Tuple)
                and len(target.elts) == len(node.value.elts)
                and not any(isinstance(part, ast.Starred) for part in (*target.elts, *node.value.elts))
            ):
                return self._tuple(node, target, node.value)
        return node

    def _tuple(self, node: ast.Assign, target: ast.Tuple, value: ast.Tuple) -> ast.AST | None:
        pairs = [
            (part, part_value)
            for part, part_value in zip(target.elts, value.elts, strict=True)
            if not (
                isinstance(part, ast.Name) and part.id not in self.read and self.purity.pure(part_value, self.scope)
            )
        ]
        if len(pairs) == len(target.elts):
            return node
        self.changed = True
        if not pairs:
            return None
        if len(pairs) == 1:
            return ast.Assign([pairs[0][0]], pairs[0][1], lineno=node.lineno)
        target.elts, value.elts = [p[0] for p in pairs], [p[1] for p in pairs]
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | None:
        if isinstance(node.target, ast.Name) and node.target.id not in self.read and node.target.id in self.counters:
            self.changed = True
            return self._effect(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if isinstance(node.target, ast.Name) and node.target.id not in self.read:
            self.changed = True
            return self._effect(node.value) if node.value is not None else None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return node  # documentation
        if self.purity.pure(node.value, self.scope):
            self.changed = True
            return None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        if node is not self.function and node.name not in self.read and not node.decorator_list:
            self.changed = True
            return None
        return self.generic_visit(node)

    def _effect(self, value: ast.expr) -> ast.AST | None:
        return None if self.purity.pure(value, self.scope) else ast.Expr(value)
