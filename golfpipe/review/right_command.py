"""What lies at a path, and the command that leads from it to what a command wanted there.

Errors about an input say what was wanted (`GolfpipeError.wanted`). Here the path is looked at, and the hint becomes one
line to paste: the commands that make what is missing, and then the user's own command with the right path in it.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from golfpipe.config.resolve import load_stages
from golfpipe.errors import ArtifactError, GolfpipeError
from golfpipe.jobs.registry import SCORED_KINDS
from golfpipe.jobs.unfinished import read_begun
from golfpipe.pipeline.data_places import is_read_only, only_tokenizer, tokenized_folder
from golfpipe.pipeline.single import ARTIFACTS, checked_name
from golfpipe.report.run_data import RunData
from golfpipe.review.sight import Sight, look
from golfpipe.store.artifact import Artifact
from golfpipe.store.manifest import Kind
from golfpipe.store.search import find_all, find_artifact

_STEPS: dict[Kind, str] = {
    "submission": "submit",
    "packed_model": "pack",
    "quantized_model": "quantize",
    "trained_model": "train",
    "evaluation": "evaluate-pack",
    "adapted_model": "ttt",
    "token_data": "data",
}
"""The kinds in a run, the one that most people mean first, and the step that writes each by default."""
_NEXT: dict[Kind, tuple[str, Kind]] = {
    "weights": ("quantize", "quantized_model"),
    "trained_model": ("quantize", "quantized_model"),
    "quantized_model": ("pack", "packed_model"),
    "packed_model": ("evaluate", "evaluation"),
    "adapted_model": ("evaluate", "evaluation"),
    "evaluation": ("submit", "submission"),
}
"""The command that leads from a kind to the next one of the chain."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to what was wanted."""

    why: str
    commands: tuple[tuple[str, ...], ...] = ()
    """The commands to run first, in words without `golfpipe`."""
    path: Path | None = None
    """The path that the user's own command then takes; None where repeating it does not help."""

    def after(self, *words: str, path: Path | None) -> Way:
        """Return this way with one more command, which leads to `path`."""
        return replace(self, commands=(*self.commands, words), path=path)


def with_right_command(error: GolfpipeError, words: Sequence[str]) -> GolfpipeError:
    """Return the error; one about an input gets as its hint the commands that lead on. `words` are the user's command,
    without which there is none to put right."""
    if not error.wanted or error.path is None or not words:
        return error
    try:
        sight = look(Path(error.path))
        way, own = find_way(sight, error.wanted), _data_words(words)
    except (GolfpipeError, OSError):  # what lies there cannot even be looked at
        return error
    if way is None or (sight.sort is None and sight.path.is_file() and error.hint is not None):
        return error
    commands = [*way.commands]
    if own and commands and commands[0][:2] == ("data", "tokenize"):
        commands[0] = (*commands[0], *own, "-o", str(tokenized_folder(sight.path)))
        words = [word for place, word in enumerate(words) if place not in _set_data(words)]
    if way.path is not None:
        commands.append(_repeated(words, sight, way.path, error.wanted))
    error.hint = f"{way.why}; try: {' && '.join(shlex.join(('golfpipe', *command)) for command in commands)}"
    return error


def _repeated(words: Sequence[str], wrong: Sight, right: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the user's command with the right path. Another run that was given like the first is put right, too."""
    places = [place for place, word in enumerate(words) if _names(word, wrong.path) and _is_input(words, place)]
    repeated = list(words)
    for place in places[-1:]:
        start, equals, _ = words[place].rpartition("=")
        repeated[place] = f"{start}{equals}{right}"
    for place, word in enumerate(words):
        if (
            wrong.sort == "run"
            and place not in places
            and _is_argument(words, place)
            and look(Path(word)).sort == "run"
        ):
            way = find_way(look(Path(word)), wanted)
            if way is not None and way.path is not None and not way.commands:
                repeated[place] = str(way.path)
    if words[0] in ("run", "train") and "token_data" in wanted and not {"--name", "-o", "--out"} & set(words):
        repeated += ["--name", right.resolve().name]  # the preset's name may be that of a run of other data
    return tuple(repeated)


def _set_data(words: Sequence[str]) -> set[int]:
    """Return the places of `--set data.KEY=VALUE`, which is for the command that makes token data."""
    found = [place for place, word in enumerate(words) if word.startswith("data.") and words[place - 1] == "--set"]
    return {place for after in found for place in (after - 1, after)}


def _data_words(words: Sequence[str]) -> list[str]:
    """Return the words of the user's command that say how text becomes tokens: settings, and a preset that has such."""
    preset = next((after for word, after in pairwise(words) if word == "--preset"), None)
    presets = load_stages().presets
    has_data = preset in presets and "data" in presets[preset].settings
    return [
        *(["--preset", preset] if preset is not None and has_data else []),
        *(words[place] for place in sorted(_set_data(words))),
    ]


def _names(word: str, path: Path) -> bool:
    return Path(word) == path or (word.startswith("--") and Path(word.partition("=")[2]) == path)


def _is_input(words: Sequence[str], place: int) -> bool:
    return place == 0 or words[place - 1] not in ("-o", "--out", "--name")


def _is_argument(words: Sequence[str], place: int) -> bool:
    return place > 0 and not words[place].startswith("-") and not words[place - 1].startswith("-")


# ---- the way from there --------------------------------------------------------------------------------------------


def find_way(sight: Sight, wanted: Sequence[str]) -> Way | None:
    """Return the way from what lies there to the first of what was wanted that can be reached; None where that is
    what lies there, or where the error knows better, as for weights that no command can run. Raises GolfpipeError."""
    if sight.sort in ("weights", *wanted) or (sight.artifact is not None and "artifact" in wanted):
        return None
    if sight.sort is None:
        return _from_nothing(sight, wanted)
    if sight.sort == "weights" and not {*wanted} <= {"quantized_model", "packed_model"}:
        return None  # they have no architecture, and the error says so
    made = _made_from(sight, Way(why=f"this is {sight.what}"), wanted)
    return made if made is not None else _instead(sight)


def _made_from(sight: Sight, way: Way, wanted: Sequence[str]) -> Way | None:
    """Return the way that the chain of commands goes; None where it does not lead to what was wanted."""
    if "there" in wanted:
        return None
    if "partial_evaluation" in wanted:
        is_model = sight.sort in SCORED_KINDS
        model = replace(way, path=sight.path) if is_model else _made_from(sight, way, SCORED_KINDS)
        return model.after("evaluate", str(model.path), "--shard", "1/2", path=None) if model is not None else None
    kinds = [kind for kind in wanted if kind in _STEPS] or list(_STEPS)
    if not set(wanted) & {*_STEPS, "artifact", "run"}:
        return None
    path = sight.path
    if sight.sort == "unfinished":
        if read_begun(path) is None:
            return None
        return _onward("trained_model", path, way.after("train", "--resume", "-o", str(path), path=path), kinds)
    if sight.sort == "run":
        return _within_run(path, way, kinds)
    if sight.artifact is not None:
        return _from_artifact(sight.artifact, way, wanted, kinds)
    if sight.sort == "checkpoint":
        out = ARTIFACTS / checked_name(path.stem) / "import"
        return _ending(_onward("trained_model", out, way.after("import", str(path), path=out), kinds), wanted)
    if sight.sort in ("text", "shards"):
        return _onward_from_data(*_made_token_data(sight, way), wanted, kinds)
    return None


def _made_token_data(sight: Sight, way: Way) -> tuple[Way, Path]:
    """Return the way that makes token data of text or shards, and where it will be."""
    path = sight.path
    if sight.sort == "text":
        out = tokenized_folder(path)
        return way.after("data", "tokenize", str(path), path=out), out
    words = ["data", "add", str(path)]
    try:
        only_tokenizer(path)
    except GolfpipeError:
        words += ["--tokenizer", "FILE"]
    out = path
    if is_read_only(path):
        out = ARTIFACTS / "data" / path.resolve().name
        words += ["-o", str(out)]
    return way.after(*words, path=out), out


def _onward_from_data(way: Way, data: Path, wanted: Sequence[str], kinds: Sequence[Kind]) -> Way:
    """Return the way from token data: `run` makes all further kinds, up to the step that is wanted."""
    if "token_data" in wanted or "artifact" in wanted:
        return replace(way, path=data)
    name = data.resolve().name
    step = _STEPS[kinds[0]]
    until = () if "run" in wanted else ("--until", step)
    folder = ARTIFACTS / name
    return way.after("run", str(data), "--name", name, *until, path=folder if "run" in wanted else folder / step)


def _from_artifact(artifact: Artifact, way: Way, wanted: Sequence[str], kinds: Sequence[Kind]) -> Way | None:
    """Return the way from an artifact: to one that it was made from, or that was made from it, or can be."""
    around = _around(artifact)
    source = None if "run" in wanted else _chosen(_ancestors(artifact, around), kinds)
    if source is not None:
        return replace(way, path=source.path)
    family = [artifact, *_descendants(artifact, around)]
    if "run" in wanted:
        inside = next((member for member in family if member.manifest.kind != "token_data"), None)
        if inside is not None:
            return replace(way, path=inside.path.parent)
        return _onward_from_data(way, artifact.path, wanted, kinds)
    beside = [member for member in family if member.path.parent == artifact.path.parent]
    chosen = _chosen(beside, kinds) or _chosen(family, kinds)
    if chosen is not None:
        return replace(way, path=chosen.path)
    furthest = _chosen(beside, [kind for kind in _STEPS if kind != "submission"]) or artifact
    if furthest.manifest.kind == "token_data":
        return _onward_from_data(way, artifact.path, wanted, kinds)
    return _onward(furthest.manifest.kind, furthest.path, way, kinds)


def _onward(kind: Kind, path: Path, way: Way, kinds: Sequence[Kind]) -> Way | None:
    """Return the way along the chain of single commands."""
    while kind not in kinds:
        if kind not in _NEXT:
            return None
        stage, made = _NEXT[kind]
        out = path.parent / (stage if stage != "evaluate" else f"evaluate-{path.name}")
        way, kind, path = way.after(stage, str(path), path=out), made, out
    return replace(way, path=path)


def _ending(way: Way | None, wanted: Sequence[str]) -> Way | None:
    """Return the way with the run folder as its end, where that was wanted."""
    if way is None or way.path is None or "run" not in wanted:
        return way
    return replace(way, path=way.path.parent)


def _within_run(folder: Path, way: Way, kinds: Sequence[Kind]) -> Way | None:
    """Return the way to the artifact of a run that is meant, or to what it was made from, or to what it can become."""
    found = list(find_all(folder, depth=1))
    chosen = _chosen(found, kinds)
    if chosen is not None:
        return replace(way, path=chosen.path)
    latest = _chosen(found, [kind for kind in _STEPS if kind not in ("submission", "token_data")])
    if latest is None:
        unfinished = look(folder / _STEPS["trained_model"])
        return _made_from(unfinished, way, kinds) if unfinished.sort == "unfinished" else None
    return _from_artifact(latest, way, kinds, kinds)


def _chosen(found: Sequence[Artifact], kinds: Sequence[Kind]) -> Artifact | None:
    """Return the artifact of the first kind that there is; of several, the one where its step writes by default."""
    for kind in kinds:
        of_kind = [artifact for artifact in found if artifact.manifest.kind == kind]
        if kind == "evaluation" and of_kind:
            return RunData(name="", folder=Path(), stages=tuple(of_kind), sweep=Path()).headline
        by_name = [artifact for artifact in of_kind if artifact.path.name == _STEPS.get(kind)]
        if of_kind:
            return (by_name or of_kind)[0]
    return None


def _around(artifact: Artifact) -> list[Artifact]:
    """Return the artifacts around this one and below artifacts/, those in its own folder first."""
    roots = (artifact.path.absolute().parent, ARTIFACTS)
    found = {each.path.resolve(): each for root in roots for each in find_all(_relative(root))}
    return list(found.values())


def _ancestors(artifact: Artifact, around: Sequence[Artifact]) -> list[Artifact]:
    """Return what the artifact was made from, nearest first, as far as it is around or where it was."""
    found: list[Artifact] = []
    for reference in artifact.manifest.inputs:
        source = next((each for each in around if each.manifest.digest == reference.digest), None)
        if source is None:
            try:
                source = find_artifact(reference, artifact.path)
            except ArtifactError:
                continue
        found += [source, *_ancestors(source, around)]
    return found


def _descendants(artifact: Artifact, around: Sequence[Artifact]) -> list[Artifact]:
    """Return which of the artifacts around were made from this one, nearest first."""
    family = [artifact]
    for member in family:  # it grows as they are found
        children = [
            each for each in around if any(ref.digest == member.manifest.digest for ref in each.manifest.inputs)
        ]
        family += [child for child in children if child not in family]
    return family[1:]


def _relative(path: Path) -> Path:
    """Return the path as a user in this folder would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _from_nothing(sight: Sight, wanted: Sequence[str]) -> Way:
    """Return the way from a path with nothing on it: to a similar name, else to what lists or makes a first one."""
    near = nearest_path(sight.path) if sight.what == "nothing" else None
    if near is not None:
        found = look(near)
        way = find_way(found, wanted) if found.sort is not None else None
        return replace(way or Way(why="", path=near), why=f"nothing is here, but {near} is {found.what}")
    why = f"this is {sight.what}" if sight.what != "nothing" else "there is nothing here"
    way = Way(why=why)
    if "shards" in wanted and "token_data" not in wanted:
        return way.after("data", "fetch", path=None)
    if "text" in wanted:
        return way.after("data", "demo", path=None)
    if "token_data" in wanted and "artifact" not in wanted:
        return way.after("data", "demo", path=ARTIFACTS / "data" / "demo")
    return way.after("ls" if ARTIFACTS.is_dir() else "run", path=None)


def nearest_path(path: Path) -> Path | None:
    """Return the path that exists and differs from this one by a mistake of writing in its names, or None."""
    found = Path(path.anchor)
    for name in path.parts[1:] if path.anchor else path.parts:
        if not (found / name).exists():
            beside = [child.name for child in found.iterdir() if child.name[0] != "."] if found.is_dir() else []
            near = difflib.get_close_matches(name, beside, n=1, cutoff=0.7)
            if not near:
                return None
            name = near[0]
        found /= name
    return found


def _instead(sight: Sight) -> Way:
    """Return the command that is about what lies there, where no command makes of it what was wanted."""
    way = Way(why=f"this is {sight.what}")
    path = str(sight.path)
    words: tuple[str, ...]
    if sight.artifact is not None:
        words = ("data", "inspect", path) if sight.sort == "token_data" else ("audit", path)
    else:
        words = {
            "run": ("status", path),
            "runs": ("ls", path),
            "sweep": ("report", path),
            "plan": ("ls", path),
            "records": ("audit", path),
            "checkpoint": ("import", path),
            "unfinished": ("status", str(sight.path.parent)),
        }.get(str(sight.sort)) or _made_token_data(sight, way)[0].commands[-1]
    return way.after(*words, path=None)
