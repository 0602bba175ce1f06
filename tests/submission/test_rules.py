"""Each rule passes, fails, and says when it cannot know."""

from dataclasses import replace

import pytest

from golfpipe.errors import OverLimit, RuleBroken
from golfpipe.submission.facts import Facts, RunFacts
from golfpipe.submission.judgment import judge, refuse_broken_rules, refuse_over_limit
from golfpipe.submission.rules import CHALLENGE_TARGETS, RuleResult, check_rules, not_applicable

GOOD = RunFacts(
    seed=1,
    packed_bytes=15_900_000,
    code_bytes=60_000,
    code_measured=True,
    train_seconds=599.0,
    calibration="none",
    evaluated=True,
    eval_seconds=300.0,
    device="8xH100",
    protocol="score_first",
    eligible=True,
    scored_targets=CHALLENGE_TARGETS + 77,
    split_targets=CHALLENGE_TARGETS + 77,
    whole_split=True,
    vocab_size=1024,
    scored_bytes=151_000_000,
    split_bytes=151_000_000,
)
FOLDER = Facts(
    runs=(GOOD,),
    track="10min_16mb",
    has_folder=True,
    script_bytes=60_000,
    configuration_differences=(),
    log_differences=(),
)


def rule(number: int, facts: Facts) -> RuleResult:
    return check_rules(facts)[number - 1]


def changed(**changes: object) -> Facts:
    return replace(FOLDER, runs=(replace(GOOD, **changes),))


def test_there_are_the_ten_rules_of_the_challenge_and_the_script():
    assert [result.number for result in check_rules(FOLDER)] == list(range(1, 12))
    assert all(result.evidence.endswith(".") for result in check_rules(FOLDER))


def test_a_good_record_has_no_failed_rule_and_only_executed_ones_are_open():
    status = {result.number: result.status for result in check_rules(FOLDER)}
    assert {number for number, value in status.items() if value == "not checked"} == {3, 4, 5, 10}
    assert all(value == "pass" for number, value in status.items() if number not in {3, 4, 5, 10})
    refuse_broken_rules(judge(FOLDER), "10min_16mb")


@pytest.mark.parametrize(
    ("number", "facts", "evidence"),
    [
        (1, changed(packed_bytes=15_950_001), "16,010,001 B of 16,000,000 B: 10,001 B too many"),
        (2, changed(train_seconds=600.5), "training took too long"),
        (2, changed(eval_seconds=590.0, adapt_seconds=20.0), "evaluation took too long"),
        (2, changed(train_seconds=590.0, calibration="training data", calibration_seconds=30.0), "training took"),
        (3, changed(protocol="pre_eval"), "pre_eval"),
        (4, changed(protocol="pre_eval"), "pre_eval"),
        (6, changed(scored_bytes=150_999_999), "150,999,999 bytes"),
        (7, changed(scored_targets=99_840, whole_split=False), "99,840 of 62,021,709"),
        (7, changed(scored_targets=598_653, split_targets=598_653), "another text"),
        (8, changed(calibration="validation data"), "validation data"),
        (9, replace(FOLDER, configuration_differences=("quantize.mlp.bits: 4 -> 5",)), "quantize.mlp.bits: 4 -> 5"),
        (9, replace(FOLDER, log_differences=("seed 1: val_bpb",)), "logs disagree"),
        (11, replace(FOLDER, script_bytes=None), "train_gpt.py is missing"),
    ],
)
def test_a_broken_rule_fails_with_its_numbers(number: int, facts: Facts, evidence: str):
    assert rule(number, facts).status == "fail"
    assert evidence in rule(number, facts).evidence


@pytest.mark.parametrize(
    ("number", "facts"),
    [
        (1, changed(code_measured=False)),
        (2, changed(train_seconds=None, eval_seconds=None)),
        (2, changed(train_seconds=None)),
        (6, changed(split_bytes=None)),
        (7, changed(whole_split=None, scored_targets=5)),
        (8, changed(calibration="unknown")),
        (9, replace(FOLDER, configuration_differences=None)),
        (9, replace(FOLDER, log_differences=None)),
    ],
)
def test_what_is_not_known_is_not_a_pass(number: int, facts: Facts):
    assert rule(number, facts).status == "not checked"


def test_a_model_without_an_evaluation_or_a_folder_has_nothing_to_judge():
    packed = Facts(runs=(replace(GOOD, evaluated=False),))
    assert [rule(n, packed).status for n in (3, 4, 5, 6, 7, 9, 10, 11)] == ["not applicable"] * 8
    assert {result.status for result in not_applicable("Nothing is packed.")} == {"not applicable"}


def test_the_challenges_own_truncated_count_is_the_whole_split():
    facts = changed(scored_targets=CHALLENGE_TARGETS, whole_split=False)
    assert rule(7, facts).status == "pass"
    assert "62,021,632" in rule(7, facts).evidence


def test_other_text_passes_on_the_other_track_and_is_stated():
    facts = replace(changed(scored_targets=598_653, split_targets=598_653), track="non_record_16mb")
    assert rule(7, facts).status == "pass"
    assert any("not the challenge's" in line for line in judge(facts).deviations)


def test_calibration_on_training_data_passes_and_is_named():
    assert "training data" in rule(8, changed(calibration="training data")).evidence
    assert rule(8, changed(calibration="generated")).status == "pass"


@pytest.mark.parametrize(
    ("trained", "evaluated", "status"),
    [
        ("8xH100", None, "pass"),
        ("8 x NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "pass"),
        ("8 x NVIDIA H100 80GB HBM3", "2 x Intel(R) Xeon(R) Processor", "not checked"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "not checked"),
        ("8 x NVIDIA H200", "8 x NVIDIA H200", "not checked"),
        ("16 x NVIDIA H100", "NVIDIA H100", "not checked"),
        ("8 x Intel(R) Xeon(R) Processor", "cpu", "not checked"),
        (None, None, "not checked"),
    ],
)
def test_seconds_of_other_hardware_are_not_comparable(trained: str | None, evaluated: str | None, status: str):
    facts = changed(device=trained, eval_device=evaluated)
    assert rule(2, facts).status == status
    assert ("not comparable" in rule(2, facts).evidence) == (status != "pass")
    assert trained is None or trained in rule(2, facts).evidence


def test_the_largest_seed_decides_sizes_and_times():
    facts = replace(FOLDER, runs=(GOOD, replace(GOOD, seed=2, packed_bytes=16_000_000, train_seconds=610.0)))
    assert rule(1, facts).status == rule(2, facts).status == "fail"
    assert "largest of 2 seeds" in rule(1, facts).evidence


def test_the_record_track_lists_everything_at_once():
    broken = replace(changed(protocol="pre_eval", train_seconds=700.0), script_bytes=None)
    with pytest.raises(RuleBroken) as caught:
        refuse_broken_rules(judge(broken), "10min_16mb")
    for number in (2, 3, 4, 11):
        assert f"Rule {number}," in caught.value.message
    assert caught.value.exit_code == 5
    refuse_broken_rules(judge(broken), "non_record_16mb")


def test_only_the_time_limit_is_exit_4():
    with pytest.raises(OverLimit):
        refuse_broken_rules(judge(changed(train_seconds=601.0)), "10min_16mb")


def test_over_the_byte_limit_names_every_seed():
    big = replace(GOOD, seed=7, packed_bytes=16_000_000)
    with pytest.raises(OverLimit, match=r"seed 7: 16,060,000 B of 16,000,000 B"):
        refuse_over_limit(replace(FOLDER, runs=(GOOD, big)))
    refuse_over_limit(FOLDER)


def test_an_imported_model_and_an_unexplained_score_are_stated():
    lines = judge(changed(trained_here=False, eligible=False)).deviations
    assert any("imported" in line for line in lines)
    assert any("not eligible" in line for line in lines)
