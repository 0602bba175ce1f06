"""All runs below a folder, from their manifests alone, so that hundreds are listed in a second."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from golfpipe.errors import ArtifactError, UsageError
from golfpipe.jobs.key import is_intact
from golfpipe.loading.replay_log import LOG
from golfpipe.pipeline.seeds import seed_folders
from golfpipe.report.run_data import (
    CELLS,
    PLAN_TIMES,
    SWEEP,
    SWEEP_RESULTS,
    RunData,
    best_cell,
    form_index,
    swept_sort,
)
from golfpipe.review.progress import last_step
from golfpipe.review.status import digests_in_place
from golfpipe.store.artifact import Artifact, glance
from golfpipe.store.files import partial_folder
from golfpipe.store.lock import lock_holder
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.store.metric_values import count, number
from golfpipe.store.search import visible_children

RunState = Literal["running", "damaged", "unfinished", "rehearsal", "stale", "finished", "sweep", "plan"]
DEPTH = 3
"""The most levels of folders below which a run is looked for."""
_FORMS = ("trained", "quantized", "packed", "adapted", "adapted")
"""The words for the places that `form_index` gives; the last one is a score of test-time training."""


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """One run in a list of runs. None stands for what is not known."""

    name: str
    """The run's folder, below the one that was searched."""
    path: Path
    state: RunState
    """The first that holds: running (a process writes into it), damaged (a manifest is unreadable, or a file is missing
    or cut short), unfinished (a step was interrupted), rehearsal (no number is a result), stale (an input was made
    again), finished. The folder of a sweep or a plan is running or has that word; its numbers are the best cell's."""
    preset: str | None
    steps: int | None
    """Training steps; those that the log has, while training is not finished."""
    val_bpb: float | None
    scored: str | None
    """What the bpb is of: trained, quantized, packed or adapted weights; `training`, which validates on a sample; or
    `3 seeds`, of which it is the mean."""
    total_bytes: int | None
    written_unix: float
    """The time of the last change, in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What lies in the folder of one run."""

    folder: Path
    artifacts: Mapping[str, Artifact]
    unreadable: tuple[str, ...]
    unfinished: tuple[Path, ...]
    """The partial folders of steps that have no artifact."""
    written: tuple[str, ...]
    """The names of the steps that a process is writing now."""
    swept: Literal["plan", "sweep"] | None = None


def list_runs(folder: Path, default_preset: str) -> list[RunLine]:
    """Return all runs below `folder`, which may be one itself, newest first. Raises UsageError without such a folder.

    `default_preset` is the preset of a command that named none.

    Digests and checksums are not computed: `status` and every command that reads an artifact do that.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", path=str(folder), wanted=("runs", "run", "artifact", "there"))
    look = functools.cache(_glance_or_none)
    lines = [_line(found, folder, look, default_preset) for found in _runs_below(folder)]
    return sorted(lines, key=lambda line: -line.written_unix)


def _runs_below(root: Path) -> Iterator[_Found]:
    level = [root]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            found = _look_into(folder)
            if found is not None:
                yield found
                below += seed_folders(folder).values()
            elif not (folder / MANIFEST_NAME).is_file():
                below += (child for child in visible_children(folder) if child.name != SWEEP)
        level = below


def _look_into(folder: Path) -> _Found | None:
    """Return what the folder holds as a run; None where it holds no step of one. A folder of token data is no run."""
    swept = swept_sort(folder)
    if swept is not None:
        best = {f"{CELLS}/{artifact.path.name}": artifact for artifact in best_cell(folder)}
        written = [""] if lock_holder(folder) is not None else []
        return _Found(
            folder=folder, artifacts=best, unreadable=(), unfinished=(), written=tuple(written), swept=swept,
        )  # fmt: skip
    artifacts, unreadable, unfinished, written = {}, [], [], []
    for path in visible_children(folder):
        try:
            artifacts[path.name] = glance(path)
        except ArtifactError:
            unreadable.append(path.name)
        except OSError:  # no manifest
            continue
    for path in folder.glob(".*.partial"):
        name = path.name[1 : -len(".partial")]
        if name not in artifacts:
            unfinished.append(path)
    for path in folder.glob(".*.lock"):
        name = path.name[1 : -len(".lock")]
        if lock_holder(folder / name) is not None:
            written.append(name)
    if all(artifact.manifest.kind == "token_data" for artifact in artifacts.values()):
        is_run = any((path / LOG).is_file() for path in unfinished)
        if not is_run:
            return None
    return _Found(
        folder=folder,
        artifacts=artifacts,
        unreadable=tuple(unreadable),
        unfinished=tuple(unfinished),
        written=tuple(written),
    )


def _line(found: _Found, root: Path, look: Callable[[Path], Artifact | None], default_preset: str) -> RunLine:
    stages = tuple(found.artifacts.values())
    run = RunData(name=found.folder.name, folder=found.folder, stages=stages, sweep=found.folder / SWEEP)
    trained, submission = run.first("trained_model"), run.first("submission")
    score, scored = _score(run)
    sized, made = submission or run.first("packed_model"), trained or submission
    return RunLine(
        name=found.folder.relative_to(root).as_posix() if found.folder != root else root.name,
        path=found.folder,
        state=_state(found, look),
        preset=_preset(made, default_preset) if made is not None else None,
        steps=count(trained.manifest.metrics, "steps") if trained is not None else _steps_so_far(found),
        val_bpb=number(score.manifest.metrics, "val_bpb") if score is not None else None,
        scored=scored,
        total_bytes=count(sized.manifest.metrics, "total_bytes") if sized is not None else None,
        written_unix=max(_times(found), default=0.0),
    )


def _score(run: RunData) -> tuple[Artifact | None, str | None]:
    """Return the artifact whose bpb is that of the run, and what it is of."""
    trained, submission = run.first("trained_model"), run.first("submission")
    if run.headline is not None:
        return run.headline, _FORMS[form_index(run.headline)]
    if trained is not None:
        return trained, "training"
    seeds = submission.manifest.metrics.get("seeds") if submission is not None else None
    return submission, f"{len(seeds)} seeds" if isinstance(seeds, list) else None


def _state(found: _Found, look: Callable[[Path], Artifact | None]) -> RunState:
    if found.written:
        return "running"
    if found.swept is not None:
        return found.swept
    if found.unreadable or not all(map(is_intact, found.artifacts.values())):
        return "damaged"
    if found.unfinished:
        return "unfinished"
    if any(artifact.manifest.is_rehearsal for artifact in found.artifacts.values()):
        return "rehearsal"
    return "stale" if any(_is_stale(artifact, found, look) for artifact in found.artifacts.values()) else "finished"


def _is_stale(artifact: Artifact, found: _Found, look: Callable[[Path], Artifact | None]) -> bool:
    """Return True if an input was made again. One that is nowhere does not count, since its folder may have moved."""
    for ref in artifact.manifest.inputs:
        digests = digests_in_place(ref, found.artifacts, look)
        if digests and ref.digest not in digests:
            return True
    return False


def _preset(made: Artifact, default_preset: str) -> str | None:
    """Return the preset that the command named which made the artifact; None where no command did."""
    words = made.manifest.provenance.get("argv")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        return None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--preset":
            return str(following)
        if word.startswith("--preset="):
            return str(word.removeprefix("--preset="))
    return default_preset if words[0] in ("run", "train") else None


def _steps_so_far(found: _Found) -> int | None:
    return next((step for path in found.unfinished if (step := last_step(path / LOG)) is not None), None)


def _times(found: _Found) -> Iterator[float]:
    """Yield when the manifests were written, and what an unfinished step wrote last."""
    paths = [found.folder / name / MANIFEST_NAME for name in (*found.artifacts, *found.unreadable)]
    paths += [path for folder in found.unfinished for path in (folder, folder / LOG)]
    paths += [found.folder / name for name in ((CELLS, PLAN_TIMES, SWEEP_RESULTS) if found.swept else ())]
    paths += [partial_folder(found.folder / name) / LOG for name in found.written]
    for path in paths:
        with suppress(OSError):
            yield path.stat().st_mtime


def _glance_or_none(path: Path) -> Artifact | None:
    try:
        return glance(path)
    except (ArtifactError, OSError):
        return None
