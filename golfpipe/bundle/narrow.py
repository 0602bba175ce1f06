"""What a configuration implies for tables and functions of the cores, beyond the settings themselves.

Each line is a property of the cores that the folding cannot see by itself; tests run scripts with and without them.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import fields

from golfpipe.bundle.bake import Facts, instances
from golfpipe.bundle.entry import OFF_AT_ZERO, Settings
from golfpipe.bundle.program import Program, walk

OPEN_TABLE = "OPEN_STATES"
"""codec.pieces: kinds of open-ended codes."""


def narrow(program: Program, settings: Settings, facts: Facts) -> None:
    """Change tables in place, and add to `facts`."""
    _keep_keys(program, OPEN_TABLE, _open_kinds(settings))
    _keep_keys(program, "_CODER_IDS", {settings.pack.coder})
    policies = (settings.quantize, settings.train.qat)
    if all(isinstance(policy.clip_grid, str) for policy in policies):
        _keep_keys(program, "CLIP_GRIDS", {str(policy.clip_grid) for policy in policies})
    off = {item.name for part in instances(settings) for item in fields(part) if not getattr(part, item.name)}
    elements: list[ast.expr] = [ast.Constant(name) for name in OFF_AT_ZERO if name in off]
    _set_constant(program, "OFF_AT_ZERO", ast.Tuple(elts=elements, ctx=ast.Load()))
    if settings.model.exclusive_attention in ("none", "all"):
        facts["Attention", "exclusive"] = settings.model.exclusive_attention == "all"
    facts["PayloadHeader", "coder"] = settings.pack.coder
    if settings.adaptation == "none" or settings.ttt.method != "score_first_lora":
        _leave_out(program, "delta")


def constant_results(settings: Settings) -> dict[str, object]:
    """Functions whose result is known once input is not checked: the script reads only the payload that it wrote."""
    return {"_check_front": settings.pack.coder}


def _open_kinds(settings: Settings) -> set[object]:
    """`bits` of the pieces with open-ended codes that quantizing makes (codec.pieces)."""
    quantize = settings.quantize
    if quantize.is_open:
        # A trellis leaves to scalar codes what it does not pay for, and the solver starts from them.
        return {0, -quantize.trellis_states} if quantize.quantizer == "trellis" else {0}
    schemes = (quantize.mlp, quantize.attention, quantize.ngram, quantize.token_table, quantize.small)
    return {0} if any(scheme.step for scheme in schemes) else set()


def _keep_keys(program: Program, name: str, keys: Collection[object]) -> None:
    """Leave only these entries of a table."""
    definition = program.named().get(name)
    table = getattr(definition.node, "value", None) if definition is not None else None
    if isinstance(table, ast.Dict):
        kept = [
            (key, value)
            for key, value in zip(table.keys, table.values, strict=True)
            if key is not None and ast.literal_eval(key) in keys
        ]
        table.keys, table.values = [key for key, _ in kept], [value for _, value in kept]


def _leave_out(program: Program, parameter: str) -> None:
    """Read None where functions of the network read this parameter. Modules are called in ways that `calls` cannot see."""
    for definition in program.definitions:
        if definition.module.startswith("golfpipe.model."):
            for node in walk(definition.node):
                for name, value in ast.iter_fields(node):
                    if isinstance(value, ast.Name) and value.id == parameter and isinstance(value.ctx, ast.Load):
                        setattr(node, name, ast.Constant(None))
                    elif isinstance(value, list):
                        for position, part in enumerate(value):
                            if isinstance(part, ast.Name) and part.id == parameter:
                                value[position] = ast.Constant(None)


def _set_constant(program: Program, name: str, value: ast.expr) -> None:
    definition = program.named().get(name)
    if definition is not None and isinstance(definition.node, ast.Assign | ast.AnnAssign):
        definition.node.value = value
