"""The pipeline of stages.yaml as nodes in an order in which they can run, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from golfpipe.choices import unknown_name
from golfpipe.config.resolve import NodeSpec
from golfpipe.config.schema import PipelineConfig, plain_config
from golfpipe.errors import ConfigError
from golfpipe.jobs.registry import STAGES, Stage, numbered_role
from golfpipe.jobs.settle import settled
from golfpipe.pipeline.node import Node
from golfpipe.pipeline.seeds import with_seeds

DATA = "data"
"""The node, and the stage name in stages.yaml, that stands for what data.source names."""
DEMO_SOURCE = "demo"


def build_graph(specs: Sequence[NodeSpec], config: PipelineConfig, seeds: Sequence[int] = ()) -> tuple[Node, ...]:
    """Return the nodes in an order in which inputs come first, otherwise in that of the file. With `seeds` there is one
    chain of steps for each of them.

    Raises ConfigError for an unknown stage or step, a cycle, inputs of the wrong kind, or missing ones.
    """
    by_name = {spec.name: spec for spec in specs}
    nodes: dict[str, Node] = {}
    for name in _ordered(by_name):
        nodes[name] = _node(by_name[name], nodes, config)
    graph = tuple(_submit_what_is_eligible(nodes).values())
    return with_seeds(graph, seeds) if seeds else graph


def select(nodes: Sequence[Node], *, start: str | None, until: str | None) -> tuple[list[Node], list[Node]]:
    """Return the nodes to take as they are, and those to bring up to date, for `--from start --until until`.

    `until` keeps only that step and what it builds on. `start` takes the steps before it as they are, if other steps
    read them. A name stands for the step of every seed. Raises ConfigError for an unknown step, or an `until` that lies
    before `start`.
    """
    order = list(dict.fromkeys(node.step for node in nodes))
    for name in (start, until):
        if name is not None and name not in order:
            raise unknown_name(name, "step", order)
    first = order.index(start) if start is not None else 0
    last = order.index(until) if until is not None else len(order) - 1
    if last < first:
        raise ConfigError(f"--until {until} lies before --from {start}", hint=f"the order is {', '.join(order)}")
    wanted = _needed_by(nodes, [node.name for node in nodes if until in (None, node.step)])
    work = [node for node in nodes if first <= order.index(node.step) <= last and node.name in wanted]
    read = {name for node in work for name in node.inputs.values()}
    return [node for node in nodes if order.index(node.step) < first and node.name in read], work


def _ordered(specs: Mapping[str, NodeSpec]) -> list[str]:
    """Return the names in an order in which inputs come first. Raises ConfigError for an unknown input or a cycle."""
    done: list[str] = []
    open_names: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in open_names:
            cycle = " -> ".join([*open_names[open_names.index(name) :], name])
            raise ConfigError(f"pipeline: steps wait for each other: {cycle}")
        open_names.append(name)
        for source in specs[name].inputs:
            if source not in specs:
                raise unknown_name(source, f"pipeline.{name}.inputs: step", list(specs))
            visit(source)
        open_names.pop()
        done.append(name)

    for name in specs:
        visit(name)
    return done


def _node(spec: NodeSpec, nodes: Mapping[str, Node], config: PipelineConfig) -> Node:
    if spec.stage == DATA:
        if spec.inputs:
            raise ConfigError(f"pipeline.{spec.name}: the data step has no inputs, found {list(spec.inputs)}")
        stage = STAGES["data-demo"] if config.data.source == DEMO_SOURCE else None
        return Node(name=spec.name, stage=stage, inputs={}, output="token_data")
    if spec.stage not in STAGES or spec.stage.startswith("data-"):
        known = [name for name in STAGES if not name.startswith("data-")]
        raise unknown_name(spec.stage, f"pipeline.{spec.name}: stage", [DATA, *known])
    stage, sources = STAGES[spec.stage], [nodes[name] for name in spec.inputs]
    reads_data = any(source.output == "token_data" for source in sources)
    plain = plain_config(settled(stage, config, data_at_hand=reads_data))
    idle = _idle_reason(stage, sources)
    return Node(
        name=spec.name,
        stage=stage,
        inputs=_roles(spec, stage, nodes, stage.roles(plain)) if idle is None else {},
        output=stage.writes(plain),
        idle_because=idle,
    )


def _idle_reason(stage: Stage, inputs: Sequence[Node]) -> str | None:
    """Say why the stage has nothing to do; None where it has. A score-first `ttt` scores while it adapts, so its output
    already is the evaluation that the next step would make."""
    if stage.name == "evaluate":
        for node in inputs:
            if node.output == "evaluation":
                return f"{node.name} is an evaluation already"
    return None


def _roles(spec: NodeSpec, stage: Stage, nodes: Mapping[str, Node], needed: Sequence[str]) -> dict[str, str]:
    """Give each input the first free role that takes its kind, and leave out the inputs that are not needed. submit
    takes any number of evaluations. Raises ConfigError for an input without a role, or a needed role without an
    input."""
    roles: dict[str, str] = {}
    for name in spec.inputs:
        kind = nodes[name].output
        role = next((r for r, kinds in stage.inputs.items() if kind in kinds and r not in roles), None)
        if role is None and stage.name == "submit" and kind == "evaluation":
            role = numbered_role(kind, len(roles) + 1)
        if role is None:
            takes = "; ".join(f"{r}: {' or '.join(kinds)}" for r, kinds in stage.inputs.items())
            raise ConfigError(f"pipeline.{spec.name}: {stage.name} cannot take {name} ({kind})", hint=f"takes {takes}")
        roles[role] = name
    for role in needed:
        if role not in roles:
            kinds = " or ".join(stage.inputs[role])
            raise ConfigError(f"pipeline.{spec.name}: {stage.name} needs a {role} ({kinds}) in its inputs")
    return {role: name for role, name in roles.items() if role in needed or role not in stage.inputs}


def _submit_what_is_eligible(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Let submit hand in the evaluation of a score-first ttt of the same model, where there is one.

    stages.yaml names the plain evaluation of the packed model, which is always eligible. A score-first evaluation is
    eligible too, scores the same file, and is better. One of a `cosine` model is better still, but not eligible.
    """
    scored_first = {
        node.inputs["model"]: node.name
        for node in nodes.values()
        if node.stage is not None and node.stage.name == "ttt" and node.output == "evaluation"
    }
    result = dict(nodes)
    for node in nodes.values():
        if node.stage is None or node.stage.name != "submit":
            continue
        chosen = {}
        for role, name in node.inputs.items():
            model = nodes[name].inputs.get("model")
            chosen[role] = scored_first.get(model, name) if model is not None else name
        result[node.name] = replace(node, inputs=chosen)
    return result


def _needed_by(nodes: Sequence[Node], names: Iterable[str]) -> set[str]:
    """Return the names and every step that these build on."""
    by_name = {node.name: node for node in nodes}
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed.add(current)
            waiting += by_name[current].inputs.values()
    return needed
