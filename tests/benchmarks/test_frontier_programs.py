"""The programs for the frontier at equal bytes: their cases fit, texts come back, differences are paired."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.frontier import law, limit_table, search, switches, transforms
from benchmarks.frontier.search import CASES
from benchmarks.frontier.switches import SWITCHES, beside
from benchmarks.frontier.yardstick import write_texts
from benchmarks.tables import DOCS, RESULTS
from golfpipe.data.shard_writer import ShardWriter
from golfpipe.data.tokenizer import train_tokenizer
from golfpipe.pipeline.settings import Settings
from golfpipe.planning.candidates import candidates, parse_vary
from golfpipe.planning.sizes import LEAST_BITS, bits_at


@pytest.mark.parametrize("name", CASES)
def test_designs_of_every_case_fit_its_bytes(name: str) -> None:
    config = Settings(preset="tiny").resolve().config
    found = candidates(parse_vary(CASES[name].vary, config, has_text=True), config)
    fitting = [one for one in found if bits_at(one.config.model, CASES[name].size) >= LEAST_BITS]
    assert len(fitting) >= CASES[name].tries


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_changes_the_preset(name: str) -> None:
    changed, unchanged = (Settings(preset="tiny", overrides=found).resolve().config for found in (SWITCHES[name], ()))
    assert changed != unchanged


def test_texts_of_shards_come_back(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    documents = [f"The cat number {number} sat on the mat." for number in range(20)]
    tokenizer = train_tokenizer(documents, vocab_size=300, normalization="identity")
    (shards / "own.model").write_bytes(tokenizer.model_bytes)
    for split, texts in (("train", documents), ("val", documents[:3])):
        with ShardWriter(shards, split, shard_tokens=1000) as writer:
            writer.write(np.concatenate(tokenizer.encode(texts)))
    folder = write_texts(shards, tmp_path)
    for split, texts in (("train", documents), ("val", documents[:3])):
        lines = (folder / f"{split}.jsonl").read_text().splitlines()
        assert [json.loads(line)["text"] for line in lines] == texts


def test_differences_are_those_of_equal_seeds() -> None:
    found = beside({"bpb": [2.0, 3.0]}, {"bpb": [2.5, 2.75]})
    assert found["differences"] == [0.5, -0.25] and found["difference"] == 0.125


def test_the_page_has_the_laws_ranking_for_the_limit() -> None:
    assert limit_table.table() in (DOCS / "planning.md").read_text()


def test_the_page_has_what_the_searches_found_and_how_far_the_law_is_from_it() -> None:
    results = json.loads((RESULTS / "frontier_search.json").read_text())["results"]
    page = (DOCS / "planning.md").read_text()
    assert search.table(results) in page and law.table(results) in page


def test_the_page_has_what_the_switches_are_worth() -> None:
    results = json.loads((RESULTS / "frontier_switches.json").read_text())["results"]
    assert set(results) == {"none", *SWITCHES}
    assert switches.table(results) in (DOCS / "model.md").read_text()


def test_the_page_has_what_case_transforms_gain() -> None:
    found = json.loads((RESULTS / "frontier_transforms.json").read_text())
    page = (DOCS / "stages" / "data.md").read_text()
    assert transforms.table(found["results"]) in page and transforms.winners_table(found["winners"]) in page
