"""Which split the names of files and folders say."""

from __future__ import annotations

from pathlib import Path

import pytest

from golfpipe.data.named_split import files_by_split


@pytest.mark.parametrize(
    ("names", "train", "val"),
    [
        (("train.jsonl", "val.jsonl", "test.jsonl"), ["train.jsonl"], ["val.jsonl"]),
        (("train/a.txt", "validation/b.txt"), ["train/a.txt"], ["validation/b.txt"]),
        (("train/a.txt", "train/b.txt", "my-val.txt"), ["train/a.txt", "train/b.txt"], ["my-val.txt"]),
        (("training/train.txt", "training/val.txt", "training/c.txt"), ["training/train.txt"], ["training/val.txt"]),
    ],
)
def test_names_of_both_splits_divide_the_files(names: tuple[str, ...], train: list[str], val: list[str]) -> None:
    found = files_by_split([Path(name) for name in names])
    assert found == {"train": [Path(name) for name in train], "val": [Path(name) for name in val]}


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("train.jsonl", "b.jsonl"),
        ("a.txt", "b.txt"),
        ("train-or-val.txt", "val.txt"),
        ("training/val.txt", "training/a.txt", "training/b.txt"),
    ],
)
def test_else_no_file_is_of_a_split(names: tuple[str, ...]) -> None:
    assert files_by_split([Path(name) for name in names]) is None
