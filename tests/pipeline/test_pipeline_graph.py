"""The pipeline is checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from golfpipe.config.resolve import NodeSpec, load_stages, resolve_config
from golfpipe.errors import ConfigError
from golfpipe.pipeline.graph import build_graph, select
from golfpipe.pipeline.node import Node

STAGES = load_stages(Path(__file__).resolve().parents[2] / "stages.yaml")


def _graph(*overrides: str) -> tuple[Node, ...]:
    return build_graph(STAGES.pipeline, resolve_config(STAGES, preset="demo", overrides=overrides).config)


def _spec(name: str, *inputs: str, stage: str | None = None) -> NodeSpec:
    return NodeSpec(name=name, stage=stage or name, inputs=inputs)


def _build(*specs: NodeSpec) -> tuple[Node, ...]:
    return build_graph(specs, resolve_config(STAGES).config)


def test_the_shipped_pipeline() -> None:
    nodes = {node.name: node for node in _graph()}
    assert list(nodes) == [spec.name for spec in STAGES.pipeline]
    assert nodes["ttt"].inputs == {"model": "pack", "data": "data"}
    assert nodes["ttt"].output == "adapted_model"
    assert nodes["submit"].inputs == {"evaluation": "evaluate-pack"}
    assert nodes["data"].stage is not None
    assert nodes["data"].stage.name == "data-demo"


def test_data_from_elsewhere_is_given() -> None:
    assert _graph("data.source=some/where")[0].stage is None


@pytest.mark.parametrize("method", ["score_first_lora", "score_first_sgd"])
def test_a_score_first_evaluation_is_what_is_submitted(method: str) -> None:
    nodes = {node.name: node for node in _graph(f"ttt.method={method}")}
    assert nodes["ttt"].output == "evaluation"
    assert nodes["evaluate-ttt"].idle_because == "ttt is an evaluation already"
    assert nodes["submit"].inputs == {"evaluation": "ttt"}


def test_steps_may_be_listed_in_any_order() -> None:
    nodes = _build(_spec("pack", "quantize"), _spec("quantize", "train"), _spec("train", "data"), _spec("data"))
    assert [node.name for node in nodes] == ["data", "train", "quantize", "pack"]


def test_two_models_of_one_stage() -> None:
    variants = [_spec(name, "train", stage="quantize") for name in "ab"]
    nodes = _build(_spec("data"), _spec("train", "data"), *variants)
    assert [node.inputs for node in nodes[2:]] == [{"model": "train"}, {"model": "train"}]


def test_submit_takes_one_evaluation_per_seed() -> None:
    nodes = _build(
        _spec("data"),
        _spec("train", "data"),
        _spec("one", "train", "data", stage="evaluate"),
        _spec("two", "data", "train", stage="evaluate"),
        _spec("submit", "one", "two"),
    )
    assert nodes[-1].inputs == {"evaluation": "one", "evaluation-2": "two"}


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([_spec("trian")], "stage trian"),
        ([_spec("x", stage="data-demo")], r"pipeline\.x: stage data-demo"),
        ([_spec("data"), _spec("train", "daat")], "step daat"),
        ([_spec("data", "data")], "wait for each other: data -> data"),
        ([_spec("a", "b", stage="pack"), _spec("b", "a", stage="pack")], "a -> b -> a"),
        ([_spec("data"), _spec("pack", "data")], r"pack cannot take data \(token_data\)"),
        ([_spec("data"), _spec("train", "data", "data")], "train cannot take data"),
        ([_spec("train")], "train needs a data"),
        ([_spec("data"), _spec("train", "data"), _spec("evaluate", "train")], "evaluate needs a data"),
    ],
)
def test_wrong_pipelines(specs: list[NodeSpec], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _build(*specs)


@pytest.mark.parametrize(
    ("start", "until", "given", "work"),
    [
        (None, "pack", "", "data train quantize pack"),
        ("quantize", "pack", "train", "quantize pack"),
        ("pack", "evaluate-pack", "data quantize", "pack evaluate-pack"),
        ("submit", None, "evaluate-pack", "submit"),
        ("evaluate-ttt", None, "data evaluate-pack ttt", "evaluate-ttt submit"),
        (None, "evaluate-train", "", "data train evaluate-train"),
    ],
)
def test_from_and_until(start: str | None, until: str | None, given: str, work: str) -> None:
    taken, done = select(_graph(), start=start, until=until)
    assert sorted(node.name for node in taken) == given.split()
    assert [node.name for node in done] == work.split()


def test_from_and_until_name_steps() -> None:
    for start, until, message in [("quantise", None, "quantise"), ("pack", "train", "lies before")]:
        with pytest.raises(ConfigError, match=message):
            select(_graph(), start=start, until=until)
