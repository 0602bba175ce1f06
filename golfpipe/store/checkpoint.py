"""Reading somebody else's PyTorch checkpoint without running anything in it.

`weights_only` keeps code out. Checks beforehand bound what it does not: zip entries that declare more bytes than the
file has, wrong CRCs, and small pickles whose nested tuples take practically forever to hash.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_INNER = ("model", "state_dict", "model_state_dict")
"""The keys under which training scripts put the weights when the file holds more."""
_ZIP_MAGIC = b"PK\x03\x04"
_MAX_PICKLE_BYTES = 16_000_000
"""The most bytes of a pickle, which holds names and shapes: those of a model with a thousand layers take 3 MB."""
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, on the host. Only tensors and plain containers are read.

    Raises DataError for a file that cannot be read so, or that holds no tensors by name.
    """
    import torch

    try:
        size = path.stat().st_size
        loaded: Any = torch.load(_sound_container(path, size), map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}", path=str(path)) from error
    except DataError:
        raise
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: holds more than tensors and plain containers, which is not read: it could run code",
            hint="save the state dict alone: torch.save(model.state_dict(), 'final_model.pt')",
            path=str(path),
        ) from error
    except Exception as error:
        # A damaged zip or pickle fails in many ways, none of them documented.
        detail = str(error).strip().splitlines()
        reason = detail[0][:200] if detail else type(error).__name__
        raise DataError(f"{path}: not a readable PyTorch checkpoint ({reason})", path=str(path)) from error
    state = next((loaded[key] for key in _INNER if isinstance(loaded.get(key), dict)), loaded) \
        if isinstance(loaded, dict) else None  # fmt: skip
    if state is None or not state:
        raise DataError(f"{path}: holds a {type(loaded).__name__}, expected tensors by name", path=str(path))
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            shown = name[:100] if isinstance(name, str) else f"a {type(name).__name__}"
            raise DataError(f"{path}: {shown!r} is no tensor with a name", path=str(path))
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise DataError(
                f"{path}: tensor {name[:100]} is stored as {tensor.layout}, expected a dense one", path=str(path)
            )
        tensors[name] = tensor
    # A view can claim terabytes on a few bytes of storage; copying it would take them.
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > 2 * size:
        raise DataError(f"{path}: its tensors claim more bytes than the file has", path=str(path))
    return tensors


def _sound_container(path: Path, size: int) -> io.BytesIO:
    """Return a new zip with the entries of the one in `path`, after checking their sizes, CRCs and pickles. Two readers
    of one zip can be made to see different entries; torch reads the new one, so it sees those that were checked. Raises
    DataError for a file that is no zip of torch.save."""
    with path.open("rb") as stream:
        if stream.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:
            raise DataError(
                f"{path}: not the zip file that torch.save writes",
                hint="save it again: torch.save(model.state_dict(), 'final_model.pt')",
                wanted=("checkpoint",),
                path=str(path),
            )
    sound = io.BytesIO()
    with zipfile.ZipFile(path) as container, zipfile.ZipFile(sound, "w", zipfile.ZIP_STORED) as copy:
        entries = container.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise DataError(f"{path}: two entries of the zip have one name", path=str(path))
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise DataError(f"{path}: entries of the zip are compressed, which torch.save never does", path=str(path))
        if sum(entry.file_size for entry in entries) > size:
            raise DataError(f"{path}: its entries declare more bytes than the file has", path=str(path))
        for entry in entries:
            content = container.read(entry)
            if entry.filename.endswith(".pkl"):
                _check_pickle(content, path)
            copy.writestr(entry.filename, content)
    sound.seek(0)
    return sound


def _check_pickle(content: bytes, path: Path) -> None:
    """Check that a pickle is small and uses no tuple twice: 40 pairs of one pair hash for days. Raises DataError."""
    if len(content) > _MAX_PICKLE_BYTES:
        raise DataError(f"{path}: {len(content)} bytes of names and shapes", path=str(path))
    tuples: set[int] = set()
    memo_size, previous = 0, ""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = memo_size if opcode.name == "MEMOIZE" else int(argument or 0)
            memo_size += 1
            if previous in _TUPLES:
                tuples.add(place)
        elif opcode.name == "DUP" or (opcode.name in ("GET", "BINGET", "LONG_BINGET") and int(argument or 0) in tuples):
            raise DataError(f"{path}: its pickle uses a tuple twice, which no state dict does", path=str(path))
        previous = opcode.name
