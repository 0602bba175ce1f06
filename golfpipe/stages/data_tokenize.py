"""Turn text files into token data.

golfpipe data tokenize corpus.jsonl
golfpipe data tokenize texts/ --name books --tokenizer sp.model --shard-tokens 50000000
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from golfpipe.data.document_split import Survey, TextPart, count_copies, survey_documents, training_documents
from golfpipe.data.text_files import read_documents
from golfpipe.data.tokenizer import DEFAULT_VOCAB_SIZE, MAX_TRAINING_BYTES, Tokenizer, train_tokenizer
from golfpipe.jobs.job import Job
from golfpipe.stages.token_summary import write_token_data
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result

SHARE_DEVIATION = 1 / 8
"""Of validation's share: where it would vary more, texts are cut. A quarter off then is two standard deviations."""
SHORTEST_PIECE = 2000
"""Characters that a document is left with where texts are cut for the sake of the split."""


def run(job: Job, out: ArtifactWriter) -> Result:
    """Arguments: files, named (the files of each split where their names say it, else None), left_out, tokenizer (None:
    train one), separator, processes. The files are streamed, two to four times."""
    settings, arguments, reporter = job.config.data, job.arguments, job.context.reporter
    if left_out := arguments.get("left_out"):
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in left_out.most_common())
        reporter.note(f"left out of the folders: {kinds}; a file that is named itself is taken whatever it ends in")
    parts, survey = _named_parts(job) if arguments.get("named") else _hashed_parts(job)
    if arguments["tokenizer"] is not None:
        tokenizer = Tokenizer.load(arguments["tokenizer"])
    else:
        reporter.note("training a tokenizer")
        tokenizer = train_tokenizer(
            training_documents(parts, share=MAX_TRAINING_BYTES / survey.bytes),
            vocab_size=settings.vocab_size,
            normalization=settings.normalization_of("identity"),
            transform=settings.transform,
        )
        if not settings.vocab_size and tokenizer.vocab_size != DEFAULT_VOCAB_SIZE:
            reporter.note(f"this text gets a vocabulary of {tokenizer.vocab_size:,} pieces")
    mixed_bytes = survey.bytes if settings.shuffle else None
    return write_token_data(job, out, parts, tokenizer, mixed_bytes=mixed_bytes, processes=arguments["processes"])


def _named_parts(job: Job) -> tuple[list[TextPart], Survey]:
    """Return the text of each split, as the names of the files say it, and what there is to know of the training's."""
    arguments, reporter = job.arguments, job.context.reporter
    named = arguments["named"]
    if left_out := [path.name for path in arguments["files"] if not any(path in files for files in named.values())]:
        reporter.warn(
            f"left out: {', '.join(left_out[:3])}{', ...' if len(left_out) > 3 else ''}, named neither train nor"
            " validation as the others are"
        )
    separator = arguments.get("separator")
    train, val = (partial(read_documents, named[split], separator=separator) for split in ("train", "val"))
    if copies := count_copies(train(), val()):
        reporter.warn(f"{copies:,} of the training documents are also for validation, so scores are too good")
    parts = [TextPart(read=train, threshold=0.0), TextPart(read=val, threshold=1.0)]
    return parts, survey_documents(train())


def _hashed_parts(job: Job) -> tuple[list[TextPart], Survey]:
    """Return the text with the threshold that divides it, and what there is to know of it."""
    read, survey = _reading(job)
    return [TextPart(read=read, threshold=survey.threshold(job.config.data.val_fraction))], survey


def _reading(job: Job) -> tuple[Callable[[], Iterator[str]], Survey]:
    """Return how the documents are read where a hash divides them: cut where they are too few."""
    fraction, arguments = job.config.data.val_fraction, job.arguments
    read = partial(read_documents, arguments["files"], separator=arguments.get("separator"))
    survey = survey_documents(read())
    if survey.share_deviation(fraction) <= SHARE_DEVIATION:
        return read, survey
    pieces = (1 - fraction) / fraction / SHARE_DEVIATION**2
    longest = max(SHORTEST_PIECE, math.ceil(survey.characters / pieces))
    finer = partial(read, longest=longest)
    cut = survey_documents(finer())
    if cut.documents == survey.documents:  # no text is so long, or the documents are those of lines or a separator
        return read, survey
    job.context.reporter.note(
        f"{survey.documents:,} documents are too few for a validation split of {fraction:.1%}: the texts are cut at"
        f" blank lines into {cut.documents:,} documents of at most {longest:,} characters"
    )
    return finer, cut
