"""What an execution showed becomes 'pass' or 'fail' of rules 3, 4, 5, 6 and 10, with numbers."""

from dataclasses import replace

import pytest
from executed_numbers import HONEST
from fake_run import FakeRun, submit_job

from golfpipe.errors import RuleBroken, StageFailed
from golfpipe.jobs.run import run_job
from golfpipe.review.audit import Execution, audit_path
from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.submission.rules import check_rules
from golfpipe.submission.trial.findings import Executed, ProbabilitiesFound
from golfpipe.submission.trial.room import Room

pytestmark = pytest.mark.usefixtures("quick_submissions")

RUN = RunFacts(evaluated=True, protocol="none")


def rule(number: int, *executed: Executed, **changes: object):
    runs = tuple(replace(RUN, executed=found, **changes) for found in executed)
    return check_rules(Facts(runs=runs))[number - 1]


def with_part(part: str, found: Executed = HONEST, **changes: object) -> Executed:
    return replace(found, **{part: replace(getattr(found, part), **changes)})


def told(**changes: object) -> Executed:
    """An honest method that tells probabilities, but for the changes."""
    honest = ProbabilitiesFound(positions=100, largest_deviation=0.0, largest_mismatch_nats=0.0, altered=8, changed=0)
    return replace(HONEST, probabilities=replace(honest, **changes))


LEARNS = replace(HONEST, adapts=True, method="score_first_sgd")
LEAKS = {"changed": 7, "largest_change_nats": 0.25}


@pytest.mark.parametrize("number", [3, 4, 5, 6, 10])
def test_an_honest_method_passes_with_its_numbers(number: int):
    assert rule(number, HONEST, HONEST).status == "pass"
    assert rule(number, HONEST).evidence.startswith("Executed")
    if number != 6:  # bytes are compared on more than the text on trial
        assert "on 1,025 of 598,653 targets (0.0017 of the split)" in rule(number, HONEST).evidence
        assert "on the whole split" in rule(number, replace(HONEST, split_targets=1025)).evidence
    assert "for 2 seeds" in rule(number, HONEST, HONEST).evidence


@pytest.mark.parametrize(
    ("number", "found", "evidence"),
    [
        (3, with_part("count", scores_made=2050), "2,050 scores were made for 1,025 targets"),
        (3, with_part("count", with_score=1000, scores_made=1000), "of which 1,000 have one"),
        (3, with_part("count", nats_made=3000.0), "1,025 scores were made"),
        (3, with_part("cuts", LEARNS, **LEAKS), "its scores know tokens that come later"),
        (3, with_part("sums", LEARNS, swapped_sum=1.25), "has seen a token before it scores it"),
        (4, with_part("cuts", **LEAKS), "7 of 4,189 scores change, by up to 0.25 nats"),
        (3, with_part("count", scores_computed=2050), "computed 2,050 scores for 1,025 targets and 1,025 were told"),
        (4, with_part("cuts", reordered=3), "gives another order before it at 3 of 8 cuts"),
        (
            4,
            with_part("cuts", repeat_change_nats=0.5, early_repeat_change_nats=0.5),
            "is kept from one text to the next",
        ),
        (
            4,
            told(changed=2),
            "knows the token that it is asked for, or later ones: at 2 of 8 positions",
        ),
        (5, told(largest_deviation=0.5), "probabilities() at 100 positions sums within 5.0e-01 of 1"),
        (5, told(largest_mismatch_nats=0.25), "gives the targets their scores within 2.5e-01 nats"),
        (4, with_part("restarted", **LEAKS), "7 of 512 scores change, by up to 0.25 nats: something was read or kept"),
        (4, with_part("shorter", **LEAKS), "7 of 660 scores change, by up to 0.25 nats: they depend on where"),
        (4, with_part("reproduced", largest_change_nats=0.5), "otherwise than the evaluation recorded"),
        (5, with_part("sums", swapped_sum=1.01), "sum to 1.0100000"),
        (5, with_part("sums", swapped_sum=0.9), "sum to 0.9000000"),
        (5, with_part("sums", swapped_sum=float("nan")), "sum to nan"),
        (5, with_part("sums", largest_deviation=0.02), "within 2.0e-02 of 1"),
        (5, with_part("sums", swapped_sum=1.5, swapped_tokens=9), "each of 9 of 1,024 tokens"),
        (6, with_part("bytes", wrong_documents=3, table_bytes=15_629), "3 of 22 documents differ"),
        (10, with_part("opened", files=("/data/train_000000.bin",)), "/data/train_000000.bin (seen by strace)"),
        (10, with_part("opened", sockets=("AF_INET",)), "AF_INET"),
    ],
)
def test_one_seed_that_breaks_a_rule_fails_it(number: int, found: Executed, evidence: str):
    result = rule(number, HONEST, found)
    assert result.status == "fail"
    assert evidence in result.evidence


@pytest.mark.parametrize(
    ("number", "found", "evidence"),
    [
        (4, with_part("cuts", repeat_change_nats=1e-3, changed=9), "the same text scored twice differs by 0.001"),
        (4, with_part("cuts", targets=400), "1,000 targets are needed"),
        (5, with_part("sums", swapped_tokens=500, swapped_sum=0.4), "too slow to try them all"),
        (3, with_part("sums", LEARNS, swapped_tokens=500, swapped_sum=0.4), "too slow to try them all"),
    ],
)
def test_what_an_execution_could_not_show_is_not_a_pass(number: int, found: Executed, evidence: str):
    result = rule(number, found)
    assert result.status == "not checked"
    assert evidence in result.evidence


def test_peeking_without_learning_breaks_rule_4_alone():
    found = with_part("cuts", **LEAKS)
    assert [rule(number, found).status for number in (3, 4)] == ["pass", "fail"]


def test_rounding_within_the_tolerance_passes_and_is_named():
    assert "within 4e-07 nats" in rule(4, with_part("cuts", largest_change_nats=4e-7)).evidence


def test_without_an_execution_the_rules_are_open_and_say_how_to_close_them():
    for number in (3, 4, 5, 10):
        result = check_rules(Facts(runs=(RUN,)))[number - 1]
        assert result.status == "not checked" and "audit --execute" in result.evidence


def test_the_record_track_executes_and_lists_what_it_shows(fake: FakeRun, monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(
        "golfpipe.stages.submit.execute", lambda lineage, **more: calls.append(more) or with_part("cuts", **LEAKS)
    )
    with pytest.raises(RuleBroken) as caught:
        run_job(submit_job([fake.open("evaluate-pack")], fake.folder / "s", "submit.track=10min_16mb"))
    assert "Rule 4" in caught.value.message and "Rule 7" in caught.value.message
    assert calls == [{"room": Room()}]


def test_the_other_track_executes_when_asked_and_states_it(fake: FakeRun, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "golfpipe.stages.submit.execute", lambda lineage, **more: with_part("opened", sockets=("AF_INET",))
    )
    job = submit_job([fake.open("evaluate-pack")], fake.folder / "s", "submit.execute=true")
    deviations = run_job(job).artifact.manifest.provenance["deviations"]
    assert any("Rule 10" in line and "AF_INET" in line for line in deviations)


def test_a_method_that_cannot_run_is_told_after_the_broken_rules(fake: FakeRun, monkeypatch: pytest.MonkeyPatch):
    def fails(lineage, **more):
        raise StageFailed("no such device")

    monkeypatch.setattr("golfpipe.stages.submit.execute", fails)
    with pytest.raises(StageFailed, match="no such device"):
        run_job(submit_job([fake.open("evaluate-pack")], fake.folder / "s", "submit.execute=true"))
    with pytest.raises(RuleBroken):
        run_job(submit_job([fake.open("evaluate-pack")], fake.folder / "s", "submit.track=10min_16mb"))


def test_the_audit_of_a_submission_executes_each_seed(tmp_path, monkeypatch: pytest.MonkeyPatch):
    runs = [FakeRun(tmp_path / f"s{n}", seed=n).build() for n in range(2)]
    run_job(submit_job([run.open("evaluate-pack") for run in runs], tmp_path / "submit"))
    seen = []
    monkeypatch.setattr(
        "golfpipe.review.audit.execute",
        lambda lineage, **more: seen.append(lineage) or replace(HONEST, notes=("a note",)),
    )
    report = audit_path(tmp_path / "submit", Execution())
    assert len(seen) == 2
    assert [report.rules[number - 1].status for number in (3, 4, 5, 6, 10)] == ["pass"] * 5
    assert report.notes == ("a note",)
