"""One self-contained file with `decompress`, or with the compressor too, for scripts that run without golfpipe.

Like the submission's script it holds golfpipe's own modules, so there is one implementation. Layout `readable` keeps
the text of each module, imported under a package name of its own, so that it meets neither an installed golfpipe nor
another file of this kind. Layout `compressed` has all that can be reached, flat, without documentation and checks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from golfpipe.codec.coders import CODERS
from golfpipe.codec.formats import FORMATS
from golfpipe.config.submit import Layout
from golfpipe.errors import UsageError
from golfpipe.quant.quantizers import QUANTIZERS
from golfpipe.script.flat import flat
from golfpipe.script.layouts import module_literals, self_unpacking
from golfpipe.script.modules import IMPORTER, OWN, Kept, bare, minified, needed_modules, read_source
from golfpipe.script.reachable import reachable
from golfpipe.store.files import make_folder, write_file, writing
from golfpipe.version import __version__

What = Literal["decompress", "compress"]

_MARK = b"# golfpipe vendor "
"""How each of these files begins. The options follow in that line, and the digest of all behind it."""

_READS = {
    **{CODERS.module(name): "CODER" for name in CODERS.names},
    **{FORMATS.module(name): "FORMAT" for name in FORMATS.names},
}
"""The modules behind all payloads, which no import names, and the object in each."""
_WRITES = {QUANTIZERS.module(name): "QUANTIZER" for name in QUANTIZERS.names if QUANTIZERS.load(name).is_open}
"""The quantizers that can meet a size."""
_CHECKS = Kept(errors=frozenset({"StageFailed"}), functions=frozenset({"_check_front", "_check"}))
"""What a compressed file refuses: bytes that are not whole, weights that cannot be coded, a size out of reach."""
_STAND_INS = "golfpipe.script.stand_ins"


@dataclass(frozen=True, kw_only=True)
class _File:
    """What a file offers, and what it is made of."""

    offers: Mapping[str, tuple[str, str]]
    """Name -> the module that has it, and its name there."""
    chosen: Mapping[str, str] = field(default_factory=lambda: _READS)
    substitutes: Mapping[str, str] = field(default_factory=dict)
    """Module -> the one whose text stands for it."""
    about: str
    needs: str = "NumPy, torch and constriction"

    def text_of(self, module: str) -> str:
        """Return the text that stands for a module."""
        text = read_source(self.substitutes.get(module, module))
        return text.replace("import constriction\n", self.substitutes.get("constriction", "import constriction\n"))

    @property
    def roots(self) -> dict[str, set[str]]:
        """The names that are used from outside, by module."""
        found = {module: {name} for module, name in self.chosen.items()}
        for module, name in self.offers.values():
            found.setdefault(module, set()).add(name)
        return found


_ARTIFACT_ERROR = ("golfpipe.errors", "ArtifactError")
_READER = _File(
    offers={"decompress": ("golfpipe.weights.decompress", "decompress"), "ArtifactError": _ARTIFACT_ERROR},
    about="decompress(data) gives the state dict that golfpipe's compress made the bytes from.",
)
_PURE_READER = _File(
    offers={"decompress": (f"{_STAND_INS}.pure_decompress", "decompress"), "ArtifactError": _ARTIFACT_ERROR},
    substitutes={"constriction": f"from {_STAND_INS}.pure_ans import constriction\n"},
    about="decompress(data) gives NumPy arrays of the state dict that golfpipe's compress made the bytes from.",
    needs="NumPy",
)
_WRITER = _File(
    offers={
        "compress": ("golfpipe.weights.compress", "compress"),
        "Calibration": ("golfpipe.quant.calibrator", "Calibrator"),
        "split": ("golfpipe.weights.rules", "split"),
        **_READER.offers,
        "StageFailed": ("golfpipe.errors", "StageFailed"),
    },
    chosen=_READS | _WRITES,
    substitutes={
        "golfpipe.weights.size_table": f"{_STAND_INS}.no_size_table",
        "golfpipe.machine.code_search": f"{_STAND_INS}.plain_search",
    },
    about="compress(state_dict, ...) gives bytes, decompress(data) the state dict; Calibration measures errors' costs.",
)


def vendored_file(what: What, layout: Layout, *, pure: bool = False) -> bytes:
    """Return the file. The same version of golfpipe gives the same bytes.

    pure: it needs NumPy alone. Raises UsageError for a pure compressor, which does not exist.
    """
    if what == "compress" and pure:
        raise UsageError(
            "a compressor cannot do without torch and constriction", hint="--pure is for `golfpipe vendor decompress`"
        )
    file = _WRITER if what == "compress" else _PURE_READER if pure else _READER
    options = f"{what}{' --pure' if pure else ''}{' --compressed' if layout == 'compressed' else ''}"
    content = _compressed(file) if layout == "compressed" else _readable(file, options)
    return _MARK + f"{options} {_digest(content)}\n".encode() + content


def write_vendored(path: Path, content: bytes) -> None:
    """Write a vendored file. Raises UsageError for a folder, and for a file that is not a vendored one as it was."""
    if path.is_dir():
        raise UsageError(f"{path}: a folder, but vendor writes one file", hint="-o codec.py", path=str(path))
    with writing(path):
        if path.exists() and not _is_vendored(path.read_bytes()):
            raise UsageError(
                f"{path}: is something else, and vendor replaces only what it wrote",
                hint="-o NAME.py names another file",
                path=str(path),
            )
        make_folder(path.parent)
    write_file(path, content)


def _is_vendored(content: bytes) -> bool:
    first, _, rest = content.partition(b"\n")
    return first.startswith(_MARK) and first.endswith(f" {_digest(rest)}".encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _readable(file: _File, options: str) -> bytes:
    """Return the modules as they are, under a package name that other contents do not have."""
    modules = needed_modules(file.roots, file.text_of)
    package = f"golfpipe_{_digest(repr(modules).encode())}"

    def renamed(text: str) -> str:
        return re.sub(rf'(from |"){re.escape(OWN)}(?=[a-z_.]+(?: import|"))', rf"\g<1>{package}.", text)

    texts = {f"{package}.{name.removeprefix(OWN)}": renamed(text) for name, text in modules.items()}
    heading = f'''"""{file.about}

Written by golfpipe's command vendor, with {options}.

Below are modules of golfpipe {__version__}, each as its own text. They need {file.needs}, and no golfpipe.
"""
'''
    imports = [
        renamed(f"from {module} import {name}") + (f" as {offered}" if offered != name else "")
        for offered, (module, name) in file.offers.items()
    ]
    last = ["install(MODULES, last=True)\n", *imports, f"\n__all__ = {list(file.offers)!r}\n"]
    return "\n\n".join((heading, module_literals(texts), read_source(IMPORTER), "\n".join(last))).encode()


def _compressed(file: _File) -> bytes:
    """Return all that is reached, as one module that unpacks itself."""

    def text_of(module: str) -> str:
        return file.text_of(f"{_STAND_INS}.flat_choices" if module == "golfpipe.choices" else module)

    modules = needed_modules(file.roots, text_of)
    trees = reachable({name: bare(name, text, _CHECKS) for name, text in modules.items()}, file.roots)
    text = minified(flat(trees, file.chosen, file.offers), file.offers)
    return self_unpacking(f"{text}\n__all__={list(file.offers)!r}", apart=True)
