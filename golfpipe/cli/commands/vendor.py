"""`golfpipe vendor decompress` and `golfpipe vendor compress`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import output_path
from golfpipe.cli.options import OutputOptions
from golfpipe.units import format_bytes

if TYPE_CHECKING:
    from golfpipe.script.vendor import What

_Out = Annotated[
    str | None, typer.Option("-o", "--out", metavar="FILE.py", help="File to write; without it the text is printed.")
]
_Compressed = Annotated[
    bool, typer.Option("--compressed", help="Unpacks itself: a tenth of the bytes, and without checks of arguments.")
]
_Pure = Annotated[bool, typer.Option("--pure", help="Needs NumPy alone, no torch and no constriction; slower.")]
_NotPure = Annotated[bool, typer.Option("--pure", hidden=True)]


def vendor_decompress(
    options: OutputOptions, out: _Out = None, compressed: _Compressed = False, pure: _Pure = False
) -> Answer:
    """Write one self-contained file whose decompress(data) reads every payload that golfpipe writes.

    Reads nothing. Writes one Python file that holds golfpipe's own reader and needs no golfpipe: NumPy, torch and
    constriction, or with --pure NumPy alone, which then gives arrays. It can be imported under any name, beside an
    installed golfpipe and beside other files of this kind. Replaces only what this command wrote.

    \b
    Examples:
      golfpipe vendor decompress -o codec.py
      golfpipe vendor decompress -o codec_small.py --compressed
      golfpipe vendor decompress --pure -o codec_numpy.py
    """
    return _answer("decompress", out, compressed=compressed, pure=pure)


def vendor_compress(
    options: OutputOptions, out: _Out = None, compressed: _Compressed = False, pure: _NotPure = False
) -> Answer:
    """Write one self-contained file with compress, Calibration, split and decompress.

    Reads nothing. Writes one Python file for scripts that quantize inside their own time. It gives the same bytes as
    golfpipe's own compress; only show=print and a calibration's save and load stay behind. It needs NumPy, torch and
    constriction. Replaces only what this command wrote.

    \b
    Examples:
      golfpipe vendor compress -o codec.py
      golfpipe vendor compress -o codec_small.py --compressed
    """
    return _answer("compress", out, compressed=compressed, pure=pure)


def _answer(what: What, out: str | None, *, compressed: bool, pure: bool) -> Answer:
    from golfpipe.script.vendor import vendored_file, write_vendored

    content = vendored_file(what, "compressed" if compressed else "readable", pure=pure)
    path, text = output_path(out), content.decode()
    if path is not None:
        write_vendored(path, content)
    return Answer(
        lines=text.splitlines() if path is None else [f"{path}: {format_bytes(len(content))}"],
        path=path,
        kind="python",
        metrics={"file_bytes": len(content)},
        extra={"text": text} if path is None else {},
    )
