"""Significance against scipy's formulas written out, and what it says when the evidence is thin."""

import json
import math
import statistics

import pytest
from fake_run import FakeRun, submit_job
from scipy import stats

from golfpipe.cli.app import main
from golfpipe.jobs.run import run_job
from golfpipe.submission.records_folder import records_folder
from golfpipe.submission.significance import MARGINS_NATS, significance

pytestmark = pytest.mark.usefixtures("quick_submissions")

MARGIN_NATS = MARGINS_NATS[0]
RATIO = 1.68
OURS = [1.2040, 1.2048, 1.2035]
RECORD = [1.2244, 1.2250, 1.2239]


def compared(bpb, record, name=""):
    return significance(bpb, [value * RATIO for value in bpb], record, name)


def test(bpb, record, name=""):
    """By the challenge's margin."""
    return compared(bpb, record, name).margins[0]


test.__test__ = False


def test_one_sample_and_welch_are_the_textbook_formulas():
    found = test(OURS, RECORD)
    margin = MARGIN_NATS / RATIO
    assert found.margin_bpb == pytest.approx(margin)
    ours, record = statistics.fmean(OURS), statistics.fmean(RECORD)
    error = statistics.stdev(OURS) / math.sqrt(3)
    t = (ours - (record - margin)) / error
    assert found.one_sample.t == pytest.approx(t)
    assert found.one_sample.degrees_of_freedom == 2
    assert found.one_sample.p == pytest.approx(stats.t.cdf(t, 2))
    parts = [statistics.variance(values) / 3 for values in (OURS, RECORD)]
    t = (ours - record + margin) / math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / sum(part**2 / 2 for part in parts)
    assert found.welch.t == pytest.approx(t)
    assert found.welch.degrees_of_freedom == pytest.approx(freedom)
    assert found.welch.p == pytest.approx(stats.t.cdf(t, freedom))
    assert compared(OURS, RECORD).difference_nats == pytest.approx((record - ours) * RATIO)
    assert found.enough and found.verdict.startswith("Enough")


def test_nats_and_bits_give_the_same_p():
    """The ratio of the two is one number per text, so a test in either is the other."""
    nats = [value * RATIO for value in OURS]
    bound = statistics.fmean(RECORD) * RATIO - MARGIN_NATS
    assert stats.ttest_1samp(nats, bound, alternative="less").pvalue == pytest.approx(test(OURS, RECORD).one_sample.p)


def test_a_record_of_one_number_is_a_one_sample_test():
    found = test(OURS, [1.2244])
    assert found.welch is None and found.enough
    assert found.one_sample is not None


def test_an_improvement_within_the_margin_is_never_enough():
    found = test([1.2225, 1.2226, 1.2224], RECORD)
    assert compared([1.2225, 1.2226, 1.2224], RECORD).difference_bpb > 0 and not found.enough
    assert "no number of seeds" in found.verdict and found.seeds_suggested is None


def test_without_a_margin_a_small_improvement_can_be_enough():
    """Later reviews asked for none; both are told, in nats and in bits."""
    asked, none = compared([1.2218, 1.2219, 1.2217], RECORD).margins
    assert (asked.margin_nats, none.margin_nats, none.margin_bpb) == (0.005, 0, 0)
    assert asked.margin_bpb == pytest.approx(0.005 / RATIO)
    assert none.enough and none.verdict == "Enough: the seeds show any improvement at p < 0.01."
    ours = [1.2218, 1.2219, 1.2217]
    assert none.welch.p == pytest.approx(stats.ttest_ind(ours, RECORD, equal_var=False, alternative="less").pvalue)


def test_thin_evidence_suggests_how_many_more_seeds():
    noisy = [1.2100, 1.2190, 1.2145]
    found = test(noisy, [1.2244])
    assert not found.enough
    count = found.seeds_suggested
    assert count > 3 and f"{count - 3} more" in found.verdict
    gain, spread = 1.2244 - MARGIN_NATS / RATIO - statistics.fmean(noisy), statistics.stdev(noisy)
    p = [stats.t.sf(gain / (spread / math.sqrt(n)), n - 1) for n in (count - 1, count)]
    assert p[0] >= 0.01 > p[1]


def test_one_seed_and_equal_seeds_have_no_test():
    assert "one seed has no spread" in test([1.20], RECORD).verdict
    equal = test([1.20, 1.20, 1.20], RECORD)
    assert "agree to the last digit" in equal.verdict and not equal.enough
    assert equal.one_sample is None


def test_a_hopeless_spread_says_so():
    assert "more than 200 seeds" in test([1.10, 1.33, 1.21], [1.2244]).verdict


@pytest.fixture
def seeds(tmp_path):
    return [FakeRun(tmp_path / f"s{n}", seed=n, val_bpb=2.6 + 0.001 * n, adapted=False).build() for n in range(3)]


def test_the_records_folder_holds_the_test(seeds, tmp_path):
    evaluations = [run.open("evaluate-pack") for run in seeds]
    submission = run_job(submit_job(evaluations, tmp_path / "s", "submit.against=[2.70, 2.71, 2.69]")).artifact
    folder = records_folder(submission)
    record = json.loads((folder / "submission.json").read_text())["significance"]
    expected = significance(
        [e.manifest.metrics["val_bpb"] for e in evaluations],
        [e.manifest.metrics["val_loss_nats"] for e in evaluations],
        [2.70, 2.71, 2.69],
    )
    assert record == json.loads(json.dumps(expected.as_json()))
    readme = (folder / "README.md").read_text()
    assert "## Significance" in readme and "Enough: the seeds show" in readme
    assert all(f"{tested.welch.p:.2g}" in readme for tested in expected.margins)
    assert submission.manifest.metrics["significant"] is True


def test_without_a_record_there_is_no_section(seeds, tmp_path):
    submission = run_job(submit_job([seeds[0].open("evaluate-pack")], tmp_path / "s")).artifact
    assert "Significance" not in (records_folder(submission) / "README.md").read_text()
    assert "significance" not in json.loads((records_folder(submission) / "submission.json").read_text())


def test_the_command_takes_numbers_or_a_records_folder(seeds, tmp_path, capsys):
    paths = [str(run.folder / "evaluate-pack") for run in seeds]
    assert main(["submit", *paths, "-o", str(tmp_path / "a"), "--against", "2.70,2.71, 2.69", "-q"]) == 0
    other = records_folder(run_job(submit_job([run.open("evaluate-pack") for run in seeds], tmp_path / "b")).artifact)
    assert main(["submit", paths[0], "-o", str(tmp_path / "c"), "--against", str(other), "-q"]) == 0
    found = json.loads(next((tmp_path / "c").rglob("submission.json")).read_text())["significance"]
    assert found["record_name"] == other.name
    assert len(found["record_bpb"]) == 3 and "no number of seeds" in found["margins"][0]["verdict"]
    capsys.readouterr()
    for wrong in ("nonsense", "1.2,,x", "", "-3", "nan", str(tmp_path)):
        assert main(["submit", paths[0], "-o", str(tmp_path / "d"), "--against", wrong, "-q"]) == 2, wrong
