"""A run of several seeds: one chain of steps per seed, each in a folder of its own, and what all of them share.

    artifacts/NAME/seed-1/train, artifacts/NAME/seed-1/quantize, ...
    artifacts/NAME/seed-2/train, ...
    artifacts/NAME/submit         one submission of all seeds

The folder of one seed is an ordinary run folder, which every command takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from golfpipe.errors import UsageError
from golfpipe.jobs.registry import numbered_role
from golfpipe.pipeline.node import Node
from golfpipe.store.search import visible_children

_SEED_FOLDER = re.compile(r"seed-(0|[1-9]\d*)", re.ASCII)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of a list like 1,2,3. Raises UsageError."""
    try:
        return checked_seeds([int(word) for word in text.split(",")])
    except ValueError:
        raise UsageError(f"--seeds {text!r}: expected whole numbers between commas", hint="--seeds 1,2,3") from None


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return the seeds. Raises UsageError where one is given twice: a submission has one result per seed."""
    repeated = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if repeated is not None:
        raise UsageError(f"--seeds names {repeated} more than once", hint="give each seed once, as in --seeds 1,2,3")
    return tuple(seeds)


def seed_folders(run: Path) -> dict[int, Path]:
    """Return the folders of the seeds in a run folder, by seed; none for a run of one seed."""
    found = {int(match[1]): path for path in visible_children(run) if (match := _SEED_FOLDER.fullmatch(path.name))}
    return dict(sorted(found.items()))


def with_seeds(nodes: Sequence[Node], seeds: Sequence[int]) -> tuple[Node, ...]:
    """Return the graph in which every step that a seed decides is there once per seed, and submit takes all of them.

    A seed decides the steps whose stage heeds it, and those that read what they make. The other steps are shared.
    """
    own = decided_by_seed(nodes)
    shared = [node for node in nodes if node.name not in own and not _collects(node)]
    chains = [_of_seed(node, seed, own) for seed in seeds for node in nodes if node.name in own]
    return (*shared, *chains, *(_of_all_seeds(node, seeds, own) for node in nodes if _collects(node)))


def decided_by_seed(nodes: Iterable[Node]) -> set[str]:
    """Return the names of the steps that there is one of per seed. Inputs must come first in `nodes`."""
    own: set[str] = set()
    for node in nodes:
        heeds = node.stage is not None and "seed" in node.stage.sections
        if (heeds or not own.isdisjoint(node.inputs.values())) and not _collects(node):
            own.add(node.name)
    return own


def _collects(node: Node) -> bool:
    return node.stage is not None and node.stage.name == "submit"


def _of_seed(node: Node, seed: int, own: set[str]) -> Node:
    return replace(node, name=_name(node.name, seed), seed=seed, inputs=_inputs(node.inputs, seed, own))


def _of_all_seeds(node: Node, seeds: Sequence[int], own: set[str]) -> Node:
    names = [name for seed in seeds for name in _inputs(node.inputs, seed, own).values()]
    numbered = enumerate(dict.fromkeys(names), 1)
    return replace(node, inputs={numbered_role("evaluation", number): name for number, name in numbered})


def _inputs(inputs: Mapping[str, str], seed: int, own: set[str]) -> dict[str, str]:
    return {role: _name(name, seed) if name in own else name for role, name in inputs.items()}


def _name(step: str, seed: int) -> str:
    """Return the name of a step of one seed, which is its path below the run folder as well."""
    return f"seed-{seed}/{step}"
