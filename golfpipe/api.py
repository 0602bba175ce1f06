"""golfpipe from Python: the commands as functions, with the same names, defaults and results.

    from golfpipe import demo_data, evaluate, pack, quantize, train

    data = demo_data()
    model = pack(quantize(train(data, preset="demo", settings={"train.max_steps": 100})))
    print(evaluate(model).manifest.metrics["val_bpb"])

Inputs are artifacts or their folders. Like the commands, a function does nothing where its output is up to date. It is
silent unless given a `reporter`, never prints or exits, and raises errors of `golfpipe.errors`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, Unpack

from golfpipe.choices import unknown_name
from golfpipe.jobs.job import Context
from golfpipe.jobs.registry import numbered_role
from golfpipe.jobs.run import run_job
from golfpipe.jobs.shard import parse_shard
from golfpipe.pipeline.runner import RunRequest, Step, plan_run, run_pipeline
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import (
    DEMO_DATA,
    Request,
    finished_evaluation,
    prepare,
    prepare_merge,
    prepare_shard,
)
from golfpipe.pipeline.text_digest import demo_digest
from golfpipe.pipeline.training import prepare_training
from golfpipe.reporter import Reporter, SilentReporter
from golfpipe.store import artifact as artifacts
from golfpipe.store.artifact import Artifact
from golfpipe.sweeps.grid import Grid, override_texts

if TYPE_CHECKING:  # these load torch, matplotlib and more
    from golfpipe.review.audit import AuditReport
    from golfpipe.review.differences import Differences
    from golfpipe.review.runs import RunLine
    from golfpipe.review.status import RunStatus
    from golfpipe.review.unpack import Unpacked
    from golfpipe.submission.comparison import Comparison
    from golfpipe.sweeps.executor import ExecutorName
    from golfpipe.sweeps.results import CellResult

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")
Source = Artifact | Path | str
"""An artifact, or the folder that holds it."""


class Options(TypedDict, total=False):
    """The options of every function that runs stages, as the commands have them."""

    settings: Mapping[str, Any]
    """Values by dotted key, like {"quantize.mlp.bits": 5}; the option --set."""
    preset: str
    machine: str
    seed: int
    config: Path | str
    """The pipeline file; else ./stages.yaml, else golfpipe's own."""
    device: str
    """The device: auto (cuda, then mps, then cpu), cpu, cuda or mps."""
    threads: int
    """The number of CPU threads."""
    force: bool
    """True: run although up to date, and replace a trained model."""
    reporter: Reporter
    """Receives progress and warnings; `golfpipe.reporter` says what it needs. Without one nothing is printed."""
    out: Path | str
    """The output folder; else it is beside the input, as with the command."""


def _strict(function: Callable[_Parameters, _Returned]) -> Callable[_Parameters, _Returned]:
    """Return the function with unknown keywords refused, which `**options` would take. Raises ConfigError."""
    own = [name for name in inspect.signature(function).parameters if name != "options"]
    known = [*own, *Options.__annotations__]

    @functools.wraps(function)
    def with_known_keywords(*values: _Parameters.args, **options: _Parameters.kwargs) -> _Returned:
        for name in options:
            if name not in known:
                error = unknown_name(name, f"keyword of {function.__name__}():", known)
                error.add_note(f"hint: {error.hint}")  # shown below the traceback
                raise error
        return function(*values, **options)

    return with_known_keywords


@dataclass(frozen=True, kw_only=True)
class Run:
    """A whole chain that was brought up to date."""

    folder: Path
    steps: tuple[Step, ...]

    def __getitem__(self, name: str) -> Artifact:
        """Return the artifact of a step, as in run()["pack"]. Raises KeyError for a step that wrote none."""
        for step in self.steps:
            if step.node.name == name and step.artifact is not None:
                return step.artifact
        raise KeyError(name)


@_strict
def run(
    data: Source | None = None,
    *,
    name: str | None = None,
    start: str | None = None,
    until: str | None = None,
    seeds: Sequence[int] = (),
    on_step: Callable[[Step], None] | None = None,
    **options: Unpack[Options],
) -> Run:
    """Bring the whole chain of stages.yaml in artifacts/NAME up to date, as `golfpipe run`; `start` is its --from.

    `seeds` trains with each, for one submission: run(seeds=[1, 2])["seed-1/pack"]. `on_step` is called for each step
    before it runs, or when it is skipped. A submission that breaks a limit is a step with an `error`.
    """
    settings, context = _settings(options), _context(options)
    request = RunRequest(
        settings=settings, context=context, name=name, data=_path(data), start=start, until=until, seeds=seeds
    )
    plan = plan_run(request)
    return Run(folder=plan.folder, steps=tuple(run_pipeline(plan, on_step or (lambda step: None))))


def open_artifact(path: Source) -> Artifact:
    """Open a finished artifact. Raises UsageError for a path without one, ArtifactError for a damaged one."""
    return artifacts.open_artifact(_known_path(path))


@_strict
def demo_data(**options: Unpack[Options]) -> Artifact:
    """Make token data from the text that comes with Python, as `golfpipe data demo`."""
    return _stage("data-demo", {}, options, default_out=DEMO_DATA, argument_digest=demo_digest())


@_strict
def tokenize(
    files: Sequence[Path | str] | Path | str,
    *,
    name: str | None = None,
    tokenizer: Path | str | None = None,
    separator: str | None = None,
    processes: int | None = None,
    **options: Unpack[Options],
) -> Artifact:
    """Make token data from your text, as `golfpipe data tokenize`."""
    from golfpipe.pipeline.data_sources import tokenize_arguments

    sources = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    arguments, digest, out = tokenize_arguments(
        sources,
        tokenizer=Path(tokenizer) if tokenizer is not None else None,
        separator=separator,
        processes=processes,
        name=name,
        settings=_settings(options).resolve(),
    )
    return _stage("data-tokenize", {}, options, default_out=out, arguments=arguments, argument_digest=digest)


@_strict
def train(
    data: Source | None = None,
    *,
    name: str | None = None,
    init: Source | None = None,
    replay: Source | None = None,
    resume: bool = False,
    **options: Unpack[Options],
) -> Artifact:
    """Train a model, as `golfpipe train`. `init` is a model whose weights to start from; `replay` a trained model whose
    clock's decisions to repeat; `resume` goes on from an interrupted run, with its settings and data."""
    from golfpipe.loading.replay_log import replay_arguments

    arguments, digest = replay_arguments(_known_path(replay)) if replay is not None else ({}, "")
    request = _request(
        "train", {"data": data, "init": init}, options, arguments=arguments, argument_digest=digest, resume=resume
    )
    return run_job(prepare_training(request, name)).artifact


@_strict
def quantize(model: Source, data: Source | None = None, **options: Unpack[Options]) -> Artifact:
    """Quantize a trained model, as `golfpipe quantize`. `data` is for calibration."""
    return _stage("quantize", {"model": model, "data": data}, options)


@_strict
def pack(model: Source, **options: Unpack[Options]) -> Artifact:
    """Pack a quantized model, as `golfpipe pack`. Over the limit its metric `fits` is False."""
    return _stage("pack", {"model": model}, options)


@_strict
def ttt(model: Source, data: Source | None = None, **options: Unpack[Options]) -> Artifact:
    """Adapt a model at test time, as `golfpipe ttt`. Returns an adapted model, or (score-first) an evaluation."""
    return _stage("ttt", {"model": model, "data": data}, options)


@_strict
def evaluate(
    model: Source, data: Source | None = None, *, shard: str | None = None, **options: Unpack[Options]
) -> Artifact:
    """Score any model, as `golfpipe evaluate`. An evaluation is returned as it is. `shard="2/4"` scores the second of
    four parts."""
    finished = finished_evaluation(_known_path(model))
    if finished is not None:  # score-first `ttt` returns one
        return finished
    request = _request("evaluate", {"model": model, "data": data}, options)
    return run_job(prepare(request) if shard is None else prepare_shard(request, parse_shard(shard))).artifact


@_strict
def evaluate_merge(*parts: Source, **options: Unpack[Options]) -> Artifact:
    """Merge the parts that `evaluate(shard=...)` wrote into one evaluation, as `golfpipe evaluate merge`."""
    return run_job(prepare_merge([_known_path(part) for part in parts], _request("evaluate", {}, options))).artifact


@_strict
def submit(*evaluations: Source, **options: Unpack[Options]) -> Artifact:
    """Write the records folder of one evaluation per seed, as `golfpipe submit`."""
    return _stage("submit", {numbered_role("evaluation", n): made for n, made in enumerate(evaluations, 1)}, options)


@_strict
def sweep(
    source: Source,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
    *,
    seeds: Sequence[int] = (),
    data: Source | None = None,
    stages: Sequence[str] | None = None,
    sample: int | None = None,
    jobs: int | None = None,
    executor: ExecutorName = "local",
    slurm: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> list[CellResult]:
    """Try every combination of the grid's values, as `golfpipe sweep`. Failed cells have an `error`.

    The work is done in other processes, so a script must call this below `if __name__ == "__main__":`.
    """
    from golfpipe.sweeps.executor import make_workers
    from golfpipe.sweeps.plan import DEFAULT_THREADS, SweepRequest, plan_sweep
    from golfpipe.sweeps.results import run_recorded

    given = [grid] if isinstance(grid, Mapping) else grid
    grids: list[Grid] = [{key: list(values) for key, values in item.items()} for item in given]
    threads = options.get("threads", DEFAULT_THREADS)
    plan = plan_sweep(
        SweepRequest(
            source=_known_path(source),
            seeds=(*seeds,),
            data=_path(data),
            grids=grids,
            stages=(*stages,) if stages is not None else None,
            sample=sample,
            settings=_settings(options),
            context=_context(options | {"threads": threads}),
            out=_path(options.get("out")),
        )
    )
    return run_recorded(plan, make_workers(plan, executor=executor, jobs=jobs, slurm=slurm))


def audit(path: Source) -> AuditReport:
    """Say where the bytes of any artifact or records folder are and which rules hold, as `golfpipe audit`."""
    from golfpipe.review.audit import audit_path

    return audit_path(_known_path(path))


def compare(first: Source, second: Source, *, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Tell whether one evaluation is better than another, or the difference is noise, as `golfpipe compare`."""
    from golfpipe.submission.comparison import compare_evaluations

    return compare_evaluations(_known_path(first), _known_path(second), resamples=resamples, seed=seed)


def diff(first: Source, second: Source) -> Differences:
    """Tell what differs between two runs or artifacts, as `golfpipe diff`."""
    from golfpipe.review.differences import diff as find_differences

    return find_differences(_known_path(first), _known_path(second))


@_strict
def status(folder: Path | str, **options: Unpack[Options]) -> RunStatus:
    """Tell which steps of a run exist and what is stale, as `golfpipe status`."""
    from golfpipe.review.status import run_status

    return run_status(Path(folder), _settings(options))


def ls(folder: Path | str = "artifacts", *, config: Path | str | None = None) -> list[RunLine]:
    """List all runs below a folder, newest first, as `golfpipe ls`."""
    from golfpipe.review.runs import list_runs

    return list_runs(Path(folder), Settings(config_file=_path(config)).stages().default_preset)


def unpack(model: Source, *, out: Path | str | None = None) -> Unpacked:
    """Write a packed model as plain fp16 safetensors, as `golfpipe unpack`."""
    from golfpipe.review.unpack import unpack_model

    return unpack_model(_known_path(model), _path(out))


def generate(
    model: Source,
    prompt: str = "",
    *,
    tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 0,
    seed: int = 0,
    data: Source | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Iterator[str]:
    """Yield pieces of text as a model draws them, as `golfpipe generate`: "".join(generate(model, "The "))."""
    from golfpipe.review.generation import GenerationSettings, Generator

    settings = GenerationSettings(prompt=prompt, tokens=tokens, temperature=temperature, top_k=top_k, seed=seed)
    return Generator(_known_path(model), data=_path(data), device=device, threads=threads).text(settings)


def write_report(*folders: Path | str, out: Path | str | None = None) -> Path:
    """Write one HTML page about a run, or about several side by side, as `golfpipe report`, and return its path."""
    from golfpipe.report.page import write_report as write

    paths = [Path(folder) for folder in folders]
    return write(paths, _path(out) or paths[0] / "report.html")


def _stage(stage: str, inputs: Mapping[str, Source | None], options: Options, **more: Any) -> Artifact:
    return run_job(prepare(_request(stage, inputs, options, **more))).artifact


def _request(
    stage: str,
    inputs: Mapping[str, Source | None],
    options: Options,
    *,
    arguments: Mapping[str, Any] | None = None,
    argument_digest: str = "",
    default_out: Path | None = None,
    resume: bool = False,
) -> Request:
    return Request(
        stage=stage,
        inputs={role: _path(source) for role, source in inputs.items()},
        settings=_settings(options),
        context=_context(options, resume=resume),
        out=_path(options.get("out")) or default_out,
        arguments=arguments or {},
        argument_digest=argument_digest,
    )


def _settings(options: Options) -> Settings:
    config = options.get("config")
    return Settings(
        config_file=Path(config) if config is not None else None,
        preset=options.get("preset"),
        machine=options.get("machine"),
        overrides=override_texts(options.get("settings", {})),
        seed=options.get("seed"),
    )


def _context(options: Options, *, resume: bool = False) -> Context:
    return Context(
        device=options.get("device", "auto"),
        threads=options.get("threads"),
        force=options.get("force", False),
        resume=resume,
        reporter=options.get("reporter") or SilentReporter(),
    )


def _path(source: Source | None) -> Path | None:
    return _known_path(source) if source is not None else None


def _known_path(source: Source) -> Path:
    return source.path if isinstance(source, Artifact) else Path(source)
