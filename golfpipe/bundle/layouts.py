"""A program as the bytes of a file: formatted for reviewers, minified, or compressed into a script that unpacks itself."""

from __future__ import annotations

import ast
import base64
import lzma
import zlib

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
    """A script of one line whose code is in a string: the smaller of lzma and zlib, in base 85."""
    code = text.encode()
    packed = zlib.compress(code, 9, -15), _lzma(code)
    scripts = [
        b"import zlib,base64\nexec(zlib.decompress(base64.b85decode(%r),-15))" % base64.b85encode(packed[0]),
        b"import lzma,base64\nexec(lzma.decompress(base64.b85decode(%r),3,None,[{'id':33}]))"
        % base64.b85encode(packed[1]),
    ]
    return min(scripts, key=len) + b"\n"


def _lzma(code: bytes) -> bytes:
    return lzma.compress(code, lzma.FORMAT_RAW, filters=_LZMA_FILTERS)


def _imports(program: Program) -> str:
    return "\n".join(sorted(dict.fromkeys(program.imports.values())))
