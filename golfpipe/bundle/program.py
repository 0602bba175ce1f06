"""One namespace: every definition of all modules in order, and which names each of them uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from golfpipe.bundle.sources import SourceModule
from golfpipe.errors import StageFailed


@dataclass(slots=True, eq=False)
class Definition:
    """A top-level statement, the documentation string below it included."""

    names: tuple[str, ...]
    """What it binds; empty for a statement that is only run."""
    node: ast.stmt
    module: str
    note: ast.stmt | None = None
    """The string below an assignment that documents it."""


@dataclass(slots=True, eq=False)
class Program:
    """Definitions in the order in which they must run."""

    definitions: list[Definition]
    imports: dict[str, str]
    """Name -> import statement."""
    texts: dict[str, str] = field(default_factory=dict)
    """Module -> source text."""

    def named(self) -> dict[str, Definition]:
        return {name: definition for definition in self.definitions for name in definition.names}


def flatten(modules: Sequence[SourceModule]) -> Program:
    """Put modules, each after what it needs, into one namespace. Raises StageFailed for a name with two meanings."""
    definitions: list[Definition] = []
    imports: dict[str, str] = {}
    owner: dict[str, Definition] = {}
    for module in modules:
        for name, statement in module.external_imports.items():
            if imports.setdefault(name, statement) != statement:
                raise StageFailed(f"{module.name}: `{statement}` clashes with `{imports[name]}`")
        for node in module.body:
            if _is_note(node) and definitions and definitions[-1].module == module.name:
                definitions[-1].note = node
                continue
            definition = Definition(bound_names(node), node, module.name)
            for name in definition.names:
                other = owner.setdefault(name, definition)
                if other is not definition and other.module != module.name and ast.dump(other.node) != ast.dump(node):
                    raise StageFailed(f"{name} is defined in both {other.module} and {module.name}")
            definitions.append(definition)
    for name in owner.keys() & imports.keys():
        raise StageFailed(f"{name} is defined in {owner[name].module} and imported by `{imports[name]}`")
    _check_local_imports(modules, owner)
    unique = [d for d in definitions if not d.names or any(owner[name].module == d.module for name in d.names)]
    return Program(unique, imports, {module.name: module.text for module in modules})


def _check_local_imports(modules: Sequence[SourceModule], owner: dict[str, Definition]) -> None:
    for module in modules:
        for name, source in module.local_imports.items():
            if name not in owner:
                raise StageFailed(f"{module.name} imports {name} from {source}, which does not define it")


def bound_names(node: ast.stmt) -> tuple[str, ...]:
    """Names that a top-level statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return tuple(part.id for target in targets for part in walk(target) if isinstance(part, ast.Name))
    return ()


def _is_note(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def clone(node: ast.AST) -> ast.AST:
    """Copy of a tree. Not deepcopy: python-minifier hangs whole trees on nodes that ast shares (Load())."""
    copied = type(node)()
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            value = clone(value)
        elif isinstance(value, list):
            value = [clone(part) if isinstance(part, ast.AST) else part for part in value]
        setattr(copied, name, value)
    for name in node._attributes:
        if hasattr(node, name):
            setattr(copied, name, getattr(node, name))
    return copied


_WITHOUT_NODES = {
    "id",
    "attr",
    "arg",
    "name",
    "module",
    "level",
    "kind",
    "type_comment",
    "conversion",
    "ctx",
    "op",
    "ops",
}
"""Fields that hold names and numbers, or nodes that nobody asks for: contexts and operators."""


def _node_fields(left_out: set[str]) -> dict[type[ast.AST], tuple[str, ...]]:
    """Kind of node -> its fields in which other nodes may lie, last first."""
    kinds = [kind for kind in ast.__dict__.values() if isinstance(kind, type) and issubclass(kind, ast.AST)]
    found = {kind: tuple(name for name in reversed(kind._fields) if name not in left_out) for kind in kinds}
    return found | {ast.Constant: ()}


_FIELDS = {
    True: _node_fields(_WITHOUT_NODES),
    False: _node_fields(_WITHOUT_NODES | {"annotation", "returns"}),
}
"""With and without annotations."""


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below and including `node`, in order, without contexts and operators. ast.walk takes thrice as long."""
    return walk_code(node, annotations=True)


def walk_code(node: ast.AST, *, annotations: bool) -> Iterator[ast.AST]:
    """As walk; without annotations on request."""
    fields = _FIELDS[annotations]
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        for name in fields[type(node)]:
            value = getattr(node, name, None)
            if isinstance(value, list):
                waiting += [child for child in reversed(value) if isinstance(child, ast.AST)]
            elif isinstance(value, ast.AST):
                waiting.append(value)
