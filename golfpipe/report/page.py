"""Write one self-contained HTML page about a run, or about several side by side.

golfpipe report artifacts/demo
golfpipe report artifacts/a artifacts/b -o comparison.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golfpipe.errors import UsageError
from golfpipe.loading.lineage import trace
from golfpipe.report.run_data import RunData, Samples, read_runs
from golfpipe.report.section_overview import MOST_DETAILED, best_first, overview
from golfpipe.report.section_settings import differences, open_rules, provenance, run_rules
from golfpipe.report.section_sizes import BASIS, errors, model_sizes
from golfpipe.report.section_stages import adaptation_chart, ladder, stage_row, training_chart
from golfpipe.report.section_sweep import sweeps
from golfpipe.report.verdict import gather_numbers, verdict
from golfpipe.reporter import Reporter, SilentReporter
from golfpipe.store.files import make_folder, write_file, writing
from golfpipe.submission.quoting import render
from golfpipe.submission.score_parts import parts_of
from golfpipe.version import __version__


def write_report(
    folders: Sequence[Path], out: Path, reporter: Reporter | None = None, samples: Samples | None = None
) -> Path:
    """Read the run folders and write the page to the file `out`; returns it. A picture that fails is a warning.
    `samples` is text of the models of a single run.

    Raises UsageError for a folder that holds nothing to report, ArtifactError for a damaged artifact, StageFailed
    where the page cannot be written.
    """
    if not folders:
        raise UsageError("report needs at least one run folder", hint="golfpipe report artifacts/demo")
    runs = [run for folder in folders for run in read_runs(folder)]
    return write_text(out, page(runs, reporter or SilentReporter(), samples))


def write_text(out: Path, text: str) -> Path:
    """Write a report to the file `out`; returns it. Raises StageFailed."""
    with writing(out):
        make_folder(out.parent)
    write_file(out, text.encode("utf-8"))
    return out


def page(runs: Sequence[RunData], reporter: Reporter, samples: Samples | None = None) -> str:
    """Return the whole document. The same artifacts give the same text. Of many runs, only the best have details."""
    heads = [overview(run) for run in best_first(runs)]
    runs, several = best_first(runs)[:MOST_DETAILED], len(runs) > 1
    training, scores, adaptation = training_chart(runs), ladder(runs), adaptation_chart(runs)
    quantization, swept = errors(runs), sweeps(runs)
    for chart in (training, scores, adaptation, *quantization, *swept):
        if chart is not None and chart.figure is not None and chart.figure.failure is not None:
            reporter.warn(f"{chart.figure.title}: the picture could not be drawn: {chart.figure.failure}")
    sizes = [(run.name, table) for run in runs if (table := model_sizes(run)) is not None]
    numbers = [gather_numbers(run, baselines=not several) for run in runs]
    return render(
        "golfpipe.report",
        "page.html",
        names=", ".join(run.name for run in runs) if len(heads) == len(runs) else f"{len(heads)} runs",
        several=several,
        detailed=len(runs),
        version=__version__,
        overview=heads,
        verdicts=[(run.name, verdict(run, found)) for run, found in zip(runs, numbers, strict=True)],
        baselines=numbers[0].baselines if not several else {},
        samples=samples,
        stages=[(run.name, [stage_row(stage) for stage in run.stages]) for run in runs],
        training=training,
        ladder=scores,
        score_parts=[(run.name, parts) for run in runs if run.headline and (parts := parts_of([trace(run.headline)]))],
        sizes=sizes,
        sizes_basis=BASIS.get(sizes[-1][1].basis, "") if sizes else "",
        errors=quantization,
        adaptation=adaptation,
        sweeps=swept,
        rules=[(run.name, rules, open_rules(run, rules)) for run in runs if (rules := run_rules(run))],
        differences=differences(runs),
        columns=[(run.name if several else "this run", "") for run in runs],
        provenance=[provenance(run) for run in runs],
    )
