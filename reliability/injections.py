"""Texts of strangers in every field, through every command that prints or generates: none becomes code, none acts on a
terminal.

python -m reliability injections

Every text field of every manifest, JSON file, log, lock and stages.yaml of a small real run is filled in turn with what
each language acts on; so are the names of its files and folders, and, with all of it at once, every other field and
every field's name. The checksums are made to fit. Then the commands run, and the files that they write must parse to
the tree that they have without it, or with a harmless word in its place.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import torch

from golfpipe.cli import app as cli
from golfpipe.pipeline.text_digest import demo_digest
from golfpipe.report.svg import Drawing
from reliability.confined import Peak, run_confined
from reliability.forged_fields import Field, fields, fill, is_file_name, names, rename
from reliability.payloads import EVERYTHING, HARMLESS, HIDDEN, PAYLOADS, as_name, lets_through
from reliability.specimens import build, working_in
from reliability.syntax_trees import REFUSED, trees

Way = Literal["lines", "json", "terminal"]
"""How a command's words are asked for, and seen."""
FOLDERS = {"run": "artifacts/small", "data": "artifacts/data/texts", "foreign": "foreign", "bare": "bare"}
"""What a stranger names, too."""
MADE = "made"
"""The folder into which the commands write."""
LOCK = "artifacts/locked/.train.lock"
LOCK_CONTENT = {"host": "host", "pid": 1, "started": "1", "token": "0" * 16}
COMMANDS = (
    "ls artifacts",
    "status {run}",
    "status {run} --verify",
    "status artifacts/locked",
    "diff {run}/pack {run}/pack-nibble",
    "compare {run}/evaluate-train {run}/evaluate-pack",
    "audit {run}/evaluate-pack",
    "audit {run}",
    "audit {foreign} {run}/submit",
    "audit {foreign} {run}/submit --csv",
    "report {run} -o made/report.html",
    "report {run} -o made/report.md --markdown",
    "submit {run}/evaluate-pack -o made/submit --launcher torchrun --launcher modal --launcher slurm --layout readable",
    "data inspect {data}",
    "data inspect {bare}",
    "data add {bare} -o made/data",
    "data tokenize texts.jsonl --processes 1 -o made/tokens",
    "config show",
    "presets",
    "sweep {run}/train --grid quantize.mlp.bits=3,4 --cells",
    "clean {run}",
    "unpack {run}/pack -o made/weights.safetensors",
    "generate {run}/pack --tokens 5",
    "quantize {run}/train -o made/quantize",
    "pack {run}/quantize -o made/pack",
    "ttt {run}/pack {data} -o made/ttt",
    "evaluate {run}/pack {data} -o made/evaluate",
    "train {data} -o made/train",
    "train --resume --name begun",
    "diff {run} artifacts/begun",
    "train --resume --name locked",
    "run {data} --name small --dry-run",
)
"""Those that read something of a stranger. `config init`, `config docs` and `doctor` do not."""
EXITS = (0, 2, 3, 4, 5, 75)
"""What commands end with that meet wrong files, as the documentation has it. 1 is for work that goes wrong."""


@dataclass(frozen=True)
class Injection:
    """One text in one place."""

    place: Field | str
    """A field, or one of FOLDERS."""
    part: Literal["value", "name"]
    payload: str
    """Its name in PAYLOADS; 'everything' for all of them together."""
    way: Way = "lines"

    @property
    def text(self) -> str:
        return HARMLESS if self.payload == HARMLESS else PAYLOADS.get(self.payload, EVERYTHING)

    def __str__(self) -> str:
        where = self.place if isinstance(self.place, str) else f"{self.place[0]}: {'.'.join(self.place[1])}"
        return f"{self.payload} as {self.part} of {where} ({self.way})"


def run(count: int, seed: int) -> dict[str, Any]:
    """`count` of all injections, in an order by `seed`, or all of them."""
    torch.set_num_threads(1)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        root = Path(name).resolve()
        base = root / "base"
        base.mkdir()
        build(base)
        hold(base)
        every = all_injections(base)
        random.Random(seed).shuffle(every)
        return run_on(base, root, every[:count]) | {"of": len(every)}


def hold(base: Path) -> None:
    """Add to the run a second unfinished training, which another host holds."""
    shutil.copytree(base / "artifacts" / "begun", base / "artifacts" / "locked")
    (base / LOCK).write_text(json.dumps(LOCK_CONTENT))


def all_injections(base: Path) -> list[Injection]:
    texts = fields(base, str)
    others = fields(base, (bool, int, float, type(None)))
    languages = [name for name in PAYLOADS if name != "terminal"]
    ways: tuple[Way, ...] = ("lines", "json", "terminal")
    found = [Injection(place, "value", name) for place in texts for name in languages]
    found += [Injection(place, "value", "terminal", way) for place in texts for way in ways]
    found += [Injection(place, "value", "everything") for place in others]
    found += [Injection(place, "name", "everything") for place in names(base) if not is_file_name(place)]
    found += [Injection(place, "name", name) for place in names(base) if is_file_name(place) for name in PAYLOADS]
    found += [Injection(folder, "name", name) for folder in FOLDERS for name in PAYLOADS]
    return found


def run_on(base: Path, root: Path, injections: list[Injection]) -> dict[str, Any]:
    """The same with copies of the run in `base`, made in `root`."""
    exits: Counter[str] = Counter()
    failures: list[str] = []
    files, reached = Counter[str](), Counter[str]()
    with _the_same_each_time():
        usual = _attempt(None, base, root)
        failures += [f"without any injection: {one}" for one in usual.complaints]

        def case(index: int) -> tuple[list[str], list[int], list[str], list[str]]:
            found = _attempt(injections[index], base, root)
            wrong = [*found.complaints, *_wrong_files(injections[index], found, usual, base, root)]
            written = [name for name, text in found.made.items() if text != REFUSED]
            changed = [name for name in written if found.made[name] != usual.made.get(name)]
            return wrong, found.exits, written, changed

        for done in run_confined(case, len(injections), Peak(), memory_bytes=1 << 30):
            wrong, codes, written, changed = done.value or ([done.died], [], [], [])
            exits.update(f"exit {code}" for code in codes)
            files.update(written)
            reached.update(changed)
            failures += [f"{injections[done.index]}: {one}" for one in wrong]
    return {
        "injections": len(injections),
        "commands": sum(exits.values()),
        "exits": dict(sorted(exits.items())),
        "files_parsed": dict(sorted(files.items())),
        "files_changed": dict(sorted(reached.items())),
        "failures": failures[:100],
        "failure_count": len(failures),
    }


@dataclass(frozen=True)
class _Found:
    made: dict[str, str]
    """Generated file -> its text, or 'refused'."""
    exits: list[int]
    complaints: list[str]


def _attempt(injection: Injection | None, base: Path, root: Path) -> _Found:
    """Plant the text, run every command, and read what they wrote."""
    with tempfile.TemporaryDirectory(dir=root) as name:
        work = Path(name) / "work"
        shutil.copytree(base, work)
        places = FOLDERS if injection is None else _plant(injection, work)
        way: Way = "lines" if injection is None else injection.way
        exits, complaints = [], []
        (work / LOCK).touch()  # its owner is alive
        with working_in(work):
            Path(MADE).mkdir()
            for line in COMMANDS:
                words = [word.format(**places) for word in line.split()]
                code, said = _command(words, way)
                exits.append(code)
                complaint = _complaint(code, said, way)
                if complaint:
                    complaints.append(f"{line}: {complaint}")
            if any(True for _ in Path(name).rglob("pwned")):
                complaints.append("code ran")
            return _Found(_generated(Path(MADE)), exits, complaints)


def _plant(injection: Injection, work: Path) -> dict[str, str]:
    """Write the text where it belongs; returns the names of FOLDERS."""
    place, text = injection.place, injection.text
    if isinstance(place, str):
        new = Path(FOLDERS[place]).with_name(as_name(text))
        (work / FOLDERS[place]).rename(work / new)
        return FOLDERS | {place: str(new)}
    if injection.part == "name":
        rename(work, place, as_name(text) if is_file_name(place) else text)
    else:
        fill(work, place, text)
    return dict(FOLDERS)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _command(words: list[str], way: Way) -> tuple[int, str]:
    said = _Terminal() if way == "terminal" else io.StringIO()
    more = ["--json"] if way == "json" and "--csv" not in words else []
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main([*words, *more])
    return code, said.getvalue()


def _complaint(code: int, said: str, way: Way) -> str | None:
    """Say what is wrong with how a command ended and with its words; None where nothing is."""
    if "this is a bug" in said or "Traceback" in said or code not in EXITS:
        return f"exit {code}: {ascii(said)[:300]}"
    return lets_through(said, terminal=way == "terminal")


def _generated(made: Path) -> dict[str, str]:
    """The text of every generated file, by its name."""
    found = {path.name: path.read_text() for path in made.glob("submit/records/*/*/*")}
    for name in ("report.html", "report.md"):
        found[name] = (made / name).read_text() if (made / name).is_file() else REFUSED
    return found


def _wrong_files(injection: Injection, found: _Found, usual: _Found, base: Path, root: Path) -> list[str]:
    """Say which generated files do something else than without the text."""
    changed = {name: text for name, text in found.made.items() if text not in (REFUSED, usual.made.get(name))}
    wrong = [f"{name}: control characters" for name, text in changed.items() if HIDDEN & set(text)]
    try:
        shapes = trees(changed)
    except Exception as error:  # of any parser
        return [*wrong, f"a generated file cannot be parsed: {ascii(str(error))[:200]}"]
    before = trees({name: text for name, text in usual.made.items() if name in shapes})
    other = {name for name, shape in shapes.items() if shape != before.get(name)}
    if other:
        harmless = _attempt(replace(injection, payload=HARMLESS, way="lines"), base, root)
        plain = trees({name: text for name, text in harmless.made.items() if name in other})
        wrong += [f"{name}: another tree" for name in sorted(other) if shapes[name] != plain.get(name)]
    return wrong


@contextlib.contextmanager
def _the_same_each_time() -> Any:
    """Within: what does not depend on the run is made once. matplotlib escapes the texts of its pictures itself, and
    takes longer than all the rest."""
    with contextlib.ExitStack() as stack:
        for section in ("stages", "sizes", "sweep"):
            draw: Callable[..., Drawing] = lambda draw, *, name, title: Drawing(title, [])  # noqa: E731
            stack.enter_context(mock.patch(f"golfpipe.report.section_{section}.drawing", draw))
        stack.enter_context(mock.patch("golfpipe.pipeline.runner.demo_digest", functools.cache(demo_digest)))
        yield
