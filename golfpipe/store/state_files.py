"""Somebody's weights: a safetensors file, a checkpoint of torch.save, or a folder of such files that make up one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from golfpipe.errors import DataError, UsageError
from golfpipe.store.checkpoint import read_state_dict

if TYPE_CHECKING:
    from torch import Tensor

_SAFETENSORS = ".safetensors"
_CHECKPOINTS = (".pt", ".pth", ".bin")
_INDEX_LIKE = ("optimizer", "training_args", "scheduler", "rng_state")
"""The beginnings of the names of files that lie beside weights and are none."""


def state_files(path: Path) -> list[Path]:
    """Return the files that hold the weights: the one given, or those of a folder in the order of their names, the
    safetensors where there are any. Raises UsageError where there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder", path=str(path))
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(_INDEX_LIKE)]
    found = [file for file in files if file.suffix == _SAFETENSORS] or [f for f in files if f.suffix in _CHECKPOINTS]
    if not found:
        endings = ", ".join((_SAFETENSORS, *_CHECKPOINTS))
        raise UsageError(f"{path}: holds no weights", hint=f"expected files ending in {endings}", path=str(path))
    return found


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name. Nothing in the files is run. Raises UsageError, or DataError for a file that cannot
    be read so and for a name that two files have."""
    state: dict[str, Tensor] = {}
    for file in state_files(path):
        found = _read_safetensors(file) if file.suffix == _SAFETENSORS else read_state_dict(file)
        twice = sorted(found.keys() & state.keys())
        if twice:
            raise DataError(f"{file}: tensor {twice[0][:100]!r} is in another file too", path=str(file))
        state |= found
    return state


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from golfpipe.errors import ArtifactError
    from golfpipe.store.tensors import tensors_from_bytes

    try:
        return tensors_from_bytes(file.read_bytes(), str(file))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}", path=str(file)) from error
    except ArtifactError as error:  # this is not an artifact yet, but somebody's file
        raise DataError(error.message, path=str(file)) from error
