"""Build all files of a records folder as bytes, from the chains of its seeds. Nothing is written here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from golfpipe.config.schema import PipelineConfig, build_config
from golfpipe.loading.lineage import Lineage, effective_config, shown_metrics
from golfpipe.store.metric_values import count, mapping, text, version
from golfpipe.submission.facts import Facts
from golfpipe.submission.judgment import Judgment
from golfpipe.submission.launchers import LaunchSettings, launch_minutes, launcher_file
from golfpipe.submission.readme import readme_text
from golfpipe.submission.record import Heading, submission_json
from golfpipe.submission.records_folder import README_FILE, SCRIPT_FILE, SUBMISSION_FILE, log_name
from golfpipe.submission.score_parts import parts_of
from golfpipe.submission.seed_results import SeedResult, seed_result
from golfpipe.submission.significance import Significance, significance
from golfpipe.submission.technique import technique_lines
from golfpipe.submission.train_log import complete_log
from golfpipe.training.log_lines import TRAINING_LOG
from golfpipe.visible import visible_json

CONFIG_FILE = "config.yaml"
REQUIREMENTS_FILE = "requirements.txt"
_REQUIRED_PACKAGES = ("torch", "numpy", "safetensors", "sentencepiece", "constriction")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A submission before it is judged."""

    heading: Heading
    lineages: tuple[Lineage, ...]
    results: tuple[SeedResult, ...]
    logs: dict[int, str]
    config: PipelineConfig
    sections: dict[str, Any]
    """The effective settings by section, of the stages that ran."""
    compared: Significance | None = None
    """The comparison with the standing record, where one was given."""
    script: bytes | None = None
    """The content of train_gpt.py."""
    verification: Mapping[str, Any] | None = None
    """What running the script beside the stages showed; None if it was not run."""


def draft(
    heading: Heading,
    lineages: Sequence[Lineage],
    facts: Facts,
    *,
    script: bytes | None = None,
    verification: Mapping[str, Any] | None = None,
) -> Draft:
    """Gather results, logs and settings. The settings are those of the first seed; rule 9 says whether others agree.

    Raises ArtifactError naming a metric that is missing.
    """
    sections = effective_config(lineages[0])
    results = [seed_result(lineage, run) for lineage, run in zip(lineages, facts.runs, strict=True)]
    logs = {
        result.seed: _log(lineage, result, run.code_measured)
        for lineage, result, run in zip(lineages, results, facts.runs, strict=True)
    }
    against = heading.against
    compared = None
    if against:
        bpb, nats = [result.val_bpb for result in results], [result.val_loss_nats for result in results]
        compared = significance(bpb, nats, against, heading.against_name)
    return Draft(
        heading=heading,
        compared=compared,
        lineages=tuple(lineages),
        results=tuple(results),
        logs=logs,
        config=build_config(sections),
        sections=sections,
        script=script,
        verification=verification,
    )


def draft_record(made: Draft) -> dict[str, Any]:
    """Return what submission.json will hold, without the judgment, which is not known yet."""
    return _record(made, Judgment(rules=(), deviations=()))


def empty_fields(made: Draft) -> tuple[str, ...]:
    """List the fields of submission.json that are empty and must not be."""
    named = {"author": made.heading.author, "github_id": made.heading.github_id, "blurb": made.heading.blurb}
    return tuple(f"submit.{name} is empty" for name, value in named.items() if not value.strip())


def folder_files(made: Draft, judgment: Judgment, *, code_measured: bool) -> dict[str, bytes]:
    """Return the content of each file of the folder, by name."""
    technique = _technique(made)
    settings = _launch_settings(made)
    launchers = dict(launcher_file(launcher, settings) for launcher in made.heading.launchers)
    listing = [
        (SUBMISSION_FILE, "the record"),
        *([(SCRIPT_FILE, _script_purpose(made))] if made.script is not None else []),
        *((log_name(seed), f"training log of seed {seed}, then sizes and score") for seed in made.logs),
        (CONFIG_FILE, "every setting, as a preset: `golfpipe train DATA --config config.yaml --preset submission`"),
        (REQUIREMENTS_FILE, "packages and their versions"),
        *((name, f"starts the script per seed on {settings.gpus} GPUs") for name in launchers),
    ]
    readme = readme_text(
        made.heading,
        made.results,
        technique,
        judgment,
        code_measured=code_measured,
        files=listing,
        compared=made.compared,
        verification=made.verification,
        parts=parts_of(made.lineages),
    )
    record = json.dumps(_record(made, judgment), indent=2, ensure_ascii=False, allow_nan=False)
    return {
        README_FILE: readme.encode(),
        SUBMISSION_FILE: (visible_json(record) + "\n").encode(),
        **({SCRIPT_FILE: made.script} if made.script is not None else {}),
        **{log_name(seed): log.encode() for seed, log in made.logs.items()},
        CONFIG_FILE: _config_yaml(made).encode(),
        REQUIREMENTS_FILE: _requirements(made.lineages[0]).encode(),
        **{name: content.encode() for name, content in launchers.items()},
    }


def _technique(made: Draft) -> tuple[str, ...]:
    counts = [count(each.evaluation.manifest.metrics, "adapted_documents") for each in made.lineages if each.evaluation]
    return technique_lines(made.config, made.sections, [adapted for adapted in counts if adapted is not None])


def _launch_settings(made: Draft) -> LaunchSettings:
    assert made.lineages[0].evaluation is not None
    python = text(made.lineages[0].evaluation.manifest.provenance, "python") or ""
    minor = re.match(r"3\.\d{1,2}(?!\d)", python, re.ASCII)
    both = [(result.train_seconds or 0) + (result.eval_seconds or 0) for result in made.results]
    return LaunchSettings(
        name=made.heading.name,
        seeds=tuple(result.seed for result in made.results),
        gpus=made.heading.gpus,
        requirements=tuple(_requirements(made.lineages[0]).split()),
        python=minor[0] if minor is not None else "3.11",
        minutes=launch_minutes(both),
    )


def _script_purpose(made: Draft) -> str:
    return (
        "trains, quantizes, packs and scores, alone: `DATA_PATH=shards TOKENIZER_PATH=tokenizer.model"
        f" SEED={made.results[0].seed} python {SCRIPT_FILE}`"
    )


def _record(made: Draft, judgment: Judgment) -> dict[str, Any]:
    record = submission_json(made.heading, made.results, _technique(made), judgment, made.compared)
    return record if made.verification is None else {**record, "script_verification": dict(made.verification)}


def _log(lineage: Lineage, result: SeedResult, code_measured: bool) -> str:
    assert lineage.trained is not None and lineage.packed is not None and lineage.evaluation is not None
    has_log = TRAINING_LOG in lineage.trained.manifest.files
    training_log = lineage.trained.read(TRAINING_LOG).decode("utf-8", "replace") if has_log else None
    return complete_log(
        training_log,
        result,
        coder=_log_word(text(mapping(lineage.packed.manifest.config, "pack"), "coder") or "model"),
        code_measured=code_measured,
        method=_log_word(_method(lineage)),
    )


def _log_word(name: str) -> str:
    """Return a name as one word without a colon: whoever reads the log finds its numbers after 'word:'."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name)


def _method(lineage: Lineage) -> str:
    """Return how the score came about, for the log's last line."""
    assert lineage.evaluation is not None
    windows = text(shown_metrics(lineage.evaluation), "method") or "evaluation"
    if lineage.adapted is not None:
        method = text(mapping(lineage.adapted.manifest.config, "ttt"), "method")
        return f"{method or 'unknown'}_ttt_{windows}"
    return windows


def _config_yaml(made: Draft) -> str:
    settings = {key: value for key, value in made.sections.items() if key != "seed"}
    preset = {"about": f"the settings of {made.heading.name}", **settings}
    comment = f"# Seeds: {', '.join(str(result.seed) for result in made.results)} (--seed N).\n"
    return comment + yaml.safe_dump(
        {"default_preset": "submission", "presets": {"submission": preset}}, sort_keys=False
    )


def _requirements(lineage: Lineage) -> str:
    """Return the packages in the versions that measured the score, where these are known. Without a script they are
    what golfpipe itself needs to read the model."""
    assert lineage.evaluation is not None
    versions = mapping(lineage.evaluation.manifest.provenance, "packages")
    lines = []
    for name in _REQUIRED_PACKAGES:
        measured = version(versions, name)
        lines.append(f"{name}=={measured.partition('+')[0]}" if measured else name)
    return "\n".join(lines) + "\n"
