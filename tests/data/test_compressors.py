"""General compressors on the text of a validation split."""

import bz2
import gzip
import lzma
import random

import numpy as np

from golfpipe.data.compressors import COMPRESSORS, compressed_bits
from golfpipe.data.token_data import load_tokenizer, load_validation, validation_bytes


def test_every_compressor_gives_the_text_back():
    text = b"one two three " * 500
    back = {"gzip -9": gzip.decompress, "bzip2 -9": bz2.decompress, "xz -9": lzma.decompress}
    assert set(back) == set(COMPRESSORS)
    for name, compress in COMPRESSORS.items():
        packed = compress(text)
        assert back[name](packed) == text
        assert compressed_bits(text)[name] == 8 * len(packed) / len(text)


def test_noise_does_not_shrink_and_repetition_does():
    noise = random.Random(0).randbytes(50_000)
    assert all(bits >= 8 for bits in compressed_bits(noise).values())
    assert all(bits < 0.2 for bits in compressed_bits(b"ab" * 25_000).values())
    assert compressed_bits(b"") == {}


def test_the_validation_text_is_what_its_tokens_decode_to(chain):
    tokenizer = load_tokenizer(chain.data)
    tokens = load_validation(chain.data, tokenizer).tokens
    documents = np.split(tokens, np.flatnonzero(tokens == tokenizer.bos_id))
    whole = "".join(tokenizer.decode(ids) for ids in documents).encode()
    assert validation_bytes(chain.data, 10**9) == whole
    assert len(whole) == chain.data.manifest.metrics["val_bytes"]
    for most in (1, 10, 1000, len(whole) - 1):
        part = validation_bytes(chain.data, most)
        assert whole.startswith(part) and most - 50 < len(part) <= most
