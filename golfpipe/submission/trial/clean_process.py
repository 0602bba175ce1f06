"""Clean processes with an empty home, few variables and no inherited handles, and what they are seen opening."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from golfpipe import openmp
from golfpipe.errors import StageFailed, UsageError
from golfpipe.store.artifact import Artifact
from golfpipe.submission.trial.findings import Opened, Watcher
from golfpipe.submission.trial.strace_log import parse_strace, strace_command
from golfpipe.units import format_seconds

_ROOT = Path(__file__).resolve().parents[3]
PROGRAM = (
    sys.executable, "-I", "-c",
    f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from golfpipe.submission.trial.process import main; main()",
)  # fmt: skip
"""The words that start the process; the request's file follows."""
_KEPT_VARIABLES = (
    *("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "LANG"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", *openmp.VARIABLES),
)
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
_SHARED_MEMORY = "/dev/shm"
DATA_VARIABLE = "GOLFPIPE_DATA"
"""The variable in which a method finds the folder with the tokenizer and the validation shard."""


class CleanProcesses:
    """The clean processes of one trial, and what they opened together."""

    def __init__(self, scratch: Path, program: Sequence[str], use_strace: bool, seconds: float) -> None:
        self.scratch, self.program, self.use_strace = scratch, program, use_strace
        self.seconds, self.deadline = seconds, time.monotonic() + seconds
        self.watcher: Watcher = "audit hook"
        self.files: list[str] = []
        self.sockets: list[str] = []

    def run(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run a process with the request, and return what it found. Its scores are in NAME.npy."""
        home, log = self.scratch / f"home-{name}", self.scratch / f"{name}.strace"
        request |= {"result": str(self.scratch / f"{name}.json"), "scores": str(self.scratch / f"{name}.npy")}
        request_file = self.scratch / f"{name}-request.json"
        home.mkdir()
        request_file.write_text(json.dumps(request), encoding="utf-8")
        strace = strace_command(log) if self.use_strace else None
        self._wait([*(strace or ()), *self.program, str(request_file)], home)
        result = Path(request["result"])
        if not result.is_file():
            raise self._failed("left no result")
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        if "error" in found:
            kind = UsageError if found.get("exit_code") == UsageError.exit_code else StageFailed
            raise kind(f"executing the rules: {found['error']}", hint=found.get("hint"))
        self.files += found["files"]
        if strace is None:
            self.sockets += found["sockets"]
        else:
            self.watcher = "strace"
            traced = parse_strace(log.read_text(encoding="utf-8", errors="replace").splitlines(), str(home))
            self.files += traced.files
            # strace follows new processes, which the hook cannot, and knows with whom a socket speaks
            self.sockets += [way for way in found["sockets"] if not way.startswith(("starts a process", "socket."))]
            self.sockets += traced.sockets
        return found

    def _wait(self, command: list[str], home: Path) -> None:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", DATA_VARIABLE: str(self.scratch / "data")}
        with (self.scratch / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait(max(0.0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired as error:
                _kill(process)
                raise StageFailed(
                    f"executing the rules took more than {format_seconds(self.seconds)} and was stopped",
                    hint="--seconds gives it longer; --targets tries a shorter text",
                ) from error
            except BaseException:
                _kill(process)
                raise
        if code != 0:
            raise self._failed(f"ended with {code}")

    def _failed(self, how: str) -> StageFailed:
        lines = (self.scratch / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return StageFailed(f"the process that executes the rules {how}: {lines[-1] if lines else 'no message'}")

    def opened(self, own: Iterable[Path], data: Artifact) -> Opened:
        """Return what both processes opened, apart from code, the method's own files and the copy of the data. The
        files of the data itself are never the method's own."""
        forbidden = {os.path.realpath(data.path_of(name)) for name in data.manifest.files}
        allowed = _allowed_files([*own, *(self.scratch / "data").rglob("*")]) - forbidden
        files = {os.path.realpath(path) for path in self.files}
        roots, searched = _code_roots(self.scratch), _import_path() | {os.path.dirname(path) for path in allowed}

        def is_code(path: str) -> bool:
            # /dev is of the system but for shared memory, in which TMPDIR may have put the trial's own folder
            of_system = not _inside(path, _SHARED_MEMORY)
            inside = any(_inside(path, root) and (root != "/dev" or of_system) for root in roots)
            return inside or (path in searched and os.path.isdir(path))

        outside = [path for path in sorted(files) if path in forbidden or (path not in allowed and not is_code(path))]
        return Opened(
            watcher=self.watcher,
            files=tuple(outside),
            sockets=tuple(dict.fromkeys(self.sockets)),
            allowed_files=len(allowed & files),
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _allowed_files(paths: Iterable[Path]) -> set[str]:
    """Return the real paths of the files among `paths`, and of what Python keeps compiled of them."""
    files = [path for path in paths if path.is_file()]
    compiled = [importlib.util.cache_from_source(str(path)) for path in files if path.suffix == ".py"]
    return {os.path.realpath(path) for path in [*map(str, files), *compiled]}


def _import_path() -> set[str]:
    """Return the folders in which a fresh interpreter looks for modules, those of .pth files included. It lists each of
    them, which reads no file."""
    command = [sys.executable, "-I", "-c", "import json, sys; print(json.dumps(sys.path))"]
    listed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return {os.path.realpath(folder) for folder in (str(_ROOT), *json.loads(listed))}


def _code_roots(scratch: Path) -> list[str]:
    """Return the folders that code may be read from: interpreter, packages, golfpipe, system libraries, and the
    process's own scratch."""
    installed = [sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    prefixes = [
        f"{prefix}/{part}" for prefix in (sys.prefix, sys.base_prefix) for part in ("bin", "lib", "lib64", "pyvenv.cfg")
    ]
    roots = [*installed, *prefixes, str(_ROOT / "golfpipe"), *_SYSTEM, str(scratch)]
    return list(dict.fromkeys(os.path.realpath(root) for root in roots))


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
