"""What the data stages have in common: writing the split shards with their tokenizer, and the metrics of token data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from golfpipe.data.document_split import TextPart
from golfpipe.data.inspect import SplitInspection
from golfpipe.data.shard_format import SPLITS, Split
from golfpipe.data.text_changes import sentences
from golfpipe.data.tokenize import TokenizeSummary, tokenize_documents
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.jobs.job import Job
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result

TOKENIZER_FILE = "tokenizer.model"
MOST_OFF = 0.25
"""Share of the validation split asked for by which the one that came out may differ without a warning."""
MOST_GAINED = 0.001
"""Share of bytes that normalization may add without a warning."""


def write_token_data(
    job: Job,
    out: ArtifactWriter,
    parts: Sequence[TextPart],
    tokenizer: Tokenizer,
    *,
    mixed_bytes: int | None = None,
    processes: int = 1,
) -> Result:
    """Tokenize the text into `out`, beside the tokenizer, and say what became of them; see `tokenize_documents`
    for the numbers."""
    out.write(TOKENIZER_FILE, tokenizer.model_bytes)
    with job.context.reporter.task("tokenize", 0, "tokens") as task:
        before = 0

        def progress(tokens: int) -> None:
            nonlocal before
            task.advance(tokens - before)
            before = tokens

        summary = tokenize_documents(
            parts,
            tokenizer,
            out.folder,
            mixed_bytes=mixed_bytes,
            shard_tokens=job.config.data.shard_tokens,
            num_processes=processes,
            progress=progress,
        )
    _say_split(job, summary, by_name=len(parts) > 1)
    _say_changes(job, summary)
    return Result(
        kind="token_data",
        metrics=_metrics(summary) | tokenizer_metrics(tokenizer, TOKENIZER_FILE),
        provenance={"text_changes": dict(summary.changes)},
    )


def tokenizer_metrics(tokenizer: Tokenizer, file_name: str) -> dict[str, Any]:
    """Return the metrics by which later stages know the tokenizer, and readers its case transform if it has one."""
    metrics = {"vocab_size": tokenizer.vocab_size, "bos_id": tokenizer.bos_id, "tokenizer_file": file_name}
    return metrics if tokenizer.transform == "none" else metrics | {"transform": tokenizer.transform}


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
        "original_bytes": train.source_bytes + val.source_bytes,
        "decoded_bytes": train.decoded_bytes + val.decoded_bytes,
        "changed_documents": summary.changed_documents,
        "blank_documents": summary.blank_documents,
    }


def _say_split(job: Job, summary: TokenizeSummary, *, by_name: bool) -> None:
    """Say which share of the text is for validation, and warn where it is far from what was asked."""
    asked, share, reporter = job.config.data.val_fraction, summary.val_share, job.context.reporter
    documents = summary.train.documents + summary.val.documents
    counted = f"({summary.val.documents:,} of {documents:,} documents)"
    if by_name:
        reporter.note(f"validation: the files of that name, {share:.1%} of the text {counted}, not data.val_fraction")
        return
    reporter.note(f"validation: {asked:.1%} of the text was asked for, {share:.1%} it is {counted}")
    if abs(share / asked - 1) > MOST_OFF:
        reporter.warn(
            f"the validation split has {share:.1%} of the text, not {asked:.1%}: a document goes there whole, and"
            f" {documents:,} are few; give more or shorter documents, or set another data.val_fraction"
        )


def _say_changes(job: Job, summary: TokenizeSummary) -> None:
    """Say what the tokenizer does not give back, and warn where scores count bytes that the text did not have."""
    source = summary.train.source_bytes + summary.val.source_bytes
    decoded = summary.train.decoded_bytes + summary.val.decoded_bytes
    if not summary.changed_documents:
        job.context.reporter.note(f"every document comes back from its tokens as it was: {source:,} bytes")
        return
    changes = "; ".join(sentences(summary.changes))
    job.context.reporter.note(
        f"the tokenizer changes {summary.changed_documents:,} documents: {changes}. Scores count the {decoded:,} bytes"
        f" that come back of {source:,}"
    )
    if decoded > (1 + MOST_GAINED) * source:
        job.context.reporter.warn(
            f"scores count {decoded - source:,} bytes that are not in the text, which makes bits per byte look lower"
        )
