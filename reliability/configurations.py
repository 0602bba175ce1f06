"""Random stages.yaml files and overrides through `config show`: exit 0 or 2, never a traceback.

python -m reliability configurations --count 10000 --seed 0
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import yaml

from golfpipe.cli.app import main
from golfpipe.cli.failure import Mode, _as_golfpipe_error
from golfpipe.config.resolve import flatten, load_stages, resolve_config
from golfpipe.config.schema import PipelineConfig, all_keys, plain_config
from golfpipe.pipeline.graph import build_graph
from reliability.confined import SECONDS, Peak, run_confined
from reliability.specimens import working_in

COMMAND_EVERY = 20
"""Of that many cases one goes through the command line."""
_VALUES = (
    "0", "1", "-1", "2", "3.5", "-0.0", "1e3", "5e-4", "1e999", ".nan", ".inf", "-.inf", "true", "false", "on", "off",
    "yes", "~", "null", "''", "x", "none", "all", "{last: 1}", "{last: -1}", "{last: x}", "{last: 1, first: 2}", "[]",
    "[1, 2]", "{}", "[[[]]]", "{a: {b: c}}", "010", "0x10", "0o17", "1_000", "9" * 30, "9" * 5000, "2026-11-24",
    "2026-11-24 10:00:00", "!!int 3", "!!python/name:os.system", "&a 1", "*a", "<<: 1", "'\\u0000'", '"\\u0000"',
    "\u00e9", "\U0001f600", "a: b: c", "[", "]", "{", "- 1", "|", ">", "? x", "%", "@", "`", "range", "nibble",
    "trellis", "gptq", "rate", "sliding", "cosine", "score_first_lora", "bf16", "fp16", "auto", "16l", "demo", "65536",
    "65537", "1025", "1000000000000",
)  # fmt: skip
_KEYS = (
    "",
    " ",
    ".",
    "..",
    "a",
    "a.b.c.d",
    "train",
    "train.",
    ".train",
    "model.model",
    "\u00e9",
    "train.max_steps.x",
    "x" * 300,
)
_DEFAULTS = flatten(plain_config(PipelineConfig()))
_SECTIONS = ("defaults", "presets", "pipeline", "default_preset")


def run(count: int, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, working_in(Path(name)):
        keys = all_keys()
        outcomes: Counter[str] = Counter()
        failures: list[str] = []
        slowest, peak = 0.0, Peak()

        def case(index: int) -> tuple[str, str | None]:
            return _case(random.Random(f"{seed}:{index}"), keys, index % COMMAND_EVERY == 0)

        for done in run_confined(case, count, peak):
            outcome, failure = done.value or ("died", done.died)
            outcomes[outcome] += 1
            slowest = max(slowest, done.seconds)
            if done.seconds > SECONDS:
                failure = failure or f"took {done.seconds:.1f} s"
            if failure:
                failures.append(f"{done.index}: {failure}")
    return {
        "outcomes": dict(outcomes),
        "failures": failures[:20],
        "failure_count": len(failures),
        "slowest_seconds": round(slowest, 3),
        "peak_bytes_over_baseline": peak.bytes,
    }


def _case(rng: random.Random, keys: list[str], through_command: bool) -> tuple[str, str | None]:
    """(outcome, what is wrong with it or None)."""
    path = Path("stages.yaml")
    path.write_text(_file(rng, keys), encoding="utf-8")
    overrides = [_override(rng, keys) for _ in range(rng.choice((0, 1, 1, 2, 4)))]
    preset = rng.choice((None, None, "p", "q", "x"))
    words = ["config", "show", *(word for text in overrides for word in ("--set", text))]
    words += ["--preset", preset] if preset else []
    if through_command:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(words)
        bad = code not in (0, 2) or "this is a bug" in said.getvalue()
        return f"exit {code}", f"{words}: exit {code}: {said.getvalue()[-400:]}" if bad else None
    try:
        stages = load_stages(path)
        resolved = resolve_config(stages, preset=preset, overrides=overrides)
        build_graph(stages.pipeline, resolved.config)
    except Exception as error:
        known = _as_golfpipe_error(error, Mode.of(["audit"]))
        code = known.exit_code if known is not None else 1
        return f"exit {code}", None if code == 2 else f"{words}: {type(error).__name__}: {str(error)[:300]}"
    return "exit 0", None


def _file(rng: random.Random, keys: list[str]) -> str:
    """stages.yaml: mostly well formed with odd settings, sometimes text with holes."""
    if rng.random() < 0.1:
        return "\n".join(
            rng.choice((f"{_key(rng, keys)}: {_value(rng)}", _value(rng), " " * rng.randrange(5) + "x:"))
            for _ in range(rng.randrange(12))
        )
    raw: dict[str, Any] = {"defaults": {}, "presets": {"p": {}, "q": {"about": "x"}}, "pipeline": {}}
    for tree in (raw["defaults"], raw["presets"]["p"], raw["presets"]["q"]):
        for _ in range(rng.randrange(3)):
            key = rng.choice(keys)
            if rng.random() < 0.75:
                _set(tree, key, _DEFAULTS.get(key))
            else:
                _set(tree, _key(rng, keys), _plain(rng))
    for _ in range(rng.choice((0, 0, 1, 3))):
        name = rng.choice(("data", "train", "quantize", "a", "../x", "", "pack"))
        inputs = rng.choice(([], ["data"], ["train", "data"], [name], "data", None, [1]))
        raw["pipeline"][name] = rng.choice(
            ({}, {"inputs": inputs}, {"stage": rng.choice(("train", "x", "", 3)), "inputs": inputs}, None, "x")
        )
    if rng.random() < 0.2:
        raw[rng.choice(_SECTIONS)] = _plain(rng)
    if rng.random() < 0.05:
        raw[_key(rng, keys)] = _plain(rng)
    return str(yaml.safe_dump(raw, sort_keys=False))


def _override(rng: random.Random, keys: list[str]) -> str:
    """Mostly one that says what is so anyway."""
    if rng.random() < 0.6:
        key = rng.choice(keys)
        return f"{key}={json.dumps(_DEFAULTS[key])}"
    return f"{_key(rng, keys)}={_value(rng)}"


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            return
        tree = below
    tree[name] = value


def _key(rng: random.Random, keys: list[str]) -> str:
    if rng.random() < 0.85:
        return rng.choice(keys)
    return rng.choice((*_KEYS, rng.choice(keys)[:-1], rng.choice(keys).upper()))


def _value(rng: random.Random) -> str:
    return rng.choice(_VALUES)


def _plain(rng: random.Random) -> Any:
    return rng.choice(
        (None, True, 0, 1, -1, 2, 4, 16, 64, 0.5, 1e-3, 1e308, 10**40, "", "x", "none", "all", [], [1], ["x"], {},
         {"last": 2},
         {"last": "x"}, {"a": {"b": 1}}, float("nan"), float("inf"), "auto", "range", "trellis", "bf16", [[[]]])
    )  # fmt: skip
