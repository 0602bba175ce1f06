"""Flattening, folding and shaking on sources of a few lines."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from golfpipe.bundle.fold import fold_constants
from golfpipe.bundle.program import Program, flatten
from golfpipe.bundle.shake import drop_imports, shake
from golfpipe.bundle.sources import load_modules
from golfpipe.errors import StageFailed


def reader(**modules: str) -> Callable[[str], str]:
    return lambda name: modules[name.removeprefix("golfpipe.")]


def program_of(**modules: str) -> Program:
    return flatten(load_modules("golfpipe.entry", reader(**modules)))


def text_of(program: Program) -> str:
    return "\n".join([*dict.fromkeys(program.imports.values()), *(ast.unparse(d.node) for d in program.definitions)])


def shrunk(facts=None, **modules: str) -> str:
    program = program_of(**modules)
    shake(program, annotations=False)
    while fold_constants(program, facts or {}) | shake(program, annotations=False):
        pass
    drop_imports(program, annotations=False)
    return text_of(program)


def test_modules_come_after_what_they_need_and_imports_once() -> None:
    program = program_of(
        a="import math\nA = math.pi\n",
        b="import math\nfrom golfpipe.a import A\nB = A + math.e\n",
        entry="from golfpipe.b import B\nfrom golfpipe.a import A\nprint(A, B)\n",
    )
    assert text_of(program) == "import math\nA = math.pi\nB = A + math.e\nprint(A, B)"


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ({"a": "x = 1", "entry": "from golfpipe.a import x\ndef x(): pass"}, "x is defined in both golfpipe.a"),
        ({"a": "import math as x", "entry": "from golfpipe.a import x\nimport os as x"}, "clashes"),
        ({"a": "x = 1", "entry": "from golfpipe.a import x as y"}, "line 1: only `from module import name`"),
        ({"a": "x = 1", "entry": "from golfpipe.a import y"}, "imports y from golfpipe.a, which does not define it"),
        ({"entry": "def f():\n    import os"}, "line 2: imports inside functions"),
        ({"a": "from golfpipe.entry import z", "entry": "from golfpipe.a import y\nz = 1"}, "in a circle"),
    ],
)
def test_what_cannot_be_flattened_is_refused_with_the_place(modules: dict[str, str], problem: str) -> None:
    with pytest.raises(StageFailed, match=problem):
        program_of(**modules)


def test_unused_code_goes_and_used_code_stays() -> None:
    text = shrunk(
        entry="""
import os, math
LEFT_OUT = 1
def unused(): return os
class Thing:
    def used(self): return self.helper(input())
    def helper(self, x, y=0): return math.sqrt(x)
    def unused(self): return self.unused()
print(Thing().used())
"""
    )
    assert "LEFT_OUT" not in text and "unused" not in text and "import os" not in text
    assert "def helper(self, x):" in text and "helper(input())" in text and "import math" in text


def test_branches_that_the_settings_decide_are_folded_by_type() -> None:
    text = shrunk(
        facts={("Config", "method"): "a"},
        entry="""
from dataclasses import dataclass
@dataclass
class Config:
    method: str = "a"
    size: int = 1
    @property
    def is_b(self) -> bool: return self.method == "b"
class Other:
    def __init__(self): self.method = input()
def run(config: Config, other: Other):
    if config.is_b: return only_b(config)
    if other.method == "a": print("mine is not folded")
    return config.size
def only_b(config: Config): return 2
print(run(Config(), Other()))
""",
    )
    assert "only_b" not in text and "is_b" not in text
    assert "if other.method == 'a':" in text


def test_a_value_that_somebody_changes_is_not_a_constant() -> None:
    text = shrunk(
        entry="""
class Box:
    def __init__(self):
        self.full = False
        self.never = None
    def fill(self): self.full = True
def look(box: Box, flag=None):
    seen = {}
    if flag is not None: print("no call gives it")
    if box.never is not None: print("nothing sets it")
    if box.full: print("set later")
    seen["x"] = 1
    if seen: print("filled")
box = Box()
box.fill()
look(box)
"""
    )
    assert "no call gives it" not in text and "nothing sets it" not in text
    assert "set later" in text and "filled" in text


def test_effects_of_values_that_nobody_reads_stay() -> None:
    text = shrunk(entry="def f(file):\n    n = file.write('x')\n    m = len('y')\n    return 1\nprint(f(open('z')))\n")
    assert "file.write('x')" in text and "len" not in text


def test_methods_that_libraries_call_stay() -> None:
    text = shrunk(
        entry="""
from torch import nn
class Net(nn.Module):
    def forward(self, x, unused=None): return x
    def other(self): return 1
print(Net()(1))
"""
    )
    assert "def forward(self, x, unused=None)" in text and "other" not in text


def test_a_computed_name_keeps_the_fields_that_it_could_be() -> None:
    text = shrunk(
        entry="""
from dataclasses import dataclass
@dataclass
class Policy:
    mlp: int = 1
    small: int = 2
    gone: int = 3
def choose(policy: Policy, name: str): return getattr(policy, name)
print(choose(Policy(), input("mlp") or "small"))
"""
    )
    assert "mlp" in text and "small: int" in text and "gone" not in text
