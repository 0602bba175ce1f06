"""Write the records folder of a submission from one evaluation per seed.

golfpipe submit artifacts/demo/evaluate-pack --set submit.author="Ada" --set submit.github_id=ada
golfpipe submit artifacts/seed*/evaluate-pack -o artifacts/three/submit   # mean and deviation over seeds
golfpipe submit artifacts/demo/evaluate-pack --verify                     # runs the script beside the stages

Every number is copied from manifests: each evaluation leads to its packed model and on to its training by digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from golfpipe.config.schema import PipelineConfig, build_config
from golfpipe.config.submit import RECORD_TRACK
from golfpipe.errors import ArtifactError, ConfigError, GolfpipeError, UsageError
from golfpipe.extras import require
from golfpipe.jobs.job import Job
from golfpipe.loading.lineage import Lineage, effective_config, trace
from golfpipe.loading.weights import COMPUTE_DTYPES
from golfpipe.records.folder import compare
from golfpipe.script.generate import Adaptation, generate_script, script_obstacle, script_settings_of
from golfpipe.stages.verify_script import Verification, reduced_settings, verify
from golfpipe.store.artifact import Artifact, refuse_rehearsals
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.store.metric_values import mapping, version
from golfpipe.submission.assemble import Draft, draft, draft_record, empty_fields, folder_files
from golfpipe.submission.facts import Facts, device_of, gather
from golfpipe.submission.judgment import judge, refuse_broken_rules, refuse_over_limit
from golfpipe.submission.record import Heading
from golfpipe.submission.records_folder import folder_name, log_name
from golfpipe.submission.seed_results import largest, spread
from golfpipe.submission.trial.findings import Executed
from golfpipe.submission.trial.room import Room
from golfpipe.submission.trial.start import execute
from golfpipe.units import format_bytes


def run(job: Job, out: ArtifactWriter) -> Result:
    """Inputs: roles evaluation, evaluation-2, ...; one per seed. Of a rehearsal, the argument `rehearsed` is the
    configuration of the run, which the script holds, and `cuts` are the numbers with which the script is verified.

    Raises UsageError for evaluations that cannot be submitted, OverLimit, RuleBroken on track 10min_16mb, StageFailed
    where a comparison with a record is asked for and scipy is not installed.
    """
    if job.config.submit.against:
        require("scipy")
    track = job.config.submit.track
    lineages = [_lineage(artifact) for role, artifact in job.inputs.items() if role.startswith("evaluation")]
    facts = gather(lineages, track=track, has_folder=True)
    _check_seeds(lineages, facts)
    rehearsed: PipelineConfig | None = job.arguments.get("rehearsed")
    if rehearsed is None:
        refuse_rehearsals(*job.inputs.values())
        refuse_over_limit(facts)  # with the reserve for the script, before anything that takes time
    else:
        facts = facts.of_rehearsed_run(rehearsed.evaluate.max_targets)
    script, verification = _script(job, lineages)
    facts = facts.with_script(len(script) if script is not None else None)
    refuse_over_limit(facts)
    record = verification.record() if verification is not None else None
    made = draft(_heading(job, lineages[0]), lineages, facts, script=script, verification=record)
    executed, failure = _executed(job, lineages)
    facts = replace(
        facts.with_executed(executed),
        log_differences=compare(draft_record(made), {log_name(seed): log for seed, log in made.logs.items()}),
        folder_problems=empty_fields(made) if track == RECORD_TRACK else (),
    )
    judgment = judge(facts)
    refuse_broken_rules(judgment, track)
    judgment = replace(judgment, rehearsal=rehearsed is not None)
    if failure is not None:
        raise failure
    if made.compared is not None:
        for tested in made.compared.margins:
            job.context.reporter.note(tested.verdict)
    # Another text than the challenge's is no mistake; a rule that fails may be one.
    say = job.context.reporter.warn if judgment.failed else job.context.reporter.note
    for deviation in judgment.deviations:
        say(f"stated in the README: {deviation}")
    folder = folder_name(track, made.heading.date, made.heading.name)
    for name, content in folder_files(made, judgment, code_measured=facts.code_measured).items():
        # Dates, times and package versions are in all of them; what is submitted is named by the metrics.
        out.write(f"{folder}/{name}", content, content=False)
    return Result(
        kind="submission",
        metrics=_metrics(made, facts) | _script_metrics(job, script, verification),
        model=lineages[0].packed.manifest.model if lineages[0].packed is not None else None,
        provenance={"records_folder": folder, "deviations": list(judgment.deviations)},
    )


def _script(job: Job, lineages: Sequence[Lineage]) -> tuple[bytes | None, Verification | None]:
    """train_gpt.py for the first seed, and on request what running it showed. No script where there can be none."""
    lineage, settings = lineages[0], job.config.submit
    config = _as_trained(job.arguments.get("rehearsed") or build_config(effective_config(lineage)), lineage)
    obstacle = next(filter(None, map(_origin_obstacle, lineages)), None) or script_obstacle(config)
    if obstacle is not None:
        job.context.reporter.warn(f"no train_gpt.py: {obstacle}")
        return None, None
    adaptation: Adaptation = "ttt" if lineage.adapted is not None or lineage.score_first else "none"
    script = generate_script(script_settings_of(config, adaptation), settings.layout)
    reserve = config.pack.code_bytes_reserve
    if len(script) > reserve:
        job.context.reporter.warn(
            f"train_gpt.py ({settings.layout}) has {format_bytes(len(script))}, and pack.code_bytes_reserve planned"
            f" {format_bytes(reserve)}: the audit of the packed model counted too little"
        )
    if not settings.verify:
        return script, None
    if lineage.data is None:
        raise UsageError("--verify needs the token data, which was not found", hint="bring the data artifact back")
    with job.context.reporter.task("verify train_gpt.py", 1, "scripts") as task:
        changes = job.arguments.get("cuts") or reduced_settings(config, adaptation)
        verification = verify(script, config, adaptation, lineage.data, changes)
        task.advance(1)
    for difference in verification.differences:
        job.context.reporter.warn(f"train_gpt.py differs from the stages: {difference}")
    return script, verification


def _as_trained(config: PipelineConfig, lineage: Lineage) -> PipelineConfig:
    """Return the configuration with the precision that train.precision=auto stood for."""
    assert lineage.trained is not None
    precision = lineage.trained.manifest.metrics.get("precision")
    if config.train.precision != "auto" or precision not in tuple(COMPUTE_DTYPES):  # it may be no text
        return config
    return replace(config, train=replace(config.train, precision=precision))


def _origin_obstacle(lineage: Lineage) -> str | None:
    """Weights that no training from a seed gives."""
    assert lineage.trained is not None
    if lineage.trained.manifest.stage != "train":
        return "the weights were imported, so no script can train them"
    if lineage.trained.manifest.input("init") is not None:
        return "training began from another model's weights (--init), which a script does not have"
    if lineage.trained.manifest.metrics.keys() & {"skipped_steps", "skipped_shards"}:
        return "training left out bad steps or shards, which a script would train on"
    return None


def _script_metrics(job: Job, script: bytes | None, verification: Verification | None) -> dict[str, object]:
    if script is None:
        return {}
    metrics: dict[str, object] = {
        "script_layout": job.config.submit.layout,
        "script_sha256": hashlib.sha256(script).hexdigest(),
    }
    if verification is not None:
        metrics |= {"script_verified": verification.equal, "script_differences": list(verification.differences)}
    return metrics


def _executed(job: Job, lineages: Sequence[Lineage]) -> tuple[list[Executed], GolfpipeError | None]:
    """What running each seed's method showed. A failure to run comes back, for the broken rules
    are to be told first."""
    if job.config.submit.track != RECORD_TRACK and not job.config.submit.execute:
        return [], None
    found, room = [], Room(device=job.context.device, threads=job.context.threads)
    with job.context.reporter.task("execute the rules", len(lineages), "seeds") as task:
        for lineage in lineages:
            try:
                found.append(execute(lineage, room=room))
            except GolfpipeError as error:
                return [], error
            task.advance(1)
    return found, None


def _lineage(artifact: Artifact) -> Lineage:
    """The chain behind one evaluation. Raises UsageError (2) or ArtifactError (3) where it cannot be submitted."""
    manifest = artifact.manifest
    if manifest.kind != "evaluation":
        raise ArtifactError(
            f"{artifact.path}: a {manifest.kind}, expected an evaluation",
            hint=f"golfpipe submit $(golfpipe evaluate -q {artifact.path})",
            path=str(artifact.path),
        )
    lineage = trace(artifact, required=("adapted_model", "packed_model", "quantized_model", "trained_model"))
    if lineage.packed is None:
        model = manifest.input("model")
        kind = model.kind if model is not None else "model that it does not name"
        steps = {"trained_model": "quantize, pack and evaluate", "quantized_model": "pack and evaluate"}
        raise UsageError(
            f"{artifact.path}: an evaluation of a {kind} that was never packed;"
            " only what is in a packed file can be submitted",
            hint=f"{steps.get(kind, 'pack the model, adapt and evaluate it')} first, then submit that evaluation",
            path=str(artifact.path),
        )
    if lineage.trained is None:
        raise ArtifactError(f"{lineage.packed.path}: does not lead to a trained model", path=str(lineage.packed.path))
    return lineage


def _check_seeds(lineages: Sequence[Lineage], facts: Facts) -> None:
    if not lineages:
        raise UsageError("submit needs at least one evaluation", hint="golfpipe submit artifacts/NAME/evaluate-pack")
    seen: dict[int | None, Lineage] = {}
    for lineage, known in zip(lineages, facts.runs, strict=True):
        if known.seed in seen:
            first, second = seen[known.seed].evaluation, lineage.evaluation
            assert first is not None and second is not None
            raise UsageError(
                f"{first.path} and {second.path}: both come from seed {known.seed};"
                " a submission has one evaluation per seed",
                hint="train each with another --seed",
            )
        seen[known.seed] = lineage


def _heading(job: Job, lineage: Lineage) -> Heading:
    settings = job.config.submit
    when = settings.date or date.today().isoformat()
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", when, re.ASCII) is None:
        raise ConfigError(f"submit.date={when!r} must be YYYY-MM-DD")
    assert lineage.evaluation is not None and lineage.trained is not None
    packages = mapping(lineage.trained.manifest.provenance, "packages")
    return Heading(
        author=settings.author,
        github_id=settings.github_id,
        name=settings.name or _run_folder(job, lineage.evaluation).name,
        blurb=settings.blurb,
        date=when,
        track=settings.track,
        hardware=settings.hardware or device_of(lineage.trained) or "hardware not recorded",
        pytorch_version=version(packages, "torch") or "",
        against=settings.against,
        against_name=settings.against_name,
        launchers=settings.launchers,
        gpus=settings.gpus,
    )


def _run_folder(job: Job, evaluation: Artifact) -> Path:
    """Return the folder that names the submission: that of the run, or, of several runs, the one above them all."""
    return evaluation.path.resolve().parent if len(job.inputs) == 1 else job.out.resolve().parent


def _metrics(made: Draft, facts: Facts) -> dict[str, object]:
    loss, bpb = spread([r.val_loss_nats for r in made.results]), spread([r.val_bpb for r in made.results])
    biggest = largest(made.results)
    evaluations = [lineage.evaluation for lineage in made.lineages if lineage.evaluation is not None]
    return {
        "track": made.heading.track,
        "val_loss_nats": loss.mean,
        "val_bpb": bpb.mean,
        "val_loss_std_nats": loss.deviation,
        "val_bpb_std": bpb.deviation,
        "seeds": [result.seed for result in made.results],
        "evaluations": [artifact.manifest.digest for artifact in evaluations],
        "scored_targets": facts.runs[0].scored_targets,
        "packed_bytes": biggest.model_bytes,
        "code_bytes": biggest.code_bytes,
        "code_bytes_source": "measured" if facts.code_measured else "reserved",
        "total_bytes": biggest.artifact_bytes,
        "limit_bytes": min(run.limit_bytes for run in facts.runs),
        "fits": True,
        **({"significant": made.compared.enough} if made.compared is not None else {}),
        "eligible": all(run.eligible is True for run in facts.runs),
    }
