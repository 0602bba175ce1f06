"""Replace what the configuration decides by its value, and branches that are never taken by nothing.

Four sources of constants: facts about settings (bake), locals that are assigned once, parameters that every call gives
the same value, functions that return one. Each is only used where the static types prove whose value is read.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from golfpipe.bundle.bake import Facts
from golfpipe.bundle.calls import Calls
from golfpipe.bundle.constants import (
    binding_counts,
    constant_attributes,
    constant_functions,
    constant_locals,
    empty_tables,
    is_empty_container,
    uniform_tables,
    yielded_at_once,
)
from golfpipe.bundle.program import Program, clone
from golfpipe.bundle.purity import Purity
from golfpipe.bundle.types import FunctionNode, Types, functions_of

Scope = dict


def fold_constants(program: Program, facts: Facts) -> bool:
    """One pass over the program, in place. Returns whether anything changed."""
    types = Types(program)
    purity = Purity(types)
    folder = _Folder(types, purity, facts | constant_attributes(types), constant_functions(types))
    calls = Calls(program, types)
    tables = empty_tables(program)
    folder.uniform = uniform_tables(program)
    for function, owner in functions_of(program):
        constants = calls.constant_parameters(function, owner)
        nodes = types.nodes[id(function)]
        bound = binding_counts(nodes)
        locals_found = constant_locals(function, nodes, bound)
        constants |= {name: value for name, value in locals_found.items() if name not in constants}
        constants |= {name: value for name, value in tables.items() if name not in bound}
        folder.enter(types.scope(function, owner), constants, function)
        function.body = folder.block(function.body) or [ast.Pass()]
    for definition in program.definitions:
        if not isinstance(definition.node, ast.FunctionDef | ast.ClassDef):
            folder.enter({}, {}, None)
            definition.node = folder.visit(definition.node)
    return folder.changed


class _Folder(ast.NodeTransformer):
    def __init__(self, types: Types, purity: Purity, facts: Facts, constant_functions: dict[int, ast.expr]) -> None:
        self.types, self.purity, self.facts, self.constant_functions = types, purity, facts, constant_functions
        self.uniform: dict[str, ast.expr] = {}
        self.scope: Scope = {}
        self.constants: dict[str, ast.expr] = {}
        self.function: FunctionNode | None = None
        self.changed = False

    def enter(self, scope: Scope, constants: dict[str, ast.expr], function: FunctionNode | None) -> None:
        self.scope, self.constants, self.function = scope, constants, function

    def replace(self, value: ast.expr) -> Any:
        self.changed = True
        return clone(value)

    # ---- statements -------------------------------------------------------------------------------------------

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in body:
            visited = self.visit(statement)
            result += visited if isinstance(visited, list) else [visited] if visited is not None else []
            if result and isinstance(result[-1], ast.Return | ast.Raise | ast.Continue | ast.Break):
                if statement is not body[-1]:
                    self.changed = True
                break
        return result

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                block = self.block(value)
                setattr(node, name, block or ([ast.Pass()] if name == "body" else []))
            elif isinstance(value, list):
                setattr(node, name, [self.visit(part) if isinstance(part, ast.AST) else part for part in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        node.test = self.as_test(self.visit(node.test))
        truth = truth_of(node.test)
        if truth is not None:
            self.changed = True
            return self.block(node.body if truth else node.orelse)
        node.body = self.block(node.body) or [ast.Pass()]
        node.orelse = self.block(node.orelse)
        if all(isinstance(s, ast.Pass) for s in [*node.body, *node.orelse]) and self.purity.pure(node.test, self.scope):
            self.changed = True
            return []
        if node.orelse and all(isinstance(s, ast.Pass) for s in node.orelse):
            node.orelse = []
        if all(isinstance(s, ast.Pass) for s in node.body) and node.orelse:
            node.test, node.body, node.orelse = ast.UnaryOp(ast.Not(), node.test), node.orelse, []
            self.changed = True
        return node

    def visit_While(self, node: ast.While) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if truth_of(node.test) is False:
            self.changed = True
            return node.orelse
        return node

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        empty = all(isinstance(s, ast.Pass) for s in [*node.body, *node.orelse])
        if _iterates_nothing(node.iter) or (empty and self.purity.pure(node.iter, self.scope)):
            self.changed = True
            return node.orelse if not empty else []
        return node

    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        item = node.items[0]
        call = item.context_expr
        if len(node.items) > 1 or not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            return node
        given = yielded_at_once(self.types.functions.get(call.func.id))
        if given is None or not self._pure_arguments(call):
            return node
        self.changed = True
        bound = (
            [ast.Assign([item.optional_vars], ast.Constant(given.value), lineno=node.lineno)]
            if item.optional_vars
            else []
        )
        return [*bound, *node.body]

    # ---- expressions ------------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.constants:
            return self.replace(self.constants[node.id])
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if (
            isinstance(node.ctx, ast.Load)
            and isinstance(node.value, ast.Name)
            and node.value.id in self.uniform
            and node.value.id not in self.scope
            and self.purity.pure(node.slice, self.scope)
        ):
            return self.replace(self.uniform[node.value.id])
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.ctx, ast.Load):
            owner = self.types.of(node.value, self.scope)
            if isinstance(owner, str) and _is_path(node.value):
                for name in self.types.lineage(owner):
                    if (name, node.attr) in self.facts:
                        return self.replace(ast.Constant(self.facts[name, node.attr]))
                constant = self._constant_method(owner, node.attr)
                if constant is not None and self._is_property(owner, node.attr):
                    return self.replace(constant)
        node.value = self.visit(node.value)
        return node

    def _constant_method(self, owner: str, name: str) -> ast.expr | None:
        """What a method or property returns in every object that an expression of type `owner` can be."""
        method = self.types.method(owner, name)
        derived = [info for other, info in self.types.classes.items() if owner in self.types.lineage(other)[1:]]
        if method is None or any(name in info.methods for info in derived):
            return None
        return self.constant_functions.get(id(method))

    def _is_property(self, owner: str, attribute: str) -> bool:
        return any(self.types.classes[name].is_property(attribute) for name in self.types.lineage(owner))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name):
            function = self.types.functions.get(node.func.id)
            if function is not None and id(function) in self.constant_functions and self._pure_arguments(node):
                return self.replace(self.constant_functions[id(function)])
            if node.func.id == "isinstance" and isinstance(node.args[0], ast.Constant):
                type_name = ast.unparse(node.args[1])
                if type_name in self.types.classes:
                    return self.replace(ast.Constant(False))
                if type_name in _PLAIN_TYPES:
                    return self.replace(ast.Constant(isinstance(node.args[0].value, _PLAIN_TYPES[type_name])))
            if node.func.id == "getattr" and len(node.args) == 2:
                name = node.args[1]
                if isinstance(name, ast.Constant) and str(name.value).isidentifier():
                    return self.replace(ast.Attribute(node.args[0], str(name.value), ast.Load()))
        elif isinstance(node.func, ast.Attribute) and _is_path(node.func.value) and self._pure_arguments(node):
            owner = self.types.of(node.func.value, self.scope)
            if isinstance(owner, str) and not self._is_property(owner, node.func.attr):
                constant = self._constant_method(owner, node.func.attr)
                if constant is not None:
                    return self.replace(constant)
        return node

    def _pure_arguments(self, node: ast.Call) -> bool:
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        return all(self.purity.pure(value, self.scope) for value in values)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        decisive = isinstance(node.op, ast.Or)  # the truth that ends the evaluation
        values: list[ast.expr] = []
        for position, value in enumerate(node.values):
            truth = truth_of(value)
            if truth is not None and truth is not decisive and position < len(node.values) - 1:
                continue
            values.append(value)
            if truth is decisive:
                break
        if len(values) > 1 and truth_of(values[-1]) is decisive:
            plain = isinstance(values[-1], ast.Constant) and values[-1].value is decisive
            if plain and self._only_truth(node) and all(self.purity.pure(value, self.scope) for value in values[:-1]):
                values = values[-1:]
        elif len(values) > 1 and self._only_truth(node) and truth_of(values[-1]) is not None:
            values = values[:-1]
        if len(values) == len(node.values):
            return node
        self.changed = True
        if len(values) == 1:
            return values[0]
        node.values = values
        return node

    def as_test(self, node: ast.expr) -> ast.expr:
        """An expression of which only the truth matters, shortened."""
        if not isinstance(node, ast.BoolOp):
            return node
        decisive = isinstance(node.op, ast.Or)
        node.values = [self.as_test(value) for value in node.values]
        pure = all(self.purity.pure(value, self.scope) for value in node.values)
        if pure and any(truth_of(value) is decisive for value in node.values):
            return self.replace(ast.Constant(decisive))
        kept = [value for value in node.values if truth_of(value) is not (not decisive)]
        if len(kept) == len(node.values):
            return node
        self.changed = True
        node.values = kept
        return ast.Constant(not decisive) if not kept else kept[0] if len(kept) == 1 else node

    def _only_truth(self, node: ast.BoolOp) -> bool:
        """Whether only the truth of the value matters: it is compared pieces or tests all the way."""
        return all(
            isinstance(value, ast.Compare | ast.Constant)
            or (isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not))
            for value in node.values
        )

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        parts: list[ast.expr] = []
        for value in node.values:
            text = _text_of(value)
            before = _text_of(parts[-1]) if parts else None
            if text is None:
                parts.append(value)
            elif before is None:
                parts.append(ast.Constant(text))
            else:
                parts[-1] = ast.Constant(before + text)
        self.changed |= len(parts) < len(node.values)
        node.values = parts
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            truth = truth_of(node.operand)
            if truth is not None:
                return self.replace(ast.Constant(not truth))
            if isinstance(node.operand, ast.UnaryOp) and isinstance(node.operand.op, ast.Not):
                inner = node.operand.operand
                if isinstance(inner, ast.Compare):
                    return self.replace(inner)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        node.test = self.as_test(node.test)
        truth = truth_of(node.test)
        return node if truth is None else self.replace(node.body if truth else node.orelse)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if len(node.ops) != 1:
            return node
        left, op, right = node.left, node.ops[0], node.comparators[0]
        if is_empty_container(right) and isinstance(op, ast.In | ast.NotIn) and self.purity.pure(left, self.scope):
            return self.replace(ast.Constant(isinstance(op, ast.NotIn)))
        is_none = isinstance(right, ast.Constant) and right.value is None
        if isinstance(op, ast.Is | ast.IsNot) and _never_none(left) and is_none:
            return self.replace(ast.Constant(isinstance(op, ast.IsNot)))
        if isinstance(left, ast.Constant) and type(op) in _COMPARE:
            value = _literal(right)
            if value is not _UNKNOWN:
                try:
                    return self.replace(ast.Constant(_COMPARE[type(op)](left.value, value)))
                except TypeError:  # guarded by a test of the type that is still there
                    return node
        return node

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> ast.expr:
        self.generic_visit(node)
        for generator in node.generators:
            generator.ifs = [self.as_test(test) for test in generator.ifs]
            kept = [test for test in generator.ifs if truth_of(test) is not True]
            if len(kept) != len(generator.ifs):
                generator.ifs = kept
                self.changed = True
        nothing = _iterates_nothing(node.generators[0].iter) or any(
            truth_of(t) is False for t in node.generators[0].ifs
        )
        if nothing and isinstance(node, ast.ListComp):
            return self.replace(ast.List(elts=[], ctx=ast.Load()))
        if nothing and isinstance(node, ast.DictComp):
            return self.replace(ast.Dict(keys=[], values=[]))
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


_UNKNOWN = object()
_PLAIN_TYPES = {"str": str, "int": int, "float": float, "bool": bool}
_COMPARE: dict[type[ast.cmpop], Callable[..., bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Is: lambda a, b: a is b or (a == b and type(a) is type(b)),
    ast.IsNot: lambda a, b: not (a is b or (a == b and type(a) is type(b))),
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def truth_of(node: ast.expr) -> bool | None:
    """Truth of an expression that is already a constant."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    return False if is_empty_container(node) else None


def _literal(node: ast.expr) -> object:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple) and all(isinstance(part, ast.Constant) for part in node.elts):
        return tuple(part.value for part in node.elts if isinstance(part, ast.Constant))
    return _UNKNOWN


def _text_of(part: ast.expr) -> str | None:
    """The text that a part of an f-string is, where it is known."""
    if isinstance(part, ast.FormattedValue) and part.conversion == -1 and part.format_spec is None:
        part = part.value
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else None


def _never_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set | ast.JoinedStr)


def _iterates_nothing(node: ast.expr) -> bool:
    """`[]`, `{}.items()`, `enumerate(())`."""
    if is_empty_container(node):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return is_empty_container(node.func.value) and node.func.attr in ("items", "values", "keys")
    return False


def _is_path(node: ast.expr) -> bool:
    """A name, or attributes of one: reading it does nothing else."""
    if isinstance(node, ast.Subscript):
        return _is_path(node.value) and isinstance(node.slice, ast.Name | ast.Constant)
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_path(node.value))
