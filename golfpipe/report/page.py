"""Write one self-contained HTML page about a run, or about several side by side.

golfpipe report artifacts/demo
golfpipe report artifacts/a artifacts/b -o comparison.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golfpipe.errors import StageFailed, UsageError
from golfpipe.report.run_data import RunData, read_run
from golfpipe.report.section_overview import overview
from golfpipe.report.section_settings import differences, provenance, run_rules
from golfpipe.report.section_sizes import BASIS, errors, model_sizes
from golfpipe.report.section_stages import adaptation_chart, ladder, stage_row, training_chart
from golfpipe.report.section_sweep import sweeps
from golfpipe.store.files import write_file
from golfpipe.submission.quoting import render
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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_file(out, text.encode("utf-8"))
    except OSError as error:
        raise StageFailed(f"{out}: {error.strerror}", hint="give another file with -o", path=str(out)) from error
    return out


def page(runs: Sequence[RunData]) -> str:
    """Return the whole document. The same artifacts give the same text."""
    sizes = [(run.name, table) for run in runs if (table := model_sizes(run)) is not None]
    return render(
        "golfpipe.report",
        "page.html",
        names=", ".join(run.name for run in runs),
        several=len(runs) > 1,
        version=__version__,
        overview=[overview(run) for run in runs],
        stages=[(run.name, [stage_row(stage) for stage in run.stages]) for run in runs],
        training=training_chart(runs),
        ladder=ladder(runs),
        sizes=sizes,
        sizes_basis=BASIS.get(sizes[-1][1].basis, "") if sizes else "",
        errors=errors(runs),
        adaptation=adaptation_chart(runs),
        sweeps=sweeps(runs),
        rules=[(run.name, rules) for run in runs if (rules := run_rules(run))],
        differences=differences(runs),
        columns=[(run.name if len(runs) > 1 else "this run", "") for run in runs],
        provenance=[provenance(run) for run in runs],
    )
