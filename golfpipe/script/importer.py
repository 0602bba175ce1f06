"""The import hook of a generated script: modules whose source text the script carries, under their own names.

This module's own text goes into the script, below a dictionary MODULES of module name -> source text. It has no
`from __future__` import, because these are allowed at the top of a file alone.
"""

import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from typing import Any


class TextImporter(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Imports the modules of `modules`, a mapping of name to source text, and the packages above them, which are empty.

    Tracebacks show the source lines, because `linecache` asks the loader for them.
    """

    def __init__(self, modules: Mapping[str, str]) -> None:
        self.modules = modules

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname in self.modules or any(name.startswith(fullname + ".") for name in self.modules):
            spec = importlib.util.spec_from_loader(fullname, self)
            if spec is not None and spec.submodule_search_locations:
                spec.submodule_search_locations.clear()  # no folder, or files there could take a module's place
            return spec
        return None

    def is_package(self, fullname: str) -> bool:
        return fullname not in self.modules

    def get_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".py"

    def get_source(self, fullname: str) -> str:
        return self.modules.get(fullname, "")


def install(modules: Mapping[str, str], *, last: bool = False) -> None:
    """Let `import` find these modules first, before any installed package of the same name, or last of all."""
    sys.meta_path.insert(len(sys.meta_path) if last else 0, TextImporter(modules))
