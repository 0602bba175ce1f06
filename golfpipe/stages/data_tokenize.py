"""Turn text files into token data.

golfpipe data tokenize corpus.jsonl
golfpipe data tokenize texts/ --name books --tokenizer sp.model --shard-tokens 50000000
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from golfpipe.data.document_split import Survey, survey_documents, training_documents
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
    """Arguments: files, left_out, tokenizer (None: train one), separator, processes. The files are streamed, two to
    four times."""
    settings, arguments, reporter = job.config.data, job.arguments, job.context.reporter
    if left_out := arguments.get("left_out"):
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in left_out.most_common())
        reporter.note(f"left out of the folders: {kinds}; a file that is named itself is taken whatever it ends in")
    read, survey = _reading(job)
    threshold = survey.threshold(settings.val_fraction)
    if arguments["tokenizer"] is not None:
        tokenizer = Tokenizer.load(arguments["tokenizer"])
    else:
        reporter.note("training a tokenizer")
        tokenizer = train_tokenizer(
            training_documents(read(), threshold, share=MAX_TRAINING_BYTES / survey.bytes),
            vocab_size=settings.vocab_size,
            normalization=settings.normalization_of("identity"),
            transform=settings.transform,
        )
        if not settings.vocab_size and tokenizer.vocab_size != DEFAULT_VOCAB_SIZE:
            reporter.note(f"this text gets a vocabulary of {tokenizer.vocab_size:,} pieces")
    mixed_bytes = survey.bytes if settings.shuffle else None
    return write_token_data(
        job, out, read(), tokenizer, threshold=threshold, mixed_bytes=mixed_bytes, processes=arguments["processes"]
    )


def _reading(job: Job) -> tuple[Callable[[], Iterator[str]], Survey]:
    """Return how the documents are read, and what there is to know of them."""
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
