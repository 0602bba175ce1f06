"""What a configuration implies for tables and functions of the cores, beyond the settings themselves.

Each line is a property of the cores that the folding cannot see by itself; tests run scripts with and without them.
"""

from __future__ import annotations

import ast

from golfpipe.bundle.bake import Facts
from golfpipe.bundle.entry import Settings
from golfpipe.bundle.program import Program

OPEN_TABLE = "OPEN_STATES"
"""codec.pieces: kinds of open-ended codes."""


def narrow(program: Program, settings: Settings, facts: Facts) -> None:
    """Change tables in place, and add to `facts`."""
    if not _has_open_codes(settings):
        _set_constant(program, OPEN_TABLE, ast.Dict(keys=[], values=[]))
    facts["PayloadHeader", "coder"] = settings.pack.coder


def constant_results(settings: Settings) -> dict[str, object]:
    """Functions whose result is known once input is not checked: the script reads only the payload that it wrote."""
    return {"_check_front": settings.pack.coder}


def _has_open_codes(settings: Settings) -> bool:
    quantize = settings.quantize
    schemes = (quantize.mlp, quantize.attention, quantize.ngram, quantize.token_table, quantize.small)
    return quantize.is_open or any(scheme.step for scheme in schemes)


def _set_constant(program: Program, name: str, value: ast.expr) -> None:
    definition = program.named().get(name)
    if definition is not None and isinstance(definition.node, ast.Assign | ast.AnnAssign):
        definition.node.value = value
