"""The page stands alone, escapes what strangers wrote, and leaves out what did not run."""

import html.parser
import json
import re
import shutil
from pathlib import Path

import pytest
from fake_run import FakeRun, submit_job

from golfpipe.codec.config import PackConfig
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.run import run_job
from golfpipe.report.markdown import markdown_report
from golfpipe.report.page import write_report
from golfpipe.report.run_data import MAX_POINTS, read_run, thin
from golfpipe.report.section_overview import MOST_DETAILED
from golfpipe.report.section_sizes import error_grid
from golfpipe.store.artifact import open_artifact


def report(*folders: Path) -> str:
    return write_report(list(folders), folders[0] / "report.html").read_text()


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


class _Balance(html.parser.HTMLParser):
    """Every element that opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    """A run from train to submit, read only."""
    run = FakeRun(tmp_path_factory.mktemp("whole") / "alpha").build()
    run_job(submit_job([run.open("evaluate-pack")], run.folder / "submit"))
    return run


@pytest.fixture(scope="module")
def page(whole: FakeRun) -> str:
    return report(whole.folder)


def test_a_whole_run_has_every_section_and_its_numbers(whole: FakeRun, page: str):
    assert headings(page) == [
        "Verdict", "Stages", "Training", "Score per stage", "The score taken apart", "Where the bytes are",
        "Quantization error", "Test-time training", "Rules", "Configuration", "Provenance",
    ]  # fmt: skip
    total = 40_000 + PackConfig().code_bytes_reserve
    left = f"{16_000_000 - total:,} B left of 16,000,000 B"
    for text in ("2.6225", f"{total:,}", left, "not eligible", "train_gpt.py is missing"):
        assert text in page
    assert whole.open("pack").manifest.digest[:12] in page


def test_the_page_needs_nothing_else(page: str):
    assert "http:" not in page and "https:" not in page
    assert not re.search(r"<(script|link|img|iframe|object)\b", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert set(re.findall(r'href="([^"]{0,1})', page)) <= {"#"}


def test_the_page_is_well_formed_and_its_ids_are_unique(page: str):
    balance = _Balance()
    balance.feed(page)
    assert balance.open == []
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', page)) <= set(ids)


def test_the_same_artifacts_give_the_same_page(whole: FakeRun, page: str):
    assert report(whole.folder) == page


def test_figures_follow_the_page_colors(page: str):
    assert "var(--s1)" in page
    assert "#0102" not in page


@pytest.mark.parametrize("stage", ["train", "quantize", "pack", "ttt", "evaluate-pack"])
def test_missing_stages_are_left_out(fake: FakeRun, stage: str):
    shutil.rmtree(fake.folder / stage)
    assert "Stages" in headings(report(fake.folder))


def test_training_alone_is_a_report(fake: FakeRun):
    for path in fake.folder.iterdir():
        if path.name not in ("train", "data"):
            shutil.rmtree(path)
    page = report(fake.folder)
    assert headings(page) == ["Verdict", "Stages", "Training", "Where the bytes are", "Configuration", "Provenance"]
    assert "nothing is packed yet" in page


def test_over_the_limit_is_said(tmp_path: Path):
    page = report(FakeRun(tmp_path / "a", limit_bytes=50_000).build().folder)
    assert f"{PackConfig().code_bytes_reserve - 10_000:,} B over the limit of 50,000 B" in page


def test_what_strangers_wrote_is_escaped(tmp_path: Path):
    evil = "<script>alert(1)</script>"
    run = FakeRun(tmp_path / "<img src=x>$a$", extra_train_metrics={"stop_reason": evil, "steps": evil})
    run.build()
    run.evaluate(run.open("pack"), run.open("data"), "evaluate-<b>&", 2.5)
    page = report(run.folder)
    assert "<script>" not in page and "<img" not in page and "<b>" not in page
    assert "&lt;img src=x&gt;$a$" in page


def test_a_sweep_of_a_stranger_is_escaped(fake: FakeRun):
    (fake.folder / "sweep").mkdir()
    row = {"settings": {"pack.coder": "<i>"}, "val_bpb": 2.5, "total_bytes": 900, "error": "{{ 7 * 7 }} <b>"}
    lines = [json.dumps(row | {"settings": {"pack.coder": coder}}) for coder in ("<i>", "&amp;")]
    (fake.folder / "sweep" / "results.jsonl").write_text("\n".join(lines))
    page = report(fake.folder)
    assert "<td>coder &lt;i&gt;</td>" in page and "<td>coder &amp;amp;</td>" in page
    assert "{{ 7 * 7 }} &lt;b&gt;" in page and "<b>" not in page


def test_several_runs_show_their_differences_first(tmp_path: Path):
    first = FakeRun(tmp_path / "a", seed=0).build()
    second = FakeRun(tmp_path / "b", seed=1, overrides=("quantize.mlp.bits=5",)).build()
    page = report(first.folder, second.folder)
    assert headings(page)[:3] == ["Runs", "Configuration", "Verdict"]
    assert page.index("Where the runs differ") < page.index("quantize.mlp.bits") < page.index("Shared by all")
    assert "a: packed" in page and "b: packed" in page


def test_a_single_artifact_stands_for_its_run(fake: FakeRun):
    assert read_run(fake.folder / "pack").name == "alpha"


def test_the_headline_is_eligible_and_packed(fake: FakeRun):
    headline = read_run(fake.folder).headline
    assert headline is not None and headline.path.name == "evaluate-pack"


def test_scores_in_other_windows_are_not_compared(fake: FakeRun):
    other = FakeRun(fake.folder, overrides=("evaluate.stride=8",))
    other.evaluate(fake.open("quantize"), fake.open("data"), "evaluate-stride8", 2.5)
    names = [evaluation.path.name for evaluation in read_run(fake.folder).ladder]
    assert names == ["evaluate-train", "evaluate-quantize", "evaluate-pack", "evaluate-ttt"]


def test_broken_log_lines_are_left_out(tmp_path: Path):
    from golfpipe.report.run_data import training_curves
    from golfpipe.store.artifact_writer import begin

    run = FakeRun(tmp_path / "a")
    data = run.data()
    writer = begin(run.folder / "train")
    lines = [
        '{"type":"step","step":1,"train_loss_nats":5.0}',
        '{"type":"step","step":2,"train_loss_nats":NaN}',
        "{cut",
        "[]",
    ]
    writer.write("log.jsonl", "\n".join(lines).encode(), content=False)
    trained = run._finish(writer, "train", "trained_model", "train", {"steps": 2}, {"data": data})
    assert training_curves(trained)["train"].x == (1.0,)
    assert "validation" not in training_curves(trained)


def test_a_damaged_file_is_an_error(fake: FakeRun):
    (fake.folder / "quantize" / "report.json").write_text("{}")
    with pytest.raises(ArtifactError):
        report(fake.folder)


@pytest.mark.parametrize("make", [lambda p: p / "no", lambda p: p])
def test_nothing_to_report(tmp_path: Path, make):
    with pytest.raises(UsageError):
        write_report([make(tmp_path)], tmp_path / "out.html")
    with pytest.raises(UsageError):
        write_report([], tmp_path / "out.html")


def test_long_curves_are_thinned_and_keep_their_end():
    points = [(float(n), 1.0) for n in range(20_001)]
    kept = thin(points)
    assert len(kept) <= MAX_POINTS + 1
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert thin([]) == []


def test_shared_keys_and_values_stand_at_the_layers_that_own_them(fake: FakeRun):
    from golfpipe.report.run_data import tensor_errors

    names, columns, values = error_grid(tensor_errors(fake.open("quantize")), [2])
    assert names == ["mlp input", "mlp output", "query", "key", "value", "attention output"]
    assert columns == ["0", "1", "2", "3"]
    assert [value is None for value in values[3]] == [True, True, False, True]
    assert json.dumps(values)


def test_many_runs_have_a_row_each_and_only_the_best_have_details(tmp_path: Path, fake: FakeRun):
    last = f"run{MOST_DETAILED + 1}"
    for number in range(MOST_DETAILED + 2):
        folder = shutil.copytree(fake.folder, tmp_path / f"run{number}")
        if f"run{number}" == last:
            shutil.rmtree(folder / "evaluate-pack")
            packed, data = open_artifact(folder / "pack"), open_artifact(folder / "data")
            FakeRun(folder).evaluate(packed, data, "evaluate-pack", 2.0)
        elif number == 3:
            for evaluation in folder.glob("evaluate-*"):
                shutil.rmtree(evaluation)
    folders = [tmp_path / f"run{number}" for number in range(MOST_DETAILED + 2)]
    page = report(*folders)
    rows, details = page.split("<h2>Configuration</h2>")
    assert all(f"<td>{folder.name}</td>" in rows for folder in folders)
    assert rows.index(f"<td>{last}</td>") < rows.index("<td>run0</td>") < rows.index("<td>run3</td>")
    assert f"the first {MOST_DETAILED}; the other 2 are left out" in rows
    assert f"<h3>{last}</h3>" in details and "<h3>run3</h3>" not in details
    assert details.count("<figure>") == 3 + MOST_DETAILED
    text = markdown_report(folders)
    assert text.count("\n### ") + 1 == MOST_DETAILED and "the other 2 are left out" in text
