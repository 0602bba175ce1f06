"""Each rule has a method that breaks it, and each of them is caught; golfpipe's own methods are not."""

from __future__ import annotations

import cheats
import numpy as np
import pytest

from golfpipe.config.schema import plain_config
from golfpipe.data.token_data import load_tokenizer, load_validation
from golfpipe.store.artifact import open_artifact
from golfpipe.submission.trial import process as child
from golfpipe.submission.trial.data_copy import DataCopy, copy_data, on_file, split_files
from golfpipe.submission.trial.experiments import (
    altered,
    check_bytes,
    check_count,
    check_cuts,
    check_shorter,
    check_sums,
    compare,
    cut_points,
    needed_targets,
    restart_text,
    silent,
)
from golfpipe.submission.trial.findings import CutsFound
from golfpipe.submission.trial.packed_scorer import PackedScorer
from golfpipe.submission.trial.scorer import Trial, stream_order

LORA = ("ttt.method=score_first_lora", "ttt.score_first_lora.context_length=48", "ttt.score_first_lora.chunk_tokens=32")
SGD = ("ttt.method=score_first_sgd",)


@pytest.fixture
def make(chain, monkeypatch):
    """A scorer of the packed model: (class, settings, adapted) -> the scorer and the text that it is tried on."""

    def made(kind: type = PackedScorer, *settings: str, adapted: bool = False):
        monkeypatch.setattr(child, "PackedScorer", kind)
        config = chain.job("ttt", "unused", *settings, inherit=chain.packed, model=chain.packed, data=chain.data).config
        scorer = child.packed_scorer(
            {
                "packed": str(chain.packed.path),
                "data": str(chain.data.path),
                "config": plain_config(config),
                "adapted": adapted,
                "device": "cpu",
            }
        )
        text = load_validation(chain.data, load_tokenizer(chain.data)).tokens
        return scorer, text[: needed_targets(scorer, text) + 1]

    return made


@pytest.mark.parametrize(
    ("settings", "adapted", "name"),
    [((), False, "sliding"), (("evaluate.method=chunked",), False, "chunked"), (SGD, True, "score_first_sgd+sliding")],
)
def test_golfpipes_own_methods_are_legal(make, settings, adapted, name):
    scorer, tokens = make(PackedScorer, *settings, adapted=adapted)
    assert (scorer.name, scorer.adapts) == (name, adapted)
    cuts, (count, _), sums = check_cuts(scorer, tokens), check_count(scorer, tokens), check_sums(scorer, tokens)
    assert (cuts.cuts, cuts.changed, cuts.largest_change_nats, cuts.repeats) == (8, 0, 0.0, True)
    assert cuts.targets >= 1000 and cuts.compared > 4000
    assert count.once_each and count.scores_made == len(tokens) - 1
    shorter = check_shorter(scorer, tokens)
    assert (shorter.changed, shorter.compared > 500) == (0, True)
    assert sums.one and sums.complete and sums.positions > 10
    assert check_bytes(scorer, tokens).wrong_documents == 0


WARM = (
    *LORA, "ttt.score_first_lora.warm_queues=2", "ttt.score_first_lora.batch_documents=2",
    "ttt.score_first_lora.projections=[query,output,head]", "ttt.score_first_lora.chunk_by_length=[[64, 16]]",
    "ttt.score_first_lora.max_seconds=1000",
)  # fmt: skip


def test_lora_is_legal_in_the_order_in_which_it_scores_and_in_no_other(make, monkeypatch):
    scorer, tokens = make(PackedScorer, *WARM, adapted=True)
    assert scorer.ordered and scorer.comparable_targets(1000) == 0
    assert sorted(scorer.order(tokens)) == stream_order(tokens).tolist() != scorer.order(tokens).tolist()
    assert [trial.moves_documents for trial in scorer.trials()] == [False, False]
    cuts, (count, _) = check_cuts(scorer, tokens), check_count(scorer, tokens)
    assert (cuts.changed, cuts.reordered, cuts.repeats, count.once_each) == (0, 0, True, True)
    alone = scorer.trials()[1:]
    monkeypatch.setattr(scorer, "order", stream_order)
    monkeypatch.setattr(scorer, "trials", lambda: alone)
    assert check_cuts(scorer, tokens).changed > 100


def test_lora_is_legal_where_a_window_does_not_know_where_its_document_ends(make, monkeypatch):
    monkeypatch.setattr("golfpipe.adapt.document_chunks.chunk_window", cheats.window_that_does_not)
    scorer, tokens = make(PackedScorer, *LORA, adapted=True)
    assert [trial.moves_documents for trial in scorer.trials()] == [False, True]
    cuts = check_cuts(scorer, tokens)
    assert (cuts.changed, cuts.repeats) == (0, True)
    assert cuts.largest_change_nats <= CutsFound.TOLERANCE
    assert check_count(scorer, tokens)[0].once_each and check_sums(scorer, tokens).one
    shorter = check_shorter(scorer, tokens)
    assert (shorter.changed, shorter.compared > 500) == (0, True)


def test_a_window_that_knows_where_its_document_ends_is_caught(make, monkeypatch):
    monkeypatch.setattr("golfpipe.adapt.document_chunks.chunk_window", cheats.window_that_knows_the_end)
    cuts = check_cuts(*make(PackedScorer, *LORA, adapted=True))
    assert cuts.changed > 0 and cuts.largest_change_nats > 0.01


def test_the_cosine_recipe_of_the_pull_request_is_caught(make):
    scorer, tokens = make(PackedScorer, "ttt.method=cosine", "ttt.cosine.lr=2e-3", adapted=True)
    assert (scorer.name, scorer.adapts) == ("cosine+sliding", True)
    cuts, sums = check_cuts(scorer, tokens), check_sums(scorer, tokens)
    assert cuts.repeats and cuts.changed > 0.9 * cuts.compared
    assert sums.swaps_exceed_one  # it has learned from the very token that it scores
    assert sums.largest_deviation < 1e-5  # each distribution by itself is one


def test_peeking_ahead_is_caught(make):
    cuts = check_cuts(*make(cheats.PeeksAhead))
    assert 1 <= cuts.changed <= 8  # of each cut the one target that sees the first altered token
    assert cuts.largest_change_nats == pytest.approx(0.01, rel=0.01)


def test_a_peek_that_begins_late_is_caught_by_a_longer_trial(make, chain):
    scorer, tokens = make(cheats.PeeksLate)
    assert check_cuts(scorer, tokens).changed == 0
    assert check_cuts(scorer, load_validation(chain.data, load_tokenizer(chain.data)).tokens).changed > 0


def test_the_better_of_two_scores_is_caught_where_only_one_is_told(make):
    scorer, tokens = make(cheats.BestOfTwo)
    count, _ = check_count(scorer, tokens)
    assert count.scores_made == count.targets and not count.once_each
    assert count.scores_computed == 2 * count.targets
    assert check_cuts(scorer, tokens).changed == 0 and check_sums(scorer, tokens).one  # nothing else shows it


def test_knowing_the_length_of_the_text_is_caught(make):
    scorer, tokens = make(cheats.KnowsTheLength)
    assert check_cuts(scorer, tokens).changed == 0
    shorter = check_shorter(scorer, tokens)
    assert shorter.changed > 0.9 * shorter.compared


def _on_copy(chain, folder):
    """A request to score a copy of the data, and the copy."""
    config = chain.job("evaluate", "unused", inherit=chain.packed, model=chain.packed, data=chain.data).config
    assert copy_data(chain.data, folder / "data", 3000) == (8444, False)
    request = {"packed": str(chain.packed.path), "data": str(folder / "data"), "config": plain_config(config),
               "adapted": False, "device": "cpu"}  # fmt: skip
    return request, DataCopy(open_artifact(folder / "data"))


def test_the_altered_text_is_what_a_method_finds_in_the_file(chain, tmp_path):
    request, data = _on_copy(chain, tmp_path)
    honest, cheat = (on_file(build(request), data) for build in (child.packed_scorer, cheats.reads_the_file))
    tokens = data.text()[:1100]
    cuts = check_cuts(cheat, tokens)
    assert cuts.repeats and cuts.changed > 0.5 * cuts.compared
    assert check_cuts(honest, tokens).changed == 0
    copy = open_artifact(tmp_path / "data")
    copy.file(next(name for name in copy.manifest.files if "val_" in name))  # its manifest fits each text
    assert load_tokenizer(copy).vocab_size == 384
    assert all(path.is_relative_to(chain.data.path) for path in map(copy.path_of, split_files(copy, "train")))


@pytest.mark.parametrize("build", [cheats.reads_the_file_first, cheats.keeps_it_on_disk])
def test_what_is_kept_from_the_file_shows_where_everything_begins_anew(chain, tmp_path, monkeypatch, build):
    request, data = _on_copy(chain, tmp_path)
    tokens = data.text()[:1100]
    found = []
    for text in (tokens, restart_text(child.packed_scorer(request), tokens)[0]):
        (tmp_path / f"home-{len(found)}").mkdir()
        monkeypatch.chdir(tmp_path / f"home-{len(found)}")
        data.place(text)
        scorer = on_file(build(request), data)
        found.append(scorer.score(text, silent))
        assert check_cuts(scorer, text).changed == 0
    changed = compare(*found, 549, 1e-6)
    assert changed.compared == 549 and changed.changed > 400


@pytest.mark.parametrize(("cheat", "made"), [(cheats.ScoresTwice, 2.0), (cheats.SkipsTargets, 0.98)])
def test_scoring_more_or_less_than_once_is_caught(make, cheat, made):
    scorer, tokens = make(cheat)
    count, _ = check_count(scorer, tokens)
    assert not count.once_each
    assert count.scores_made / count.targets == pytest.approx(made, abs=0.01)


def test_probabilities_that_do_not_sum_to_one_are_caught(make):
    sums = check_sums(*make(cheats.Unnormalized))
    assert not sums.one and sums.swapped_sum > 1.001


def test_training_before_scoring_is_caught_twice(make):
    scorer, tokens = make(cheats.TrainsFirst)
    cuts, sums = check_cuts(scorer, tokens), check_sums(scorer, tokens)
    assert cuts.changed > 0.5 * cuts.compared
    assert sums.swaps_exceed_one


def test_wrong_bytes_are_caught(make):
    scorer, tokens = make(cheats.WrongBytes)
    found = check_bytes(scorer, tokens)
    assert found.documents > 0
    assert found.wrong_documents == found.documents
    assert found.table_bytes == found.decoded_bytes + found.documents


def test_a_method_that_remembers_is_not_judged_by_its_cuts(make):
    assert not check_cuts(*make(cheats.Remembers)).repeats


def test_sums_that_take_too_long_can_only_fail(make):
    scorer, tokens = make()
    sums = check_sums(scorer, tokens, seconds=0.0)
    assert (sums.complete, sums.swapped_tokens, sums.one) == (False, 1, True)


def test_cuts_cover_a_thousand_targets_and_the_last_update():
    cuts = cut_points(1025)
    assert len(cuts) == 8 and cuts[-1] - 1 >= 1000 and cuts == sorted(cuts)
    late = cut_points(32_768 + 128)
    assert sum(cut > 32_768 for cut in late) == 2


@pytest.mark.parametrize("moves", [False, True])
def test_every_token_after_the_cut_is_another_one_or_a_kept_document_start(make, moves):
    scorer, tokens = make()
    trial = Trial(score=scorer.score, moves_documents=moves)
    other = altered(tokens, stream_order(tokens), 500, trial, scorer, np.random.default_rng(0))
    assert (other[:500] == tokens[:500]).all()
    same = other[500:] == tokens[500:]
    starts = tokens[500:] == scorer.bos_id
    assert ((other[500:] == scorer.bos_id) == starts).all() != moves
    assert not same[~starts].any()


def test_scores_come_from_the_packed_weights_each_time(make):
    scorer, tokens = make(PackedScorer, *SGD, adapted=True)
    first, second = scorer.score(tokens, silent), scorer.score(tokens, silent)
    assert (first == second).all()
