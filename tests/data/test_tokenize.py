from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from golfpipe.data import encode_documents as encode_module
from golfpipe.data import mixing
from golfpipe.data.document_split import TextPart, split_hash, survey_documents
from golfpipe.data.encode_documents import encode_documents
from golfpipe.data.inspect import iterate_documents
from golfpipe.data.shard_files import ShardFile, list_shards
from golfpipe.data.tokenize import tokenize_documents
from golfpipe.errors import DataError


@pytest.fixture(scope="module")
def documents(sentences) -> list[str]:
    """Each has a newline, which normalization turns into a space."""
    return [f"{number} {sentences[number % 5]}\n{sentences[number * 3 % 5]}" for number in range(60)]


def part(documents, threshold) -> list[TextPart]:
    return [TextPart(read=lambda: iter(documents), threshold=threshold)]


def tokens_of(folder, split) -> list[int]:
    return np.concatenate([ShardFile(path)[:] for path in list_shards(folder, split)]).tolist()


def test_shards_hold_bos_and_ids_of_each_split(tokenizer, documents, tmp_path):
    seen = []
    summary = tokenize_documents(part(documents, 0.2), tokenizer, tmp_path, shard_tokens=500, progress=seen.append)
    for split, counts in (("train", summary.train), ("val", summary.val)):
        texts = [text for text in documents if (split_hash(text) < 0.2) == (split == "val")]
        ids = tokenizer.encode(texts)
        stored = tokens_of(tmp_path, split)
        assert len(stored) == counts.tokens == sum(map(len, ids))
        assert sorted(map(bytes, np.split(stored, np.flatnonzero(np.array(stored) == 1)[1:]))) == sorted(
            bytes(document.astype(np.int64)) for document in ids
        )
        assert counts.documents == len(texts)
        assert counts.source_bytes == sum(len(text.encode()) for text in texts)
        assert counts.decoded_bytes == sum(len(tokenizer.decode(document).encode()) for document in ids)
    assert summary.changed_documents == summary.changes["line_breaks"] == len(documents)  # each has a newline
    assert len(list_shards(tmp_path, "train")) > 1
    assert summary.train.decoded_bytes < summary.train.source_bytes  # the full-width comma becomes a plain one
    assert seen == sorted(seen) and seen[-1] == summary.train.tokens + summary.val.tokens


def test_processes_do_not_change_the_result(tokenizer, documents, tmp_path, monkeypatch):
    monkeypatch.setattr(encode_module, "CHUNK_CHARACTERS", 300)
    summaries = []
    for num_processes in (1, 2):
        folder = tmp_path / str(num_processes)
        folder.mkdir()
        settings = {"shard_tokens": 700, "num_processes": num_processes}
        summary = tokenize_documents(part(documents, 0.2), tokenizer, folder, **settings)
        summaries.append(
            (summary.train.tokens, summary.val.decoded_bytes, tokens_of(folder, "train"), tokens_of(folder, "val"))
        )
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_few_chunks_are_in_flight(tokenizer, monkeypatch, num_processes):
    monkeypatch.setattr(encode_module, "CHUNK_CHARACTERS", 10)
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield f"document number {drawn}"

    encoded = encode_documents(endless(), tokenizer, num_processes=num_processes)
    expected = [split_hash(f"document number {number}") for number in (1, 2, 3)]
    assert [next(encoded).position for _ in range(3)] == expected
    encoded.close()
    assert drawn <= 3 + 2 * num_processes


def test_unchanged_and_blank_documents_are_counted(tokenizer, tmp_path):
    documents = ["plain text", "other plain text", "two  spaces", "\u200b", "\ufeff \u200b"]
    threshold = split_hash("plain text")
    summary = tokenize_documents(part(documents, threshold), tokenizer, tmp_path, shard_tokens=500)
    assert summary.blank_documents == 2
    assert summary.train.documents + summary.val.documents == 3
    assert summary.changed_documents == 1


def test_a_split_that_stays_empty_is_refused(tokenizer, tmp_path):
    with pytest.raises(DataError, match="no document is left for the train split"):
        tokenize_documents(part(["alone", "\u200b"], 1.0), tokenizer, tmp_path, shard_tokens=500)


documents_with_copies = st.lists(st.text("ab \n\u4f60", max_size=4), min_size=2, max_size=12)


@settings(deadline=None, max_examples=40)
@given(documents_with_copies, st.floats(0.05, 0.95), st.booleans())
def test_no_text_is_on_both_sides_and_none_is_lost(keeping_tokenizer, tmp_path_factory, documents, fraction, is_mixed):
    documents = [text for text in documents if text.strip()]
    assume(len(set(documents)) > 1)
    folder = tmp_path_factory.mktemp("split")
    survey = survey_documents(documents)
    tokenize_documents(
        part(documents, survey.threshold(fraction)), keeping_tokenizer, folder, shard_tokens=9,
        mixed_bytes=survey.bytes if is_mixed else None,
    )  # fmt: skip
    train, val = (decoded(keeping_tokenizer, folder, split) for split in ("train", "val"))
    assert train and val and not set(train) & set(val)
    assert Counter(train) + Counter(val) == Counter(documents)


def decoded(tokenizer, folder, split) -> list[str]:
    shards = [ShardFile(path) for path in list_shards(folder, split)]
    return [tokenizer.decode(ids) for ids in iterate_documents(shards, tokenizer.bos_id)]


@pytest.mark.parametrize("buckets", [1, 7])
def test_documents_are_mixed_in_an_order_that_repeats(tokenizer, tmp_path, monkeypatch, buckets):
    monkeypatch.setattr(mixing, "BUCKET_BYTES", 1000)
    documents = [f"number {number}" for number in range(400)]
    orders = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        tokenize_documents(
            part(documents, 0.5), tokenizer, tmp_path / name, shard_tokens=900, mixed_bytes=1000 * buckets
        )
        assert not list((tmp_path / name).glob(".*"))
        orders.append([decoded(tokenizer, tmp_path / name, split) for split in ("train", "val")])
    assert orders[0] == orders[1]
    for texts in orders[0]:
        numbers = np.array([int(text.split()[1]) for text in texts])
        assert abs(np.corrcoef(numbers, np.arange(len(numbers)))[0, 1]) < 0.2
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.2


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_refused_document_is_named_by_its_number(train_plain, monkeypatch, num_processes):
    monkeypatch.setattr(encode_module, "CHUNK_CHARACTERS", 10)
    tokenizer = train_plain(byte_fallback=False, vocab_size=30)
    with pytest.raises(DataError, match=r"document 3: plain\.model: .*unknown piece") as caught:
        list(encode_documents(["the dog", "the cat", "the \U0001f600"], tokenizer, num_processes=num_processes))
    assert caught.value.hint is not None
