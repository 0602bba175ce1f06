"""`golfpipe config init`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import output_path
from golfpipe.cli.options import OutputOptions


def config_init(
    options: OutputOptions,
    out: Annotated[str, typer.Option("-o", "--out", metavar="FILE", help="File to write.")] = "stages.yaml",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> Answer:
    """Write a pipeline file of your own, with every setting as a comment that explains it.

    Reads nothing. Writes stages.yaml in this folder, which every later command here reads in place of golfpipe's own:
    the steps of `run`, the presets, and defaults for all of them.

    \b
    Examples:
      golfpipe config init
      golfpipe config init -o mine.yaml --force
    """
    from golfpipe.config.resolve import load_stages, packaged_stages_file
    from golfpipe.review.setting_docs import write_stages_file

    path = output_path(out) or Path("stages.yaml")
    write_stages_file(path, load_stages(packaged_stages_file()), force=force)
    return Answer(lines=[f"{path}: written; `golfpipe config show --origin` tells what it sets"], path=path)
