"""Which expressions can be left out when nobody needs their value."""

from __future__ import annotations

import ast

from golfpipe.bundle.program import walk
from golfpipe.bundle.types import FunctionNode, Types

_FRESH = "(fresh)"
"""Key of a scope for the names of containers that the function makes itself."""
_BUILTINS = {
    "abs", "all", "any", "bool", "bytes", "dict", "enumerate", "float", "frozenset", "getattr", "int", "isinstance", "len",
    "list", "max", "min", "range", "repr", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "type", "zip",
    "asdict", "fields", "is_dataclass", "replace",
}  # fmt: skip
_MODULES = {"np", "math", "lzma", "json", "hashlib"}
"""Their functions change nothing; the exceptions are named below."""
_MODULE_EXCEPTIONS = {"save", "seterr", "copyto", "put", "place", "memmap", "dump", "open"}
_TORCH = {"from_numpy", "tensor", "zeros", "ones", "full", "empty", "arange", "div", "isfinite"}
"""Functions of torch that change nothing."""
_METHODS = {
    "abs", "all", "any", "astype", "cpu", "detach", "dim", "double", "encode", "endswith", "float", "get", "isfinite", "item",
    "items", "keys", "max", "mean", "min", "nonzero", "numel", "numpy", "removeprefix", "reshape", "size", "square",
    "startswith", "sum", "tobytes", "tolist", "values", "view", "digest", "hexdigest", "sqrt", "newbyteorder",
    "copy", "named_parameters", "parameters", "decode", "decompress", "from_bytes",
}  # fmt: skip
"""Methods of anything that change nothing. Methods of the program's own classes are looked into instead."""


class Purity:
    """Answers for one state of a program."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self._functions: dict[int, bool] = {}

    def pure(self, node: ast.AST | None, scope: dict | None = None) -> bool:
        """Whether evaluating the expression changes nothing. Exceptions do not count as a change."""
        scope = scope or {}
        if node is None or isinstance(node, ast.Constant | ast.Name | ast.Lambda | ast.expr_context | ast.operator):
            return True
        if isinstance(node, ast.Yield | ast.YieldFrom | ast.Await | ast.NamedExpr):
            return False
        if isinstance(node, ast.Call) and not self._pure_call(node, scope):
            return False
        return all(self.pure(child, scope) for child in ast.iter_child_nodes(node))

    def _pure_call(self, node: ast.Call, scope: dict) -> bool:
        func = node.func
        if any(keyword.arg == "out" for keyword in node.keywords):
            return False
        if isinstance(func, ast.Name):
            if func.id in self.types.functions:
                return self._pure_function(self.types.functions[func.id], None)
            if func.id in self.types.classes:
                info = self.types.classes[func.id]
                return info.is_dataclass and not info.external and self.types.method(func.id, "__post_init__") is None
            if func.id == "next":
                return isinstance(node.args[0], ast.GeneratorExp)  # of anything else it takes something away
            return func.id in _BUILTINS
        if isinstance(func, ast.Attribute):
            if isinstance(func.value, ast.Name) and func.value.id in _MODULES:
                return func.attr not in _MODULE_EXCEPTIONS
            if isinstance(func.value, ast.Name) and func.value.id == "torch":
                return func.attr in _TORCH
            owner = self.types.of(func.value, scope)
            if isinstance(owner, str) and owner in self.types.classes:
                method = self.types.method(owner, func.attr)
                if method is None:  # of the library that the class derives from
                    return func.attr in _METHODS
                return self._pure_function(method, owner)
            return func.attr in _METHODS and not any(func.attr in info.methods for info in self.types.classes.values())
        return False

    def _pure_function(self, function: FunctionNode, owner: str | None) -> bool:
        if id(function) not in self._functions:
            self._functions[id(function)] = True  # a function that calls itself is as pure as the rest of it
            scope = self.types.scope(function, owner) | {_FRESH: _fresh_names(function)}
            self._functions[id(function)] = all(self._pure_statement(s, scope) for s in function.body)
        return self._functions[id(function)]

    def _pure_statement(self, node: ast.stmt, scope: dict) -> bool:
        """Whether a statement changes nothing but names of its function."""
        if isinstance(node, ast.Assign | ast.AnnAssign):  # += may change an array in place
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            fresh = scope.get(_FRESH, ())
            return all(_binds_names(t) or _changes(t, fresh) for t in targets) and self.pure(node.value, scope)
        if isinstance(node, ast.Return | ast.Expr):
            return self.pure(node.value, scope)
        if isinstance(node, ast.If | ast.While):
            return self.pure(node.test, scope) and self._pure_block([*node.body, *node.orelse], scope)
        if isinstance(node, ast.For):
            return (
                _binds_names(node.target)
                and self.pure(node.iter, scope)
                and self._pure_block([*node.body, *node.orelse], scope)
            )
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Assert):
            return self.pure(node.test, scope)
        return isinstance(node, ast.Pass | ast.Break | ast.Continue)

    def _pure_block(self, body: list[ast.stmt], scope: dict) -> bool:
        return all(self._pure_statement(statement, scope) for statement in body)


def _fresh_names(function: FunctionNode) -> set[str]:
    """Locals that only ever hold containers made here: filling those changes nothing outside."""
    made: dict[str, bool] = {argument.arg: False for argument in walk(function) if isinstance(argument, ast.arg)}
    for node in walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for part in walk(target):
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                        is_new = part is target and isinstance(
                            node.value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp
                        )
                        made[part.id] = made.get(part.id, True) and is_new
        elif isinstance(node, ast.For | ast.comprehension | ast.NamedExpr | ast.withitem):
            bound = node.optional_vars if isinstance(node, ast.withitem) else node.target
            made |= {part.id: False for part in walk(bound) if isinstance(part, ast.Name)} if bound else {}
    return {name for name, is_new in made.items() if is_new}


def _changes(target: ast.expr, fresh: object) -> bool:
    return (
        isinstance(target, ast.Subscript)
        and isinstance(target.value, ast.Name)
        and isinstance(fresh, set)
        and target.value.id in fresh
    )


def _binds_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(_binds_names(part) for part in target.elts)
    return isinstance(target, ast.Name)
