"""Own text: the split is what was asked for, copies stay together, white space survives, and what happens is said."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_reporter import RecordingReporter

from golfpipe.data.inspect import inspect_shards, iterate_documents
from golfpipe.data.token_data import load_shards, load_tokenizer, load_validation
from golfpipe.errors import ConfigError, DataError
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.pipeline.data_places import tokenized_folder
from golfpipe.pipeline.data_sources import tokenize_arguments
from golfpipe.pipeline.settings import Settings
from golfpipe.store.artifact import Artifact

WORDS = tuple("the model reads every token of a text and says how likely the next one is".split())  # noqa: SIM905


def prose(number: int, paragraphs: int) -> str:
    chance = random.Random(number)
    return "\n\n".join(" ".join(chance.choices(WORDS, k=30)) + ".\n  indented" for _ in range(paragraphs)) + "\n"


def tokenized(folder: Path, *overrides: str, **more: Any) -> tuple[Artifact, RecordingReporter]:
    reporter = RecordingReporter()
    resolved = Settings(overrides=overrides).resolve()
    plain = {"tokenizer": None, "separator": None, "processes": 1, "name": None, "settings": resolved}
    arguments, digest, _ = tokenize_arguments([folder], **(plain | more))
    job = Job(
        stage=STAGES["data-tokenize"], config=resolved.config, inputs={},
        out=folder.parent / f"data{len(overrides)}{len(list(folder.parent.iterdir()))}", arguments=arguments,
        argument_digest=digest, context=Context(reporter=reporter),
    )  # fmt: skip
    return run_job(job).artifact, reporter


def texts_of(data: Artifact, split: Any) -> list[str]:
    tokenizer = load_tokenizer(data)
    return [tokenizer.decode(ids) for ids in iterate_documents(load_shards(data, split), tokenizer.bos_id)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    return tmp_path / "texts"


@pytest.mark.parametrize("fraction", [0.05, 0.2])
def test_few_large_texts_give_the_split_that_was_asked_for(folder, fraction):
    sources = [prose(number, 1500) for number in range(3)]
    for number, text in enumerate(sources):
        (folder / f"{number}.txt").write_text(text)
    data, reporter = tokenized(folder, f"data.val_fraction={fraction}")
    metrics = data.manifest.metrics
    assert metrics["original_bytes"] == metrics["decoded_bytes"] == sum(len(text) for text in sources)
    assert metrics["val_bytes"] / metrics["decoded_bytes"] == pytest.approx(fraction, rel=0.25)
    pieces = [*texts_of(data, "train"), *texts_of(data, "val")]
    assert sum(map(len, pieces)) == metrics["original_bytes"]
    assert all(any(piece in source for source in sources) for piece in pieces)
    said = "\n".join(reporter.notes)
    assert "the texts are cut at blank lines into" in said
    assert f"{fraction:.1%} of the text was asked for" in said
    assert "every document comes back from its tokens as it was" in said
    assert not reporter.warnings


def test_a_split_far_from_what_was_asked_is_a_warning(folder):
    (folder / "lines.jsonl").write_text('{"text": "one text that is long enough"}\n{"text": "another"}\n')
    data, reporter = tokenized(folder, "data.val_fraction=0.4")
    assert any("not 40.0%" in warning and "data.val_fraction" in warning for warning in reporter.warnings)
    assert data.manifest.metrics["vocab_size"] < 1024
    assert any("gets a vocabulary of" in note for note in reporter.notes)


def test_kinds_are_mixed_on_both_sides_unless_told_not_to(folder):
    for kind in "ab":
        for number in range(150):
            (folder / f"{kind}{number:03d}.txt").write_text(f"{kind} {prose(number, 1)}")
    mixed, _ = tokenized(folder, "data.val_fraction=0.3")
    in_order, _ = tokenized(folder, "data.val_fraction=0.3", "data.shuffle=false")
    for split in ("train", "val"):
        kinds = [text[0] for text in texts_of(in_order, split)]
        assert kinds == sorted(kinds)
        assert sorted(texts_of(mixed, split)) == sorted(texts_of(in_order, split))
        first = np.mean([text[0] == "a" for text in texts_of(mixed, split)][: len(kinds) // 2])
        assert first == pytest.approx(0.5, abs=0.2)


def test_copies_are_on_one_side_and_the_tokenizer_sees_none_of_validation(folder):
    (folder / "lines.jsonl").write_text('{"text": "one two"}\n{"text": "three"}\n' * 2)
    data, _ = tokenized(folder)
    train, val = texts_of(data, "train"), texts_of(data, "val")
    assert sorted([*train, *val]) == ["one two", "one two", "three", "three"]
    assert len(set(train)) == len(set(val)) == 1
    letters = {letter for letter in val[0] if letter not in train[0]}
    assert not letters & set("".join(load_tokenizer(data).pieces[260:]))


def test_source_code_comes_back_and_the_challenges_form_is_a_setting(folder):
    source = Path(__file__).read_text()
    for number in range(30):
        (folder / f"{number}.txt").write_text(f"{source[number * 90 : number * 90 + 900]}# {number}\n")
    data, _ = tokenized(folder)
    assert sorted([*texts_of(data, "train"), *texts_of(data, "val")]) == sorted(
        (folder / f"{number}.txt").read_text() for number in range(30)
    )
    plain, reporter = tokenized(folder, "data.normalization=nmt_nfkc")
    assert not any("\n" in text or "  " in text for text in texts_of(plain, "train"))
    metrics, changes = plain.manifest.metrics, plain.manifest.provenance["text_changes"]
    lost = metrics["original_bytes"] - metrics["decoded_bytes"]
    assert lost == sum(size for step, size in changes.items() if step != "line_breaks") > 0
    assert f"none is left around a document: {lost:,} bytes fewer" in "\n".join(reporter.notes)
    assert "line breaks gone" in "\n".join(reporter.notes)


def test_what_is_left_out_of_folders_is_listed(folder):
    for number in range(9):
        (folder / f"{number}.md.gz").write_bytes(gzip.compress(prose(number, 2).encode()))
    (folder / "picture.png").write_bytes(b"\x89")
    (folder / ".hidden").write_text("x")
    data, reporter = tokenized(folder)
    assert data.manifest.metrics["train_documents"] + data.manifest.metrics["val_documents"] == 9
    assert any(
        "left out of the folders: 1 .png, 1 hidden" in note or "1 hidden, 1 .png" in note for note in reporter.notes
    )


def test_vocabularies_and_transforms_of_a_text_lie_side_by_side(folder: Path) -> None:
    """Names differ, and validation has the same documents with the same bytes, each proven against its source."""
    sources = [f"{number} The {prose(number, 1).title()}\u00c4 {prose(number, 1).upper()}" for number in range(40)]
    (folder / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in sources))
    places, vals = set(), []
    for size, transform in [(300, "none"), (300, "caps"), (300, "caps_before_space"), (340, "caps")]:
        overrides = (f"data.vocab_size={size}", f"data.transform={transform}", "data.val_fraction=0.2")
        places.add(tokenized_folder(folder, Settings(overrides=overrides).resolve()).name)
        data, reporter = tokenized(folder, *overrides)
        assert load_tokenizer(data).transform == transform
        assert any("every document comes back from its tokens as it was" in line for line in reporter.notes)
        vals.append(texts_of(data, "val"))
        text = load_validation(data, load_tokenizer(data))
        assert text.from_sidecar == (transform != "none")
        starts = np.flatnonzero(text.tokens == 1)
        counted = np.add.reduceat(np.append(0, text.sizes), starts)
        assert counted.tolist() == [len(document.encode()) for document in vals[-1]]
        assert data.manifest.metrics["val_bytes"] == text.sizes.sum()
        assert inspect_shards(data.folder, load_tokenizer(data))["val"].known_from in ("text", "sidecar and text")
    assert places == {"texts-300", "texts-300-caps", "texts-300-caps_before_space", "texts-340-caps"}
    assert all(val == vals[0] for val in vals)
    assert set(vals[0]) < set(sources)


def test_sidecars_of_other_bytes_are_refused(folder: Path) -> None:
    (folder / "a.jsonl").write_text("\n".join(json.dumps({"text": f"The {number:0200}"}) for number in range(60)))
    data, _ = tokenized(folder, "data.transform=caps", "data.val_fraction=0.3")
    path, tokenizer = data.folder / "val_bytes_000000.bin", load_tokenizer(data)
    values = bytearray(path.read_bytes())
    values[-2] += 1
    path.write_bytes(values)
    with pytest.raises(DataError, match=r"the sidecars give document \d+ 205 bytes, its text has 204"):
        inspect_shards(data.folder, tokenizer)


def test_a_transform_needs_text_as_it_is() -> None:
    with pytest.raises(ConfigError, match=r"data\.transform=caps needs data\.normalization=identity"):
        Settings(overrides=("data.transform=caps", "data.normalization=nmt_nfkc")).resolve()


def named_folder(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_jsonl", ".jsonl").replace("_txt", ".txt")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def lines(*texts: str) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


@pytest.mark.parametrize(
    "names",
    [("train_jsonl", "val_jsonl"), ("my-training_jsonl", "my-validation_jsonl"), ("train__0_jsonl", "val__0_jsonl")],
)
def test_files_named_train_and_validation_are_those_splits(folder, names):
    train, val = ([prose(number, 8) for number in numbers] for numbers in (range(12), range(20, 23)))
    data, reporter = tokenized(named_folder(folder, **{names[0]: lines(*train), names[1]: lines(*val)}))
    assert sorted(texts_of(data, "train")) == sorted(train) and sorted(texts_of(data, "val")) == sorted(val)
    said = " ".join(reporter.notes)
    assert "the files of that name" in said and "3 of 15 documents" in said and not reporter.warnings


def test_copies_between_named_files_and_files_of_neither_name_are_said(folder):
    train, val = ([prose(number, 8) for number in numbers] for numbers in (range(12), range(20, 23)))
    files = {"train_jsonl": lines(*train, val[0]), "val_jsonl": lines(*val), "test_jsonl": lines("never seen")}
    data, reporter = tokenized(named_folder(folder, **files))
    assert len(texts_of(data, "train")) == 13 and "never seen" not in texts_of(data, "train")
    said = " ".join(reporter.warnings)
    assert "1 of the training documents are also for validation" in said and "left out: test.jsonl" in said


def test_other_names_give_another_key(folder):
    plain = {"tokenizer": None, "separator": None, "processes": 1, "name": None}
    digests = set()
    for names in (("a_txt", "b_txt"), ("train_txt", "val_txt"), ("val_txt", "wtrain_txt"), ("val_txt", "x-train_txt")):
        inner = folder / "-".join(names)
        inner.mkdir()
        named_folder(inner, **dict(zip(names, ("one text", "two texts"), strict=True)))
        digests.add(tokenize_arguments([inner], **plain)[1])
    assert len(digests) == 3  # `wtrain` is no word of a split, so a hash decides as for a and b
