"""Turn text files into token data.

golfpipe data tokenize corpus.jsonl
golfpipe data tokenize texts/ --name books --tokenizer sp.model --shard-tokens 50000000
"""

from __future__ import annotations

from golfpipe.data.document_split import training_documents
from golfpipe.data.text_files import read_documents
from golfpipe.data.tokenizer import Tokenizer, train_tokenizer
from golfpipe.jobs.job import Job
from golfpipe.stages.token_summary import write_token_data
from golfpipe.store.artifact import ArtifactWriter
from golfpipe.store.manifest import Result


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write the shards and the tokenizer. The job's arguments are files, tokenizer (None trains one), separator,
    processes. The files are streamed, twice where a tokenizer is trained."""
    settings, arguments = job.config.data, job.arguments
    files, separator = arguments["files"], arguments.get("separator")
    if arguments["tokenizer"] is not None:
        tokenizer = Tokenizer.load(arguments["tokenizer"])
    else:
        job.context.reporter.note(f"training a tokenizer of {settings.vocab_size} pieces")
        texts = training_documents(read_documents(files, separator=separator), settings.val_fraction)
        tokenizer = train_tokenizer(texts, vocab_size=settings.vocab_size)
    documents = read_documents(files, separator=separator)
    return write_token_data(job, out, documents, tokenizer, processes=arguments["processes"])
