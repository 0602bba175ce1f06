import numpy as np
import pytest

from golfpipe.data import encode_documents as encode_module
from golfpipe.data.document_split import split_hash
from golfpipe.data.encode_documents import encode_documents
from golfpipe.data.shard_files import list_shards, open_shard
from golfpipe.data.tokenize import tokenize_documents
from golfpipe.errors import DataError


@pytest.fixture(scope="module")
def documents(sentences) -> list[str]:
    """Each has a newline, which normalization turns into a space."""
    return [f"{number} {sentences[number % 5]}\n{sentences[number * 3 % 5]}" for number in range(60)]


def tokens_of(folder, split) -> list[int]:
    return np.concatenate([open_shard(path) for path in list_shards(folder, split)]).tolist()


def test_shards_hold_bos_and_ids_of_each_split(tokenizer, documents, tmp_path):
    seen = []
    summary = tokenize_documents(
        documents, tokenizer, tmp_path, val_fraction=0.2, shard_tokens=500, progress=seen.append
    )
    for split, counts in (("train", summary.train), ("val", summary.val)):
        texts = [text for text in documents if (split_hash(text) < 0.2) == (split == "val")]
        ids = tokenizer.encode(texts)
        stored = tokens_of(tmp_path, split)
        assert len(stored) == counts.tokens == sum(map(len, ids))
        assert sorted(map(bytes, np.split(stored, np.flatnonzero(np.array(stored) == 1)[1:]))) == sorted(
            bytes(document.astype(np.int64)) for document in ids
        )
        assert counts.documents == counts.changed_documents == len(texts)  # each has a newline
        assert counts.original_bytes == sum(len(text.encode()) for text in texts)
        assert counts.decoded_bytes == sum(len(tokenizer.decode(document).encode()) for document in ids)
        assert counts.bytes_per_token == counts.decoded_bytes / counts.tokens
    assert len(summary.train.shards) > 1
    assert summary.train.decoded_bytes < summary.train.original_bytes  # the full-width comma becomes a plain one
    assert seen == sorted(seen) and seen[-1] == summary.train.tokens + summary.val.tokens


def test_processes_do_not_change_the_result(tokenizer, documents, tmp_path, monkeypatch):
    monkeypatch.setattr(encode_module, "CHUNK_CHARACTERS", 300)
    summaries = []
    for num_processes in (1, 2):
        folder = tmp_path / str(num_processes)
        folder.mkdir()
        settings = {"val_fraction": 0.2, "shard_tokens": 700, "num_processes": num_processes}
        summary = tokenize_documents(iter(documents), tokenizer, folder, **settings)
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
    assert [next(encoded).text for _ in range(3)] == [f"document number {number}" for number in (1, 2, 3)]
    encoded.close()
    assert drawn <= 3 + 2 * num_processes


def test_unchanged_and_blank_documents_are_counted(tokenizer, tmp_path):
    documents = ["plain text", "other plain text", "two  spaces", "\u200b", "\ufeff \u200b"]
    summary = tokenize_documents(documents, tokenizer, tmp_path, val_fraction=0.2, shard_tokens=500)
    assert summary.blank_documents == 2
    assert summary.train.documents + summary.val.documents == 3
    assert summary.train.changed_documents + summary.val.changed_documents == 1


def test_a_small_corpus_has_a_validation_document(tokenizer, documents, tmp_path):
    documents = [text for text in documents if split_hash(text) > 0.5][:4]
    summary = tokenize_documents(documents, tokenizer, tmp_path, val_fraction=0.01, shard_tokens=500)
    assert (summary.train.documents, summary.val.documents) == (3, 1)
    assert tokens_of(tmp_path, "val") == tokenizer.encode([min(documents, key=split_hash)])[0].tolist()


def test_one_document_is_refused(tokenizer, tmp_path):
    with pytest.raises(DataError, match="the corpus has 1 document; at least two are needed"):
        tokenize_documents(["alone", "\u200b"], tokenizer, tmp_path, val_fraction=0.2, shard_tokens=500)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_refused_document_is_named_by_its_number(train_plain, monkeypatch, num_processes):
    monkeypatch.setattr(encode_module, "CHUNK_CHARACTERS", 10)
    tokenizer = train_plain(byte_fallback=False, vocab_size=30)
    with pytest.raises(DataError, match=r"document 3: plain\.model: .*unknown piece") as caught:
        list(encode_documents(["the dog", "the cat", "the \U0001f600"], tokenizer, num_processes=num_processes))
    assert caught.value.hint is not None
