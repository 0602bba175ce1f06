"""Imports go down only, between rooms and between modules; the cores compute and do nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from golfpipe.jobs.registry import STAGES

PACKAGE = Path(__file__).resolve().parents[1] / "golfpipe"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPT_ENTRY = PACKAGE / "script" / "entry.py"
"""The submission's script itself: it prints its log."""

BASE = ("errors", "units", "reporter", "version", "extras")
CORES = ("model", "optim", "codec", "scoring", "quant", "adapt", "training")
ROOMS = (
    *BASE,
    *CORES,
    *("store", "data", "config", "machine", "jobs", "loading"),
    *("script", "submission", "records", "stages", "pipeline", "report", "sweeps", "review", "api", "cli"),
)
"""All rooms from the ground up: each may import from the ones before it."""
CORE_USES = {
    "adapt": {"model", "optim", "scoring"},
    "quant": {"codec"},
    "training": {"model", "optim", "quant", "scoring"},
}
"""Cores know few of each other, so that each can be read and used by itself."""
CORE_LIBRARIES = {"torch", "numpy", "constriction"}
STAGE_MODULES = {stage.module for stage in STAGES.values()}
FORBIDDEN_CALLS = {"eval", "exec", "vars", "locals", "globals", "compile", "__import__"}
CORE_FORBIDDEN = {"open", "print", "input"}
ENVIRONMENT = {"environ", "getenv", "putenv"}


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in FILES}


def _package(module: str) -> str:
    """'golfpipe.model.network' -> 'model'; '' for the top package itself."""
    return module.split(".")[1] if "." in module else ""


def _imports(tree: ast.AST, *, inside_functions: bool = True) -> Iterator[tuple[ast.stmt, str]]:
    """(statement, module) of every import, those inside functions and under `if TYPE_CHECKING` included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node, inner if inner in MODULES else node.module or ""
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(node, inside_functions=inside_functions)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _files_of(*packages: str) -> list[Path]:
    return [path for path in FILES if _package(_module(path)) in packages]


def _ids(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_imports_go_down(path: Path) -> None:
    room = _package(_module(path))
    if room in ("", "__main__"):  # the package itself offers the API, and `python -m golfpipe` the command line
        return
    floor = ROOMS.index(room)
    for node, module in _imports(_tree(path)):
        if module.split(".")[0] == "golfpipe":
            target = _package(module)
            assert target, f"line {node.lineno}: imports the whole package, which lies above {room}"
            assert ROOMS.index(target) <= floor, f"line {node.lineno}: {room} lies below {target}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    below = {name: {found for _, found in _imports(_tree(path)) if found in MODULES} for name, path in MODULES.items()}
    assert list(TopologicalSorter(below).static_order())  # CycleError names the modules


@pytest.mark.parametrize("path", _files_of(*BASE, *CORES), ids=_ids)
def test_cores_import_few_things(path: Path) -> None:
    package = _package(_module(path))
    for node, module in _imports(_tree(path)):
        top = module.split(".")[0]
        if top == "golfpipe":
            allowed = {*BASE[:2], package} | CORE_USES.get(package, set())
            assert _package(module) in allowed, f"line {node.lineno}: {package} must not import {module}"
        elif package in BASE:
            assert top in sys.stdlib_module_names, f"line {node.lineno}: {top} on the ground floor"
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


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_upper_rooms_see_few_details(path: Path) -> None:
    package = _package(_module(path))
    for node, target_module in _imports(_tree(path)):
        target = _package(target_module)
        if package == "config" and target in (*CORES, "data"):
            assert target_module.endswith(".config"), f"line {node.lineno}: config needs settings, not {target_module}"
        if package in {"pipeline", "report", "sweeps", "cli"} and target in CORES:
            assert target_module.endswith(".config"), f"line {node.lineno}: of the cores it sees only settings"
        assert target_module not in STAGE_MODULES, f"line {node.lineno}: stages are run through the registry"


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
    assert packages == set(ROOMS)


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=_ids)
def test_package_files_import_nothing(path: Path) -> None:
    at_top = list(dict.fromkeys(module for _, module in _imports(_tree(path), inside_functions=False)))
    assert at_top == (["__future__", "typing", "golfpipe.version", "golfpipe.api"] if path.parent == PACKAGE else [])


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_sources_are_ascii(path: Path) -> None:
    path.read_bytes().decode("ascii")


def test_deciding_what_is_stale_needs_no_torch() -> None:
    modules = ["pipeline.runner", "pipeline.single", "pipeline.dry_run", "review.overview", "review.audit", "cli.app"]
    code = f"import sys, {', '.join(f'golfpipe.{name}' for name in modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
