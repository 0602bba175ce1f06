"""Remove what nothing uses: definitions, methods, fields of dataclasses, parameters, locals."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable

from golfpipe.bundle.assignments import drop_attributes, drop_locals
from golfpipe.bundle.calls import HOOKS, Calls, argument_of, parameters
from golfpipe.bundle.program import Definition, Program, walk_code
from golfpipe.bundle.purity import Purity
from golfpipe.bundle.types import FunctionNode, Types, functions_of

_REFLECTION = {"asdict", "astuple", "fields"}


def shake(program: Program, *, annotations: bool) -> bool:
    """Remove unused code; what only that used is found by another call. `annotations`: whether names in annotations
    count as used.

    Returns whether anything was removed.
    """
    changed = _drop_definitions(program, annotations=annotations)
    # Types and calls are those of the start: names that go on the way still count as used.
    types = Types(program)
    calls, purity = Calls(program, types), Purity(types)
    dynamic = dynamic_classes(program, types)
    changed |= drop_locals(program, types, purity) | _drop_methods(program, types)
    changed |= _drop_parameters(program, calls, purity) | _drop_fields(program, types, calls, purity, dynamic)
    changed |= drop_attributes(types, purity, dynamic)
    changed |= _drop_definitions(program, annotations=annotations)
    return changed


# ---- definitions ----------------------------------------------------------------------------------------------


def _drop_definitions(program: Program, *, annotations: bool) -> bool:
    named = program.named()
    live: set[int] = set()
    waiting: list[Definition] = [d for d in program.definitions if not d.names]
    while waiting:
        definition = waiting.pop()
        if id(definition) in live:
            continue
        live.add(id(definition))
        for node in walk_code(definition.node, annotations=annotations):
            if isinstance(node, ast.Name) and node.id in named and id(named[node.id]) not in live:
                waiting.append(named[node.id])  # noqa: PERF401
    kept = [d for d in program.definitions if id(d) in live]
    changed = len(kept) != len(program.definitions)
    program.definitions[:] = kept
    return changed


def drop_imports(program: Program, *, annotations: bool) -> None:
    """Remove imports whose name occurs nowhere."""
    used = {
        node.id
        for definition in program.definitions
        for node in walk_code(definition.node, annotations=annotations)
        if isinstance(node, ast.Name)
    }
    program.imports = {name: text for name, text in program.imports.items() if name.split(".")[0] in used}


# ---- methods --------------------------------------------------------------------------------------------------


def _drop_methods(program: Program, types: Types) -> bool:
    """Methods whose name no attribute access and no string names. The name alone decides: whose it is does not."""
    mentions = _mentions(types.all_nodes())
    changed = False
    for definition in program.definitions:
        if not isinstance(definition.node, ast.ClassDef):
            continue
        info = types.classes[definition.node.name]
        body = []
        for statement in definition.node.body:
            if (
                isinstance(statement, ast.FunctionDef)
                and not statement.name.startswith("__")
                and not (info.external and statement.name in HOOKS)
                and id(statement) in types.nodes
                and mentions[statement.name]
                <= _mentions(types.nodes[id(statement)])[statement.name]  # it may call itself
            ):
                changed = True
                continue
            body.append(statement)
        definition.node.body = body or [ast.Pass()]
    return changed


def _mentions(nodes: Iterable[ast.AST]) -> Counter[str]:
    """How often each name stands behind a dot or is a string."""
    found: Counter[str] = Counter()
    for inner in nodes:
        if isinstance(inner, ast.Attribute):
            found[inner.attr] += 1
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            found[inner.value] += 1
    return found


# ---- fields ---------------------------------------------------------------------------------------------------


def _drop_fields(
    program: Program, types: Types, calls: Calls, purity: Purity, dynamic: dict[str, set[str | None]]
) -> bool:
    """Fields of dataclasses that nobody reads, with the arguments that fill them, where leaving those out is safe."""
    reflected = _reflected_classes(program, types)
    read, strings = types.attributes_read, types.strings
    changed = False
    for name, info in types.classes.items():
        if not info.is_dataclass or name in reflected or any(base in reflected for base in types.lineage(name)):
            continue
        derived = [other for other in types.classes if name in types.lineage(other)]
        for field_name in list(info.fields):
            if field_name in read or (any(d in dynamic for d in derived) and field_name in strings):
                continue
            if any(d in dynamic for d in derived) and None in dynamic.get(name, ()):
                continue
            sites = [(other, call) for other in derived for call in calls.constructions(other)]
            if any(other in calls.escaping_classes for other in derived):
                continue
            if _drop_field(types, purity, sites, name, field_name):
                info.node.body = [
                    s
                    for s in info.node.body
                    if not (
                        isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name) and s.target.id == field_name
                    )
                ] or [ast.Pass()]
                del info.fields[field_name]
                changed = True
    return changed


def _drop_field(types: Types, purity: Purity, sites: list[tuple[str, ast.Call]], owner: str, field_name: str) -> bool:
    """Take the field's argument out of every construction; False, and nothing done, where one must be evaluated."""
    plans = []
    for name, call in sites:
        order = [f for base in reversed(types.lineage(name)) for f in types.classes[base].fields]
        order = list(dict.fromkeys(order))
        if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
            return False
        position = order.index(field_name)
        keyword = next((k for k in call.keywords if k.arg == field_name), None)
        value = keyword.value if keyword is not None else call.args[position] if position < len(call.args) else None
        if value is not None and not purity.pure(value):
            return False
        plans.append((call, keyword, position))
    for call, keyword, position in plans:
        if keyword is not None:
            call.keywords.remove(keyword)
        elif position < len(call.args):
            del call.args[position]
    return True


def _reflected_classes(program: Program, types: Types) -> set[str]:
    """Classes of which asdict() and the like see every field. What walks over settings in general is meant to see
    what is left of them, so an unknown type counts for none."""
    found: set[str] = set()
    for function, owner in functions_of(program):
        scope = types.scope(function, owner)
        for node in types.nodes[id(function)]:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _REFLECTION:
                known = types.of(node.args[0], scope)
                if isinstance(known, str):
                    found.update(types.lineage(known))
    return found


def dynamic_classes(program: Program, types: Types) -> dict[str, set[str | None]]:
    """Classes whose attributes are read by a computed name: what some string in the program names is then used."""
    found: dict[str, set[str | None]] = {}
    for function, owner in functions_of(program):
        scope = types.scope(function, owner)
        for node in types.nodes[id(function)]:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
                known = types.of(node.args[0], scope)
                if isinstance(known, str):
                    # getattr(x, f"{a}_b") could be anything of x.
                    anything = isinstance(node.args[1], ast.JoinedStr | ast.BinOp)
                    for name in types.lineage(known):
                        found.setdefault(name, set()).update({None} if anything else {""})
    return found


# ---- parameters -----------------------------------------------------------------------------------------------


def _drop_parameters(program: Program, calls: Calls, purity: Purity) -> bool:
    """Parameters that the body does not read, with the arguments that fill them."""
    changed = False
    for function, owner in functions_of(program):
        if owner is not None and function.decorator_list and not calls.is_plain(function):
            continue
        sites = calls.sites(function, owner)
        if sites is None:
            continue
        read = {node.id for node in calls.types.nodes[id(function)] if isinstance(node, ast.Name)}
        for name in list(parameters(function, is_method=owner is not None)):
            if name in read:
                continue
            values = [argument_of(call, function, name, owner is not None) for call in sites]
            if all(value is None or (not isinstance(value, ast.Starred) and purity.pure(value)) for value in values):
                for call in sites:
                    _remove_argument(call, function, name, owner is not None)
                _remove_parameter(function, name)
                changed = True
    return changed


def _remove_argument(call: ast.Call, function: FunctionNode, name: str, is_method: bool) -> None:
    for keyword in call.keywords:
        if keyword.arg == name:
            call.keywords.remove(keyword)
            return
    positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)][1 if is_method else 0 :]
    if name in positional and positional.index(name) < len(call.args):
        del call.args[positional.index(name)]


def _remove_parameter(function: FunctionNode, name: str) -> None:
    arguments = function.args
    for position, argument in enumerate(arguments.args):
        if argument.arg == name:
            from_end = len(arguments.args) - position
            if from_end <= len(arguments.defaults):
                del arguments.defaults[len(arguments.defaults) - from_end]
            del arguments.args[position]
            return
    for position, argument in enumerate(arguments.kwonlyargs):
        if argument.arg == name:
            del arguments.kwonlyargs[position]
            del arguments.kw_defaults[position]
            return
