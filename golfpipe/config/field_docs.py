"""What the source says about each setting: the sentence below the field, the values it takes, the rule it must keep."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
import types
import typing
from typing import Any, Literal

from golfpipe.choices import Table
from golfpipe.config.schema import PipelineConfig, build_config, plain_config, section_type
from golfpipe.errors import ConfigError
from golfpipe.model.config import LayerChoice, Loop

_PROBES = (-1, 10**9)
"""Values below and above what a setting takes: the messages of the checks then say its range."""
_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def sentence(key: str) -> str:
    """Return what the source says of the setting; of one in an inner section, what it says of that section first."""
    *outer, name = key.split(".")
    owner: type = PipelineConfig
    said = []
    for number, section in enumerate(outer):
        if number:
            said.append(_field_docs(owner).get(section, ""))
        owner = section_type(owner, section) or owner
    own = _field_docs(owner).get(name, "")
    return " ".join(text for text in (*said, own) if text) if own else ""


def values_of(key: str) -> str:
    """Return in words which values the setting takes, as `none, train, generated` or `whole number, null`."""
    owner: type = PipelineConfig
    *outer, name = key.split(".")
    for section in outer:
        owner = section_type(owner, section) or owner
    return ", ".join(dict.fromkeys(_words(typing.get_type_hints(owner, include_extras=True)[name])))


@functools.cache
def rule_of(key: str) -> str:
    """Return the rule that the setting must keep, in the words of its check; "" without one."""
    rules = []
    for probe in _PROBES:
        config = plain_config(PipelineConfig())
        inner = config
        *outer, name = key.split(".")
        for section in outer:
            inner = inner[section]
        inner[name] = float(probe) if isinstance(inner[name], float) else probe
        try:
            build_config(config)
        except ConfigError as error:
            found = re.search(rf"\b{re.escape(name)}=\S+ must (.*)", error.message)
            rules += [found[1]] if found else []
    return " and ".join(dict.fromkeys(rules))


def _words(hint: Any) -> list[str]:
    if hint == LayerChoice:
        return ["none", "all", "{last: N}"]
    if hint == Loop:
        return ["none", "{first: N, last: N, passes: N}"]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return [name for part in hint.__metadata__ if isinstance(part, Table) for name in part.names]
    if origin is Literal:
        return [str(value) for value in arguments]
    if origin in (typing.Union, types.UnionType):
        return [word for part in arguments for word in _words(part)]
    if origin is tuple and arguments[-1] is not Ellipsis:
        return [f"[{', '.join(word for part in arguments for word in _words(part))}]"]
    if origin is tuple:
        inner = _words(arguments[0])
        return [f"list of {'s, '.join(inner)}s" if len(inner) == 1 else f"list of {', '.join(inner)}"]
    return ["null"] if hint is type(None) else [_KINDS.get(hint, hint.__name__.lower())]


@functools.cache
def _field_docs(owner: type) -> dict[str, str]:
    """Return the sentences of the fields of a dataclass, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith("golfpipe."):
            found |= _class_docs(base.__module__).get(base.__name__, {})
    return found


@functools.cache
def _class_docs(module: str) -> dict[str, dict[str, str]]:
    """Return for each class of the module the texts that stand below its fields, each as one line."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_texts_below(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _texts_below(node: ast.ClassDef) -> typing.Iterator[tuple[str, str]]:
    for field, below in zip(node.body, node.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
