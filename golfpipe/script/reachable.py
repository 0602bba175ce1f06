"""Which definitions of a set of modules can be reached from some of them: the rest is left out of a compressed file.

A definition is reached by its name, in its own module or through `from golfpipe.x import name`. A method, and a plain
attribute of a class, is reached where any reached code takes an attribute of that name from anything: more than needed
may stay, but nothing that is needed goes. Classes that inherit from foreign ones are kept whole, because foreign code
calls their methods.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from golfpipe.script.modules import OWN

Roots = Mapping[str, Collection[str] | None]
"""Module -> the names that are used from outside, None for all of its names. Classes among them are kept whole."""

_PLAIN_BASES = {"ABC", "Protocol", "Exception"}
"""Foreign bases that call no methods of the classes that inherit from them."""


def reachable(trees: Mapping[str, ast.Module], roots: Roots) -> dict[str, ast.Module]:
    """Return the modules without the definitions that nothing reaches from the roots, in the given order.

    Modules of which nothing is left are not among them. The trees are changed.
    """
    offered = {module: _all_names(trees[module]) if names is None else names for module, names in roots.items()}
    search = _Search(trees, offered)
    for module, names in offered.items():
        for name in names:
            search.need(module, name)
    pruned = {name: _pruned(tree, search.reached, name) for name, tree in trees.items()}
    return {name: tree for name, tree in pruned.items() if any(map(_does_something, tree.body))}


def used_names(trees: Mapping[str, ast.Module], roots: Roots) -> dict[str, set[str]]:
    """Return module -> its names that other modules import, or that are roots."""
    used: dict[str, set[str]] = {}
    for name, tree in trees.items():
        names = roots.get(name, ())
        used[name] = set(_all_names(tree) if names is None else names)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in used:
                used[node.module].update(alias.name for alias in node.names)
    return used


class _Search:
    """Follows names from definition to definition."""

    def __init__(self, trees: Mapping[str, ast.Module], roots: Mapping[str, Collection[str]]) -> None:
        self._trees, self._roots = trees, roots
        self.defined: dict[str, dict[str, list[ast.stmt]]] = {}
        self.reached: set[tuple[str, str] | ast.AST] = set()
        self._attributes: set[str] = set()
        self._members: defaultdict[str, list[tuple[str, ast.AST]]] = defaultdict(list)
        for module, tree in trees.items():
            self.defined[module] = defaultdict(list)
            for statement in tree.body:
                for name in _names_of(statement):
                    self.defined[module][name].append(statement)
        self._started: set[str] = set()

    def need(self, module: str, name: str) -> None:
        """Reach a name of a module; names that it does not define are builtins or locals."""
        if module not in self._started:
            self._started.add(module)
            for statement in self._trees[module].body:
                if not _names_of(statement) and _does_something(statement):
                    self._scan(module, statement)
        if (module, name) in self.reached or name not in self.defined[module]:
            return
        self.reached.add((module, name))
        for statement in self.defined[module][name]:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(OWN):
                self.need(str(statement.module), _original(statement, name))
            elif isinstance(statement, ast.ClassDef):
                self._reach_class(module, statement)
            elif not isinstance(statement, ast.Import | ast.ImportFrom):
                self._scan(module, statement)

    def _reach_class(self, module: str, node: ast.ClassDef) -> None:
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        whole = len(bases) < len(node.bases) or not all(self._is_plain(module, base) for base in bases)
        whole |= node.name in self._roots.get(module, ())
        by_keyword = any("kw_only=True" in ast.unparse(part) for part in node.decorator_list)
        for above in (*node.decorator_list, *node.bases, *node.keywords):
            self._scan(module, above)
        for part in node.body:
            name = _member_name(part, by_keyword=by_keyword)
            if whole or name is None or name in self._attributes:
                self.reached.add(part)
                self._scan(module, part)
            else:
                self._members[name].append((module, part))

    def _is_plain(self, module: str, base: str) -> bool:
        """Return True for a base whose methods only golfpipe calls, all the way up."""
        for node in self.defined[module].get(base, ()):
            if isinstance(node, ast.ClassDef):
                return all(isinstance(part, ast.Name) and self._is_plain(module, part.id) for part in node.bases)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OWN):
                return self._is_plain(str(node.module), _original(node, base))
        return base in _PLAIN_BASES

    def _scan(self, module: str, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                self.need(module, node.id)
            elif isinstance(node, ast.Attribute):
                self._take(node.attr)
            elif isinstance(node, ast.keyword):
                self._take(node.arg or "")
            elif isinstance(node, ast.MatchClass):
                for name in node.kwd_attrs:
                    self._take(name)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OWN):
                for alias in node.names:
                    self.need(str(node.module), alias.name)

    def _take(self, attribute: str) -> None:
        self._attributes.add(attribute)
        for module, part in self._members.pop(attribute, ()):
            self.reached.add(part)
            self._scan(module, part)


def _original(statement: ast.ImportFrom, name: str) -> str:
    """Return the name, in its own module, of what a statement imports as `name`."""
    return next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)


def _member_name(part: ast.stmt, *, by_keyword: bool) -> str | None:
    """Return the name of a method, a plain attribute, or a field with a default where fields are given by keyword
    alone; None for what every object needs."""
    name = None
    if isinstance(part, ast.FunctionDef):
        name = part.name
    elif isinstance(part, ast.Assign) or (isinstance(part, ast.AnnAssign) and by_keyword and part.value is not None):
        target = part.targets[0] if isinstance(part, ast.Assign) else part.target
        name = target.id if isinstance(target, ast.Name) else None
    return name if name is not None and not name.startswith("__") else None


def _all_names(tree: ast.Module) -> list[str]:
    return [name for statement in tree.body for name in _names_of(statement)]


def _names_of(statement: ast.stmt) -> list[str]:
    """Return the names that a statement of a module defines."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            return []
        return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return [
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
    return []


def _does_something(statement: ast.stmt) -> bool:
    """Return False for a docstring and for imports from the future."""
    if isinstance(statement, ast.ImportFrom):
        return statement.module != "__future__"
    return not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))


def _pruned(tree: ast.Module, reached: set[tuple[str, str] | ast.AST], module: str) -> ast.Module:
    tree.body = list(_kept(tree.body, reached, module))
    return tree


def _kept(body: list[ast.stmt], reached: set[tuple[str, str] | ast.AST], module: str) -> Iterator[ast.stmt]:
    for statement in body:
        names = _names_of(statement)
        if names and not any((module, name) in reached for name in names):
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom) and names:
            statement.names = [
                alias for alias, name in zip(statement.names, names, strict=True) if (module, name) in reached
            ]
        if isinstance(statement, ast.ClassDef):
            statement.body = [part for part in statement.body if part in reached] or [ast.Pass()]
        yield statement
