"""Every setting has a sentence, docs/settings.md is what the code says, and a written pipeline file changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from small_chain import ROOT

from golfpipe.cli.app import main
from golfpipe.config.field_docs import rule_of, sentence, values_of
from golfpipe.config.resolve import load_stages, packaged_stages_file, parse_override, resolve_config
from golfpipe.config.schema import all_keys
from golfpipe.errors import ConfigError
from golfpipe.review.setting_docs import explain, settings_page, stale_words


@pytest.mark.parametrize("key", all_keys())
def test_every_setting_has_a_sentence_and_values(key: str) -> None:
    assert re.match(r"[A-Za-z0-9].*\.$", sentence(key)), f"write a sentence below the field of {key}"
    assert values_of(key)


def test_the_page_of_settings_is_what_the_code_says() -> None:
    page = settings_page(load_stages(packaged_stages_file()))
    assert (ROOT / "docs" / "settings.md").read_text() == page, "golfpipe config docs --markdown > docs/settings.md"


def test_rules_are_those_of_the_checks() -> None:
    assert rule_of("train.qat_start") == "lie in 0..1"
    assert rule_of("ttt.score_first_lora.rank") == "be at least 1"
    assert rule_of("model.num_layers") == "be at least 1 and be at most 1024"
    assert rule_of("submit.author") == ""


def test_what_a_setting_makes_stale_is_what_the_registry_says() -> None:
    stages = load_stages(packaged_stages_file())
    words = {docs.key: stale_words(docs) for docs in explain("", stages)}
    assert words["quantize.mlp.bits"] == "quantize"
    assert words["train.log_every"] == words["data.source"] == "nothing"
    assert words["pack.coder"] == "pack, quantize (where other settings use it)"
    assert words["seed"] == "train, ttt"
    (docs,) = explain("optim.matrix_lr", stages)
    assert ("demo", 0.03) in docs.presets and docs.used_by == ("train",) and docs.default == 0.02


def test_a_key_is_found_by_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_override("mlp.bits=4")
    assert caught.value.hint == "did you mean quantize.mlp.bits or train.qat.mlp.bits?"
    with pytest.raises(ConfigError) as caught:
        parse_override("max_steps=4")
    assert caught.value.hint == "did you mean train.max_steps?"
    assert parse_override("quantize.mlp={bits: 5}") == {"quantize": {"mlp": {"bits": 5}}}
    assert main(["config", "docs", "prune_fraction"]) == 2
    assert "did you mean quantize.prune_fraction?" in capsys.readouterr().err


def test_the_command_explains_one_setting_a_section_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "docs", "train.max_steps"]) == 0
    shown = capsys.readouterr().out
    assert "rule         must be at least 1" in shown and "makes stale  train" in shown and "demo (500)" in shown
    assert main(["config", "docs"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{key} = " in shown for key in all_keys())
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["config", "docs", "optim", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert {docs["key"].partition(".")[0] for docs in settings} == {"optim"}


def test_a_written_file_changes_nothing_until_it_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init", "-q"]) == 0
    packaged, written = load_stages(packaged_stages_file()), load_stages()
    assert written.path == Path("stages.yaml")
    assert (written.defaults, written.presets, written.pipeline) == ({}, packaged.presets, packaged.pipeline)
    text = Path("stages.yaml").read_text()
    assert main(["config", "init"]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    # without the first '# ' of each line it holds golfpipe's own defaults
    start, end = text.index("defaults:\n"), text.index("\n# Each step")
    Path("stages.yaml").write_text(text[:start] + re.sub(r"(?m)^  # ", "  ", text[start:end]) + text[end:])
    everything = resolve_config(load_stages())
    assert everything.config == resolve_config(packaged).config
    assert set(everything.origin.values()) == {"stages.yaml"}
    assert main(["config", "init", "--force", "-q"]) == 0
    assert Path("stages.yaml").read_text() == text
    assert main(["config", "init", "-o", str(tmp_path), "--force"]) == 2
    assert main(["config", "init", "-o", ""]) == 2
