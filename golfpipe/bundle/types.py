"""Static types of expressions, from the annotations that the cores carry: enough to know whose attribute is read.

A type is a class name of the program, or a tuple of a container's name and its arguments' types; None is unknown.
Unknown is always safe: what is not known is not folded.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from golfpipe.bundle.program import Program, walk_code

Type = str | tuple | None

_ELEMENT_CONTAINERS = {"list", "tuple", "set", "frozenset", "Sequence", "Iterable", "Iterator", "Collection"}
_MAPPINGS = {"dict", "Mapping"}
_MOST_ROUNDS = 5
_BINDERS = (
    ast.Assign, ast.AnnAssign, ast.For, ast.comprehension, ast.withitem, ast.NamedExpr, ast.FunctionDef, ast.Lambda,
)  # fmt: skip
_REST = "..."
"""Second argument of tuple[X, ...]."""
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True, eq=False)
class ClassInfo:
    """What a class of the program declares."""

    node: ast.ClassDef
    bases: list[str]
    external: bool
    """Whether a base class is not of the program."""
    fields: dict[str, ast.expr] = field(default_factory=dict)
    """Annotated names in the class body, in order."""
    methods: dict[str, FunctionNode] = field(default_factory=dict)
    is_dataclass: bool = False

    def is_property(self, name: str) -> bool:
        method = self.methods.get(name)
        return method is not None and any(
            isinstance(item, ast.Name) and item.id == "property" for item in method.decorator_list
        )


class Types:
    """Types of one state of a program. Make a new one after changing the program."""

    def __init__(self, program: Program) -> None:
        self.classes: dict[str, ClassInfo] = {}
        self.functions: dict[str, FunctionNode] = {}
        self.aliases: dict[str, ast.expr] = {}
        for definition in program.definitions:
            node = definition.node
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = _class_info(node)
            elif isinstance(node, ast.FunctionDef):
                self.functions[node.name] = node
        for info in self.classes.values():
            info.external = any(base not in self.classes for base in info.bases)
        self.nodes: dict[int, list[ast.AST]] = {}
        """id of each top-level function and method -> all nodes below it in order, but for annotations."""
        self.other_nodes: list[ast.AST] = []
        """All nodes outside of them."""
        self._collect_nodes(program)
        self.stand_ins = self._find_stand_ins()
        self._attributes: dict[str, dict[str, Type]] = {}
        self._scopes: dict[int, dict[str, Type]] = {}
        self._solve()

    def _collect_nodes(self, program: Program) -> None:
        for definition in program.definitions:
            node = definition.node
            if isinstance(node, ast.FunctionDef):
                self.nodes[id(node)] = list(walk_code(node, annotations=False))[1:]
            elif isinstance(node, ast.ClassDef):
                for part in (*node.decorator_list, *node.body):
                    if isinstance(part, ast.FunctionDef):
                        self.nodes[id(part)] = list(walk_code(part, annotations=False))[1:]
                    else:
                        self.other_nodes.extend(walk_code(part, annotations=False))
            else:
                self.other_nodes.extend(walk_code(node, annotations=False))

    @functools.cached_property
    def attributes_read(self) -> set[str]:
        """Every name that is read behind a dot."""
        return {n.attr for n in self.all_nodes() if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}

    @functools.cached_property
    def strings(self) -> set[str]:
        return {n.value for n in self.all_nodes() if isinstance(n, ast.Constant) and isinstance(n.value, str)}

    def all_nodes(self) -> Iterator[ast.AST]:
        for nodes in self.nodes.values():
            yield from nodes
        yield from self.other_nodes

    def _find_stand_ins(self) -> dict[str, str]:
        """Protocol -> the one class of the program that has all its methods."""
        found = {}
        for name, info in self.classes.items():
            if "Protocol" in info.bases:
                fit = [
                    other
                    for other, candidate in self.classes.items()
                    if other != name and info.methods and info.methods.keys() <= candidate.methods.keys()
                ]
                if len(fit) == 1:
                    found[name] = fit[0]
        return found

    # ---- classes ----------------------------------------------------------------------------------------------

    def lineage(self, name: str) -> list[str]:
        """The class and its bases that are of the program, nearest first."""
        found: list[str] = []
        for base in [name, *(b for own in [self.classes.get(name)] if own for b in own.bases)]:
            if base in self.classes and base not in found:
                found += [base] if base == name else [b for b in self.lineage(base) if b not in found]
        return found

    def method(self, name: str, attribute: str) -> FunctionNode | None:
        for owner in self.lineage(name):
            if attribute in self.classes[owner].methods:
                return self.classes[owner].methods[attribute]
        return None

    def attribute(self, name: str, attribute: str) -> Type:
        """Type of an attribute: a field, a property, or what __init__ assigns."""
        for owner in self.lineage(name):
            info = self.classes[owner]
            if attribute in info.fields:
                return self.of_annotation(info.fields[attribute])
            if info.is_property(attribute):
                return self.of_annotation(info.methods[attribute].returns)
            assigned = self._attributes.get(owner, {})
            if attribute in assigned:
                return assigned[attribute]
        return None

    def _find_assigned(self, name: str, optimistic: bool) -> dict[str, Type]:
        """Types of what the methods assign to self."""
        found: dict[str, Type] = {}
        for method in self.classes[name].methods.values():
            scope = self.scope(method, name)
            for node in self._binders[id(method)]:
                targets, value = _assignment(node)
                for target in targets:
                    pairs = [(target, value)]
                    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                        pairs = list(zip(target.elts, value.elts, strict=False))
                    for part, part_value in pairs:
                        if not (isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self"):
                            continue
                        known = self.of(part_value, scope)
                        if isinstance(node, ast.AnnAssign):
                            known = self.of_annotation(node.annotation)
                        if known is not None or not optimistic:
                            _bind(found, part.attr, known)
        return found

    # ---- annotations ------------------------------------------------------------------------------------------

    def of_annotation(self, node: ast.expr | None) -> Type:
        if isinstance(node, ast.Constant) and node.value is ...:
            return _REST
        if isinstance(node, ast.Name):
            return self.stand_ins.get(node.id, node.id) if node.id in self.classes else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            sides = [side for side in (node.left, node.right) if not _is_none(side)]
            return self.of_annotation(sides[0]) if len(sides) == 1 else None
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return (node.value.id, *(self.of_annotation(argument) for argument in arguments))
        return None

    # ---- expressions ------------------------------------------------------------------------------------------

    def scope(self, function: FunctionNode, owner: str | None) -> dict[str, Type]:
        """Types of all names that a function binds, those of nested functions and comprehensions included."""
        if id(function) not in self._scopes:
            self._scopes[id(function)] = self._declared(function, owner)
        return self._scopes[id(function)]

    def _solve(self) -> None:
        """Find types of names and attributes together, because they depend on each other, also in circles.

        The first round ignores what is not known yet; later ones find out whether all bindings agree.
        """
        functions: list[tuple[FunctionNode, str | None]] = [(function, None) for function in self.functions.values()]
        functions += [(method, name) for name, info in self.classes.items() for method in info.methods.values()]
        self._binders = {
            key: [node for node in nodes if isinstance(node, _BINDERS)] for key, nodes in self.nodes.items()
        }
        for number in range(_MOST_ROUNDS):
            scopes = {id(f): self._find_scope(f, owner, optimistic=number == 0) for f, owner in functions}
            stable = scopes == self._scopes
            self._scopes = scopes
            attributes = {name: self._find_assigned(name, number == 0) for name in self.classes}
            stable &= attributes == self._attributes
            self._attributes = attributes
            if number and stable:
                return
        self._scopes, self._attributes = {}, {}  # no agreement: only what is declared counts

    def _declared(self, function: FunctionNode, owner: str | None) -> dict[str, Type]:
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        static = any(ast.unparse(d) in ("staticmethod", "classmethod") for d in function.decorator_list)
        return {
            argument.arg: owner
            if owner is not None and position == 0 and not static
            else self.of_annotation(argument.annotation)
            for position, argument in enumerate(arguments)
        }

    def _find_scope(self, function: FunctionNode, owner: str | None, *, optimistic: bool) -> dict[str, Type]:
        declared = self._declared(function, owner)
        scope = dict(self._scopes.get(id(function), declared))
        seen: dict[str, Type] = {}
        for node in self._binders[id(function)]:
            self._bind_node(node, scope, seen, optimistic)
        return declared | {n: t if n not in declared or t == declared[n] else None for n, t in seen.items()}

    def _bind_node(self, node: ast.AST, scope: dict[str, Type], seen: dict[str, Type], optimistic: bool) -> None:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            self._bind_name(node.target.id, self.of_annotation(node.annotation), scope, seen, optimistic)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind_target(target, self.of(node.value, scope), scope, seen, optimistic)
        elif isinstance(node, ast.For | ast.comprehension):
            self._bind_target(node.target, self.element(self.of(node.iter, scope)), scope, seen, optimistic)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._bind_target(node.optional_vars, None, scope, seen, optimistic)
        elif isinstance(node, ast.NamedExpr):
            self._bind_target(node.target, self.of(node.value, scope), scope, seen, optimistic)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            pass  # keeps the type of what it changes
        elif isinstance(node, ast.FunctionDef | ast.Lambda):
            for argument in (*node.args.args, *node.args.kwonlyargs):
                self._bind_name(argument.arg, self.of_annotation(argument.annotation), scope, seen, optimistic)

    def _bind_target(
        self, target: ast.expr, known: Type, scope: dict[str, Type], seen: dict[str, Type], optimistic: bool
    ) -> None:
        if isinstance(target, ast.Name):
            self._bind_name(target.id, known, scope, seen, optimistic)
        elif isinstance(target, ast.Tuple | ast.List):
            fixed = isinstance(known, tuple) and known[0] == "tuple" and len(known) == 1 + len(target.elts)
            for position, part in enumerate(target.elts):
                self._bind_target(part, known[1 + position] if fixed and known else None, scope, seen, optimistic)

    def _bind_name(
        self, name: str, known: Type, scope: dict[str, Type], seen: dict[str, Type], optimistic: bool
    ) -> None:
        if known is None and optimistic:
            return
        _bind(seen, name, known)
        scope[name] = seen[name]

    def element(self, container: Type) -> Type:
        """Type of what iterating gives."""
        if not isinstance(container, tuple):
            return None
        name, *arguments = container
        if name == "tuple" and len(arguments) == 2 and arguments[1] == _REST:
            return arguments[0]
        if name in _MAPPINGS or (name in _ELEMENT_CONTAINERS and name != "tuple"):
            return arguments[0] if arguments else None
        return None

    def of(self, node: ast.expr | None, scope: dict[str, Type]) -> Type:
        """Type of an expression, None where it is not known."""
        if isinstance(node, ast.Name):
            return scope.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.of(node.value, scope)
            return self.attribute(owner, node.attr) if isinstance(owner, str) else None
        if isinstance(node, ast.Call):
            return self._of_call(node, scope)
        if isinstance(node, ast.Subscript):
            container = self.of(node.value, scope)
            if isinstance(container, tuple) and container[0] in _MAPPINGS and len(container) == 3:
                return container[2]
            return self.element(container) if not isinstance(node.slice, ast.Slice) else container
        if isinstance(node, ast.Tuple):
            return ("tuple", *(self.of(part, scope) for part in node.elts))
        if isinstance(node, ast.DictComp):
            return ("dict", self.of(node.key, scope), self.of(node.value, scope))
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return ("list", self.of(node.elt, scope))
        if isinstance(node, ast.IfExp):
            body, otherwise = self.of(node.body, scope), self.of(node.orelse, scope)
            return body if body == otherwise else None
        return None

    def _of_call(self, node: ast.Call, scope: dict[str, Type]) -> Type:
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in self.classes:
                return name
            if name in self.functions:
                return self.of_annotation(self.functions[name].returns)
            if name == "replace" and node.args:
                return self.of(node.args[0], scope)
            if name in ("dict", "list", "sorted", "reversed") and len(node.args) == 1:
                inner = self.of(node.args[0], scope)
                return inner if name == "dict" else ("list", self.element(inner))
            if name == "enumerate" and node.args:
                return ("list", ("tuple", None, self.element(self.of(node.args[0], scope))))
            if name == "zip":
                return ("list", ("tuple", *(self.element(self.of(argument, scope)) for argument in node.args)))
            return None
        if isinstance(node.func, ast.Attribute):
            owner = self.of(node.func.value, scope)
            if isinstance(owner, tuple) and owner[0] in _MAPPINGS and len(owner) == 3:
                if node.func.attr == "items":
                    return ("list", ("tuple", owner[1], owner[2]))
                if node.func.attr in ("values", "get", "pop"):
                    return ("list", owner[2]) if node.func.attr == "values" else owner[2]
            if isinstance(owner, str):
                method = self.method(owner, node.func.attr)
                return self.of_annotation(method.returns) if method is not None else None
        return None


def functions_of(program: Program) -> Iterator[tuple[FunctionNode, str | None]]:
    """Top-level functions and methods, with the class that a method belongs to."""
    for definition in program.definitions:
        if isinstance(definition.node, ast.FunctionDef):
            yield definition.node, None
        elif isinstance(definition.node, ast.ClassDef):
            for statement in definition.node.body:
                if isinstance(statement, ast.FunctionDef):
                    yield statement, definition.node.name


def _class_info(node: ast.ClassDef) -> ClassInfo:
    bases = [base.id if isinstance(base, ast.Name) else ast.unparse(base) for base in node.bases]
    info = ClassInfo(node=node, bases=bases, external=False)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            info.fields[statement.target.id] = statement.annotation
        elif isinstance(statement, ast.FunctionDef):
            info.methods.setdefault(statement.name, statement)
    info.is_dataclass = any(
        (isinstance(d, ast.Name) and d.id == "dataclass")
        or (isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id == "dataclass")
        for d in node.decorator_list
    )
    return info


def _assignment(node: ast.AST) -> tuple[list[ast.expr], ast.expr | None]:
    if isinstance(node, ast.Assign):
        return node.targets, node.value
    if isinstance(node, ast.AnnAssign):
        return [node.target], node.value
    return [], None


def _bind(types: dict[str, Type], name: str, known: Type) -> None:
    types[name] = known if name not in types or types[name] == known else None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
