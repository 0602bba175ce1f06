"""`golfpipe report FOLDER...`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path, output_path
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.progress import make_reporter


def report(
    folders: Annotated[list[str], typer.Argument(metavar="FOLDER...", help="Runs (artifacts/NAME) or artifacts.")],
    options: OutputOptions,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", help="Default report.html in the first folder.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown for a pull request instead; with -o write it.")
    ] = False,
) -> Answer:
    """Write one HTML page: verdict, curves, bytes, scores, sample text.

    Reads the artifacts below the folders, and the results of sweeps there; of one run it also draws text from the
    models. Writes one self-contained file, by default report.html in the first folder.

    \b
    Examples:
      golfpipe report artifacts/demo
      golfpipe report artifacts/demo -o demo.html
      golfpipe report artifacts/demo --markdown
    """
    from golfpipe.report.page import write_report
    from golfpipe.report.run_data import read_runs
    from golfpipe.review.samples import draw_samples

    paths = [input_path(folder) for folder in folders]
    if markdown:
        return _markdown(paths, output_path(out))
    reporter = make_reporter(quiet=options.quiet, verbose=options.verbose)
    samples = draw_samples(read_runs(paths[0]), reporter) if len(paths) == 1 else None
    page = write_report(paths, output_path(out) or paths[0] / "report.html", reporter, samples)
    return Answer(lines=[f"report  {page}"], path=page)


def _markdown(paths: list[Path], out: Path | None) -> Answer:
    from golfpipe.report.markdown import markdown_report
    from golfpipe.report.page import write_text

    text = markdown_report(paths)
    if out is not None:
        return Answer(lines=[f"report  {write_text(out, text)}"], path=out)
    return Answer(lines=text.rstrip("\n").split("\n"), path=paths[0], extra={"markdown": text})
