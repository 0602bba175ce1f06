"""What is left out of a compressed file, and that the rest means the same in one module as in many."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest

from golfpipe.script.flat import flat
from golfpipe.script.modules import NO_CHECKS, Kept, bare, minified
from golfpipe.script.reachable import reachable

LOW = '''
"""Low."""
from __future__ import annotations
import math
from math import pi as circle
from golfpipe.errors import ArtifactError, StageFailed

LIMIT = 3
UNUSED = LIMIT + 1
size = 10

def area(size: float, *, scale: float = 1.0) -> float:
    """A parameter has the name of a global."""
    return circle * size**2 * scale

def total(values):
    size = 0  # and so has a local variable
    for value in values:
        size += value
    return size + LIMIT

def unused():
    return UNUSED

def check_positive(value):
    if value < 0:
        raise ArtifactError("negative")

def half(value):
    check_positive(value)
    if value > 100:
        raise StageFailed(f"{value} is too much")
    return value / 2
'''
HIGH = '''
from __future__ import annotations
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from golfpipe.low import LIMIT, area as surface, half, total

size = 20

@dataclass(frozen=True, kw_only=True)
class Settings:
    size: int = 7
    """As the global."""
    never: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        raise ArithmeticError("validation")

class Shape(ABC):
    about = "a shape"

    @abstractmethod
    def work(self, size): ...

class Square(Shape):
    LIMIT = 99

    def work(self, size, half_too=False):
        return size + LIMIT + self.helped(size=1) + (half(size) if half_too else 0)

    def helped(self, size):
        return sum(size + surface(2.0, scale=0.0) for size in (size, self.LIMIT))

    def unused_method(self):
        return unheard_of()

def outer(total_of=total):
    def inner(half):  # shadows the import
        try:
            return half + size / 0
        except ZeroDivisionError as size_error:
            return half + total_of([1, 2])
    return inner(5), (lambda size: size + 1)(1), [total for total in (1, 2)], Settings().size

def main():
    return Square().work(size, half_too=True), outer()
'''


def trees(sources: Mapping[str, str], kept: Kept = NO_CHECKS) -> dict[str, ast.Module]:
    return {f"golfpipe.{name}": bare(name, text, kept) for name, text in sources.items()}


ERRORS = "class ArtifactError(Exception): pass\nclass StageFailed(Exception): pass\n"
SOURCES = {"high": HIGH, "low": LOW, "errors": ERRORS}


def run(sources: Mapping[str, str], *, small: bool, kept: Kept = NO_CHECKS) -> tuple[str, dict]:
    found = reachable(trees(sources, kept), {"golfpipe.high": {"main"}})
    tree = flat(found, {}, {"main": ("golfpipe.high", "main")})
    text = minified(tree, ["main"]) if small else ast.unparse(tree)
    space: dict = {"__name__": "anything"}
    exec(compile(text, "flat", "exec", dont_inherit=True), space)
    return text, space


@pytest.mark.parametrize("small", [False, True])
def test_one_module_computes_what_many_did(small: bool) -> None:
    text, space = run(SOURCES, small=small)
    # work: 20 + 3 + (1 + 0) + (99 + 0) + 10; inner: 5 + (1 + 2 + 3)
    assert space["main"]() == (133.0, (11, 2, [1, 2], 7))
    for gone in ("unused", "never", "validation", "a shape", "check_positive", "too much", "golfpipe"):
        assert gone not in text, gone


def test_checks_stay_where_they_are_to_stay() -> None:
    sources = SOURCES | {"high": HIGH.replace("size = 20", "size = 1000")}
    assert run(sources, small=True)[1]["main"]()[0] > 1000
    text, space = run(sources, small=True, kept=Kept(errors=frozenset({"StageFailed"})))
    with pytest.raises(Exception, match="1000 is too much"):
        space["main"]()
    assert "negative" not in text
    text, _ = run(SOURCES, small=False, kept=Kept(functions=frozenset({"check_positive"})))
    assert "negative" in text and "too much" not in text


def test_a_handler_that_only_refuses_goes_and_others_stay_whole() -> None:
    text = """
from golfpipe.errors import ArtifactError
def main(value):
    try:
        return int(value)
    except ValueError as error:
        raise ArtifactError("no number") from error
    except TypeError:
        return 0
"""
    assert "no number" in ast.unparse(bare("m", text))  # without the raise it would swallow the error
    assert "no number" not in ast.unparse(bare("m", text.replace("    except TypeError:\n        return 0\n", "")))


def test_tables_lead_to_objects() -> None:
    table = "from golfpipe.choices import Table\nT = Table('t', 'OBJECT', {'a': 'golfpipe.a'})\n"
    high = "from golfpipe.tables import T\ndef main(): return T.load('a').value, T.module('a') is T.module('a')\n"
    sources = {
        "high": high,
        "tables": table,
        "a": "from golfpipe.tables import T\nclass A:\n    value = 5\nOBJECT = A()\n",
        "choices": """
class Table:
    def __init__(self, what, attribute, modules): self.modules = modules
    def module(self, name): return self.modules[name]
    def load(self, name): return self.modules[name]()
""",
    }
    found = reachable(trees(sources), {"golfpipe.high": {"main"}, "golfpipe.a": {"OBJECT"}})
    tree = flat(found, {"golfpipe.a": "OBJECT"}, {"main": ("golfpipe.high", "main")})
    space: dict = {}
    exec(compile(minified(tree, ["main"]), "flat", "exec", dont_inherit=True), space)
    assert space["main"]() == (5, True)


def test_classes_of_foreign_bases_and_offered_ones_are_kept_whole() -> None:
    text = """
import threading
class Foreign(threading.Thread):
    def run(self): pass
class Heir(Foreign):
    def getName(self): pass
class Offered:
    def use(self): return Foreign, Heir
    def _help(self): pass
class Own:
    def use_not(self): pass
class Child(Own):
    def neither(self): pass
def main(): return Offered, Child
"""
    (tree,) = reachable(trees({"m": text}), {"golfpipe.m": {"main", "Offered"}}).values()
    kept = ast.unparse(tree)
    assert "def getName" in kept and "def run" in kept and "def use" in kept and "def _help" in kept
    assert "use_not" not in kept and "neither" not in kept
