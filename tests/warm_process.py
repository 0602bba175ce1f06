"""A process that has imported the libraries and forks for each command: importing torch takes longer than most of them.

A child does what `python -m golfpipe` does, with the package that PYTHONPATH names. Tests of how golfpipe starts start
it themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_SERVER = """
import json, os, runpy, sys, traceback
import constriction, numpy, pydantic, safetensors.torch, sentencepiece, torch, typer
for line in sys.stdin:
    folder, words, out, err = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        for stream, path in ((0, os.devnull), (1, out), (2, err)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), stream)
        sys.argv, code = ["golfpipe", *words], 70
        try:
            runpy.run_module("golfpipe", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class WarmProcess:
    """Runs commands one after the other, each in a child of its own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._out, self._err = process, folder / "out", folder / "err"

    def run(self, words: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run `golfpipe WORDS` in the folder."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = [str(cwd), list(words), str(self._out), str(self._err)]
        print(json.dumps(request), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(list(words), code, self._out.read_text(), self._err.read_text())


@contextmanager
def warm_process(environment: Mapping[str, str]) -> Iterator[WarmProcess]:
    """Within: a process in this environment, over that of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        yield WarmProcess(process, Path(folder))
        process.communicate()
