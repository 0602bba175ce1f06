"""Many modules as one: their definitions one after the other, under unique names, without imports of each other.

It holds for modules that import `from golfpipe.x import name` (a module's name, never a module), and whose tables of
choices (choices.Table) are literals. A module's name in such a table becomes a function that gives the chosen object;
flat_choices.py is the Table that knows what to do with it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from graphlib import TopologicalSorter

from golfpipe.script.modules import OWN, own_imports


def flat(
    trees: Mapping[str, ast.Module], chosen: Mapping[str, str], public: Mapping[str, tuple[str, str]]
) -> ast.Module:
    """Return one module with the definitions of all.

    chosen: module that a table names -> the object in it. public: name in the result -> (module, name there); all other
    names of the modules become new ones.
    """
    names = _Names(public)
    for module, tree in trees.items():
        names.add(module, tree)
    objects = {module: names.of[module][attribute] for module, attribute in chosen.items()}
    body: list[ast.stmt] = []
    for module in _in_order(trees):
        body += _Renamed(names.of[module], objects).visit(trees[module]).body
    used = {node.id for part in body for node in ast.walk(part) if isinstance(node, ast.Name)}
    imports = [ast.parse(f"{text} as {name}").body[0] for text, name in names.foreign.items() if name in used]
    whole = ast.Module([*imports, *body], [])
    _make_positional(whole, public)
    return ast.fix_missing_locations(whole)


class _Names:
    """The new name of everything that the modules define or import."""

    def __init__(self, public: Mapping[str, tuple[str, str]]) -> None:
        self.foreign: dict[str, str] = {}
        """Import without `as` -> its name."""
        self.of: dict[str, dict[str, str]] = {}
        """Module -> name in it -> new name."""
        self._new: dict[tuple[str, str], str] = {place: name for name, place in public.items()}

    def add(self, module: str, tree: ast.Module) -> None:
        """Name what the module defines, and what it imports anywhere."""
        names = self.of[module] = {}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names[node.name] = self._name(module, node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for part in ast.walk(node):
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                        names[part.id] = self._name(module, part.id)
        for found in ast.walk(tree):
            if isinstance(found, ast.Import | ast.ImportFrom) and getattr(found, "module", "") != "__future__":
                for alias in found.names:
                    names[alias.asname or alias.name] = self._imported(found, alias.name)

    def _imported(self, node: ast.Import | ast.ImportFrom, name: str) -> str:
        if isinstance(node, ast.Import):
            return self.foreign.setdefault(f"import {name}", f"_foreign{len(self.foreign)}")
        if str(node.module).startswith(OWN):
            return self._name(str(node.module), name)
        return self.foreign.setdefault(f"from {node.module} import {name}", f"_foreign{len(self.foreign)}")

    def _name(self, module: str, name: str) -> str:
        return self._new.setdefault((module, name), f"_own{len(self._new)}")


class _Renamed(ast.NodeTransformer):
    """Gives the names of a module their new ones, and drops its imports.

    A local variable with the name of a global one is renamed with it, which changes nothing. Parameters keep their
    names, because calls use them; inside of such a function the name means the parameter.
    """

    def __init__(self, names: Mapping[str, str], objects: Mapping[str, str]) -> None:
        self._names, self._objects = dict(names), objects

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._names.get(node.id, node.id)
        return node

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        node.name = self._names.get(node.name or "", node.name)
        return self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._names.get(node.name or "", node.name)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        return self._visit_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._visit_function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        for part in node.body:  # attributes and methods keep their names
            if isinstance(part, ast.FunctionDef):
                self._visit_function(part)
            elif isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
                self.visit(part.value)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        found = self._objects.get(node.value) if isinstance(node.value, str) else None
        return ast.parse(f"lambda: {found}", mode="eval").body if found is not None else node

    def _visit_function(self, node: ast.FunctionDef | ast.Lambda) -> ast.AST:
        parameters = {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)}
        for part in (*(node.decorator_list if isinstance(node, ast.FunctionDef) else ()), *node.args.defaults):
            self.visit(part)
        for default in node.args.kw_defaults:
            if default is not None:
                self.visit(default)
        outer = self._names
        self._names = {name: new for name, new in outer.items() if name not in parameters}
        if isinstance(node, ast.Lambda):
            node.body = self.visit(node.body)
        else:
            node.body = list(self._statements(node.body)) or [ast.Pass()]
        self._names = outer
        return node

    def _statements(self, body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in body:
            changed = self.visit(statement)
            if changed is not None:
                yield changed


def _make_positional(tree: ast.Module, public: Collection[str]) -> None:
    """Mark parameters that no call names as positional, so that their names can become short.

    A call of a definition by its name names that one's parameters; any other call may name those of any function.
    """
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    named: defaultdict[str, set[str]] = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            callee = node.func.id if isinstance(node.func, ast.Name) else ""
            named[callee if callee in functions or callee in classes else ""].update(k.arg or "" for k in node.keywords)
    anywhere = named[""].union(*(named[name] for name in classes))
    offered = {part for node in tree.body if getattr(node, "name", "") in public for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node not in offered:
            arguments, taken = node.args, anywhere | named[node.name]
            while arguments.args and arguments.args[0].arg not in taken:
                arguments.posonlyargs.append(arguments.args.pop(0))


def _in_order(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """Yield the modules, each after those that it imports at its top."""
    below = {name: [found for found in own_imports(tree.body) if found in trees] for name, tree in trees.items()}
    yield from TopologicalSorter(below).static_order()
