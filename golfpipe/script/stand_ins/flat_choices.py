"""Stands for golfpipe.choices in a flat file: there a table leads to functions that give the chosen object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Table:
    """Name -> what is chosen; see golfpipe.choices.Table."""

    def __init__(self, what: str, attribute: str, modules: Mapping[str, Callable[[], Any]]) -> None:
        self._modules = modules

    def module(self, name: str) -> Any:
        """Return what tells this choice from others."""
        return self._modules[name]

    def load(self, name: str) -> Any:
        """Return the object that is chosen."""
        return self._modules[name]()
