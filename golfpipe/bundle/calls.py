"""Who calls what with which arguments: needed to know that a parameter has one value, or that nobody needs it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from golfpipe.bundle.program import Program, walk
from golfpipe.bundle.types import FunctionNode, Types, functions_of

HOOKS = {"forward", "backward", "step", "zero_grad", "setup_context", "extra_repr"}
"""Methods that libraries call by name on classes derived from theirs."""


@dataclass(slots=True, eq=False)
class CallSites:
    """All direct calls of one function, and whether it is also used in another way."""

    calls: list[ast.Call] = field(default_factory=list)
    escapes: bool = False


class Calls:
    """Call sites in one state of a program."""

    def __init__(self, program: Program, types: Types) -> None:
        self.types = types
        self._of_name: dict[str, CallSites] = {}
        self._of_method: dict[str, CallSites] = {}
        """By attribute name, whoever it is called on."""
        self._receivers: dict[int, str | None] = {}
        """id of a call -> class of the object whose method it calls, where known."""
        for function, owner in functions_of(program):
            self._collect(types.nodes[id(function)], types.scope(function, owner))
        self._collect(types.other_nodes, {})

    def _collect(self, nodes: list[ast.AST], scope: dict) -> None:
        called: set[int] = set()
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called.add(id(node.value))  # Class.method, Class.CONSTANT
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    if node.func.id == "isinstance":
                        called.update(id(part) for part in walk(node.args[1]))
                    self._sites(self._of_name, node.func.id).calls.append(node)
                    called.add(id(node.func))
                elif isinstance(node.func, ast.Attribute):
                    owner = self.types.of(node.func.value, scope)
                    if isinstance(node.func.value, ast.Name) and node.func.value.id in self.types.classes:
                        self._sites(self._of_method, node.func.attr).escapes = True  # Class.method(self, ...)
                    self._receivers[id(node)] = owner if isinstance(owner, str) else None
                    self._sites(self._of_method, node.func.attr).calls.append(node)
                    called.add(id(node.func))
            elif isinstance(node, ast.Name) and id(node) not in called and isinstance(node.ctx, ast.Load):
                self._sites(self._of_name, node.id).escapes = True
            elif isinstance(node, ast.Attribute) and id(node) not in called and isinstance(node.ctx, ast.Load):
                self._sites(self._of_method, node.attr).escapes = True

    @staticmethod
    def _sites(table: dict[str, CallSites], name: str) -> CallSites:
        return table.setdefault(name, CallSites())

    def sites(self, function: FunctionNode, owner: str | None) -> list[ast.Call] | None:
        """All calls of a function or method; None where it may be called in ways that are not seen."""
        if owner is None:
            found = self._of_name.get(function.name, CallSites())
            return None if found.escapes else found.calls
        info = self.types.classes[owner]
        if function.decorator_list and not self.is_plain(function):
            return None
        if function.name == "__init__":
            found = self._of_name.get(owner, CallSites())
            derived = any(owner in self.types.lineage(name) for name in self.types.classes if name != owner)
            return None if derived or self._class_escapes(owner) else found.calls
        if function.name.startswith("__") or (info.external and function.name in HOOKS):
            return None
        if sum(function.name in other.methods for other in self.types.classes.values()) != 1:
            return None
        found = self._of_method.get(function.name, CallSites())
        if found.escapes or any(owner not in self._lineage_of(call) for call in found.calls):
            return None
        return found.calls

    def is_plain(self, function: FunctionNode) -> bool:
        """Decorated only with what keeps the parameters as they are: torch.no_grad()."""
        return all("no_grad" in ast.unparse(decorator) for decorator in function.decorator_list)

    def _lineage_of(self, call: ast.Call) -> list[str]:
        owner = self._receivers.get(id(call))
        return self.types.lineage(owner) if owner else []

    def _class_escapes(self, name: str) -> bool:
        """Whether the class itself is handed on. isinstance(x, C) and C.method(...) do not make instances."""
        return self._of_name.get(name, CallSites()).escapes

    def constructions(self, name: str) -> list[ast.Call]:
        """All calls of a class."""
        return self._of_name.get(name, CallSites()).calls

    @property
    def escaping_classes(self) -> set[str]:
        """Classes that are used otherwise than in a call, so that instances may be made out of sight."""
        return {name for name in self.types.classes if self._class_escapes(name)}

    def constant_parameters(self, function: FunctionNode, owner: str | None) -> dict[str, ast.expr]:
        """Parameters that have the same constant in every call, or their constant default because no call gives them."""
        calls = self.sites(function, owner)
        if not calls:
            return {}
        nodes = self.types.nodes[id(function)]
        rebound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        rebound |= {a.arg for n in nodes if isinstance(n, ast.FunctionDef | ast.Lambda) for a in n.args.args}
        found: dict[str, ast.expr] = {}
        for name, default in parameters(function, is_method=owner is not None).items():
            if name in rebound:
                continue
            values = [argument_of(call, function, name, owner is not None) for call in calls]
            values = [default if value is None else value for value in values]
            first = values[0]
            if isinstance(first, ast.Name) and first.id in self.types.functions:
                if first is default and all(value is default for value in values):
                    found[name] = first
                continue
            if isinstance(first, ast.Constant) and all(
                isinstance(v, ast.Constant) and v.value == first.value and type(v.value) is type(first.value)
                for v in values
            ):
                found[name] = first
        return found


def parameters(function: FunctionNode, *, is_method: bool) -> dict[str, ast.expr | None]:
    """Name -> default, without self."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    found = {a.arg: default for a, default in zip(positional, defaults, strict=True)}
    found |= {a.arg: d for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
    if is_method and positional:
        del found[positional[0].arg]
    return found


def argument_of(call: ast.Call, function: FunctionNode, name: str, is_method: bool) -> ast.expr | None:
    """What a call gives for a parameter. None: nothing, so the default counts. A starred call gives `...`."""
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return ast.Starred(ast.Constant(None), ast.Load())
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)][1 if is_method else 0 :]
    position = positional.index(name) if name in positional else len(call.args)
    return call.args[position] if position < len(call.args) else None
