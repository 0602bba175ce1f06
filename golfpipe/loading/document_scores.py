"""The scores of an evaluation document by document, read from its file and checked."""

from __future__ import annotations

import numpy as np
import torch

from golfpipe.errors import ArtifactError
from golfpipe.store.artifact import Artifact
from golfpipe.store.tensors import check_tensors

DOCUMENTS = "documents.safetensors"
_DOCUMENT_DTYPES = {"nats": torch.float64, "targets": torch.int64, "bytes": torch.int64}
_MOST_PER_DOCUMENT = 1 << 40


def read_document_scores(evaluation: Artifact) -> dict[str, np.ndarray]:
    """Return the file's arrays by name: float64 nats, int64 targets and int64 bytes, one number per document.

    Raises ArtifactError for a file that holds anything else.
    """
    name, tensors = str(evaluation.path / DOCUMENTS), evaluation.read_tensors(DOCUMENTS)
    length = tuple(tensors["nats"].shape[:1]) if "nats" in tensors else (0,)
    check_tensors(tensors, dict.fromkeys(_DOCUMENT_DTYPES, length), name)
    for key, dtype in _DOCUMENT_DTYPES.items():
        if tensors[key].dtype != dtype:
            raise ArtifactError(f"{name}: tensor {key} is {tensors[key].dtype}, expected {dtype}")
    for key, least in (("targets", 1), ("bytes", 0)):
        if tensors[key].numel() == 0 or int(tensors[key].min()) < least or int(tensors[key].max()) > _MOST_PER_DOCUMENT:
            raise ArtifactError(f"{name}: tensor {key} is empty or holds numbers that are no counts")
    if int(tensors["bytes"].sum()) == 0:
        raise ArtifactError(f"{name}: tensor bytes says that no document has text")
    return {key: tensor.numpy() for key, tensor in tensors.items()}
