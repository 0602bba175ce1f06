"""Encode documents to token ids in this process or in several, in order and in bounded memory."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from golfpipe.data.document_split import split_hash
from golfpipe.data.text_changes import text_changes
from golfpipe.data.tokenizer import Tokenizer, check_byte_table
from golfpipe.errors import DataError, StageFailed

CHUNK_CHARACTERS = 1 << 19
"""Characters handed to a worker at a time: large against the cost of handing over, small against memory."""
CHUNKS_IN_FLIGHT_PER_PROCESS = 2
"""Chunks per worker: one being encoded and one waiting, so that no worker idles."""


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """One document as tokens."""

    ids: np.ndarray
    """uint16, beginning with BOS."""
    position: float
    """The `split_hash` of the text."""
    source_bytes: int
    """UTF-8 bytes of the text as it was given."""
    decoded_bytes: int
    """UTF-8 bytes of the decoded ids: what bits per byte are counted in."""
    changes: Mapping[str, int] | None
    """See `text_changes`; None where the decoded text is the given one."""


def encode_documents(
    documents: Iterable[str], tokenizer: Tokenizer, *, num_processes: int = 1
) -> Iterator[EncodedDocument]:
    """Yield each document encoded, in the order given. With one process, the work is done in this one.

    At most CHUNKS_IN_FLIGHT_PER_PROCESS chunks per process are in memory. Raises DataError, naming the document by its
    number from 1, where byte table and decoded text disagree; StageFailed if a worker process is killed.
    """
    chunks = _chunks(documents)
    if num_processes <= 1:
        for first_number, texts in chunks:
            yield from _encode_chunk(tokenizer, first_number, texts)
        return
    # spawn: a forked child of a process with threads (torch, CUDA) may hang
    executor = ProcessPoolExecutor(
        num_processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(tokenizer.model_bytes, tokenizer.name),
    )
    in_flight: deque[Future[list[EncodedDocument]]] = deque()
    try:
        for chunk in chunks:
            in_flight.append(executor.submit(_encode_chunk_in_worker, *chunk))
            if len(in_flight) > CHUNKS_IN_FLIGHT_PER_PROCESS * num_processes:
                yield from in_flight.popleft().result()
        while in_flight:
            yield from in_flight.popleft().result()
    except BrokenProcessPool as error:
        raise StageFailed(
            f"one of {num_processes} encoding processes was killed", hint="probably for memory: use fewer processes"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _chunks(documents: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield runs of documents of about CHUNK_CHARACTERS together, each with the number of its first document."""
    chunk: list[str] = []
    num_characters = 0
    first_number = 1
    for text in documents:
        chunk.append(text)
        num_characters += len(text)
        if num_characters >= CHUNK_CHARACTERS:
            yield first_number, chunk
            first_number += len(chunk)
            chunk, num_characters = [], 0
    if chunk:
        yield first_number, chunk


def _encode_chunk(tokenizer: Tokenizer, first_number: int, texts: list[str]) -> list[EncodedDocument]:
    encoded = []
    for number, (text, ids) in enumerate(zip(texts, tokenizer.encode(texts), strict=True), start=first_number):
        try:
            decoded_bytes = check_byte_table(tokenizer, [ids])
        except DataError as error:
            raise DataError(f"document {number}: {error.message}", hint=error.hint) from error
        decoded = tokenizer.decode(ids)
        changes = None if decoded == text else text_changes(text, decoded, tokenizer)
        source_bytes = len(text.encode("utf-8"))
        encoded.append(EncodedDocument(ids, split_hash(text), source_bytes, decoded_bytes, changes))
    return encoded


_worker_tokenizer: Tokenizer | None = None
"""The worker's tokenizer, set once per process: loading the model for every chunk would cost more than encoding it."""


def _start_worker(model_bytes: bytes, name: str) -> None:
    global _worker_tokenizer
    _worker_tokenizer = Tokenizer(model_bytes, name)


def _encode_chunk_in_worker(first_number: int, texts: list[str]) -> list[EncodedDocument]:
    assert _worker_tokenizer is not None
    return _encode_chunk(_worker_tokenizer, first_number, texts)
