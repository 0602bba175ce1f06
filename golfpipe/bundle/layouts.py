"""A program as the bytes of a file: formatted for reviewers, minified, or compressed into a script that unpacks itself."""

from __future__ import annotations

import ast
import lzma

import python_minifier

from golfpipe.bundle.program import Program

_LZMA_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20, "pb": 0}]


def readable(program: Program, heading: str) -> str:
    """Definitions under the name of the module that they come from, documentation kept."""
    parts = [f'"""{heading}"""', "from __future__ import annotations", _imports(program)]
    module = ""
    for definition in program.definitions:
        if definition.module != module:
            module = definition.module
            parts.append(f"# ---- {module.removeprefix('golfpipe.')} {'-' * max(0, 100 - len(module))}")
        text = ast.unparse(definition.node)
        parts.append(text if definition.note is None else f"{text}\n{ast.unparse(definition.note)}")
    return "\n\n\n".join(parts) + "\n"


def minified(program: Program) -> str:
    """Short names, no documentation, no annotations."""
    tree = ast.Module(body=[definition.node for definition in program.definitions], type_ignores=[])
    text = _imports(program) + "\n" + ast.unparse(ast.fix_missing_locations(tree))
    return python_minifier.minify(
        text,
        remove_literal_statements=True,
        rename_globals=True,
        hoist_literals=False,
        remove_annotations=False,
    )


def compressed(text: str) -> bytes:
    """A script that unpacks itself: raw LZMA2, written as a number in base 92."""
    packed = lzma.compress(text.encode(), lzma.FORMAT_RAW, filters=_LZMA_FILTERS)
    return (
        b'import lzma\nn=0\nfor c in b"%s":n=n*92+c-(c>34)-(c>92)-33\n'
        b'exec(lzma.decompress(n.to_bytes(%d,"big"),3,None,[{"id":33}]))\n' % (_digits(packed), len(packed))
    )


def _digits(content: bytes) -> bytes:
    """The number in base 92. Its digits are the printable characters but blank, quote and backslash; base 85, which a
    library would decode, takes 2 % more."""
    number, digits = int.from_bytes(content, "big"), bytearray()
    while number:
        number, digit = divmod(number, 92)
        symbol = digit + 33
        symbol += symbol >= 34
        symbol += symbol >= 92
        digits.append(symbol)
    return bytes(reversed(digits))


def _imports(program: Program) -> str:
    return "\n".join(sorted(dict.fromkeys(program.imports.values())))
