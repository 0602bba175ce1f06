"""Write a run's configuration into the script: as defaults of its classes, and as facts that decide branches."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import typing
from collections.abc import Iterator
from typing import Any

from golfpipe.bundle.program import Program, walk

Plain = None | bool | str | int | float
Facts = dict[tuple[str, str], Plain]
"""(class, attribute) -> the value that it has in every instance."""

SETTINGS_CLASS = "Settings"
_NO_ARGUMENTS = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
_FIELD = ast.Name("field", ast.Load())


def instances(settings: Any) -> Iterator[Any]:
    """The settings and every section, rule and scheme below them."""
    yield settings
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        for part in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(part):
                yield from instances(part)


def setting_facts(settings: Any, is_settable: Any) -> Facts:
    """What the environment cannot change and all instances of a class agree on."""
    found: dict[tuple[str, str], list[object]] = {}
    sections: set[str] = set()  # classes that the environment reaches: it does not look into tuples
    for instance in instances(settings):
        for kind in type(instance).__mro__:
            if dataclasses.is_dataclass(kind):
                for item in dataclasses.fields(kind):
                    found.setdefault((kind.__name__, item.name), []).append(getattr(instance, item.name))
    for section in _sections(settings):
        sections.update(kind.__name__ for kind in type(section).__mro__)
    facts: Facts = {}
    for (owner, name), values in found.items():
        first = values[0]
        same = all(type(value) is type(first) and value == first for value in values)
        plain = first is None or isinstance(first, bool | str | int | float)
        if plain and same and not (owner in sections and is_settable(name, first)):
            facts[owner, name] = typing.cast(Plain, first)
    return facts


def _sections(settings: Any) -> Iterator[Any]:
    """The settings and every section below them."""
    yield settings
    for item in dataclasses.fields(settings):
        if dataclasses.is_dataclass(value := getattr(settings, item.name)):
            yield from _sections(value)


def changed_settings(program: Program) -> set[str]:
    """Names that code gives other values in copies of settings: replace(config, kv_sharing="none")."""
    return {
        keyword.arg
        for definition in program.definitions
        for node in walk(definition.node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "replace"
        for keyword in node.keywords
        if keyword.arg is not None
    }


def bake_settings(program: Program, settings: Any) -> None:
    """Make Settings() in the program equal to `settings`."""
    counts: dict[str, int] = {}
    for instance in instances(settings):
        counts[type(instance).__name__] = counts.get(type(instance).__name__, 0) + 1
    classes = {d.node.name: d.node for d in program.definitions if isinstance(d.node, ast.ClassDef)}
    bases = {base.id for node in classes.values() for base in node.bases if isinstance(base, ast.Name)}
    single = {name for name, count in counts.items() if count == 1 and name not in bases}
    for instance in instances(settings):
        if type(instance).__name__ in single:
            _bake_class(classes[type(instance).__name__], instance, single)


def _bake_class(node: ast.ClassDef, instance: Any, single: set[str]) -> None:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = getattr(instance, statement.target.id)
            if statement.value is None or value != _default(instance, statement.target.id) or _is_section(value):
                statement.value = expression(value, single)
                if _is_section(value):
                    # Later, for its checks may be defined further down.
                    late = ast.Lambda(args=_NO_ARGUMENTS, body=statement.value)
                    statement.value = ast.Call(_FIELD, [], [ast.keyword(arg="default_factory", value=late)])


def make_sections_at_once(program: Program) -> None:
    """Sections as plain default values, which is shorter; once nothing is checked any more."""
    for definition in program.definitions:
        for statement in getattr(definition.node, "body", []):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Call):
                factory = next((k.value for k in statement.value.keywords if k.arg == "default_factory"), None)
                if isinstance(factory, ast.Lambda):
                    statement.value = factory.body


def expression(value: Any, single: set[str]) -> ast.expr:
    """Source of a configuration value. Classes in `single` have their values as defaults."""
    if isinstance(value, tuple):
        return ast.Tuple(elts=[expression(part, single) for part in value], ctx=ast.Load())
    if not dataclasses.is_dataclass(value):
        return ast.Constant(value)
    own = type(value).__name__ in single
    declared = set(inspect.get_annotations(type(value)))
    keywords = [
        ast.keyword(arg=item.name, value=expression(getattr(value, item.name), single))
        for item in dataclasses.fields(value)
        if getattr(value, item.name) != _default(value, item.name) and not (own and item.name in declared)
    ]
    return ast.Call(func=ast.Name(type(value).__name__, ast.Load()), args=[], keywords=keywords)


def _default(instance: Any, name: str) -> object:
    item = next(item for item in dataclasses.fields(instance) if item.name == name)
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _is_section(value: object) -> bool:
    return dataclasses.is_dataclass(value)
