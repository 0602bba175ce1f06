"""The key of a job, which is known before the work is done, and why an artifact is not what its job would write now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from golfpipe.config.later import with_idle, without_idle
from golfpipe.config.resolve import changed_keys
from golfpipe.config.schema import PipelineConfig, Plain, plain_config
from golfpipe.jobs.registry import Stage, without_keys
from golfpipe.store.artifact import Artifact
from golfpipe.store.canonical import digest_of


def relevant_config(stage: Stage, config: PipelineConfig) -> Plain:
    """Return the part of the configuration that decides the stage's result."""
    plain = plain_config(config)
    return without_idle(_deciding_sections(plain, stage, stage.unused(plain)))


def job_key(stage: Stage, config: PipelineConfig, input_digests: Mapping[str, str], argument_digest: str = "") -> str:
    """Return the sha256 over the stage, its version, the settings that decide its result, and the digests of its
    inputs."""
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "config": relevant_config(stage, config),
            "inputs": dict(input_digests),
            "arguments": argument_digest,
        }
    )


def stale_reasons(
    stage: Stage,
    config: PipelineConfig,
    input_digests: Mapping[str, str | None],
    existing: Artifact | None,
    argument_digest: str = "",
) -> list[str]:
    """Say why `existing` is not what the stage would write now; the list is empty where it is.

    An input digest of None means that the input has still to be made.
    """
    if existing is None:
        return ["missing"]
    manifest = existing.manifest
    reasons = [f"config {change}" for change in deciding_changes(manifest.config, plain_config(config), stage)]
    for role in dict.fromkeys([*input_digests, *(ref.role for ref in manifest.inputs)]):
        before, now = manifest.input(role), input_digests.get(role, "")
        if before is None or before.digest != now:
            new = "(pending)" if now is None else now[:8] or "(none)"
            reasons.append(f"input {role}: {before.digest[:8] if before else '(none)'} -> {new}")
    if reasons:
        return reasons
    known = {role: digest for role, digest in input_digests.items() if digest is not None}
    if job_key(stage, config, known, argument_digest) != manifest.key:
        return ["the source files changed, or golfpipe did"]
    return [] if is_intact(existing) else ["files are missing or cut short"]


def deciding_changes(before: Plain, after: Plain, stage: Stage) -> list[str]:
    """List the settings that decide the stage's result and differ, as 'key: old -> new'.

    A key that either side does not use is left out: where it became used or unused, another key changed as well.
    A later setting that `before` lacks was idle.
    """
    unused = (*stage.unused(before), *stage.unused(after))
    before = with_idle(before)
    return changed_keys(_deciding_sections(before, stage, unused), _deciding_sections(after, stage, unused))


def is_intact(artifact: Artifact) -> bool:
    """Return True if every listed file is there with its size. Content is checked when a file is read."""
    return all(
        (path := artifact.path_of(name)).is_file() and path.stat().st_size == entry.bytes
        for name, entry in artifact.manifest.files.items()
    )


def _deciding_sections(config: Plain, stage: Stage, unused: Sequence[str]) -> Plain:
    """Return the sections of a plain configuration that decide the stage's result, without the keys that do not. An
    older golfpipe may have written the configuration, so keys may be missing."""
    chosen = {section: config.get(section, {}) for section in stage.sections}
    return without_keys(chosen, (*stage.neutral, *unused))
