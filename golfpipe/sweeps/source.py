"""What a sweep begins with: a model, token data that every cell trains on, or text that becomes token data first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golfpipe.data.text_files import TEXT_SUFFIXES, find_text_files
from golfpipe.errors import DataError
from golfpipe.jobs.registry import MODEL_KINDS, settled_by
from golfpipe.pipeline.data_sources import tokenize_arguments
from golfpipe.pipeline.settings import inherited_settings
from golfpipe.pipeline.single import ARTIFACTS
from golfpipe.report.run_data import SWEEP
from golfpipe.store.artifact import Artifact, open_artifact, try_open
from golfpipe.store.files import named_path
from golfpipe.store.manifest import MANIFEST_NAME, Kind

TRAINED_STAGES = ("train", "quantize", "pack", "evaluate")
_DEFAULT_STAGES: dict[Kind, tuple[str, ...]] = {
    "weights": ("quantize", "pack"),
    "token_data": TRAINED_STAGES,
    "trained_model": ("quantize", "pack", "evaluate"),
    "quantized_model": ("pack", "evaluate"),
    "packed_model": ("evaluate",),
    "adapted_model": ("evaluate",),
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every cell begins with."""

    path: Path
    artifact: Artifact | None
    """The model or the token data; None where there is text."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Those of `data tokenize` for text."""
    digest: str
    """The digest of the artifact, or of the arguments."""

    @property
    def kind(self) -> Kind | None:
        """The kind of the artifact; None for text."""
        return self.artifact.manifest.kind if self.artifact is not None else None

    @property
    def is_model(self) -> bool:
        return self.kind not in (None, "token_data")

    @property
    def decided(self) -> tuple[str, ...]:
        """The sections that made the source."""
        return settled_by(self.kind) if self.kind is not None else ()

    def inherited(self, warn: Callable[[str], None]) -> dict[str, Any]:
        """Return the settings that the first stage takes over."""
        return inherited_settings(self.artifact, warn) if self.artifact is not None else {}

    def stages(self, given: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the stages of a cell: those given, else those that lead to a score; text is tokenized in any case."""
        if self.kind is not None:
            return given or _DEFAULT_STAGES[self.kind]
        rest = given or TRAINED_STAGES
        return rest if rest[0] == "data-tokenize" else ("data-tokenize", *rest)

    def default_folder(self) -> Path:
        """Return the folder that the sweep writes without -o: beside the model, or artifacts/sweep-NAME."""
        if self.is_model:
            return named_path(self.path).parent / SWEEP
        return ARTIFACTS / f"{SWEEP}-{named_path(self.path).stem}"


def open_source(path: Path, kinds: tuple[Kind, ...] = ("weights", *MODEL_KINDS, "token_data")) -> Source:
    """Open text, or an artifact of one of the kinds. Raises UsageError, ArtifactError or DataError for what is none."""
    if _is_text(path):
        arguments, digest, _ = tokenize_arguments([path], tokenizer=None, separator=None, processes=None, name=None)
        return Source(path=path, artifact=None, arguments=arguments, digest=digest)
    artifact = open_artifact(path, *kinds)
    return Source(path=path, artifact=artifact, digest=artifact.manifest.digest)


def _is_text(path: Path) -> bool:
    """Return True for a text file and for a folder of them; a run's folder has logs, which are no texts."""
    if path.is_file():
        return any(suffix in TEXT_SUFFIXES for suffix in path.suffixes)
    if not path.is_dir() or try_open(path) is not None or any(path.glob(f"*/{MANIFEST_NAME}")):
        return False
    try:
        return bool(find_text_files([path]).files)
    except DataError:
        return False
