"""Make an existing folder of shards usable as token data, without copying it.

golfpipe data add fineweb10B_sp1024 --tokenizer fineweb_1024_bpe.model
golfpipe data add /mnt/shared/fineweb -o artifacts/data/fineweb   # the folder stays as it is
"""

from __future__ import annotations

from pathlib import Path

from golfpipe.data.inspect import inspect_shards, list_sidecars
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.jobs.job import Job
from golfpipe.stages.token_summary import split_metrics, tokenizer_metrics
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result


def run(job: Job, out: ArtifactWriter) -> Result:
    """Check every header, and every byte of the validation split, and write the manifest's facts. The job's arguments
    are folder, tokenizer, in_place."""
    folder, source = Path(job.arguments["folder"]), Path(job.arguments["tokenizer"])
    tokenizer = Tokenizer.load(source)
    splits = inspect_shards(folder, tokenizer)
    if source.resolve().parent != folder.resolve():
        out.write(source.name, tokenizer.model_bytes)  # small, and the data is useless without it
    names = [source.name]
    for name, split in splits.items():
        paths = [shard.path for shard in split.shards]
        names += [path.name for path in (*paths, *list_sidecars(paths, name))]
    return Result(
        kind="token_data",
        metrics=split_metrics(splits) | tokenizer_metrics(tokenizer, source.name),
        location=None if job.arguments["in_place"] else str(folder.resolve()),
        files=tuple(sorted(names)),
    )
