"""What differs between two runs or artifacts: data, settings, code, numbers. What is equal is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from golfpipe.config.resolve import flatten
from golfpipe.config.schema import Plain
from golfpipe.errors import UsageError
from golfpipe.jobs.provenance import data_reference
from golfpipe.jobs.registry import SETTLED, STAGES, settled_by
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.manifest import MANIFEST_NAME, Kind, timeless
from golfpipe.store.metric_values import mapping
from golfpipe.store.search import find_all

Subject = Literal["data", "settings", "code", "numbers"]
SUBJECTS: tuple[Subject, ...] = ("data", "settings", "code", "numbers")
_CODE = ("golfpipe", "commit", "python", "platform", "device_used", "device_name", "threads")
"""Fields of the provenance that say what code ran on what machine; `packages` holds further ones."""
_FIRST = ("val_bpb", "val_loss_nats", "total_bytes")
"""The metrics that people look for first."""
_ORDER: tuple[Kind, ...] = (*SETTLED, "partial_evaluation", "submission")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that differs."""

    subject: Subject
    key: str
    first: Any
    second: Any

    @property
    def change(self) -> float | None:
        """The second number minus the first; None where they are no numbers."""
        numbers = [v for v in (self.first, self.second) if isinstance(v, int | float) and not isinstance(v, bool)]
        return numbers[1] - numbers[0] if len(numbers) == 2 else None


@dataclass(frozen=True, kw_only=True)
class Differences:
    """All that differs between two runs or artifacts, in the order of SUBJECTS."""

    first: Path
    second: Path
    found: tuple[Difference, ...]
    equal: Mapping[Subject, int]
    """How many things of each subject are equal."""
    only_first: tuple[str, ...]
    """Sections of settings and steps that only the first one has, so that nothing was compared with them."""
    only_second: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Side:
    path: Path
    steps: Mapping[str, Artifact]
    """The artifacts in the order in which a chain makes them, by name; a single artifact has no name."""

    def values(self) -> dict[Subject, dict[str, Any]]:
        """Return everything that is compared, by key."""
        return {
            "data": dict(_data(self.steps.values())),
            "settings": flatten(_settings(list(self.steps.values()))),
            "code": _code(list(self.steps.values())),
            "numbers": _numbers(self.steps),
        }

    def parts(self) -> list[str]:
        """Return the names of the sections of settings and of the steps that this side has."""
        sections = _settings(list(self.steps.values()))
        return [*(f"settings of {section}" for section in sections), *(f"step {name}" for name in self.steps if name)]


def diff(first: Path, second: Path) -> Differences:
    """Return what differs between two runs or artifacts. Times are left out, since they always differ.

    Raises UsageError for a folder that is neither, ArtifactError for a damaged artifact.
    """
    left, right = _open(first), _open(second)
    one, other = left.values(), right.values()
    found: list[Difference] = []
    equal: dict[Subject, int] = {}
    for subject in SUBJECTS:
        a, b = one[subject], other[subject]
        shared = [key for key in a if key in b]
        apart = [key for key in shared if a[key] != b[key]]
        equal[subject] = len(shared) - len(apart)
        found += (Difference(subject=subject, key=key, first=a[key], second=b[key]) for key in apart)
    parts = left.parts(), right.parts()
    return Differences(
        first=first,
        second=second,
        found=tuple(found),
        equal=equal,
        only_first=tuple(part for part in parts[0] if part not in parts[1]),
        only_second=tuple(part for part in parts[1] if part not in parts[0]),
    )


def _open(path: Path) -> _Side:
    if (path / MANIFEST_NAME).is_file() or not path.is_dir():
        return _Side(path=path, steps={"": open_artifact(path)})
    steps = sorted(find_all(path, depth=1), key=lambda step: (_ORDER.index(step.manifest.kind), step.path.name))
    if not steps:
        raise UsageError(f"{path}: holds no artifact", path=str(path), wanted=("run", "artifact"))
    return _Side(path=path, steps={step.path.name: step for step in steps})


def _settings(steps: Sequence[Artifact]) -> Plain:
    """Return each section of settings from the last step that used it. The first step of all has also those of the
    steps before it, which made its input."""
    config: Plain = {}
    for step in steps:
        own, stage = step.manifest.config, STAGES.get(step.manifest.stage)
        sections = stage.sections if stage is not None else ()
        if not config:
            sections = ("seed", *(settled_by(step.manifest.kind) or _all_sections()), *sections)
        config |= {section: own[section] for section in sections if section in own}
    return config


def _all_sections() -> tuple[str, ...]:
    return tuple(section for sections in SETTLED.values() for section in sections)


def _data(steps: Any) -> Iterator[tuple[str, str]]:
    for step in steps:
        reference = data_reference(step.manifest)
        if reference is not None:
            yield "token data", f"{Path(reference.path).name} {reference.digest[:12]}"


def _code(steps: Sequence[Artifact]) -> dict[str, Any]:
    """Return versions, commits and machines; several of one name are listed, as where a later step ran elsewhere."""
    values: dict[str, list[Any]] = {}
    for step in steps:
        provenance = step.manifest.provenance
        for key, value in {**{k: provenance.get(k) for k in _CODE}, **mapping(provenance, "packages")}.items():
            if value is not None and value not in values.setdefault(key, []):
                values[key].append(value)
    return {key: ", ".join(map(str, found)) for key, found in values.items() if found}


def _numbers(steps: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return the metrics as step.name, without times and digests, which name a result and do not measure it."""
    values: dict[str, Any] = {}
    for name, step in steps.items():
        metrics = flatten(timeless(step.manifest.metrics))
        for key in sorted(metrics, key=lambda key: (key not in _FIRST, key)):
            if not key.endswith("_digest"):
                values[f"{name}.{key}" if name else key] = metrics[key]
    return values
