"""Imports go down only, and the cores stay flattenable into one script. See docs/DESIGN.md, "Layers"."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from golfpipe.stages.registry import STAGES

PACKAGE = Path(__file__).resolve().parents[1] / "golfpipe"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPT_ENTRY = PACKAGE / "bundle" / "entry.py"
"""The submission's script itself: it prints its log."""

BASE = {"errors", "units"}
CORES = {"model", "optim", "quant", "codec", "scoring", "adapt", "training"}
CORE_USES = {
    "training": {"model", "optim", "quant", "scoring"},
    "adapt": {"scoring", "optim", "model"},  # model: the type of the network that they are handed
    "scoring": {"model"},
    "quant": {"codec"},
}
CORE_LIBRARIES = {"torch", "numpy", "constriction"}
SHELL_USES = {  # package of L2..L5 -> packages that it may import besides L0 and itself
    "kernels": set(),
    "store": set(),
    "config": {*CORES, "data", "submission"},  # their config.py files
    "data": {*CORES, "store"},
    "stages": {*CORES, "kernels", "store", "data", "config", "submission", "bundle"},
    "bundle": {*CORES, "store", "config", "stages"},  # its entry takes cores alone; verify runs stages by name
    "submission": {*CORES, "store", "data", "config"},
    "legality": {*CORES, "store", "data", "config", "stages", "submission"},  # a process of its own; nobody imports it
    "pipeline": {*CORES, "store", "data", "config", "stages", "submission", "report"},
    "report": {*CORES, "store", "data", "config", "stages", "submission", "pipeline"},
    "cli": {"pipeline", "report"},
    "api": {"pipeline", "report", "stages", "store"},
}
STAGE_MODULES = {stage.module for stage in STAGES.values()}
FORBIDDEN_CALLS = {"eval", "exec", "vars", "locals", "globals", "compile", "__import__"}
CORE_FORBIDDEN = {"open", "print", "input"}
ENVIRONMENT = {"environ", "getenv", "putenv"}


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _package(module: str) -> str:
    """'golfpipe.model.network' -> 'model'; '' for the top package itself."""
    return module.split(".")[1] if "." in module else ""


def _imports(tree: ast.AST, *, inside_functions: bool = True) -> Iterator[tuple[ast.stmt, str]]:
    """(statement, module) of every import that runs; those under `if TYPE_CHECKING` do not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node, node.module or ""
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(node, inside_functions=inside_functions)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _files_of(*packages: str) -> list[Path]:
    return [path for path in FILES if _package(_module(path)) in packages]


def _ids(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", _files_of(*BASE, *CORES), ids=_ids)
def test_cores_import_only_what_lies_below(path: Path) -> None:
    package = _package(_module(path))
    for node, module in _imports(_tree(path)):
        top = module.split(".")[0]
        if top == "golfpipe":
            assert isinstance(node, ast.ImportFrom), f"line {node.lineno}: write `from {module} import name`"
            assert all(alias.asname is None for alias in node.names), (
                f"line {node.lineno}: renames, so cannot be flattened"
            )
            assert all(alias.name != "*" for alias in node.names)
            target = _package(module)
            assert target, f"line {node.lineno}: imports a package, not a module"
            allowed = BASE | ({package} | CORE_USES.get(package, set()) if package in CORES else set())
            assert target in allowed, f"line {node.lineno}: {package} must not import {target}"
        elif package in BASE:
            assert top in sys.stdlib_module_names, f"line {node.lineno}: {top} in L0"
        else:
            assert top in CORE_LIBRARIES or top in sys.stdlib_module_names, f"line {node.lineno}: {top} in a core"


@pytest.mark.parametrize("path", _files_of(*BASE, *CORES), ids=_ids)
def test_cores_are_pure(path: Path) -> None:
    forbidden = FORBIDDEN_CALLS | (CORE_FORBIDDEN if _package(_module(path)) in CORES else set())
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in forbidden, f"line {node.lineno}: {node.func.id}()"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in ENVIRONMENT, f"line {node.lineno}: os.{node.attr}"


def test_names_of_the_cores_do_not_clash() -> None:
    """Modules are flattened into one namespace: private names count, and so do names that imports bind."""
    owners: dict[str, set[str]] = defaultdict(set)
    for path in _files_of(*BASE, *CORES):
        for name in _defined_names(_tree(path)):
            owners[name].add(_module(path))
    assert {name: sorted(modules) for name, modules in owners.items() if len(modules) > 1} == {}


def _defined_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


@pytest.mark.parametrize("path", _files_of(*SHELL_USES), ids=_ids)
def test_the_shell_imports_only_what_lies_below(path: Path) -> None:
    module = _module(path)
    package = _package(module)
    tree = _tree(path)
    at_top = {id(node) for node, _ in _imports(tree, inside_functions=False)}
    for node, target_module in _imports(tree):
        if target_module.split(".")[0] != "golfpipe" or target_module == "golfpipe":
            continue
        target = _package(target_module)
        allowed = BASE | {package} | SHELL_USES[package]
        if package == "cli" and id(node) not in at_top:
            allowed |= {"stages"}
        assert target in allowed, f"line {node.lineno}: {package} must not import {target}"
        if package == "config" and target not in {"config", *BASE}:
            assert target_module.endswith(".config"), f"line {node.lineno}: config needs settings, not {target_module}"
        if package in {"pipeline", "report"} and target in CORES:
            assert target_module.endswith(".config"), f"line {node.lineno}: L4 sees of the cores only settings"
        if target_module in STAGE_MODULES:
            raise AssertionError(f"line {node.lineno}: stages are run through the registry, not imported")


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    if _package(_module(path)) == "cli" or path.name == "__main__.py" or path == SCRIPT_ENTRY:
        return
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "exit", "quit", *FORBIDDEN_CALLS}, f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in {"exit", "stdout", "stderr", "stdin"}, f"line {node.lineno}: sys.{node.attr}"


def test_every_package_is_in_a_layer() -> None:
    packages = {_package(_module(path)) for path in FILES} - {"", "__main__"}
    assert packages <= BASE | CORES | SHELL_USES.keys()


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=_ids)
def test_package_files_import_nothing(path: Path) -> None:
    at_top = [module for _, module in _imports(_tree(path), inside_functions=False)]
    assert at_top == (["__future__", "typing"] if path.parent == PACKAGE else [])


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_sources_are_ascii(path: Path) -> None:
    path.read_bytes().decode("ascii")


def test_deciding_what_is_stale_needs_no_torch() -> None:
    modules = ["pipeline.runner", "pipeline.single", "pipeline.plan", "pipeline.overview", "pipeline.audit", "cli.app"]
    code = f"import sys, {', '.join(f'golfpipe.{name}' for name in modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
