"""Write one self-contained HTML page about a run, or about several side by side.

golfpipe report artifacts/demo
golfpipe report artifacts/a artifacts/b -o comparison.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golfpipe.errors import UsageError
from golfpipe.report.markup import Html, el, join
from golfpipe.report.run_data import RunData, read_run
from golfpipe.report.section_overview import overview
from golfpipe.report.section_settings import differences_section, provenance_section, rules_section
from golfpipe.report.section_sizes import error_section, size_section
from golfpipe.report.section_stages import adaptation_section, ladder_section, stage_table, training_section
from golfpipe.report.section_sweep import sweep_section
from golfpipe.report.style import CSS
from golfpipe.store.files import make_folder, write_file, writing
from golfpipe.version import __version__


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Read the run folders and write the page to the file `out`; returns it.

    Raises UsageError for a folder that holds nothing to report, ArtifactError for a damaged artifact, StageFailed
    where the page cannot be written.
    """
    if not folders:
        raise UsageError("report needs at least one run folder", hint="golfpipe report artifacts/demo")
    return write_text(out, page([read_run(folder) for folder in folders]))


def write_text(out: Path, text: str) -> Path:
    """Write a report to the file `out`; returns it. Raises StageFailed."""
    with writing(out):
        make_folder(out.parent)
    write_file(out, text.encode("utf-8"))
    return out


def page(runs: Sequence[RunData]) -> Html:
    """The whole document. The same artifacts give the same text."""
    names = ", ".join(run.name for run in runs)
    differences = differences_section(runs)
    several = len(runs) > 1
    sections = [
        differences if several else None,
        stage_table(runs),
        training_section(runs),
        ladder_section(runs),
        size_section(runs),
        error_section(runs),
        adaptation_section(runs),
        sweep_section(runs),
        rules_section(runs),
        None if several else differences,
        provenance_section(runs),
    ]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{names} - golfpipe report"),
        el("style", Html(CSS)),
    )
    footer = el(
        "footer",
        f"Written by golfpipe {__version__} from the artifacts alone; nothing on this page comes from the network.",
    )
    body = el("body", el("div", overview(runs), el("main", *sections), footer, class_="page"))
    return join(Html("<!doctype html>\n"), el("html", head, body, lang="en"), Html("\n"))
