"""Pass everything by position, so that the minifier may rename parameters: it must keep names that a caller could use."""

from __future__ import annotations

import ast

from golfpipe.bundle.calls import Calls
from golfpipe.bundle.program import Program, walk
from golfpipe.bundle.types import FunctionNode, Types, functions_of


def use_positions(program: Program) -> None:
    """Turn keywords into positions where every call is known, and mark parameters that nobody names as positional."""
    types = Types(program)
    calls = Calls(program, types)
    for function, owner in functions_of(program):
        sites = calls.sites(function, owner)
        if sites is not None:
            _by_position(function, sites, owner is not None)
    named = _named_arguments(program)
    anywhere = {keyword for keywords in named.values() for keyword in keywords}
    for function, owner in functions_of(program):
        if not function.name.startswith("__"):
            used = named.get(function.name, set()) | named[None]
        elif function.name == "__init__" and owner is not None and owner not in calls.escaping_classes:
            heirs = [name for name in types.classes if owner in types.lineage(name)]
            used = named[None].union(*(named.get(name, set()) for name in (*heirs, "__init__")))
        else:
            used = anywhere
        _mark(function.args, used)
        for inner in types.nodes[id(function)]:
            if isinstance(inner, ast.FunctionDef | ast.Lambda):
                _mark(inner.args, anywhere)


def _by_position(function: FunctionNode, sites: list[ast.Call], is_method: bool) -> None:
    """Parameters behind `*` become ordinary ones, and keywords move to their places, where all calls allow it."""
    arguments = function.args
    if arguments.vararg or arguments.kwarg:
        return
    if any(isinstance(a, ast.Starred) for call in sites for a in call.args) or any(
        keyword.arg is None for call in sites for keyword in call.keywords
    ):
        return
    required = [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
    optional = [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None]
    if required and arguments.defaults:
        return
    arguments.args += [a for a, _ in (*required, *optional)]
    arguments.defaults += [d for _, d in optional if d is not None]
    arguments.kwonlyargs, arguments.kw_defaults = [], []
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)][1 if is_method else 0 :]
    for call in sites:
        while call.keywords and len(call.args) < len(names):
            following = next((k for k in call.keywords if k.arg == names[len(call.args)]), None)
            if following is None or (following is not call.keywords[0] and not _is_simple(following.value, call)):
                break
            call.keywords.remove(following)
            call.args.append(following.value)


def _is_simple(value: ast.expr, call: ast.Call) -> bool:
    """Whether evaluating the arguments in another order changes nothing: no calls among them."""
    return not any(isinstance(n, ast.Call | ast.NamedExpr) for k in call.keywords for n in walk(k.value))


def _named_arguments(program: Program) -> dict[str | None, set[str]]:
    """Name of what is called -> keywords that calls give. None: calls of what has no name to go by."""
    found: dict[str | None, set[str]] = {None: set()}
    modules = {name.split(".")[0] for name in program.imports}
    for definition in program.definitions:
        for node in walk(definition.node):
            if not isinstance(node, ast.Call) or not node.keywords:
                continue
            func = node.func
            if isinstance(func, ast.Name):
                name: str | None = func.id
            elif isinstance(func, ast.Attribute):
                root = func.value
                while isinstance(root, ast.Attribute):
                    root = root.value
                if isinstance(root, ast.Name) and root.id in modules:
                    continue  # a library's own
                name = func.attr
            else:
                name = None
            found.setdefault(name, set()).update(k.arg for k in node.keywords if k.arg)
    return found


def _mark(arguments: ast.arguments, used: set[str]) -> None:
    """Make the leading parameters that no call names positional-only."""
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs:
        return
    count = 0
    while count < len(arguments.args) and arguments.args[count].arg not in used:
        count += 1
    arguments.posonlyargs, arguments.args = arguments.args[:count], arguments.args[count:]
