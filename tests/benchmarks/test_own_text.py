"""The comparison of orders of documents runs at toy size, and docs/results.md says what it found."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_chain import write_small_stages, write_texts

from benchmarks import own_text
from benchmarks.tables import DOCS, RESULTS
from golfpipe.cli.app import main
from golfpipe.data.shard_files import ShardFile
from golfpipe.data.shard_writer import ShardWriter

BOS = 1


def in_this_process(*words: str) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()) as answer:
        assert main([*words, "--json"]) == 0
    return dict(json.loads(answer.getvalue()))


def test_orders_differ_in_nothing_but_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_stages(tmp_path)
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_text, "golfpipe", in_this_process)
    results = own_text.compare_orders(Path("my-texts"), Path("work"), shuffles=1)
    assert list(results) == ["plain commands", "shuffled by hand, seed 0", "in the order of the files"]
    assert len({(row["tokens"], row["steps"], row["scored_targets"]) for row in results.values()}) == 1
    assert len({row["val_bpb"] for row in results.values()}) == 3
    assert results["shuffled by hand, seed 0"]["ratio_to_shuffled"] == 1.0


def test_shuffling_moves_whole_documents(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    documents = [[BOS, *range(10, 10 + size)] for size in (3, 1, 4, 1, 5, 9, 2, 6)]
    for split in ("train", "val"):
        with ShardWriter(source, split, shard_tokens=1000) as writer:
            writer.write(np.array([token for document in documents for token in document], dtype=np.uint16))
    own_text.shuffle_shards(source, tmp_path / "out", BOS, seed=0)
    for split in ("train", "val"):
        tokens = ShardFile(tmp_path / "out" / f"{split}_000000.bin")[:]
        found = [part.tolist() for part in np.split(tokens, np.flatnonzero(tokens == BOS)[1:])]
        assert found != documents and Counter(map(tuple, found)) == Counter(map(tuple, documents))


def test_the_page_says_what_was_found() -> None:
    page = (DOCS / "results.md").read_text().partition("## Own text in four languages")[2]
    results = json.loads((RESULTS / "own_text.json").read_text())["results"]
    for name, row in results.items():
        assert f"| {name} | {row['val_bpb']:.4f} | {row['ratio_to_shuffled'] - 1:+.1%} |".replace("%", " %") in page
    assert abs(results["plain commands"]["ratio_to_shuffled"] - 1) <= 0.02
