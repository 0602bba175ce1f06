"""The registry of stages: what each takes and writes, and which settings decide its result. Torch-free.

A new stage is a module with `run(job, out) -> Result` and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from golfpipe.adapt.methods import METHODS
from golfpipe.config.schema import Plain
from golfpipe.store.manifest import Kind

MODEL_KINDS: tuple[Kind, ...] = ("trained_model", "quantized_model", "packed_model", "adapted_model")

SCORED_KINDS: tuple[Kind, ...] = ("packed_model", "quantized_model", "trained_model", "adapted_model")
"""The same kinds for what scores a model or writes with it: of several in a run, the packed one is meant."""

SETTLED: dict[Kind, tuple[str, ...]] = {
    "weights": (),
    "token_data": ("data",),
    "trained_model": ("model", "optim", "train"),
    "quantized_model": ("quantize",),
    "packed_model": ("pack",),
    "adapted_model": ("ttt",),
    "evaluation": ("evaluate",),
}
"""Kind -> the sections that are settled once it is made. The kinds are in the order in which a chain makes them."""


def settled_by(kind: Kind) -> tuple[str, ...]:
    """Return the sections that an artifact of this kind is the result of, those of what it was made from included."""
    if kind not in SETTLED:
        return ()
    chain = list(SETTLED)
    return tuple(section for made in chain[: chain.index(kind) + 1] for section in SETTLED[made])


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A registered stage. `module` holds `run(job, out) -> Result` and is imported only when the stage runs."""

    name: str
    module: str
    version: int
    inputs: Mapping[str, tuple[Kind, ...]]
    """The kinds of artifact that each role takes."""
    needless: Callable[[Plain], tuple[str, ...]] = lambda config: ()
    """Roles that the stage does not read under the given plain configuration."""
    output: Kind | Callable[[Plain], Kind]
    """The kind that it writes, or the choice of it by the plain configuration. Where `evaluate` scores one part, an
    argument decides."""
    sections: tuple[str, ...]
    """The configuration sections (or `seed`) that decide the result, and so belong to the key."""
    neutral: tuple[str, ...] = ()
    """Dotted keys inside those sections that do not change the result."""
    unused: Callable[[Plain], tuple[str, ...]] = lambda config: ()
    """Further dotted keys that do not change the result under the given plain configuration."""
    checked: bool = False
    """True if the module has `check(job, processes)`, which raises what `run` would refuse before it begins."""
    precious: bool = False
    """True if the output cost hours: it is kept on interrupt, and never replaced without --force."""

    def writes(self, config: Plain) -> Kind:
        """Return the kind of artifact that the stage writes under the plain configuration."""
        return self.output(config) if callable(self.output) else self.output

    def heeds(self, key: str, config: Plain) -> bool:
        """Return True if the dotted key may decide the stage's result under the plain configuration."""
        ignored = (*self.neutral, *self.unused(config))
        return key.partition(".")[0] in self.sections and not any(
            key == name or key.startswith(f"{name}.") for name in ignored
        )

    def roles(self, config: Plain) -> tuple[str, ...]:
        """Return the roles that the stage reads under the plain configuration."""
        needless = self.needless(config)
        return tuple(role for role in self.inputs if role not in needless)


def _unused_by_train(config: Plain) -> tuple[str, ...]:
    """Return the start of the loops where no layer loops."""
    return ("train.loop_start",) if config.get("model", {}).get("loop", "none") == "none" else ()


def _needless_for_quantize(config: Plain) -> tuple[str, ...]:
    """Return the role `data` unless data is read for calibration: data that is not read must not change the key."""
    return () if config["quantize"]["calibration"] == "train" else ("data",)


def _unused_by_quantize(config: Plain) -> tuple[str, ...]:
    """Return the keys of `pack` that do not matter. A target is solved for on the packed size, which depends on the
    coder; target_bytes=limit also depends on the limit and the reserve. Without a target none of them matters."""
    quantize, pack = config.get("quantize", {}), config.get("pack", {})
    target = quantize.get("target_bytes", "none")
    if target == "limit":
        return ()
    heeded = {"coder"} if target != "none" or quantize.get("target_bits", 0) else set()
    return tuple(f"pack.{name}" for name in pack if name not in heeded)


def _written_by_ttt(config: Plain) -> Kind:
    """Return the kind for the method: one that scores first writes scores, another one a model.

    The configuration may be one of another golfpipe, whose method is not known here.
    """
    method = config.get("ttt", {}).get("method")
    return "evaluation" if method not in METHODS or METHODS.load(method).score_first else "adapted_model"


def _unused_by_ttt(config: Plain) -> tuple[str, ...]:
    """Return the sections of the other methods. A method that scores nothing leaves all of `evaluate` unused as well,
    except for the number of targets to be scored."""
    ttt, evaluate = config.get("ttt", {}), config.get("evaluate", {})
    others = [f"ttt.{name}" for name, value in ttt.items() if isinstance(value, dict) and name != ttt.get("method")]
    scores = _written_by_ttt(config) == "evaluation"
    return (*others, *(f"evaluate.{name}" for name in evaluate if not scores and name != "max_targets"))


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="data-demo",
            module="golfpipe.stages.data_demo",
            version=1,
            inputs={},
            output="token_data",
            sections=("data",),
            neutral=("data.source", "data.shuffle"),
        ),
        Stage(
            name="data-tokenize",
            module="golfpipe.stages.data_tokenize",
            version=2,
            inputs={},
            output="token_data",
            sections=("data",),
            neutral=("data.source",),
        ),
        Stage(
            name="data-add",
            module="golfpipe.stages.data_add",
            version=1,
            inputs={},
            output="token_data",
            sections=(),
        ),
        Stage(
            name="train",
            module="golfpipe.stages.train",
            version=1,
            inputs={"data": ("token_data",)},
            output="trained_model",
            sections=("seed", "model", "optim", "train"),
            # Answers to trouble (on_*, auto_batch) are in the log, not in the key: a run that was stopped leaves no
            # model, and may go on with another answer.
            neutral=(
                *("train.log_every", "train.checkpoint_every", "train.validate_every", "train.track"),
                *("train.forward_tokens", "train.auto_batch", "train.on_bad_step", "train.on_bad_shard"),
            ),
            unused=_unused_by_train,
            checked=True,
            precious=True,
        ),
        Stage(
            name="import",
            module="golfpipe.stages.import_checkpoint",
            version=1,
            inputs={},
            output="trained_model",
            sections=("model",),
        ),
        Stage(
            name="import-weights",
            module="golfpipe.stages.import_weights",
            version=1,
            inputs={},
            output="weights",
            sections=(),
        ),
        Stage(
            name="quantize",
            module="golfpipe.stages.quantize",
            version=2,
            inputs={"model": ("trained_model", "weights"), "data": ("token_data",)},
            needless=_needless_for_quantize,
            output="quantized_model",
            sections=("quantize", "pack"),
            neutral=("quantize.compile",),
            unused=_unused_by_quantize,
        ),
        Stage(
            name="pack",
            module="golfpipe.stages.pack",
            version=2,
            inputs={"model": ("quantized_model",)},
            output="packed_model",
            sections=("pack",),
        ),
        Stage(
            name="ttt",
            module="golfpipe.stages.ttt",
            version=1,
            inputs={"model": SCORED_KINDS, "data": ("token_data",)},
            output=_written_by_ttt,
            sections=("seed", "ttt", "evaluate"),
            neutral=("ttt.compile", "evaluate.batch_tokens", "evaluate.compile"),
            unused=_unused_by_ttt,
        ),
        Stage(
            name="evaluate",
            module="golfpipe.stages.evaluate",
            version=2,
            inputs={"model": SCORED_KINDS, "data": ("token_data",)},
            output="evaluation",
            sections=("evaluate",),
            neutral=("evaluate.batch_tokens", "evaluate.compile"),
        ),
        Stage(
            name="submit",
            module="golfpipe.stages.submit",
            version=1,
            inputs={"evaluation": ("evaluation",)},
            output="submission",
            sections=("submit",),
        ),
    )
}
NEUTRAL = tuple(dict.fromkeys(key for stage in STAGES.values() for key in stage.neutral))
"""Dotted keys of all stages that do not change a result."""


def without_keys(config: Plain, keys: Iterable[str]) -> Plain:
    """Return a plain configuration, which may lack sections, without these dotted keys."""
    kept = dict(config)
    for key in keys:
        section, _, name = key.partition(".")  # a name in a stranger's manifest may hold dots
        if isinstance(kept.get(section), dict):
            kept[section] = {k: v for k, v in kept[section].items() if k != name}
    return kept


def numbered_role(role: str, number: int) -> str:
    """Return the role of the input of that number, from 1, where a stage takes several: role, role-2, role-3."""
    return role if number == 1 else f"{role}-{number}"
