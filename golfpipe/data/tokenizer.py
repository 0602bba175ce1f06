"""SentencePiece tokenizers: load one with checks, train one, and prove that its byte table is exact.

A tokenizer trained here has the settings of the challenge's sp1024: BPE with byte fallback and split digits, pad 0, BOS
1, EOS 2, unknown 3, NMT-NFKC normalization (which turns newlines into spaces and merges runs of them).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import sentencepiece

from golfpipe.data.tokenizer_file import check_model_file
from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import ByteTable, build_byte_table, check_ids_in_vocabulary, target_bytes

MAX_MODEL_BYTES = 64_000_000
"""The most bytes of a model file, far above any tokenizer with 65,536 pieces."""
MAX_TRAINING_BYTES = 100_000_000
"""The bytes of text that tokenizer training looks at; the trainer keeps all of it in memory."""
MAX_SENTENCE_CHARACTERS = 100_000
"""Longer lines are cut for tokenizer training: the trainer drops lines above its own limit in bytes."""


class Tokenizer:
    """A checked SentencePiece model with ids below 65,536 and a BOS piece.

    `model_bytes` is the model file as it was read; `byte_table` follows docs/stages/evaluate.md. It is pickled as these
    bytes and its name.
    """

    def __init__(self, model_bytes: bytes, name: str = "tokenizer") -> None:
        """Read a model file. Raises DataError, which starts with `name`, for bytes that are no usable model."""
        if len(model_bytes) > MAX_MODEL_BYTES:
            raise DataError(f"{name}: {len(model_bytes)} bytes, expected a tokenizer of at most {MAX_MODEL_BYTES}")
        self.model_bytes = model_bytes
        self.name = name
        self.digest = hashlib.sha256(model_bytes).hexdigest()
        check_model_file(model_bytes, name)
        try:
            self._read()
        # UnicodeDecodeError where the library's message quotes the file
        except (RuntimeError, UnicodeDecodeError) as error:
            raise DataError(f"{name}: is not a SentencePiece model ({len(model_bytes)} bytes): {error}") from error
        if self.bos_id < 0:
            raise DataError(f"{name}: has no BOS piece, which marks where documents begin")
        self.byte_table: ByteTable = build_byte_table(self.pieces, self.piece_types)

    def _read(self) -> None:
        """Let the library read the model. Raises RuntimeError, UnicodeDecodeError."""
        self._processor = sentencepiece.SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(self.model_bytes)
        self.vocab_size: int = self._processor.vocab_size()
        self.bos_id: int = self._processor.bos_id()
        self.pieces: list[str] = [self._processor.id_to_piece(token_id) for token_id in range(self.vocab_size)]
        self.piece_types: list[str] = [_piece_type(self._processor, token_id) for token_id in range(self.vocab_size)]

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a model file. Raises DataError, naming the file, if it cannot be read or is no usable model."""
        if path.exists() and not path.is_file():  # opening a pipe would block
            raise DataError(f"{path}: not a plain file, so no tokenizer", path=str(path))
        try:
            with path.open("rb") as file:
                model_bytes = file.read(MAX_MODEL_BYTES + 1)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}", path=str(path)) from error
        return cls(model_bytes, name=str(path))

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[bytes, str]]:
        return (Tokenizer, (self.model_bytes, self.name))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return each text as uint16 ids that begin with BOS. Runs on one thread: callers use several processes."""
        encoded = self._processor.encode(list(texts), out_type=int, add_bos=True, num_threads=1)
        return [np.array(ids, dtype=np.uint16) for ids in encoded]

    def decode(self, ids: np.ndarray) -> str:
        """Return the text of the ids; control pieces add nothing. Raises DataError for an unknown id."""
        check_ids_in_vocabulary(self.byte_table, ids)
        text: str = self._processor.decode(ids.tolist())
        return text


def check_byte_table(tokenizer: Tokenizer, documents: Iterable[np.ndarray]) -> int:
    """Check that the byte table sums to the bytes of each document's decoded text, and return their sum.

    `documents` are ids that begin with BOS. Raises DataError naming the piece at which the sums part: a tokenizer
    without dummy prefix, a control piece in mid-text, an unknown piece, bytes that are no UTF-8.
    """
    total = 0
    for ids in documents:
        num_bytes = _table_bytes(tokenizer, ids)
        if num_bytes != len(tokenizer.decode(ids).encode("utf-8")):
            raise _byte_table_mismatch(tokenizer, ids)
        total += num_bytes
    return total


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """Train a tokenizer of exactly `vocab_size` pieces; the same texts give the same bytes.

    Only the first MAX_TRAINING_BYTES of the texts count. Raises DataError if they do not yield that many pieces.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_training_lines(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=0.999,
            byte_fallback=True,
            split_digits=True,
            hard_vocab_limit=False,  # too few pieces are refused below, with their number
            normalization_rule_name="nmt_nfkc",
            max_sentence_length=4 * MAX_SENTENCE_CHARACTERS,  # in bytes; UTF-8 has at most 4 per character
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=3,
        )
    except (RuntimeError, OSError) as error:
        raise _training_error(str(error), vocab_size) from error
    tokenizer = Tokenizer(model.getvalue(), name="trained tokenizer")
    if tokenizer.vocab_size != vocab_size:
        raise DataError(
            f"the text yields a tokenizer of {tokenizer.vocab_size} pieces, not data.vocab_size={vocab_size}",
            hint=f"give more text, or set data.vocab_size to {tokenizer.vocab_size} or less",
        )
    return tokenizer


def _training_error(message: str, vocab_size: int) -> DataError:
    """Return the trainer's error in words of golfpipe's settings; the trainer's own advice names options of its own."""
    hint = "give more text, or another data.vocab_size"
    needed = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if needed is not None:
        reason = f"its characters and the pieces of single bytes alone are {needed[1]} pieces"
        hint = f"set data.vocab_size to more than {needed[1]}"
    elif "sentences_.empty()" in message:
        reason = "there is no text"
    else:
        reason = message.partition("] ")[2] or message
    return DataError(
        f"a tokenizer with data.vocab_size={vocab_size} cannot be trained on this text: {reason}", hint=hint
    )


def _piece_type(processor: sentencepiece.SentencePieceProcessor, token_id: int) -> str:
    """Return the piece's type, one of PIECE_TYPES. User-defined pieces, which the API cannot tell, count as normal."""
    if processor.is_unknown(token_id):
        return "unknown"
    if processor.is_control(token_id):
        return "control"
    if processor.is_unused(token_id):
        return "unused"
    return "byte" if processor.is_byte(token_id) else "normal"


def _training_lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield lines short enough for the trainer, up to MAX_TRAINING_BYTES. Pieces never span lines."""
    num_bytes = 0
    for text in texts:
        for line in text.splitlines():
            for start in range(0, len(line), MAX_SENTENCE_CHARACTERS):
                part = line[start : start + MAX_SENTENCE_CHARACTERS]
                num_bytes += len(part.encode("utf-8"))
                if num_bytes > MAX_TRAINING_BYTES:
                    return
                yield part


def _table_bytes(tokenizer: Tokenizer, ids: np.ndarray) -> int:
    return int(target_bytes(tokenizer.byte_table, ids[:-1], ids[1:]).sum(dtype=np.int64))


def _byte_table_mismatch(tokenizer: Tokenizer, ids: np.ndarray) -> DataError:
    """Return the error that names the first wrong piece. Bisects to a prefix that agrees and whose next piece does not;
    `ids` as a whole must disagree.

    A run of byte pieces counts as one piece, because part of a character decodes to something else.
    """
    is_byte = np.array([piece_type == "byte" for piece_type in tokenizer.piece_types])
    inside_run = is_byte[ids[:-1]] & is_byte[ids[1:]]
    ends = np.append(np.flatnonzero(~inside_run) + 1, len(ids))  # lengths of the prefixes that may be decoded
    low, high = 0, len(ends) - 1  # ends[0] == 1 is BOS alone, which agrees
    while high - low > 1:
        middle = (low + high) // 2
        prefix = ids[: ends[middle]]
        agrees = _table_bytes(tokenizer, prefix) == len(tokenizer.decode(prefix).encode("utf-8"))
        low, high = (middle, high) if agrees else (low, middle)
    position = int(ends[high - 1])
    if position > 1 and tokenizer.byte_table.is_boundary[ids[position - 1]]:
        position -= 1  # the fault is the boundary piece in mid-text, not the space after it
    token_id = int(ids[position])
    piece, piece_type = tokenizer.pieces[token_id], tokenizer.piece_types[token_id]
    counted, decoded = _table_bytes(tokenizer, ids), len(tokenizer.decode(ids).encode("utf-8"))
    before = "".join(tokenizer.pieces[token_id] for token_id in islice(ids.tolist(), max(0, position - 8), position))
    return DataError(
        f"{tokenizer.name}: byte table counts {counted} bytes but the document decodes to {decoded}; they part at"
        f" token {position}, {piece_type} piece {piece!r} (id {token_id}), after {before!r}",
        hint="scores in bits per byte would be wrong; needed: a dummy prefix, no unknown pieces, and control pieces "
        "only at the ends of documents",
    )
