"""Put what is used once where it is used: constants, functions that are one expression, values returned at once."""

from __future__ import annotations

import ast
from collections import Counter

from golfpipe.bundle.calls import Calls, argument_of, parameters
from golfpipe.bundle.program import Program, clone, walk
from golfpipe.bundle.types import FunctionNode, Types, functions_of


def inline_once(program: Program) -> None:
    """In place."""
    _inline_returns(program)
    while _inline_functions(program):
        pass
    _inline_constants(program)


def _name_uses(program: Program) -> Counter[str]:
    return Counter(
        node.id
        for definition in program.definitions
        for node in walk(definition.node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )


# ---- constants ------------------------------------------------------------------------------------------------


def _inline_constants(program: Program) -> None:
    uses = _name_uses(program)
    bound_inside = _bound_inside(program)
    values: dict[str, ast.expr] = {}
    for definition in list(program.definitions):
        node = definition.node
        if isinstance(node, ast.Assign) and len(definition.names) == 1 and isinstance(node.value, ast.Constant):
            name = definition.names[0]
            if name not in bound_inside and (uses[name] == 1 or len(repr(node.value.value)) <= 2):
                values[name] = node.value
                program.definitions.remove(definition)
    substitution = _Substitution(values)
    for definition in program.definitions:
        definition.node = substitution.visit(definition.node)


def _bound_inside(program: Program) -> set[str]:
    """Names that some function or class binds for itself."""
    found: set[str] = set()
    for definition in program.definitions:
        if isinstance(definition.node, ast.FunctionDef | ast.ClassDef):
            for node in walk(definition.node):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.add(node.id)
                elif isinstance(node, ast.arg):
                    found.add(node.arg)
    return found


class _Substitution(ast.NodeTransformer):
    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self.values:
            return clone(self.values[node.id])
        return node


# ---- functions ------------------------------------------------------------------------------------------------


def _inline_functions(program: Program) -> bool:
    """Functions that are one expression and have one call are written there. Whether there were any."""
    types = Types(program)
    calls = Calls(program, types)
    uses = _name_uses(program)
    touched: set[int] = set()  # definitions that the calls and uses above no longer describe
    for definition in list(program.definitions):
        node = definition.node
        if (
            id(definition) in touched
            or not isinstance(node, ast.FunctionDef)
            or node.decorator_list
            or uses[node.name] != 1
        ):
            continue
        if len(node.body) != 1 or not isinstance(node.body[0], ast.Return) or node.body[0].value is None:
            continue
        sites = calls.sites(node, None)
        if sites is None or len(sites) != 1:
            continue
        expression = _written_out(node, sites[0], program)
        if expression is not None:
            home = next(d for d in program.definitions if any(n is sites[0] for n in walk(d.node)))
            if home is definition or id(home) in touched:
                continue
            program.definitions.remove(definition)
            home.node = _Replacement(sites[0], expression).visit(home.node)
            touched |= {id(home), id(definition)}
    return bool(touched)


def _written_out(function: FunctionNode, call: ast.Call, program: Program) -> ast.expr | None:
    """The body with the call's arguments in it; None where that could mean something else."""
    assert isinstance(function.body[0], ast.Return)
    body = function.body[0].value
    assert body is not None
    if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.NamedExpr | ast.Lambda) for n in walk(body)):
        return None
    values: dict[str, ast.expr] = {}
    for name, default in parameters(function, is_method=False).items():
        value = argument_of(call, function, name, False) or default
        if value is None or isinstance(value, ast.Starred):
            return None
        count = sum(isinstance(n, ast.Name) and n.id == name for n in walk(body))
        if not (_is_path(value) or (count == 1 and _is_plain_arithmetic(value))):
            return None
        values[name] = value
    bound = {n.id for n in walk(body) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    read = {n.id for value in values.values() for n in walk(value) if isinstance(n, ast.Name)}
    if bound & (read | values.keys()):
        return None
    # A global that the body reads must not be a local where the call stands.
    free = {n.id for n in walk(body) if isinstance(n, ast.Name)} - values.keys() - bound
    for caller, _ in functions_of(program):
        if any(node is call for node in walk(caller)):
            names = {n.id for n in walk(caller) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            names |= {n.arg for n in walk(caller) if isinstance(n, ast.arg)}
            if free & names:
                return None
    expression = _Substitution(values).visit(clone(body))
    assert isinstance(expression, ast.expr)
    return expression


def _is_path(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Constant) or (isinstance(node, ast.Attribute) and _is_path(node.value))


def _is_plain_arithmetic(node: ast.expr) -> bool:
    """No call that could change something before the rest of the body is evaluated."""
    return not any(isinstance(n, ast.Call | ast.NamedExpr | ast.Yield | ast.Await) for n in walk(node))


class _Replacement(ast.NodeTransformer):
    def __init__(self, call: ast.Call, expression: ast.expr) -> None:
        self.call, self.expression = call, expression

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if node is self.call:
            return self.expression
        return self.generic_visit(node)


# ---- returns --------------------------------------------------------------------------------------------------


def _inline_returns(program: Program) -> None:
    """`x = f(); return x` -> `return f()`."""
    for function, _ in functions_of(program):
        for node in walk(function):
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if isinstance(block, list) and len(block) >= 2:
                    _inline_return(block)


def _inline_return(block: list[ast.stmt]) -> None:
    before, last = block[-2:]
    if (
        isinstance(before, ast.Assign | ast.AnnAssign)
        and isinstance(last, ast.Return)
        and isinstance(last.value, ast.Name)
        and before.value is not None
    ):
        targets = before.targets if isinstance(before, ast.Assign) else [before.target]
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id == last.value.id:
            block[-2:] = [ast.Return(before.value)]
