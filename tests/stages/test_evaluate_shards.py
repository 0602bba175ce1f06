"""Parts of an evaluation: together they are the evaluation, and nothing else passes for it."""

from dataclasses import replace

import pytest

from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.run import run_job
from golfpipe.jobs.shard import Shard, parse_shard
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request, prepare, prepare_merge, prepare_shard
from golfpipe.store.manifest import result_digest

SMALL_BATCHES = "evaluate.batch_tokens=192"


@pytest.fixture(scope="module")
def score(chain, tmp_path_factory):
    """Runs part i of n of the evaluation of the packed model, or the whole; returns the artifact."""
    folder = tmp_path_factory.mktemp("shards")

    def run(i, n, *overrides, model=chain.packed, name=None):
        out = folder / (name or f"{i}-of-{n}-{'-'.join(overrides)}")
        request = Request(
            stage="evaluate",
            inputs={"model": model.path, "data": None},
            settings=Settings(config_file=chain.folder / "stages.yaml", overrides=(SMALL_BATCHES, *overrides)),
            out=out,
        )
        return run_job(prepare(request) if n == 1 else prepare_shard(request, Shard(i, n))).artifact

    return run


@pytest.fixture
def merge(chain, tmp_path):
    def run(*parts):
        settings = Settings(config_file=chain.folder / "stages.yaml")
        request = Request(stage="evaluate", settings=settings, out=tmp_path / "merged")
        return run_job(prepare_merge([part.path for part in parts], request)).artifact

    return run


def test_the_merged_evaluation_is_that_of_one_machine(score, merge):
    whole, parts = score(1, 1), [score(i, 3) for i in (3, 1, 2)]
    assert min(part.manifest.metrics["scored_targets"] for part in parts) > 0
    merged = merge(*parts)
    assert merged.manifest.digest == whole.manifest.digest
    assert merged.manifest.key == whole.manifest.key
    assert merged.manifest.kind == "evaluation"
    assert merged.read("documents.safetensors") == whole.read("documents.safetensors")
    assert len({part.manifest.key for part in parts} | {whole.manifest.key}) == 4


def test_more_shards_than_batches_leave_some_empty(score, merge):
    whole = score(1, 1, "evaluate.max_targets=100")
    parts = [score(i, 5, "evaluate.max_targets=100") for i in range(1, 6)]
    assert 0 in [part.manifest.metrics["scored_targets"] for part in parts]
    assert merge(*parts).manifest.digest == whole.manifest.digest


def test_missing_and_double_parts_are_refused(score, merge):
    one, two = score(1, 3), score(2, 3)
    with pytest.raises(UsageError, match="shards missing: 3/3"):
        merge(one, two)
    with pytest.raises(UsageError, match="shard 2/3 is given twice"):
        merge(one, two, score(2, 3, name="again"))
    with pytest.raises(UsageError, match=r"shard 1/2, but .* is shard 1/3"):
        merge(one, score(1, 2))


def test_foreign_parts_are_refused(chain, score, merge):
    with pytest.raises(UsageError, match=r"another evaluation than .*evaluate.stride"):
        merge(score(1, 2), score(2, 2, "evaluate.stride=16"))
    with pytest.raises(UsageError, match=r"another evaluation than .*input model"):
        merge(score(1, 2), score(2, 2, model=chain.trained, name="trained"))
    with pytest.raises(ArtifactError, match="expected partial_evaluation"):
        merge(chain.trained)
    with pytest.raises(ArtifactError, match=r"scored targets that another part has too|are in no part"):
        merge(score(1, 2), score(2, 2, "evaluate.batch_tokens=320"))


def test_a_part_that_was_altered_is_refused(score, merge):
    one, two = score(1, 2, name="altered"), score(2, 2)
    path = one.path / "part.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="the file was altered"):
        merge(one, two)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"shard": None}, "shard=None and num_shards=2 name no part"),
        ({"shard": 3}, "shard=3 and num_shards=2 name no part"),
        ({"eval_seconds": "x"}, "eval_seconds is 'x', no time"),
    ],
)
def test_forged_metrics_are_refused(score, merge, tmp_path, metrics, message):
    one, two = score(1, 2, name=f"forged-{tmp_path.name}"), score(2, 2)
    manifest = replace(one.manifest, metrics=one.manifest.metrics | metrics)
    digest = result_digest(manifest.kind, manifest.files, manifest.model, manifest.metrics)
    (one.path / "manifest.json").write_bytes(replace(manifest, digest=digest).sealed().to_json())
    with pytest.raises(ArtifactError, match=message):
        merge(one, two)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_bad_shards_are_refused(text):
    with pytest.raises(UsageError, match="expected i/n"):
        parse_shard(text)
    assert parse_shard("4/4") == Shard(4, 4)
