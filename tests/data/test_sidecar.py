"""Text that was case-transformed before it became tokens: its bytes come from the files beside its shards."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import sentencepiece

from golfpipe.data.inspect import inspect_shards
from golfpipe.data.shard_files import ShardFile
from golfpipe.data.shard_format import shard_header
from golfpipe.data.token_data import load_tokenizer, load_validation, load_windows
from golfpipe.data.tokenizer import Tokenizer, train_tokenizer
from golfpipe.errors import DataError
from golfpipe.jobs.job import Job
from golfpipe.jobs.registry import STAGES
from golfpipe.jobs.run import run_job
from golfpipe.pipeline.data_sources import add_arguments
from golfpipe.pipeline.settings import Settings
from golfpipe.scoring.byte_table import CASE_MARKERS
from golfpipe.script.entry import Data
from golfpipe.submission.trial.experiments import check_sidecar

CAPS = CASE_MARKERS["caps"]
TITLE, ALL_CAPS, CAP_NEXT, ESCAPE = CAPS
TEXTS = ["The cat sat on the NASA mat.", "A dog \u00e9t\u00e9 in K\u00f6ln, and An ant.", "THE END of the log"] * 4


def transformed(text: str) -> str:
    """Marks before lower-case words in place of their capitals."""

    def word(match: re.Match[str]) -> str:
        found = match[0]
        if len(found) > 1 and found.isupper():
            return ALL_CAPS + found.lower()
        return TITLE + found.lower() if found[0].isupper() else found

    return re.sub("[A-Za-z]+", word, text)


@pytest.fixture(scope="module")
def cased() -> Tokenizer:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(map(transformed, TEXTS)), model_writer=model, model_type="bpe", vocab_size=320,
        hard_vocab_limit=False, byte_fallback=True, add_dummy_prefix=False, minloglevel=3, pad_id=0, bos_id=1, eos_id=2,
        unk_id=3, user_defined_symbols=list(CAPS),
    )  # fmt: skip
    return Tokenizer(model.getvalue(), "cased.model")


def write_shards(folder, tokenizer, split, texts, *, marker_bytes=0) -> int:
    """Two shards with sidecars. Returns the bytes of the original texts."""
    tokens, values = [], []
    for text in texts:
        for token in tokenizer.encode([text])[0].tolist():
            piece, kind = tokenizer.pieces[token], tokenizer.piece_types[token]
            size = 1 if kind == "byte" else len(piece.replace("\u2581", " ").encode())
            tokens.append(token)
            values.append(0 if kind == "control" else marker_bytes if piece in CAPS else size)
    assert marker_bytes or sum(values) == sum(len(text.encode()) for text in texts)
    middle = len(tokens) // 3
    for number, part in enumerate((slice(middle), slice(middle, None))):
        for kind, numbers in (("", tokens), ("bytes_", values)):
            array = np.array(numbers[part], dtype="<u2")
            path = folder / f"fineweb_{split}_{kind}{number:06d}.bin"
            path.write_bytes(shard_header(len(array)) + array.tobytes())
    return sum(values)


@pytest.fixture
def folder(tmp_path, cased):
    (tmp_path / "cased.model").write_bytes(cased.model_bytes)
    write_shards(tmp_path, cased, "train", TEXTS)
    write_shards(tmp_path, cased, "val", TEXTS[:5])
    return tmp_path


def test_the_score_counts_the_bytes_of_the_original_text(folder, cased):
    found = inspect_shards(folder, cased)["val"]
    expected = sum(len(text.encode()) for text in TEXTS[:5])
    assert (found.known_from, found.bytes) == ("sidecar", expected)
    assert [shard.path.name for shard in found.shards] == ["fineweb_val_000000.bin", "fineweb_val_000001.bin"]

    arguments, digest = add_arguments(folder, None, None)
    config = Settings().resolve().config
    job = Job(
        stage=STAGES["data-add"], config=config, inputs={}, out=folder, arguments=arguments, argument_digest=digest
    )
    data = run_job(job).artifact
    assert data.manifest.metrics["val_bytes"] == expected
    tokenizer = load_tokenizer(data)
    text = load_validation(data, tokenizer)
    assert int(text.sizes.sum()) == expected and text.from_sidecar
    values = np.concatenate([ShardFile(path)[:] for path in sorted(folder.glob("*val_bytes_*.bin"))])
    assert load_validation(data, tokenizer, 7).sizes.tolist() == values[1:8].tolist()
    sample = load_windows(data, tokenizer, 8, 24)
    assert len(sample.windows) == 3
    assert set(sample.sizes.tolist()) <= set(values.tolist())

    for path in folder.glob("*_bytes_*.bin"):
        path.unlink()
    assert add_arguments(folder, None, None)[1] != digest


def test_without_sidecars_the_text_is_refused(folder, cased):
    for path in folder.glob("*val_bytes_*.bin"):
        path.unlink()
    with pytest.raises(DataError, match="case-transformed") as caught:
        inspect_shards(folder, cased)
    assert "val_bytes_" in caught.value.hint
    assert inspect_shards(folder, cased, prove=())["train"].known_from == "sidecar"


def test_sidecars_that_do_not_fit_are_refused(folder, cased):
    (folder / "fineweb_val_bytes_000001.bin").rename(folder / "kept")
    with pytest.raises(DataError, match=r"fineweb_val_bytes_000001\.bin: missing, but other shards have a sidecar"):
        inspect_shards(folder, cased)
    (folder / "fineweb_val_bytes_000001.bin").write_bytes(shard_header(1) + b"\x01\x00")
    with pytest.raises(DataError, match=r"1 values for the \d+ tokens"):
        inspect_shards(folder, cased)
    write_shards(folder, cased, "val", TEXTS[:5], marker_bytes=3)
    with pytest.raises(DataError, match=r"the sidecars hold \d+ bytes, but the tokens spell \d+") as caught:
        inspect_shards(folder, cased)
    assert "count the marks of a transform as text" in caught.value.hint


def test_the_script_counts_them_too(folder, cased):
    environ = {"DATA_PATH": str(folder), "TOKENIZER_PATH": str(folder / "cased.model")}
    data = Data(environ)
    assert data.sidecar is not None and data.validation.num_tokens == data.sidecar.num_tokens
    assert int(data.sidecar.span(0, 10**9).sum()) == sum(len(text.encode()) for text in TEXTS[:5])
    for path in folder.glob("*val_bytes_*.bin"):
        path.unlink()
        with pytest.raises(SystemExit, match="val_bytes_"):
            Data(environ)


def test_the_audit_compares_sidecar_and_text(folder, cased):
    """Where the tokenizer normalizes, up to what inspect lets pass; else each document to the byte."""
    text = np.concatenate([ShardFile(path)[:] for path in sorted(folder.glob("fineweb_val_0*.bin"))])
    values = np.concatenate([ShardFile(path)[:] for path in sorted(folder.glob("*val_bytes_*.bin"))])[1:]
    whole = check_sidecar(text, values, cased)
    assert (whole.documents, whole.wrong_documents, whole.from_sidecar, whole.agree) == (4, 0, True, True)
    assert whole.decoded_bytes == sum(len(text.encode()) for text in TEXTS[:4])
    off = values.copy()
    off[3] += 1
    assert check_sidecar(text, off, cased).agree and check_sidecar(text, off, cased).wrong_documents == 1
    off[3:9] += 1
    assert not check_sidecar(text, off, cased).agree

    exact = train_tokenizer(TEXTS, vocab_size=300, normalization="identity", transform="caps")
    ids = np.concatenate(exact.encode(TEXTS[:3]))
    sizes = exact.sizes(ids)
    assert check_sidecar(ids, sizes, exact).agree
    sizes[2] += 1
    assert not check_sidecar(ids, sizes, exact).agree
