"""What the data stages have in common: writing the split shards with their tokenizer, and the metrics of token data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from golfpipe.data.inspect import SplitInspection
from golfpipe.data.shard_files import SPLITS, Split
from golfpipe.data.tokenize import TokenizeSummary, tokenize_documents
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.jobs.job import Job
from golfpipe.store.artifact import ArtifactWriter
from golfpipe.store.manifest import Result

TOKENIZER_FILE = "tokenizer.model"


def write_token_data(
    job: Job, out: ArtifactWriter, documents: Iterable[str], tokenizer: Tokenizer, *, processes: int = 1
) -> Result:
    """Tokenize the documents into `out`, beside the tokenizer."""
    out.write(TOKENIZER_FILE, tokenizer.model_bytes)
    with job.context.reporter.task("tokenize", 0, "tokens") as task:
        before = 0

        def progress(tokens: int) -> None:
            nonlocal before
            task.advance(tokens - before)
            before = tokens

        summary = tokenize_documents(
            documents,
            tokenizer,
            out.folder,
            val_fraction=job.config.data.val_fraction,
            shard_tokens=job.config.data.shard_tokens,
            num_processes=processes,
            progress=progress,
        )
    _note_changes(job, summary)
    return Result(kind="token_data", metrics=_metrics(summary) | tokenizer_metrics(tokenizer, TOKENIZER_FILE))


def tokenizer_metrics(tokenizer: Tokenizer, file_name: str) -> dict[str, Any]:
    """Return the metrics by which later stages know the tokenizer."""
    return {"vocab_size": tokenizer.vocab_size, "bos_id": tokenizer.bos_id, "tokenizer_file": file_name}


def split_metrics(splits: Mapping[Split, SplitInspection]) -> dict[str, Any]:
    """Return the metrics of shards that exist already."""
    metrics: dict[str, Any] = {}
    for name in SPLITS:
        split = splits.get(name)
        metrics[f"{name}_tokens"] = split.tokens if split is not None else 0
        metrics[f"{name}_documents"] = split.documents if split is not None else 0
        metrics[f"{name}_bytes"] = split.bytes if split is not None else 0
    tokens = metrics["train_tokens"] + metrics["val_tokens"]
    metrics["bytes_per_token"] = (metrics["train_bytes"] + metrics["val_bytes"]) / tokens if tokens else 0.0
    return metrics


def _metrics(summary: TokenizeSummary) -> dict[str, Any]:
    train, val = summary.train, summary.val
    return {
        "train_tokens": train.tokens,
        "val_tokens": val.tokens,
        "train_documents": train.documents,
        "val_documents": val.documents,
        "train_bytes": train.decoded_bytes,
        "val_bytes": val.decoded_bytes,
        "bytes_per_token": (train.decoded_bytes + val.decoded_bytes) / (train.tokens + val.tokens),
        "original_bytes": train.original_bytes + val.original_bytes,
        "decoded_bytes": train.decoded_bytes + val.decoded_bytes,
        "changed_documents": train.changed_documents + val.changed_documents,
        "blank_documents": summary.blank_documents,
    }


def _note_changes(job: Job, summary: TokenizeSummary) -> None:
    original = summary.train.original_bytes + summary.val.original_bytes
    decoded = summary.train.decoded_bytes + summary.val.decoded_bytes
    changed = summary.train.changed_documents + summary.val.changed_documents
    if changed:
        job.context.reporter.note(
            f"the tokenizer's normalization changed {changed} documents: {original} bytes of text became {decoded},"
            " which are what scores count"
        )
