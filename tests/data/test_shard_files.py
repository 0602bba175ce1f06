import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.data.shard_files import ShardFile, list_shards, read_shard_length
from golfpipe.data.shard_format import shard_header, sidecar_name
from golfpipe.data.shard_writer import ShardWriter
from golfpipe.errors import DataError


def test_file_is_pinned(tmp_path):
    with ShardWriter(tmp_path, "val", shard_tokens=10) as writer:
        writer.write(np.array([1, 258, 65535]))
    assert writer.paths == [tmp_path / "val_000000.bin"]
    assert writer.paths[0].read_bytes() == shard_header(3) + bytes([1, 0, 2, 1, 255, 255])


@settings(max_examples=30, deadline=None)  # each syncs its files
@given(st.lists(st.lists(st.integers(0, 65535), max_size=12), max_size=8), st.integers(1, 9))
def test_round_trip_over_shards(tmp_path_factory, parts, shard_tokens):
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, "train", shard_tokens=shard_tokens) as writer:
        for part in parts:
            writer.write(np.array(part, dtype=np.uint16))
    tokens = [token for part in parts for token in part]
    assert writer.num_tokens == len(tokens)
    assert writer.paths == list_shards(folder, "train")
    shards = [ShardFile(path) for path in writer.paths]
    assert [len(shard) for shard in shards[:-1]] == [shard_tokens] * (len(shards) - 1)
    assert [int(token) for shard in shards for token in shard[:]] == tokens


def test_an_unfinished_shard_is_refused(tmp_path):
    with pytest.raises(RuntimeError), ShardWriter(tmp_path, "train", shard_tokens=10) as writer:
        writer.write(np.array([1, 2]))
        raise RuntimeError
    with pytest.raises(DataError, match="token count 0 needs a file of 1024 bytes, found 1028"):
        ShardFile(tmp_path / "train_000000.bin")


def test_shards_are_listed_by_split_and_name(tmp_path):
    names = [
        "fineweb_train_000001.bin",
        "fineweb_train_000000.bin",
        "fineweb_val_000000.bin",
        "train_x.txt",
        "notes.bin",
    ]
    for name in names:
        (tmp_path / name).write_bytes(shard_header(0))
    (tmp_path / "train_folder.bin").mkdir()
    assert [path.name for path in list_shards(tmp_path, "train")] == names[1::-1]
    assert [path.name for path in list_shards(tmp_path, "val")] == names[2:3]


def test_sidecars_are_no_shards(tmp_path):
    for name in ("fineweb_val_000000.bin", "fineweb_val_bytes_000000.bin", "fineweb_train_bytes_000000.bin"):
        (tmp_path / name).write_bytes(shard_header(0))
    assert [path.name for path in list_shards(tmp_path, "val")] == ["fineweb_val_000000.bin"]
    assert list_shards(tmp_path, "train") == []
    assert sidecar_name("fineweb_val_000000.bin", "val") == "fineweb_val_bytes_000000.bin"


def test_errors_name_the_file(tmp_path):
    with pytest.raises(DataError, match=r"train_000000\.bin: cannot be read: No such file"):
        read_shard_length(tmp_path / "train_000000.bin")
    (tmp_path / "train_000000.bin").write_bytes(b"text" * 400)
    with pytest.raises(DataError, match=r"train_000000\.bin: magic is 1954047348"):
        ShardFile(tmp_path / "train_000000.bin")
    with pytest.raises(DataError, match="shard_tokens=0"):
        ShardWriter(tmp_path, "train", shard_tokens=0)
