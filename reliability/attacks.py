"""Known attacks by files and folders: none runs code, none writes outside of the output folder, none blocks.

python -m reliability attacks

Each attack gets a folder of its own with a finished small run in `work/` and other people's things in `outside/`. It
plants something, a command runs as a victim would run it, and then nothing but the command's own output may have
changed, and the file that every payload tries to make must not exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from golfpipe.cli.app import main
from reliability.attack_list import SECRET, Attack, Place, all_attacks
from reliability.confined import Peak, run_confined
from reliability.specimens import build, working_in

REPOSITORY = Path(__file__).parents[1]


def run(count: int, seed: int) -> dict[str, Any]:
    """All attacks, or the first `count`."""
    torch.set_num_threads(1)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        root = Path(name).resolve()
        (root / "base").mkdir()
        build(root / "base")
        return run_on(root / "base", root, all_attacks()[:count])


def run_on(base: Path, root: Path, attacks: list[Attack]) -> dict[str, Any]:
    """The same with copies of the finished run in `base`, made in `root`."""
    rows, failures = [], []

    def case(index: int) -> tuple[int, str, str | None]:
        return _attempt(attacks[index], base, root)

    for done in run_confined(case, len(attacks), Peak(), memory_bytes=1 << 30):
        name = attacks[done.index].name
        code, message, failure = done.value or (-1, "", done.died)
        if done.seconds > 30:
            failure = failure or f"took {done.seconds:.0f} s"
        rows.append({"attack": name, "exit": code, "message": message})
        if failure:
            failures.append(f"{name}: {failure}: {message}")
    return {"attacks": rows, "failures": failures}


def _attempt(attack: Attack, base: Path, root: Path) -> tuple[int, str, str | None]:
    """(exit code, what the command said, what went wrong)."""
    with tempfile.TemporaryDirectory(dir=root) as name:
        place = Place(Path(name) / "work", Path(name) / "outside")
        shutil.copytree(base, place.work)
        place.outside.mkdir()
        (place.outside / "secret").write_bytes(SECRET)
        attack.plant(place)
        before = _snapshot(Path(name))
        said = io.StringIO()
        words = [word.replace("{outside}", str(place.outside)) for word in attack.words]
        with working_in(place.work), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main([*words, "-q"])
        after = _snapshot(Path(name))
        message = said.getvalue().replace(name, "...").replace(f"{REPOSITORY}/", "")[:300]
        if place.pwned.exists():
            return code, message, "code ran"
        allowed = tuple(f"work/{start}" for start in attack.writes)
        changed = [path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
        wrong = [path for path in changed if not path.startswith(allowed or ("\x00",))]
        if wrong:
            return code, message, f"changed {', '.join(wrong[:3])}"
        if not attack.is_harmless(place):
            return code, message, "what was written is not harmless"
        if "this is a bug" in message or (code == 0) != attack.succeeds:
            return code, message, f"exit {code}"
        return code, message, None


def _snapshot(root: Path) -> dict[str, str]:
    """Path below `root` -> what is there."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"link {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found
