"""Run an evaluation's method again, in a clean process, on altered text, as rules 3, 4, 5, 6 and 10 need it.

The process gets an empty working folder and home, and only the variables by which libraries and devices are found.
strace watches what it opens where that works, else an audit hook inside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from golfpipe.adapt.method import Method
from golfpipe.adapt.methods import METHODS
from golfpipe.config.schema import known_part
from golfpipe.errors import ArtifactError, StageFailed, UsageError
from golfpipe.loading.lineage import Lineage
from golfpipe.store.artifact import Artifact
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.store.metric_values import mapping, text
from golfpipe.submission.sizes import packed_file_bytes
from golfpipe.submission.trial.findings import (
    BytesFound,
    CountFound,
    CutsFound,
    Executed,
    Opened,
    Reproduced,
    SumsFound,
)
from golfpipe.submission.trial.strace_log import parse_strace, strace_command

_ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = (
    sys.executable, "-I", "-c",
    f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from golfpipe.submission.trial.process import main; main()",
)  # fmt: skip
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LANG")
_SYSTEM = (
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/opt",
    "/var/run",
    "/run",
    "/nix",
)
_SAME_NATS = 1e-5
"""Nats per target by which a plain evaluation may differ when it is run again."""


def execute(
    lineage: Lineage,
    *,
    device: str = "auto",
    threads: int | None = None,
    program: Sequence[str] = _PROGRAM,
    use_strace: bool = True,
) -> Executed:
    """Put the method behind an evaluation, or a plain evaluation of a packed model, on trial.

    Raises UsageError where nothing is packed or the data is not found, StageFailed where the process fails.
    """
    packed, data = lineage.packed, lineage.data
    if packed is None:
        raise UsageError(
            "there is no packed model to execute", hint="golfpipe pack, then audit --execute its evaluation"
        )
    if data is None:
        raise ArtifactError(f"{packed.path}: the token data that it was scored on is not found near by")
    packed_bytes = packed_file_bytes(packed)
    with tempfile.TemporaryDirectory(prefix="golfpipe-execute-") as name:
        scratch = Path(name).resolve()
        request = _request(lineage, packed, data, scratch) | {"device": device, "threads": threads}
        log = scratch / "strace.log"
        prefix = (strace_command(log) if use_strace else None) or []
        found = _run([*prefix, *program], request, scratch)
        opened = _opened(found, log if prefix else None, scratch, packed, data)
    return Executed(
        method=found["method"],
        adapts=found["adapts"],
        packed_bytes=packed_bytes,
        cuts=CutsFound(**found["cuts"]),
        count=CountFound(**found["count"]),
        sums=SumsFound(**found["sums"]),
        bytes=BytesFound(**found["bytes"]),
        opened=opened,
        reproduced=_reproduced(lineage, found["document_nats"]),
        notes=_notes(lineage, packed),
        seconds=round(found["seconds"], 3),
    )


def _request(lineage: Lineage, packed: Artifact, data: Artifact, scratch: Path) -> dict[str, Any]:
    """Return the request, with the settings of the stages that made the score or that a packed model carries."""
    scored = lineage.evaluation or packed
    learned = scored if lineage.score_first else lineage.adapted
    config = dict(scored.manifest.config)
    if learned is not None:
        config |= {"ttt": learned.manifest.config.get("ttt", {}), "seed": learned.manifest.config.get("seed", 0)}
        METHODS.check(f"{learned.path}: ttt.method", text(mapping(config, "ttt"), "method") or "")
    known, _ = known_part(config)
    return {
        "packed": str(packed.path.resolve()),
        "data": str(data.path.resolve()),
        "config": known,
        "adapted": learned is not None,
        "result": str(scratch / "result.json"),
    }


def _run(command: list[str], request: dict[str, Any], scratch: Path) -> dict[str, Any]:
    request_file, home = scratch / "request.json", scratch / "home"
    home.mkdir()
    request_file.write_text(json.dumps(request), encoding="utf-8")
    environment = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    with (scratch / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [*command, str(request_file)],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    result = Path(request["result"])
    if code != 0 or not result.is_file():
        lines = (scratch / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise StageFailed(
            f"the process that executes the rules ended with {code}: {lines[-1] if lines else 'no message'}"
        )
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "error" in found:
        raise StageFailed(f"executing the rules: {found['error']}", hint=found.get("hint"))
    return found


def _opened(found: dict[str, Any], log: Path | None, scratch: Path, packed: Artifact, data: Artifact) -> Opened:
    files, sockets = list(found["files"]), list(found["sockets"])
    if log is not None:
        traced = parse_strace(log.read_text(encoding="utf-8", errors="replace").splitlines(), str(scratch / "home"))
        files += traced.files
        sockets = [name for name in sockets if not name.startswith("starts a process")] + list(traced.sockets)
    allowed = _allowed_files(packed, data)
    forbidden = _training_files(data)
    resolved = {os.path.realpath(path): path for path in files}
    roots = _code_roots(scratch)
    outside = [
        path
        for path in sorted(resolved)
        if path in forbidden
        or (path not in allowed and path != str(_ROOT) and not any(_inside(path, root) for root in roots))
    ]
    return Opened(
        watcher="strace" if log is not None else "audit hook",
        files=tuple(outside),
        sockets=tuple(sorted(set(sockets))),
        allowed_files=len(allowed & resolved.keys()),
    )


def _allowed_files(packed: Artifact, data: Artifact) -> set[str]:
    names = [name for name in data.manifest.files if name not in _split_files(data, "train")]
    paths = [data.path_of(name) for name in names] + [data.path / MANIFEST_NAME]
    paths += [packed.path / MANIFEST_NAME, packed.path / "packed.safetensors"]
    return {os.path.realpath(path) for path in paths}


def _training_files(data: Artifact) -> set[str]:
    return {os.path.realpath(data.path_of(name)) for name in _split_files(data, "train")}


def _split_files(data: Artifact, split: str) -> list[str]:
    return [name for name in data.manifest.files if f"{split}_" in name and name.endswith(".bin")]


def _code_roots(scratch: Path) -> list[str]:
    """Return the folders to load code from: interpreter, packages, golfpipe, system libraries, and scratch."""
    installed = [sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    prefixes = [
        f"{prefix}/{part}" for prefix in (sys.prefix, sys.base_prefix) for part in ("bin", "lib", "lib64", "pyvenv.cfg")
    ]
    roots = [*installed, *prefixes, str(_ROOT / "golfpipe"), *_SYSTEM, str(scratch)]
    return list(dict.fromkeys(os.path.realpath(root) for root in roots))


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _reproduced(lineage: Lineage, rerun: list[float]) -> Reproduced:
    """Compare with the documents that the evaluation recorded."""
    method = _score_first_method(lineage)
    tolerance = method.same_nats if method is not None else _SAME_NATS
    if lineage.evaluation is None or not rerun or "documents.safetensors" not in lineage.evaluation.manifest.files:
        return Reproduced(documents=0, largest_change_nats=0.0, tolerance_nats=tolerance)
    recorded = lineage.evaluation.read_tensors("documents.safetensors")
    nats, targets = recorded["nats"].numpy(), recorded["targets"].numpy()
    same = min(len(rerun), len(nats) - 1)  # evaluate.max_targets may have cut off the last one
    change = np.abs(np.array(rerun[:same]) - nats[:same]) / np.maximum(1, targets[:same])
    return Reproduced(documents=same, largest_change_nats=float(change.max(initial=0.0)), tolerance_nats=tolerance)


def _notes(lineage: Lineage, packed: Artifact) -> tuple[str, ...]:
    """Return notes on what is allowed and worth knowing."""
    model = packed.manifest.model or {}
    crossing = [] if model.get("mask_document_boundaries") else ["n-gram hashes and the smear gate"]
    method = _score_first_method(lineage)
    if method is None or not method.by_document:
        crossing.append("attention")
    if not crossing:
        return ()
    return (
        f"Context crosses document boundaries ({', '.join(crossing)}): earlier tokens only, which the rules allow.",
    )


def _score_first_method(lineage: Lineage) -> Method | None:
    """The method that made the evaluation while it adapted the model; None where the evaluation only scored."""
    if lineage.evaluation is None or not lineage.score_first:
        return None
    method: Method = METHODS.load(text(mapping(lineage.evaluation.manifest.config, "ttt"), "method") or "")
    return method
