"""A PyTorch checkpoint of somebody else, read without running anything that it holds."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_INNER = ("model", "state_dict", "model_state_dict")
"""Where training scripts put the weights when the file holds more."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Name -> tensor on the host. Only tensors and plain containers are read (`weights_only`).

    Raises DataError for a file that cannot be read so, or that holds no tensors by name.
    """
    import torch

    try:
        size = path.stat().st_size
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}", path=str(path)) from error
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
            raise DataError(f"{path}: {str(name)[:100]!r} is no tensor with a name", path=str(path))
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise DataError(
                f"{path}: tensor {name[:100]} is stored as {tensor.layout}, expected a dense one", path=str(path)
            )
        tensors[name] = tensor
    # A view can claim terabytes on a few bytes of storage; copying it would take them.
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > 2 * size:
        raise DataError(f"{path}: its tensors claim more bytes than the file has", path=str(path))
    return tensors
