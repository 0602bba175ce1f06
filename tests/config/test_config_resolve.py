"""Layers, origins, and errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.config.override import is_text, override_text, parse_override, parse_value
from golfpipe.config.resolve import changed_keys, find_stages_file, flatten, load_stages, resolve_config
from golfpipe.config.schema import PipelineConfig, all_keys, build_config, plain_config
from golfpipe.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
STAGES = load_stages(ROOT / "stages.yaml")


@pytest.fixture
def stages_file(tmp_path: Path) -> Path:
    path = tmp_path / "stages.yaml"
    path.write_text(
        "defaults: {train: {max_steps: 2, log_every: 2}, quantize: {mlp: {bits: 5}}}\n"
        "presets:\n"
        "  small: {about: a test, train: {max_steps: 3, ema_decay: 5e-1}}\n"
        "  other: {model: {kv_sharing: {last: 4}}}\n"
        "default_preset: small\n"
    )
    return path


def test_later_layers_win_and_say_so(stages_file: Path) -> None:
    stages = load_stages(stages_file)
    resolved = resolve_config(
        stages,
        preset="small",
        inherited={"train": {"log_every": 7, "validate_every": 7}},
        overrides=["train.max_steps=4", "train.max_steps=5", "quantize.mlp.bits=3"],
        seed=9,
    )
    config, origin = resolved.config, resolved.origin
    assert (config.train.max_steps, origin["train.max_steps"]) == (5, "--set")
    assert (config.train.ema_decay, origin["train.ema_decay"]) == (0.5, "preset small")
    assert (config.train.log_every, origin["train.log_every"]) == (7, "input")
    assert (config.quantize.mlp.bits, origin["quantize.mlp.bits"]) == (3, "--set")
    assert (config.seed, origin["seed"]) == (9, "--seed")
    assert origin["train.batch_tokens"] == "default"
    assert resolve_config(stages).origin["quantize.mlp.bits"] == "stages.yaml"


def test_inheriting_a_whole_configuration_leaves_nothing_of_the_file(stages_file: Path) -> None:
    before = plain_config(resolve_config(STAGES, preset="16l").config)
    assert plain_config(resolve_config(load_stages(stages_file), inherited=before).config) == before


def test_origins_cover_every_key() -> None:
    assert set(resolve_config(STAGES, preset="16l").origin) == set(all_keys())


def test_decided_sections_are_left_alone_by_presets_and_defended_against_overrides(stages_file: Path) -> None:
    stages = load_stages(stages_file)
    before = plain_config(resolve_config(stages, overrides=["train.max_steps=8"]).config)
    resolved = resolve_config(stages, preset="small", inherited=before, decided=["train"])
    assert resolved.config.train.max_steps == 8
    resolve_config(stages, inherited=before, decided=["train"], overrides=["train.max_steps=8"])
    with pytest.raises(ConfigError, match=r"train\.max_steps: 8 -> 9: decided by an earlier step"):
        resolve_config(stages, inherited=before, decided=["train"], overrides=["train.max_steps=9"])


def test_a_wrong_value_is_blamed_on_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "stages.yaml"
    path.write_text("presets: {a: {train: {max_steps: 3, compile: maybe}}, b: {train: {max_steps: 3}}}\n")
    stages = load_stages(path)
    with pytest.raises(ConfigError) as caught:
        resolve_config(stages, preset="a")
    assert caught.value.message.endswith(f"found 'maybe' (in {path})")
    with pytest.raises(ConfigError) as caught:
        resolve_config(stages, preset="b", overrides=["train.compile=maybe"])
    assert caught.value.message.endswith("found 'maybe'")
    # A value may break a rule about a setting that stands elsewhere, or that has no key of its own.
    for override in ("evaluate.stride=9999", "seed=-1", "model.num_heads=3", 'quantize.rules=[{match: "*", to: mud}]'):
        with pytest.raises(ConfigError) as caught:
            resolve_config(STAGES, preset="16l", overrides=[override])
        assert "stages.yaml" not in caught.value.message
    with pytest.raises(ConfigError, match=r"compile.*\(in .*stages\.yaml\)"):
        resolve_config(stages, preset="a", overrides=["train.max_steps=5"])


@pytest.mark.parametrize("name", list(STAGES.presets))
def test_every_preset_builds(name: str) -> None:
    resolved = resolve_config(STAGES, preset=name)
    assert build_config(plain_config(resolved.config)) == resolved.config


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("train.max_step=3", r"unknown key train\.max_step", "did you mean train.max_steps?"),
        ("trian.max_steps=3", "unknown key trian", "did you mean train?"),
        ("train.max_steps=many", r"train\.max_steps: .*valid integer", None),
        ("train.max_steps=1.5", r"train\.max_steps", None),
        ("train.max_steps=true", r"train\.max_steps", None),
        ("train.max_steps=", r"train\.max_steps", None),
        ("train.ema_decay=.nan", "finite", None),
        ("train.ema_decay=1e999", "finite", None),
        ("train.max_steps=0", r"train\.max_steps=0 must be at least 1", None),
        ("evaluate.stride=9999", r"evaluate\.stride=9999 must lie in", None),
        ("quantize.mlp.bits=9", r"quantize\.mlp\.bits", None),
        ("quantize.mlp=4", r"quantize\.mlp: expected a mapping", None),
        ("train=3", "train: expected a mapping", None),
        ("model.kv_sharing={last: 99}", r"kv_sharing\.last=99", None),
        ("model.kv_sharing={first: 1}", r"model\.kv_sharing", None),
        ("submit.track=10min", r"submit\.track", None),
        ("seed=0x" + "f" * 5000, "seed|digits", None),
        ("train.max_steps", "expected key=value", None),
        ("=3", "expected key=value", None),
        ("train..max_steps=3", "expected key=value", None),
        ("model.kv_sharing={a: &x 1, b: *x}", "aliases", None),
    ],
)
def test_wrong_overrides(override: str, message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve_config(STAGES, overrides=[override])
    assert hint is None or caught.value.hint == hint
    assert caught.value.exit_code == 2


def test_overrides_take_yaml() -> None:
    overrides = ["optim.matrix_lr=5e-4", "submit.date=2026-11-24", "train.compile=on", "model.kv_sharing={last: 2}"]
    config = resolve_config(STAGES, overrides=overrides).config
    assert config.optim.matrix_lr == 0.0005
    assert config.submit.date == "2026-11-24"
    assert config.train.compile == "on"
    assert config.model.kv_source[-1] == 13
    assert parse_override("seed=1") == {"seed": 1}


TEXTS = ["builds on PR #951", "@me", "[draft] x", "a: b", "2026", "1.10", "", " x ", "null", "true", "'x'", "a=b", "*x",
         "1e3", "{a", "%", "- x", "line\nbreak", "#"]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_taken_literally(text: str) -> None:
    for key in ("submit.blurb", "submit.author", "submit.name", "data.source"):
        config = plain_config(resolve_config(STAGES, overrides=[f"{key}={text}"]).config)
        section, name = key.split(".")
        assert config[section][name] == text


def test_the_type_of_a_setting_decides() -> None:
    values = {
        "train.max_steps": ("1e3", 1000), "train.batch_tokens": ("1_024", 1024), "model.mlp_ratio": ("3", 3.0),
        "quantize.target_bytes": ("1e6", 1_000_000.0), "ttt.epochs": ("2e0", 2), "ttt.lr": ("null", None),
        "submit.verify": ("TRUE", True), "evaluate.precision": ("bf16", "bf16"), "seed": ("1e9", 10**9),
        "quantize.clip_grid": ("[0.9, 1]", [0.9, 1]), "submit.launchers": ("[modal]", ["modal"]),
    }  # fmt: skip
    for key, (text, value) in values.items():
        found = parse_value(key, text)
        assert (found == value and type(found) is type(value)) or isinstance(value, float), key
    with pytest.raises(ConfigError, match=r"train\.max_steps: .*1\.5"):
        resolve_config(STAGES, overrides=["train.max_steps=15e-1"])


def test_every_setting_reads_its_own_text_back() -> None:
    for key, value in flatten(plain_config(PipelineConfig())).items():
        assert parse_value(key, override_text(key, value)) == value, key
        assert is_text(key) is isinstance(value, str) or value in ("none", "all", "wide")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a mapping"),
        ("preset: {}", "unknown section of"),
        ("defaults: {trian: {}}", "unknown key trian"),
        ("presets: {a: {train: {steps: 1}}}", r"unknown key train\.steps"),
        ("presets: {a: 3}", "expected a mapping"),
        ("pipeline: {../x: {stage: data}}", "letters, digits"),
        ("pipeline: {.x: {stage: data}}", "letters, digits"),
        ("pipeline: {'': {stage: data}}", "letters, digits"),
        ("pipeline: {train: {input: [data]}}", "unknown key in"),
        ("pipeline: {train: {inputs: data}}", "must be a list"),
        ("default_preset: nowhere\npresets: {somewhere: {}}", "unknown preset"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "stages.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_stages(path)


def test_which_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_stages_file(None).is_absolute()  # the one that comes with golfpipe
    (tmp_path / "stages.yaml").write_text("{}")
    assert find_stages_file(None) == Path("stages.yaml")
    assert find_stages_file(Path("x.yaml")) == Path("x.yaml")


def test_changed_keys() -> None:
    assert changed_keys({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2, "d": 4}) == ["a.b: 1 -> 3", "d: (unset) -> 4"]


_PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from([key.split(".") for key in all_keys()])


@given(tree=_PLAIN)
def test_any_tree_builds_or_is_a_config_error(tree: Any) -> None:
    _builds_or_says_why(tree)


@given(path=_KEYS, depth=st.integers(1, 3), value=_PLAIN)
def test_any_value_at_a_real_key_builds_or_is_a_config_error(path: list[str], depth: int, value: Any) -> None:
    tree: Any = value
    for part in reversed(path[:depth]):
        tree = {part: tree}
    _builds_or_says_why(tree)


@given(text=st.text(max_size=30), key=st.sampled_from(all_keys()))
def test_any_override_resolves_or_is_a_config_error(text: str, key: str) -> None:
    for override in (text, f"{key}={text}"):
        try:
            resolve_config(STAGES, overrides=[override])
        except ConfigError as error:
            assert error.message


def _builds_or_says_why(tree: Any) -> None:
    try:
        assert isinstance(build_config(tree), PipelineConfig)
    except ConfigError as error:
        assert error.message


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"model": {"loop": {"first": 1, "passes": 2}}}, "model.loop.last: Field required"),
        ({"model": {"kv_sharing": {"last": "x"}}}, "model.kv_sharing.last: Input should be a valid integer"),
        ({"model": {"parallel_residual": "some"}}, "model.parallel_residual: Input should be 'none' or 'all'"),
    ],
)
def test_the_error_of_a_choice_is_of_the_form_that_was_meant(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_config(raw)
