"""Imports go down only, between rooms and between modules; the cores compute and do nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from golfpipe.adapt.methods import METHODS
from golfpipe.choices import Table
from golfpipe.codec.coders import CODERS
from golfpipe.codec.formats import FORMATS
from golfpipe.jobs.registry import STAGES
from golfpipe.quant.quantizers import QUANTIZERS

PACKAGE = Path(__file__).resolve().parents[1] / "golfpipe"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPT_ENTRY = PACKAGE / "script" / "entry.py"
"""The submission's script itself: it prints its log."""

BASE = ("errors", "units", "choices", "reporter", "version", "extras", "visible", "openmp")
CORES = ("model", "optim", "codec", "scoring", "quant", "adapt", "training")
ROOMS = (
    *BASE,
    *CORES,
    *("store", "data", "config", "machine", "weights", "jobs", "loading"),
    *("script", "submission", "records", "stages", "pipeline", "report", "sweeps", "planning", "review", "api", "cli"),
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
            allowed = {*BASE[:3], package} | CORE_USES.get(package, set())
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
        if package in {"pipeline", "report", "sweeps", "planning", "cli"} and target in CORES:
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


def test_only_one_module_writes_to_the_terminal() -> None:
    for path in _files_of("cli"):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and _module(path) != "golfpipe.cli.terminal":
                called = ast.unparse(node.func)
                assert called not in ("print", "typer.echo"), f"{path.name}, line {node.lineno}: {called}()"
                assert not called.startswith(("sys.stdout.w", "sys.stderr.w")), f"{path.name}, line {node.lineno}"


def test_every_package_is_in_a_layer() -> None:
    packages = {_package(_module(path)) for path in FILES} - {"", "__main__"}
    assert packages == set(ROOMS)


def test_the_readme_lists_the_rooms_from_the_ground_up() -> None:
    listed = re.findall(r"^  (\w+)(?:/|\.py)  ", (PACKAGE.parent / "README.md").read_text(), re.MULTILINE)
    assert listed == [room for room in ROOMS if room not in BASE]


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=_ids)
def test_package_files_import_nothing(path: Path) -> None:
    at_top = list(dict.fromkeys(module for _, module in _imports(_tree(path), inside_functions=False)))
    offered = [
        *("golfpipe.api", "golfpipe.review.trial", "golfpipe.weights.calibration", "golfpipe.weights.compress"),
        *("golfpipe.weights.decompress", "golfpipe.weights.rules"),
    ]
    own = ["__future__", "os", "typing", "golfpipe.openmp", "golfpipe.version", *offered]
    assert at_top == (own if path.parent == PACKAGE else [])


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_sources_are_ascii(path: Path) -> None:
    path.read_bytes().decode("ascii")


TABLES = (METHODS, QUANTIZERS, CODERS, FORMATS)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.what)
def test_what_is_chosen_by_name_is_imported_only_when_it_is_chosen(table: Table) -> None:
    chosen = {table.module(name) for name in table.names}
    for path in FILES:
        assert not chosen & {found for _, found in _imports(_tree(path))}, f"{_module(path)} imports it by itself"
    for name in table.names:
        assert table.load(name) is not None


def test_only_tables_and_defaults_name_what_is_chosen() -> None:
    """Whatever else compares a name would be a second home of what the object tells."""
    names = {name for table in (METHODS, QUANTIZERS, CODERS) for name in table.names}
    homes = {table.module(name) for table in (METHODS, QUANTIZERS, CODERS) for name in table.names}
    homes |= {"golfpipe.adapt.methods", "golfpipe.quant.quantizers", "golfpipe.codec.coders"}
    homes |= {"golfpipe.adapt.config", "golfpipe.quant.config", "golfpipe.codec.config"}
    for module, path in MODULES.items():
        if module not in homes and _package(module) != "records":  # whose words are those of other people's logs
            named = {n.value for n in ast.walk(_tree(path)) if isinstance(n, ast.Constant) and n.value in names}
            assert not named, f"{module} names {named}"


def _needed_by(module: str) -> set[str]:
    """The module and all that it, and what it imports, import anywhere."""
    needed: set[str] = set()
    waiting = {module}
    while waiting:
        needed |= waiting
        waiting = {
            found for name in waiting for _, found in _imports(_tree(MODULES[name])) if found in MODULES
        } - needed
    return needed


OPEN_CODES = {"codec.open_codes", "codec.code_shapes", "codec.scale_classes", "codec.log_steps", "codec.trellis_code"}
SEARCHES = {"quant.hessian", "quant.code_search", "quant.sensitivity"}
OPEN_SEARCHES = {"quant.open_export", "quant.open_tensor", "quant.solver"}
TRELLIS = {"quant.trellis_piece", "quant.trellis_search"}


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        (QUANTIZERS.module("gptq_lite"), (OPEN_CODES - {"codec.log_steps"}) | SEARCHES | OPEN_SEARCHES | TRELLIS),
        (QUANTIZERS.module("gptq"), (OPEN_CODES - {"codec.log_steps"}) | OPEN_SEARCHES | TRELLIS),
        (QUANTIZERS.module("rate"), TRELLIS | {"quant.grid_export", "quant.clip_search"}),
        (QUANTIZERS.module("trellis"), {"quant.grid_export", "quant.clip_search"}),
        (CODERS.module("range"), {*OPEN_CODES, "codec.lzma_stream"}),
        (CODERS.module("nibble"), {*OPEN_CODES, "codec.symbols", "codec.frequencies"}),
        ("golfpipe.codec.container", {*OPEN_CODES, "codec.symbols", "codec.nibble", "codec.range_coder"}),
    ],
)
def test_what_is_chosen_needs_nothing_of_what_is_not(module: str, needless: set[str]) -> None:
    assert not {name.removeprefix("golfpipe.") for name in _needed_by(module)} & needless


def test_deciding_what_is_stale_needs_no_torch() -> None:
    modules = ["pipeline.runner", "pipeline.single", "pipeline.dry_run", "review.overview", "review.audit", "cli.app"]
    code = f"import sys, {', '.join(f'golfpipe.{name}' for name in modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
