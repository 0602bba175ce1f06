"""The shard header is pinned by its bytes; the stream equals reading the concatenated shards round and round."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.data.shard_format import SHARD_HEADER_BYTES, parse_shard_header, shard_header
from golfpipe.errors import DataError
from golfpipe.training.token_stream import TokenStream

shard_lengths = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any)


def make_shards(lengths: list[int]) -> list[np.ndarray]:
    ends = np.cumsum([0, *lengths])
    return [np.arange(a, b, dtype=np.uint16) for a, b in pairwise(ends)]


def test_header_is_pinned():
    header = shard_header(0x01020304)
    assert len(header) == 1024
    assert header[:12] == bytes([0x88, 0xD8, 0x34, 0x01, 1, 0, 0, 0, 0x04, 0x03, 0x02, 0x01])
    assert header[12:] == bytes(1012)


@given(st.integers(0, 2**31 - 1))
def test_header_round_trip(num_tokens):
    assert parse_shard_header(shard_header(num_tokens), SHARD_HEADER_BYTES + 2 * num_tokens, "a.bin") == num_tokens


def patched(index: int, value: int) -> bytes:
    fields = np.frombuffer(shard_header(3), dtype="<i4").copy()
    fields[index] = value
    return fields.tobytes()


@pytest.mark.parametrize(
    ("header", "file_size", "message"),
    [
        (b"", 0, "x.bin: 0 bytes are too short for the 1024-byte header"),
        (shard_header(3)[:1000], 1000, "x.bin: 1000 bytes are too short"),
        (patched(0, 7), 1030, "x.bin: magic is 7, expected 20240520"),
        (patched(1, 2), 1030, "x.bin: version is 2, expected 1"),
        (patched(2, -1), 1030, "x.bin: token count is -1"),
        (shard_header(3), 1028, "x.bin: token count 3 needs a file of 1030 bytes, found 1028"),
        (shard_header(3), 1031, "x.bin: token count 3 needs a file of 1030 bytes, found 1031"),
    ],
)
def test_bad_headers_are_refused(header, file_size, message):
    with pytest.raises(DataError) as caught:
        parse_shard_header(header, file_size, "x.bin")
    assert message in caught.value.message
    assert caught.value.path == "x.bin"


@pytest.mark.parametrize("num_tokens", [-1, 2**31])
def test_header_refuses_counts_beyond_int32(num_tokens):
    with pytest.raises(DataError, match=str(num_tokens)):
        shard_header(num_tokens)


@given(shard_lengths, st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=8))
def test_stream_equals_concatenation(lengths, moves):
    stream = TokenStream(make_shards(lengths))
    place = 0
    for is_skip, count in moves:
        if is_skip:
            stream.skip(count)
        else:
            expected = np.arange(place, place + count) % sum(lengths)
            np.testing.assert_array_equal(stream.take(count), expected)
        place += count


@given(shard_lengths, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=6))
def test_batches_are_shifted_and_overlap_by_one_token(lengths, shapes):
    stream = TokenStream(make_shards(lengths))
    place = 0
    for num_sequences, length in shapes:
        inputs, targets = stream.next_batch(num_sequences, length)
        run = torch.arange(place, place + num_sequences * length + 1) % sum(lengths)
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.equal(run[:-1].view(num_sequences, length))
        assert targets.equal(run[1:].view(num_sequences, length))
        place += num_sequences * length


@given(shard_lengths, st.integers(0, 60))
def test_position_resumes(lengths, count):
    stream = TokenStream(make_shards(lengths))
    stream.skip(count)
    resumed = TokenStream(make_shards(lengths))
    resumed.position = stream.position
    np.testing.assert_array_equal(resumed.take(25), stream.take(25))


def test_ranks_share_a_batch():
    shards = make_shards([7, 4])
    whole, _ = TokenStream(shards).next_batch(4, 3)
    parts = []
    for rank in range(2):
        stream = TokenStream(shards)
        stream.skip(rank * 2 * 3)
        parts.append(stream.next_batch(2, 3)[0])
    assert torch.cat(parts).equal(whole)


@pytest.mark.parametrize("position", [(2, 0), (-1, 0), (0, 5), (1, -1)])
def test_position_of_other_data_is_refused(position):
    stream = TokenStream(make_shards([5, 4]))
    with pytest.raises(DataError, match="lies outside the 2 shards"):
        stream.position = position


@pytest.mark.parametrize("shards", [[], make_shards([0, 0])])
def test_no_tokens_are_refused(shards):
    with pytest.raises(DataError, match="hold no tokens"):
        TokenStream(shards)
