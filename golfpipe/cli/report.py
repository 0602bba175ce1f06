"""`golfpipe report FOLDER...`"""

from __future__ import annotations

from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, output_path
from golfpipe.cli.options import OutputOptions


def report(
    folders: Annotated[list[str], typer.Argument(metavar="FOLDER...", help="Runs (artifacts/NAME) or artifacts.")],
    options: OutputOptions,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", help="Default report.html in the first folder.")
    ] = None,
) -> Answer:
    """Write one HTML page with curves, bytes and scores.

    Reads the artifacts below the folders. Writes one self-contained file, by default report.html in the first folder.

    \b
    Examples:
      golfpipe report artifacts/demo
      golfpipe report artifacts/demo -o demo.html
    """
    from golfpipe.report.page import write_report

    paths = [input_path(folder) for folder in folders]
    page = write_report(paths, output_path(out) or paths[0] / "report.html")
    return Answer(text=f"report  {page}", path=page)
