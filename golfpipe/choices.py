"""Tables of what a setting can choose by name: each name leads to the one module that holds what is chosen."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from golfpipe.errors import ConfigError


class Table:
    """Name -> module, as a string, so that nothing is imported unless it is chosen.

    `what` says in messages what the table lists; `attribute` is the name under which each module holds its object.
    """

    def __init__(self, what: str, attribute: str, modules: Mapping[str, str]) -> None:
        self.what, self._attribute, self._modules = what, attribute, dict(modules)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the table."""
        return tuple(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def module(self, name: str) -> str:
        """Return the module that holds the object. Raises ConfigError naming the nearest name for an unknown one."""
        if name not in self._modules:
            raise unknown_name(name, self.what, self.names)
        return self._modules[name]

    def load(self, name: str) -> Any:
        """Import the module of `name` and return its object. Raises ConfigError as `module` does."""
        return getattr(importlib.import_module(self.module(name)), self._attribute)

    def check(self, key: str, name: str) -> None:
        """Raise ConfigError, naming the setting `key`, for a name that is not in the table."""
        try:
            self.module(name)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error.message}", hint=error.hint) from error


def unknown_name(name: str, what: str, known: Sequence[str]) -> ConfigError:
    """Return the error 'unknown key train.max_step', with the nearest valid name as the hint."""
    return ConfigError(f"unknown {what} {name}", hint=nearest(name, known))


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the hint for a name that is none: the `known` ones that end in its words, the nearest one, or all."""
    near = same_ending(name, known) or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(known)}"


def same_ending(name: str, known: Sequence[str]) -> list[str]:
    """Return the dotted names that end in the words of `name`, shortest first, as quantize.mlp.bits for mlp.bits."""
    return sorted((key for key in known if f".{key}".endswith(f".{name}")), key=len)
