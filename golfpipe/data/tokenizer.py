"""SentencePiece tokenizers: load one with checks, train one, and prove that its bytes are exact.

The settings of a tokenizer trained here are those of the challenge's sp1024: BPE with byte fallback and split digits,
pad 0, BOS 1, EOS 2, unknown 3. What becomes of the characters is up to `data.normalization`, what becomes of capitals
to `data.transform`. A vocabulary with the markers of a case transform gets transformed text, and gives back the text
before it.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from golfpipe.data.case_transform import CaseDecoder, CaseTransform
from golfpipe.data.config import Normalization
from golfpipe.data.tokenizer_file import MAX_VOCAB_SIZE, check_model_file
from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import (
    CASE_MARKERS,
    SPACE_MARK,
    ByteTable,
    build_byte_table,
    case_form,
    check_ids_in_vocabulary,
    target_bytes,
)

MAX_MODEL_BYTES = 64_000_000
"""The most bytes of a model file, far above any tokenizer with 65,536 pieces."""
MAX_TRAINING_BYTES = 20_000_000
"""The bytes of text that tokenizer training looks at; the trainer keeps all of it in memory."""
MAX_SENTENCE_CHARACTERS = 100_000
"""Longer lines are cut for tokenizer training (the trainer drops what is over its limit in bytes)."""
DEFAULT_VOCAB_SIZE = 1024
"""As many pieces as the challenge's smallest tokenizer."""
FIXED_PIECES = 260
"""256 bytes and 4 control pieces."""
COVERAGE, LEAST_COVERAGE = 0.999, 0.98
"""Share of the text whose characters get a piece each, and the least that SentencePiece allows."""
COMMON_SHARE = 0.01
"""Characters with a larger share of the text have a piece in any case."""


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
        try:
            self.byte_table: ByteTable = build_byte_table(self.pieces, self.piece_types)
        except DataError as error:
            raise DataError(f"{name}: {error.message}", hint=error.hint) from error

    def _read(self) -> None:
        """Let the library read the model. Raises RuntimeError, UnicodeDecodeError."""
        self._processor = sentencepiece.SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(self.model_bytes)
        self.vocab_size: int = self._processor.vocab_size()
        self.bos_id: int = self._processor.bos_id()
        self.pieces: list[str] = [self._processor.id_to_piece(token_id) for token_id in range(self.vocab_size)]
        self.piece_types: list[str] = [_piece_type(self._processor, token_id) for token_id in range(self.vocab_size)]
        self.transform = case_form(self.pieces)
        self._case = CaseTransform(self.transform) if self.transform != "none" else None

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
        given = [self._case.encode(text) for text in texts] if self._case is not None else list(texts)
        encoded = self._processor.encode(given, out_type=int, add_bos=True, num_threads=1)
        return [np.array(ids, dtype=np.uint16) for ids in encoded]

    @cached_property
    def merges_spaces(self) -> bool:
        """True if runs of spaces become one space, so that a text cannot begin with one either."""
        return self.normalize("a  b") == "a b"

    @cached_property
    def keeps_characters(self) -> bool:
        """True if characters and spaces are cut into pieces as they are."""
        return self.normalize("\uff21  b") == "\uff21  b"

    def normalize(self, text: str) -> str:
        """Return the text as it is before it is cut into pieces."""
        normalized: str = self._normalizer(None).normalize(text)
        return normalized

    def replace_characters(self, text: str) -> str:
        """Return the text after the part of normalization that looks at characters, and before runs of spaces merge."""
        normalized: str = self._normalizer(False).normalize(text)
        return normalized

    def _normalizer(self, remove_extra_whitespaces: bool | None) -> sentencepiece.SentencePieceNormalizer:
        return sentencepiece.SentencePieceNormalizer(
            model_proto=self.model_bytes,
            add_dummy_prefix=False,
            escape_whitespaces=False,
            remove_extra_whitespaces=remove_extra_whitespaces,
        )

    def decode(self, ids: np.ndarray, *, cut: bool = False) -> str:
        """Return the text of the ids; control pieces add nothing. `cut`: the text may end anywhere.

        Raises DataError for an unknown id, and for a case marker that marks nothing. After a normalization, which comes
        between it and its letter, and at a cut, such a marker adds nothing.
        """
        check_ids_in_vocabulary(self.byte_table, ids)
        text: str = self._processor.decode(ids.tolist())
        if self._case is None:
            return text
        return CaseDecoder(self._case).add(text) if cut or not self.keeps_characters else self._case.decode(text)

    def case_decoder(self) -> CaseDecoder | None:
        """Return what turns pieces, as they come, into the text before the transform; None without one."""
        return CaseDecoder(self._case) if self._case is not None else None

    def sizes(self, tokens: np.ndarray) -> np.ndarray:
        """Return how many bytes of decoded text each token but the first stands for, int32 [len(tokens) - 1].

        `tokens` begins with BOS, or where a text is cut. These are the bytes of the table, apart from transformed text:
        a marker of the text itself, behind an escape, has its own, and so has a space at the beginning of a document,
        since such tokenizers add none. Raises DataError for an unknown id.
        """
        sizes = target_bytes(self.byte_table, tokens[:-1], tokens[1:])
        if self._case is None:
            return sizes
        sizes += self.byte_table.has_leading_space[tokens[1:]] & self.byte_table.is_boundary[tokens[:-1]]
        is_escape = tokens == self.pieces.index(self._case.escape)
        places = np.arange(len(tokens))
        run = places - np.maximum.accumulate(np.where(is_escape, -1, places))  # escapes in a row, up to each token
        is_marker = np.isin(tokens, [self.pieces.index(marker) for marker in CASE_MARKERS[self.transform]])
        sizes[is_marker[1:] & (run[:-1] % 2 == 1)] = len(self._case.escape.encode("utf-8"))
        return sizes


def check_byte_table(tokenizer: Tokenizer, documents: Iterable[np.ndarray]) -> int:
    """Check that the sizes of tokens sum to the bytes of each document's decoded text, and return their sum.

    `documents` are ids that begin with BOS. Raises DataError naming the piece at which the sums part: a tokenizer
    without dummy prefix, or of transformed text with one, a control piece in mid-text, an unknown piece, bytes that
    are no UTF-8.
    """
    total = 0
    for ids in documents:
        num_bytes = int(tokenizer.sizes(ids).sum(dtype=np.int64))
        if num_bytes != len(tokenizer.decode(ids).encode("utf-8")):
            raise _byte_table_mismatch(tokenizer, ids)
        total += num_bytes
    return total


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int, normalization: Normalization, transform: str = "none"
) -> Tokenizer:
    """Train a tokenizer of `vocab_size` pieces; the same texts give the same bytes. `transform`: that of its texts,
    which are given untransformed.

    0 pieces: DEFAULT_VOCAB_SIZE, fewer where the texts yield no more, more where they have many characters. Looks at
    the first MAX_TRAINING_BYTES of the texts.
    Raises DataError if they do not yield as many pieces as were asked for.
    """
    if transform != "none":
        texts = map(CaseTransform(transform).encode, texts)
    sentences = list(_training_sentences(texts, keep_breaks=normalization == "identity"))
    characters = _Characters.of(sentences)
    asked, vocab_size = vocab_size, vocab_size or characters.vocab_size()
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            byte_fallback=True,
            split_digits=True,
            hard_vocab_limit=False,  # too few pieces are refused below, with their number
            max_sentence_length=4 * MAX_SENTENCE_CHARACTERS,  # in bytes; UTF-8 has at most 4 a character
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=3,
            **_normalization_settings(normalization),
            **_transform_settings(transform),
            **characters.settings(vocab_size),
        )
    except (RuntimeError, OSError) as error:
        raise _training_error(str(error), vocab_size) from error
    tokenizer = Tokenizer(model.getvalue(), name="trained tokenizer")
    if asked and tokenizer.vocab_size != asked:
        raise DataError(
            f"the text yields a tokenizer of {tokenizer.vocab_size} pieces, not data.vocab_size={vocab_size}",
            hint=f"give more text, or set data.vocab_size to {tokenizer.vocab_size} or less",
        )
    return tokenizer


def _training_error(message: str, vocab_size: int) -> DataError:
    """Return the trainer's error in words of golfpipe's settings; the trainer's own advice names options of its own."""
    hint = "give more text, or another data.vocab_size; 0 lets the text decide"
    needed = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if needed is not None:
        reason = f"its characters and the pieces of single bytes alone are {needed[1]} pieces"
        hint = f"set data.vocab_size to more than {needed[1]}; 0 lets the text decide"
    elif "sentences_.empty()" in message:
        reason = "there is no text"
    else:
        reason = message.partition("] ")[2] or message
    return DataError(
        f"a tokenizer with data.vocab_size={vocab_size} cannot be trained on this text: {reason}", hint=hint
    )


def _normalization_settings(normalization: Normalization) -> dict[str, Any]:
    if normalization == "identity":
        return {
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True,
        }
    return {"normalization_rule_name": normalization}


def _transform_settings(transform: str) -> dict[str, Any]:
    """Markers never merge with other pieces; and a space that was added would come before the first one."""
    if transform == "none":
        return {}
    return {"user_defined_symbols": list(CASE_MARKERS[transform]), "add_dummy_prefix": False}


@dataclass(frozen=True, slots=True)
class _Characters:
    """How often each character occurs in the text, the most common first."""

    counts: tuple[tuple[str, int], ...]
    total: int

    @classmethod
    def of(cls, sentences: Iterable[str]) -> _Characters:
        counts: Counter[str] = Counter()
        for sentence in sentences:
            counts.update(sentence)
        return cls(tuple(counts.most_common()), max(1, counts.total()))

    def vocab_size(self) -> int:
        """Return DEFAULT_VOCAB_SIZE, doubled until all but the rarest LEAST_COVERAGE of characters find room."""
        size = DEFAULT_VOCAB_SIZE
        while self._covered(size) < LEAST_COVERAGE and size < MAX_VOCAB_SIZE:
            size *= 2
        return size

    def settings(self, vocab_size: int) -> dict[str, Any]:
        """Return the settings by which as many characters get a piece as there is room for beside longer pieces, and
        the space does, even where it is rare, as in Chinese. Other characters are spelled in bytes."""
        settings: dict[str, Any] = {"character_coverage": min(COVERAGE, max(LEAST_COVERAGE, self._covered(vocab_size)))}
        if dict(self.counts).get(" ", 0) <= COMMON_SHARE * self.total:
            settings["required_chars"] = SPACE_MARK  # only then: the model's bytes tell of its settings
        return settings

    def _covered(self, vocab_size: int) -> float:
        """Return the share of the text whose characters find room in three quarters of such a vocabulary."""
        room = max(0, vocab_size - FIXED_PIECES) * 3 // 4
        return sum(count for _, count in self.counts[:room]) / self.total


def _piece_type(processor: sentencepiece.SentencePieceProcessor, token_id: int) -> str:
    """Return the piece's type, one of PIECE_TYPES. User-defined pieces, which the API cannot tell, count as normal."""
    if processor.is_unknown(token_id):
        return "unknown"
    if processor.is_control(token_id):
        return "control"
    if processor.is_unused(token_id):
        return "unused"
    return "byte" if processor.is_byte(token_id) else "normal"


def _training_sentences(texts: Iterable[str], *, keep_breaks: bool) -> Iterator[str]:
    """Yield parts that are short enough for the trainer, up to MAX_TRAINING_BYTES: lines, or where pieces may hold line
    breaks, runs of lines."""
    num_bytes = 0
    for text in texts:
        for line in [text] if keep_breaks else text.splitlines():
            for start in range(0, len(line), MAX_SENTENCE_CHARACTERS):
                part = line[start : start + MAX_SENTENCE_CHARACTERS]
                num_bytes += len(part.encode("utf-8"))
                if num_bytes > MAX_TRAINING_BYTES:
                    return
                yield part


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
        agrees = tokenizer.sizes(prefix).sum() == len(tokenizer.decode(prefix, cut=True).encode("utf-8"))
        low, high = (middle, high) if agrees else (low, middle)
    position = int(ends[high - 1])
    if position > 1 and tokenizer.byte_table.is_boundary[ids[position - 1]]:
        position -= 1  # the fault is the boundary piece in mid-text, not the space after it
    token_id = int(ids[position])
    piece, piece_type = tokenizer.pieces[token_id], tokenizer.piece_types[token_id]
    counted, decoded = int(tokenizer.sizes(ids).sum()), len(tokenizer.decode(ids).encode("utf-8"))
    before = "".join(tokenizer.pieces[token_id] for token_id in islice(ids.tolist(), max(0, position - 8), position))
    return DataError(
        f"{tokenizer.name}: byte table counts {counted} bytes but the document decodes to {decoded}; they part at"
        f" token {position}, {piece_type} piece {piece!r} (id {token_id}), after {before!r}",
        hint="scores in bits per byte would be wrong; needed: a dummy prefix, no unknown pieces, and control pieces "
        "only at the ends of documents",
    )
