"""Damaged and forged files against every reader: no traceback, nothing changed taken in, no hunger for memory or time.

python -m reliability mutants --count 100000 --seed 0      # about 15 minutes on one core

A mutant is one damaged file (or two that changed places) of one subject, read by one of the functions that the commands
call. It is one of two kinds:

damaged   What disks, networks and editors do. A reader must refuse it, or take in exactly what was there before. Files
          under no checksum (stages.yaml, somebody's records folder, ...) may say something else; then nothing malformed
          may come of it.
forged    The attacker has computed every checksum outside again: sha256 and size in the manifest, digest, checksum, the
          payload's own digest, the CRCs of a zip. A reader must refuse it, or take in values that are well formed under
          another digest: no name may stand for two results.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from golfpipe.cli.app import main
from golfpipe.cli.failure import Mode, _as_golfpipe_error, show_failure
from golfpipe.store.manifest import MANIFEST_NAME
from golfpipe.store.tensors import tensors_to_bytes
from reliability import mutation, repair
from reliability.confined import SECONDS, Case, Peak, run_confined
from reliability.specimens import SmallRun, build, working_in
from reliability.subjects import Malformed, Subject, Taken, silence, subjects

MODE = Mode(json=False, quiet=True, verbose=False)
COMMAND_EVERY = 250
"""Of that many mutants one goes through the command line too."""
REPORT_EVERY = 5000
_SHOWN = 40


def run(count: int, seed: int) -> dict[str, Any]:
    """Make a small run in memory, break it `count` times, and say what got through. One process per core that this one
    may use, each with a run of its own."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is stopped says what it has found so far
    memory, jobs = Path("/dev/shm"), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folders = [Path(name).resolve() / str(job) for job in range(jobs)]
        for folder in folders:  # no copies: manifests say where their inputs are
            folder.mkdir()
            build(folder)
        work = [(SmallRun(folder), count, seed, job, jobs) for job, folder in enumerate(folders)]
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
            return summary(list(pool.map(break_part, *zip(*work, strict=True))))


@dataclass
class Found:
    """What came of some mutants."""

    mutants: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: Peak = field(default_factory=Peak)
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    kinds: Counter[str] = field(default_factory=Counter)


def break_part(small: SmallRun, count: int, seed: int, first: int = 0, step: int = 1) -> Found:
    """The mutants first, first + step, ... below `count`, on a run that is there; every file is put back."""
    found, numbers = Found(), range(first, count, step)
    with working_in(small.folder):
        bench = Bench(small, seed)
        try:
            for case in run_confined(lambda place: bench.case(numbers[place]), len(numbers), found.peak):
                _count(found, numbers[case.index], case, bench)
        except KeyboardInterrupt:
            print(f"interrupted after {found.mutants} mutants", file=sys.stderr)
    return found


def _count(found: Found, number: int, case: Case, bench: Bench) -> None:
    dead = (bench.subject_of(number).name, "?", "died", case.died)
    subject, kind, outcome, failure = case.value or dead
    found.mutants += 1
    found.outcomes[subject][outcome] += 1
    found.kinds[kind] += 1
    found.slowest = max(found.slowest, case.seconds)
    if case.seconds > SECONDS:
        failure = failure or f"took {case.seconds:.1f} s of processor time"
    if failure:
        found.failures.append(f"{number} {subject}: {kind}: {failure}")
        print(found.failures[-1], file=sys.stderr, flush=True)
    if case.value is None:
        bench.restore(number)
    if found.mutants % REPORT_EVERY == 0:
        print(f"{found.mutants} mutants, {len(found.failures)} failures", file=sys.stderr, flush=True)


def summary(parts: Sequence[Found]) -> dict[str, Any]:
    """All parts as one result."""
    failures = [failure for part in parts for failure in part.failures]
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for name, counts in part.outcomes.items():
            outcomes[name] += counts
    kinds = sum((part.kinds for part in parts), Counter[str]())
    return {
        "mutants": sum(part.mutants for part in parts),
        "failures": failures[:_SHOWN],
        "failure_count": len(failures),
        "slowest_seconds": round(max(part.slowest for part in parts), 3),
        "peak_bytes_over_baseline": max(part.peak.bytes for part in parts),
        "outcomes": {name: dict(sorted(counts.items())) for name, counts in sorted(outcomes.items())},
        "kinds": dict(sorted(kinds.items())),
    }


class Bench:
    """The subjects with what each reader takes in when nothing is wrong."""

    def __init__(self, small: SmallRun, seed: int) -> None:
        self.seed = seed
        self.subjects = subjects(small)
        self.sound: dict[tuple[str, str], Taken] = {}
        self.contents = {path: path.read_bytes() for subject in self.subjects for path in subject.files}
        for subject in self.subjects:
            for name, read in subject.readers.items():
                with silence():
                    self.sound[subject.name, name] = read()

    def subject_of(self, index: int) -> Subject:
        return self.subjects[index % len(self.subjects)]

    def restore(self, number: int) -> None:
        """Put back what a dead child left changed."""
        for path in self.subject_of(number).files:
            path.write_bytes(self.contents[path])

    def case(self, index: int) -> tuple[str, str, str, str | None]:
        """(subject, kind of damage, outcome, what is wrong with the outcome or None)."""
        rng = random.Random(f"{self.seed}:{index}")
        subject = self.subject_of(index)
        name = rng.choice(sorted(subject.readers))
        forged = rng.random() < 0.4
        kind, touched, field = self._mutate(rng, subject, forged)
        try:
            outcome, failure, code = self._outcome(subject, name, forged, touched, field)
            if failure is None and "audit" in subject.readers and index // len(self.subjects) % COMMAND_EVERY == 0:
                failure = self._through_command_line(subject, name, code)
        finally:
            for path in touched:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.contents[path])
        return subject.name, f"{'forged' if forged else 'damaged'}, {kind}", outcome, failure

    # ---- the damage -----------------------------------------------------------------------------------------------

    def _mutate(self, rng: random.Random, subject: Subject, forged: bool) -> tuple[str, list[Path], str]:
        """(kind, files changed, the JSON key or tensor that it went for or '')."""
        path = rng.choice(subject.files)
        if rng.random() < 0.3:  # the manifest, or the one file, more often than its share
            path = next((file for file in subject.files if file.name == MANIFEST_NAME), path)
        if rng.random() < 0.06:
            return self._swap(rng, subject, path, forged)
        content, kind, field = self._edited(rng, path, forged)
        path.write_bytes(content)
        touched = [path]
        if forged and subject.is_artifact and path.name != MANIFEST_NAME:
            repair.repair_folder(subject.folder, path)
            touched.append(subject.folder / MANIFEST_NAME)
        elif forged and path.name == MANIFEST_NAME:
            repair.repair_folder(subject.folder, None)
        return kind, touched, field

    def _swap(self, rng: random.Random, subject: Subject, path: Path, forged: bool) -> tuple[str, list[Path], str]:
        """Another file takes the place of this one, or it goes away."""
        others = [other for other in self.contents if other.suffix == path.suffix and other != path]
        if not others or rng.random() < 0.2:
            path.unlink()
            return "file removed", [path], ""
        path.write_bytes(self.contents[rng.choice(others)])
        if forged and subject.is_artifact and path.name != MANIFEST_NAME:
            repair.repair_folder(subject.folder, path)
            return "file of another artifact", [path, subject.folder / MANIFEST_NAME], ""
        return "file of another artifact", [path], ""

    def _edited(self, rng: random.Random, path: Path, forged: bool) -> tuple[bytes, str, str]:
        content = self.contents[path]
        structured = rng.random() < 0.6
        if structured and path.suffix == ".json":
            return mutation.edit_json(rng, content)
        if structured and path.suffix == ".safetensors":
            if forged and path.name == "packed.safetensors" and rng.random() < 0.7:
                return _forged_payload(rng, content)
            return mutation.edit_tensors(rng, content)
        if structured and path.suffix in (".jsonl", ".yaml", ".log"):
            return *mutation.edit_lines(rng, content), ""
        if structured and path.suffix == ".pt" and forged:
            return _forged_zip(rng, content)
        return *mutation.damage_bytes(rng, content), ""

    # ---- the verdict ----------------------------------------------------------------------------------------------

    def _outcome(
        self, subject: Subject, name: str, forged: bool, touched: list[Path], field: str
    ) -> tuple[str, str | None, int]:
        """(outcome, what is wrong with it, exit code)."""
        sound = self.sound[subject.name, name]
        try:
            with silence():
                taken = subject.readers[name]()
        except Malformed as error:
            return "taken in", f"{name} took in {error}", 0
        except BaseException as error:
            return self._refusal(subject, name, error, forged, touched, field)
        if taken == sound:
            return "nothing changed", None, 0
        if not subject.checksums or (
            taken.digest is None and sound.digest is not None
        ):  # without a manifest: a folder of shards
            return "other content, no checksum", None, 0
        if touched[0].name == MANIFEST_NAME and taken.digest not in (None, sound.digest):
            return "another digest", None, 0  # the sound manifest of another artifact; its files were not read
        if not forged:
            return "taken in", f"{name} took in changed content", 0
        if taken.digest is not None and taken.digest == sound.digest and taken.named != sound.named:
            return "taken in", f"{name} took in other values under the same digest", 0
        return "another digest", None, 0

    def _refusal(
        self, subject: Subject, name: str, error: BaseException, forged: bool, touched: list[Path], field: str
    ) -> tuple[str, str | None, int]:
        known = _as_golfpipe_error(error, Mode.of(["audit"]))
        if known is None:
            return "traceback", f"{name}: {_where(error)}", 1
        with silence():
            code = show_failure(error, MODE)
        outcome = f"exit {code}"
        if code not in subject.codes:
            return outcome, f"{name}: exit {code}: {known.message[:300]}", code
        names = {path.name for path in touched} | {subject.folder.name}
        names |= {MANIFEST_NAME} if subject.is_artifact else set()
        # `pipeline` is a section of stages.yaml alone.
        if not any(part in known.message for part in names) and "pipeline" not in known.message:
            return outcome, f"{name}: names no file: {known.message[:300]}", code
        return outcome, None, code

    def _through_command_line(self, subject: Subject, name: str, code: int) -> str | None:
        """The same exit code, or for another reader than audit at least no bug and no other kind of failure."""
        error = io.StringIO()
        with silence(), contextlib.redirect_stderr(error):
            found = main(["audit", str(subject.folder), "-q"])
        if "this is a bug" in error.getvalue() or (name == "audit" and found != code and {found, code} - {0, 3, 4}):
            return f"golfpipe audit: exit {found}, not {code}: {error.getvalue()[:300]}"
        return None


def _where(error: BaseException) -> str:
    """Type, message and the last line of golfpipe's own that it passed."""
    place, step = "?", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if "golfpipe/" in file and "benchmarks" not in file:
            place = f"{file.rsplit('golfpipe/', 1)[1]}:{step.tb_lineno}"
        step = step.tb_next
    return f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:200]}"


def _forged_payload(rng: random.Random, content: bytes) -> tuple[bytes, str, str]:
    """packed.safetensors around a changed payload whose own digest is right."""
    length = int.from_bytes(content[:8], "little")
    payload = content[8 + length :]
    front, header, streams = repair.payload_parts(payload)
    part = rng.choice(("header", "header", "streams", "front", "body"))
    where = ""
    if part == "header":
        header, done, where = mutation.edit_json(rng, header)
        if rng.random() < 0.6:
            header = _canonical(header)
        payload = repair.payload_of(front, header, streams)
    elif part == "streams":
        streams, done = mutation.damage_bytes(rng, streams)
        payload = repair.payload_of(front, header, streams)
    elif part == "front":
        payload = repair.payload_with_digest(bytes((rng.choice((1, 2, 3, 255)), rng.randrange(4))), payload[42:])
        done = "version and coder"
    else:
        body, done = mutation.damage_bytes(rng, payload[42:])
        payload = repair.payload_with_digest(front, body)
    tensor = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    return tensors_to_bytes({"payload": tensor}), f"payload {part}: {done}", where


def _canonical(header: bytes) -> bytes:
    """In canonical form where it is JSON at all, so that the checks behind that one are reached."""
    try:
        return json.dumps(json.loads(header), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        return header


def _forged_zip(rng: random.Random, content: bytes) -> tuple[bytes, str, str]:
    """A checkpoint whose entries were changed and packed again, CRCs and all."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        entries = [(info.filename, source.read(info)) for info in source.infolist()]
    place = rng.randrange(len(entries))
    action = rng.choice(("content", "content", "content", "drop", "repeat", "rename"))
    name, data = entries[place]
    if action == "drop":
        del entries[place]
    elif action == "repeat":
        entries.append((name, rng.randbytes(len(data))))
    elif action == "rename":
        entries[place] = (rng.choice((name + "x", "../" + name, "/" + name, name.replace("data", "data2"))), data)
    else:
        entries[place] = (name, mutation.damage_bytes(rng, data)[0])
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        warnings.simplefilter("ignore")  # of the same name twice, which is the point
        for entry, data in entries:
            target.writestr(entry, data)
    return out.getvalue(), f"zip: {action}", ""
