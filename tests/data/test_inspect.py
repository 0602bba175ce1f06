import resource

import numpy as np
import pytest

from golfpipe.data import inspect as inspect_module
from golfpipe.data.inspect import inspect_shards, iterate_documents
from golfpipe.data.shard_files import ShardFile
from golfpipe.data.shard_format import shard_header
from golfpipe.data.shard_writer import ShardWriter
from golfpipe.errors import DataError
from golfpipe.training.token_stream import TokenStream


def write_shards(folder, split, documents, shard_tokens=100):
    with ShardWriter(folder, split, shard_tokens=shard_tokens) as writer:
        for ids in documents:
            writer.write(ids)


@pytest.fixture(params=[7, 1 << 20])
def _block_tokens(monkeypatch, request):
    monkeypatch.setattr(inspect_module, "BLOCK_TOKENS", request.param)


@pytest.mark.usefixtures("_block_tokens")
def test_counts_of_both_splits(tokenizer, encoded, tmp_path):
    write_shards(tmp_path, "train", encoded)
    write_shards(tmp_path, "val", encoded[:2])
    inspections = inspect_shards(tmp_path, tokenizer)
    for split, documents in (("train", encoded), ("val", encoded[:2])):
        inspection = inspections[split]
        num_bytes = sum(len(tokenizer.decode(ids).encode("utf-8")) for ids in documents)
        assert inspection.tokens == sum(map(len, documents)) == sum(shard.tokens for shard in inspection.shards)
        assert inspection.documents == len(documents) == sum(shard.documents for shard in inspection.shards)
        assert inspection.bytes == num_bytes
        assert inspection.bytes_per_token == num_bytes / (inspection.tokens - 1)
        assert inspection.known_from == ("text" if split == "val" else "table")
    assert len(inspections["train"].shards) > 3
    assert inspections["val"].sample.startswith("The quick brown fox")


def test_documents_span_blocks_and_shards(encoded):
    tokens = np.concatenate(encoded)
    for shard_tokens, block_tokens in ((5, 3), (100, 7), (len(tokens), 1 << 20)):
        shards = [tokens[start : start + shard_tokens] for start in range(0, len(tokens), shard_tokens)]
        documents = list(iterate_documents(shards, 1, block_tokens=block_tokens))
        assert [ids.tolist() for ids in documents] == [ids.tolist() for ids in encoded]


def test_a_run_that_begins_within_a_document(tokenizer, encoded, tmp_path):
    write_shards(tmp_path, "val", [encoded[3][5:], encoded[4]])
    inspection = inspect_shards(tmp_path, tokenizer)["val"]
    assert inspection.documents == 1
    documents = list(iterate_documents([np.concatenate((encoded[3][5:], encoded[4]))], tokenizer.bos_id))
    assert [ids.tolist() for ids in documents] == [encoded[3][5:].tolist(), encoded[4].tolist()]


def test_empty_shards_are_fine(tokenizer, tmp_path):
    (tmp_path / "val_000000.bin").write_bytes(shard_header(0))
    inspection = inspect_shards(tmp_path, tokenizer)["val"]
    assert (inspection.tokens, inspection.bytes, inspection.bytes_per_token, inspection.sample) == (0, 0, 0.0, "")


def test_a_document_that_the_byte_table_does_not_fit(tokenizer, encoded, tmp_path):
    write_shards(tmp_path, "val", [encoded[0], np.insert(encoded[1], 4, 3)])
    with pytest.raises(DataError, match="unknown piece '<unk>'"):
        inspect_shards(tmp_path, tokenizer)
    assert inspect_shards(tmp_path, tokenizer, prove=())["val"].known_from == "table"


def test_ids_of_another_tokenizer_are_refused(tokenizer, encoded, tmp_path):
    write_shards(tmp_path, "train", [encoded[0], [420]])
    with pytest.raises(DataError, match=r"train_000000\.bin: token id 420 lies outside the tokenizer's 0\.\.419"):
        inspect_shards(tmp_path, tokenizer)


def test_every_header_is_checked(tokenizer, encoded, tmp_path):
    write_shards(tmp_path, "train", encoded)
    last = sorted(tmp_path.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-2])
    with pytest.raises(DataError, match=rf"{last.name}: token count"):
        inspect_shards(tmp_path, tokenizer)


def test_a_folder_without_shards_is_refused(tokenizer, tmp_path):
    with pytest.raises(DataError, match="holds no shard"):
        inspect_shards(tmp_path, tokenizer)


def test_more_shards_than_files_may_be_open(tokenizer, encoded, tmp_path):
    tokens = np.concatenate(encoded)
    with ShardWriter(tmp_path, "train", shard_tokens=2) as writer:
        writer.write(np.resize(tokens, 400))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(100, before[0]), before[1]))
    try:
        inspection = inspect_shards(tmp_path, tokenizer)["train"]
        shards = [ShardFile(shard.path) for shard in inspection.shards]
        assert TokenStream(shards).take(400).tolist() == np.resize(tokens, 400).tolist()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(inspection.shards) == 200
