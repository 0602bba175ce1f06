"""The calibration of any model: what errors of its weights cost, measured while the model runs, and kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch

from golfpipe.errors import ArtifactError, UsageError
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.calibrator import Calibrator
from golfpipe.store.arrays import arrays_from_bytes, arrays_to_bytes, metadata_from_bytes
from golfpipe.store.files import write_file, writing


class Calibration(Calibrator):
    """Measures a model inside a `with` block.

        with Calibration(model) as calibration:
            for tokens in batches:
                calibration.observe(model(tokens))
        data = compress(model.state_dict(), target_bytes=15_900_000, calibration=calibration)

    Every nn.Linear (subclasses too) adds its inputs, pass by pass, whether or not there is a gradient; `observe` adds
    what the gradients show of all parameters. Products that are no nn.Linear are told by `add("name", x)`, with the
    name of the weight, or `bank.3` for part 3 of a tensor with the rule split(0).
    """

    def save(self, path: Path | str) -> None:
        """Write what was measured so far as safetensors."""
        data = self.data()
        groups = (("fisher", data.fisher), ("moments", data.moments))
        tensors = [(kind, name, tensor) for kind, found in groups for name, tensor in found.items()]
        arrays = {str(number): tensor.cpu().numpy() for number, (_, _, tensor) in enumerate(tensors)}
        names = [[kind, name] for kind, name, _ in tensors]
        with writing(Path(path)):
            write_file(Path(path), arrays_to_bytes(arrays, {"calibration": names, "vocabulary": self.vocabulary}))

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what `save` wrote. Raises UsageError for a path without a file, ArtifactError for another file."""
        name = str(path)
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise UsageError(f"{name}: cannot be read: {error.strerror or error}", path=name) from error
        arrays, metadata = arrays_from_bytes(content, name), metadata_from_bytes(content, name)
        names, vocabulary = metadata.get("calibration"), metadata.get("vocabulary")
        if not isinstance(names, list) or len(names) != len(arrays) or type(vocabulary) is not int:
            raise ArtifactError(f"{name}: not a calibration", hint="Calibration(model).save(...) writes one", path=name)
        loaded = cls(torch.nn.Module())
        loaded.num_batches = loaded.num_tokens = 1
        loaded.vocabulary = vocabulary
        for number, entry in enumerate(names):
            array = arrays.get(str(number))
            if array is None or array.dtype != np.float32 or array.ndim != 2 or not np.isfinite(array).all():
                raise ArtifactError(f"{name}: {entry!r} is no matrix of finite fp32 numbers", path=name)
            match entry:
                case ["fisher", str(tensor)]:
                    loaded._fisher[tensor] = torch.from_numpy(array)
                case ["moments", str(tensor)] if array.shape[0] == array.shape[1]:
                    loaded._moments[tensor] = torch.from_numpy(array)
                case _:
                    raise ArtifactError(f"{name}: {entry!r} does not belong to a calibration", path=name)
        return loaded


def data_of(calibration: Calibration | None) -> CalibrationData | None:
    """Return what was measured; None without a calibration."""
    return calibration.data() if calibration is not None else None
