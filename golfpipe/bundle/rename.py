"""Short names for methods, attributes and fields that only the script itself reads.

Names stay where somebody else knows them: settings (GOLF_* variables, the packed header), parameters of modules (they
are names of tensors), hooks of libraries, and any name that a library's object has too.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import itertools
import keyword
import pathlib
import string
from collections import Counter
from collections.abc import Iterator

from golfpipe.bundle.bake import SETTINGS_CLASS
from golfpipe.bundle.calls import HOOKS
from golfpipe.bundle.program import Program, walk
from golfpipe.bundle.shake import dynamic_classes
from golfpipe.bundle.types import Types

_INSTANCE_NAMES = {"param_groups", "state", "defaults", "name", "grad", "data", "args", "st_size", "default", "type"}
"""Attributes of library objects that their classes do not list."""


def shorten_attributes(program: Program) -> None:
    """Rename in place; consistently, by name alone."""
    types = Types(program)
    names = _own_names(program, types) - _foreign_names(program) - _kept_names(program, types)
    uses: Counter[str] = Counter()
    taken = set()
    for definition in program.definitions:
        for node in walk(definition.node):
            if isinstance(node, ast.Attribute):
                uses[node.attr] += 1
                taken.add(node.attr)
    fresh = (name for name in _short_names() if name not in taken and name not in _foreign_names(program))
    short = {name: next(fresh) for name in sorted(names, key=lambda name: (-uses[name], name))}
    renamer = _Renamer(
        short, {name for name, info in types.classes.items() if info.is_dataclass or "NamedTuple" in info.bases}
    )
    for definition in program.definitions:
        definition.node = renamer.visit(definition.node)


def _own_names(program: Program, types: Types) -> set[str]:
    """What the program's classes define. Of classes derived from a library's only methods: their attributes may be
    parameters, whose names are those of tensors."""
    found: set[str] = set()
    for info in types.classes.values():
        found.update(name for name in info.methods if not (info.external and name in HOOKS))
        if not info.external or "NamedTuple" in info.bases:
            found.update(info.fields)
            found.update(
                node.attr
                for node in walk(info.node)
                if isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) == "self"
            )
    return {name for name in found if not name.startswith("__")}


def _kept_names(program: Program, types: Types) -> set[str]:
    """Settings, attributes of modules, and what getattr reads by a computed name."""
    kept: set[str] = set()
    waiting = [SETTINGS_CLASS]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        for owner in types.lineage(name):
            if owner in seen:
                continue
            seen.add(owner)
            kept.update(types.classes[owner].fields)
            known = [types.of_annotation(annotation) for annotation in types.classes[owner].fields.values()]
            waiting += [k for k in known if isinstance(k, str)]
    for info in types.classes.values():
        if info.external and "NamedTuple" not in info.bases:
            kept.update(info.fields)
            kept.update(
                node.attr
                for node in walk(info.node)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            )
    for name in dynamic_classes(program, types):
        kept.update(types.classes[name].fields)
    return kept


def _foreign_names(program: Program) -> set[str]:
    """Attributes of everything that the script imports, and of what those give it."""
    import numpy as np
    import sentencepiece
    import torch

    owners: list[object] = [
        torch, torch.Tensor, torch.nn, torch.nn.Module, torch.nn.init, torch.optim, torch.optim.Optimizer, torch.cuda,
        torch.Generator, torch.device, torch.Size, torch.dtype, torch.autograd, torch.autograd.Function, np, np.ndarray,
        np.dtype, np.float64, pathlib.Path, sentencepiece.SentencePieceProcessor, *(getattr(builtins, name) for name in dir(builtins)),
    ]  # fmt: skip
    owners += [importlib.import_module(module) for module in {text.split()[1] for text in program.imports.values()}]
    found = set(_INSTANCE_NAMES)
    for owner in owners:
        found.update(dir(owner))
    return found


def _short_names() -> Iterator[str]:
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_letters, repeat=length):
            name = "".join(letters)
            if not keyword.iskeyword(name):
                yield name


class _Renamer(ast.NodeTransformer):
    def __init__(self, short: dict[str, str], classes: set[str]) -> None:
        self.short, self.classes = short, classes

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        node.attr = self.short.get(node.attr, node.attr)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in self.classes:
            for argument in node.keywords:
                argument.arg = self.short.get(argument.arg or "", argument.arg)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef):
                for decorator in statement.decorator_list:  # @position.setter names the property
                    if isinstance(decorator, ast.Attribute) and isinstance(decorator.value, ast.Name):
                        decorator.value.id = self.short.get(decorator.value.id, decorator.value.id)
                statement.name = self.short.get(statement.name, statement.name)
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                statement.target.id = self.short.get(statement.target.id, statement.target.id)
        return node
