"""The two forms of a generated file: readable, or packed so that it unpacks itself."""

from __future__ import annotations

import base64
import lzma
from collections.abc import Mapping

from golfpipe.errors import StageFailed

_OWN_SPACE = "_golf={'__name__':__name__}\n"
_OFFERED = "globals().update((_k,_golf[_k])for _k in(*_golf['__all__'],'__all__'))\n"


def module_literals(modules: Mapping[str, str]) -> str:
    """Return lines that put the text of each module into the dictionary MODULES, in which every character stands for
    itself. Raises StageFailed for a text with three single quotes."""
    lines = ["MODULES = {}\n"]
    for name, text in modules.items():
        if "'''" in text:
            raise StageFailed(f"{name}: holds ''', which ends the literal that a readable script keeps it in")
        lines.append(f"MODULES[{name!r}] = r'''{text}'''")
    return "\n".join(lines)


def self_unpacking(text: str, *, apart: bool = False) -> bytes:
    """Return a script that unpacks this one and runs it: LZMA, in the printable characters of base 85.

    apart: in a namespace of its own, out of which come the names of its __all__, so that more can follow in the file.
    """
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0}]
    packed = lzma.compress(text.encode(), lzma.FORMAT_ALONE, filters=filters)
    before, inside, after = (_OWN_SPACE, ",_golf", _OFFERED) if apart else ("", "", "")
    code = f'exec(lzma.decompress(base64.b85decode("{base64.b85encode(packed).decode()}")){inside})'
    return f"import base64,lzma\n{before}{code}\n{after}".encode()
