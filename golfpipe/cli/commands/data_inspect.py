"""`golfpipe data inspect FOLDER`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import format_table, paragraphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golfpipe.data.inspect import SplitInspection
    from golfpipe.data.shard_format import Split

SAMPLE_CHARACTERS = 400
SOURCES = {"table": "byte table", "text": "table, proven", "sidecar": "sidecar", "sidecar and text": "sidecar, proven"}


def data_inspect(
    folder: Annotated[str, typer.Argument(help="Token data, or any folder of shards.")],
    options: OutputOptions,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FILE", help="SentencePiece model; default the data's own.")
    ] = None,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Look for the validation documents in the training shards.")
    ] = False,
) -> Answer:
    """Count tokens, documents and bytes, check every shard, show a sample.

    Reads token_data or a folder of shards. Writes nothing. Headers of all shards are checked, the bytes of the
    validation split are compared with its decoded text, and an artifact's files with their sha256. A part of the
    challenge's validation split is told by its bytes. With --overlap a validation document counts as found where a
    training document has the same first 64 tokens.

    \b
    Examples:
      golfpipe data inspect artifacts/data/demo --overlap
      golfpipe data inspect fineweb10B_sp1024 --tokenizer fineweb_1024_bpe.model
    """
    from golfpipe.data.order import order_warning
    from golfpipe.pipeline.data_sources import inspect_data, known_split

    path = input_path(folder)
    artifact, model, splits = inspect_data(path, input_path(tokenizer) if tokenizer is not None else None)
    rows = [
        [name, str(len(split.shards)), f"{split.tokens:,}", f"{split.documents:,}", f"{split.bytes:,}",
         f"{split.bytes_per_token:.4f}", SOURCES[split.known_from]]
        for name, split in splits.items()
    ]  # fmt: skip
    table = format_table(["split", "shards", "tokens", "documents", "bytes", "bytes/token", "bytes from"], rows)
    sample = " ".join(next(iter(splits.values())).sample.split())[:SAMPLE_CHARACTERS]
    about = f"{path}: tokenizer {model.name}, {model.vocab_size} pieces, BOS {model.bos_id}"
    warnings = [order_warning(split.order_bits, f"{name} split") for name, split in splits.items()]
    notes = [f"warning: {warning}" for warning in warnings if warning is not None]
    known = known_split(splits, model.vocab_size)
    notes += [f"val split: {known}"] if known is not None else []
    metrics: dict[str, Any] = {"vocab_size": model.vocab_size, "bos_id": model.bos_id}
    for name, split in splits.items():
        metrics |= _split_metrics(name, split)
    extra: dict[str, Any] = {"sample": sample, "shards": _shards(splits), "known_split": known}
    if overlap:
        extra["overlap"], sentence = _overlap(splits, model.bos_id)
        notes.append(sentence)
    return Answer(
        lines=paragraphs([about], table, notes, [f"sample: {sample}"]),
        path=path,
        kind="token_data" if artifact is not None else None,
        digest=artifact.manifest.digest if artifact is not None else None,
        metrics=metrics,
        extra=extra,
    )


def _overlap(splits: Mapping[Split, SplitInspection], bos_id: int) -> tuple[dict[str, Any], str]:
    """Return what --overlap found, for programs and in words. Raises UsageError where a split is missing."""
    from golfpipe.pipeline.data_sources import split_overlap

    found, shards = split_overlap(splits, bos_id)
    about = {"documents": found.documents, "found": found.found, "shards": shards}
    if not found.found:
        return about, f"overlap: none of the {found.documents:,} validation documents is in the training shards"
    places = ", ".join(f"{name} ({count:,})" for name, count in shards.items())
    share = found.found / found.documents
    return about, (
        f"warning: {found.found:,} of the {found.documents:,} validation documents ({share:.1%}) begin like documents"
        f" of the training shards {places}: scores on them say little"
    )


def _split_metrics(name: str, split: SplitInspection) -> dict[str, Any]:
    return {
        f"{name}_tokens": split.tokens,
        f"{name}_documents": split.documents,
        f"{name}_bytes": split.bytes,
        f"{name}_bytes_per_token": split.bytes_per_token,
        f"{name}_order_bits": split.order_bits,
    }


def _shards(splits: Mapping[Split, SplitInspection]) -> list[dict[str, Any]]:
    return [
        {"file": shard.path.name, "split": name, "tokens": shard.tokens, "documents": shard.documents}
        for name, split in splits.items()
        for shard in split.shards
    ]
