"""Find what is constant: locals, tables and attributes that are set once and never change, functions that return one value."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import cast

from golfpipe.bundle.bake import Facts, Plain
from golfpipe.bundle.program import Program, walk
from golfpipe.bundle.types import FunctionNode, Types


def binding_counts(nodes: Sequence[ast.AST]) -> dict[str, int]:
    """How often each name is bound among the nodes of a function."""
    counts: dict[str, int] = {}

    def bind(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bind(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            bind(node.target.id)
        elif isinstance(node, ast.arg):
            bind(node.arg)
        elif isinstance(node, ast.ExceptHandler | ast.FunctionDef) and node.name:
            bind(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            for name in node.names:
                bind(name)
                bind(name)
    return counts


def constant_locals(function: FunctionNode, nodes: Sequence[ast.AST], counts: dict[str, int]) -> dict[str, ast.expr]:
    """Locals bound once, to a constant, or to an empty container that is only looked at."""
    found: dict[str, ast.expr] = {}
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if len(targets) == 1 and isinstance(targets[0], ast.Name) and counts.get(targets[0].id) == 1:
                name = targets[0].id
                if isinstance(node.value, ast.Constant) or (
                    is_empty_container(node.value) and _only_looked_at(function, name)
                ):
                    found[name] = node.value
    return found


def is_empty_container(node: ast.expr) -> bool:
    return (isinstance(node, ast.Dict) and not node.keys) or (
        isinstance(node, ast.List | ast.Tuple | ast.Set) and not node.elts
    )


def _only_looked_at(function: ast.AST, name: str) -> bool:
    """Whether every use of a local is membership, truth, length or iteration, so that it stays as it was."""
    parents = {id(child): node for node in walk(function) for child in ast.iter_child_nodes(node)}
    for node in walk(function):
        if not (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)):
            continue
        if _is_behind_its_test(node, name, parents):
            continue
        parent = parents[id(node)]
        looked_at = (
            (isinstance(parent, ast.Compare) and node in parent.comparators)
            or (isinstance(parent, ast.If | ast.IfExp | ast.While) and parent.test is node)
            or (isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Load) and parent.value is node)
            or (isinstance(parent, ast.For | ast.comprehension) and parent.iter is node)
            or (isinstance(parent, ast.Attribute) and parent.attr in ("items", "values", "keys", "get"))
        )
        if not looked_at:
            return False
    return True


def _is_behind_its_test(node: ast.AST, name: str, parents: dict[int, ast.AST]) -> bool:
    """Whether a use lies in the body of `if name:`, which an empty container never reaches."""
    while id(node) in parents:
        parent = parents[id(node)]
        if isinstance(parent, ast.If) and isinstance(parent.test, ast.Name) and parent.test.id == name:
            return node in parent.body
        node = parent
    return False


def empty_tables(program: Program) -> dict[str, ast.expr]:
    """Tables at top level that are empty and that no code changes."""
    found = {}
    for definition in program.definitions:
        node = definition.node
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and len(definition.names) == 1:
            name = definition.names[0]
            if is_empty_container(node.value) and all(
                _only_looked_at(other.node, name) for other in program.definitions if other is not definition
            ):
                found[name] = node.value
    return found


def uniform_tables(program: Program) -> dict[str, ast.expr]:
    """Tables at top level whose values are all the same constant, whatever the key."""
    found = {}
    for definition in program.definitions:
        table = getattr(definition.node, "value", None)
        if isinstance(table, ast.Dict) and table.values and len(definition.names) == 1:
            first = table.values[0]
            if all(isinstance(value, ast.Constant) and ast.dump(value) == ast.dump(first) for value in table.values):
                found[definition.names[0]] = first
    return found


def constant_attributes(types: Types) -> Facts:
    """Attributes that are only ever set in __init__, and to one constant whoever they belong to."""
    stores: dict[str, int] = {}
    for node in types.all_nodes():
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            stores[node.attr] = stores.get(node.attr, 0) + 1
    constants: dict[str, list[tuple[str, ast.Constant]]] = {}
    for name, info in types.classes.items():
        for statement in getattr(info.methods.get("__init__"), "body", []):
            targets, values = _plain_assignment(statement)
            for target, value in zip(targets, values, strict=False):
                if (
                    isinstance(target, ast.Attribute)
                    and ast.unparse(target.value) == "self"
                    and isinstance(value, ast.Constant)
                    and isinstance(value.value, bool | str | int | float | None)
                ):
                    constants.setdefault(target.attr, []).append((name, value))
    return {
        (owner, attribute): cast(Plain, value.value)
        for attribute, found in constants.items()
        if len(found) == stores[attribute] and len({ast.dump(value) for _, value in found}) == 1
        for owner, value in found
    }


def yielded_at_once(function: FunctionNode | None) -> ast.Constant | None:
    """The constant that a context manager gives where it does nothing else."""
    if function is None or [ast.unparse(d) for d in function.decorator_list] != ["contextmanager"]:
        return None
    body = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(body) == 2 and isinstance(body[1], ast.Return) and body[1].value is None:
        body = body[:1]
    first = body[0] if len(body) == 1 else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Yield)
        and isinstance(first.value.value, ast.Constant)
    ):
        return first.value.value
    return None


def _plain_assignment(node: ast.stmt) -> tuple[list[ast.expr], list[ast.expr]]:
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return [node.target], [node.value]
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            return target.elts, value.elts
        return [target], [value]
    return [], []


def constant_functions(types: Types) -> dict[int, ast.expr]:
    """id of each function that does nothing but return a constant -> the constant."""
    found: dict[int, ast.expr] = {}
    nodes = [*types.functions.values(), *(m for info in types.classes.values() for m in info.methods.values())]
    for node in nodes:
        body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
            value = body[0].value
            if isinstance(value, ast.Constant) or is_empty_container(value):
                found[id(node)] = value
    return found
