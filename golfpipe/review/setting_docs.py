"""Every setting explained: meaning, values, default, and which stages it makes stale."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golfpipe.choices import unknown_name
from golfpipe.config.field_docs import rule_of, sentence, values_of
from golfpipe.config.resolve import StagesFile, flatten
from golfpipe.config.schema import PipelineConfig, all_keys, plain_config, setting_value
from golfpipe.errors import UsageError
from golfpipe.jobs.registry import STAGES
from golfpipe.store.files import write_file

WIDTH = 100
"""Columns of the sentences in a written pipeline file."""
_DEFAULTS_LINE = "\ndefaults: {}\n"


@dataclass(frozen=True, kw_only=True)
class SettingDocs:
    """One setting, in words."""

    key: str
    meaning: str
    """What it is, with its unit."""
    values: str
    """The kind of value, or the words to choose from."""
    rule: str
    """The rule that a value must keep; "" without one."""
    default: Any
    makes_stale: tuple[str, ...]
    """The stages whose result it decides; all that read their results follow."""
    at_times: tuple[str, ...]
    """Those of them that heed it only where other settings say so, and not with the defaults."""
    used_by: tuple[str, ...]
    """The stages that read its section, those included whose result it does not change."""
    presets: tuple[tuple[str, Any], ...]
    """The presets that set it, and their values."""


def explain(key: str, stages: StagesFile) -> list[SettingDocs]:
    """Return the settings that `key` names: one, all of a section, or all where it is empty. Raises ConfigError."""
    keys = all_keys()
    found = [name for name in keys if not key or name == key or name.startswith(f"{key}.")]
    if not found:
        raise unknown_name(key, "key", keys)
    return [_docs(name, stages) for name in found]


def _docs(key: str, stages: StagesFile) -> SettingDocs:
    plain = plain_config(PipelineConfig())
    readers = [stage for stage in STAGES.values() if key.partition(".")[0] in stage.sections]
    deciding = [stage for stage in readers if key not in stage.neutral]
    return SettingDocs(
        key=key,
        meaning=sentence(key),
        values=values_of(key),
        rule=rule_of(key),
        default=setting_value(plain, key),
        makes_stale=tuple(stage.name for stage in deciding),
        at_times=tuple(stage.name for stage in deciding if not stage.heeds(key, plain)),
        used_by=tuple(stage.name for stage in readers),
        presets=tuple(
            (preset.name, flatten(preset.settings)[key])
            for preset in stages.presets.values()
            if key in flatten(preset.settings)
        ),
    )


def stale_words(docs: SettingDocs) -> str:
    """Say which stages the setting makes stale."""
    always = [name for name in docs.makes_stale if name not in docs.at_times]
    words = [*always, *(f"{name} (where other settings use it)" for name in docs.at_times)]
    return ", ".join(words) if words else "nothing"


def settings_page(stages: StagesFile) -> str:
    """Return the page docs/settings.md: all settings in tables, one for each section."""
    parts = [
        "# Settings",
        "Written by `golfpipe config docs --markdown`; a test holds it to the code. Give a setting with\n"
        "`--set KEY=VALUE`, in a preset, under `defaults` of stages.yaml (`golfpipe config init` writes one with\n"
        'every key), or in Python as `settings={"KEY": VALUE}`. A setting makes the named stages stale, and with\n'
        "them all that read their results.",
    ]
    section = None
    for docs in explain("", stages):
        if docs.key.partition(".")[0] != section:
            section = docs.key.partition(".")[0]
            parts.append(f"## {section}\n\n| key | default | values | meaning | makes stale |\n|---|---|---|---|---|")
        values = f"{docs.values}; must {docs.rule}" if docs.rule else docs.values
        cells = (f"`{docs.key}`", f"`{short_default(docs)}`", values, docs.meaning, stale_words(docs))
        parts[-1] += "\n| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"
    return "\n\n".join(parts) + "\n"


def short_default(docs: SettingDocs) -> str:
    """Return the default as YAML has it; a list of mappings, as of rules, by its length."""
    if isinstance(docs.default, list) and docs.default and isinstance(docs.default[0], dict):
        return f"{len(docs.default)} rules"
    return docs.default if isinstance(docs.default, str) and docs.default else json.dumps(docs.default)


def write_stages_file(out: Path, stages: StagesFile, *, force: bool) -> None:
    """Write the pipeline file `stages` to `out`, with every setting as a comment that says what it is.

    Raises UsageError where `out` exists, unless `force`.
    """
    if out.exists() and (out.is_dir() or not force):
        hint = "give a file's name with -o" if out.is_dir() else "--force replaces it"
        raise UsageError(f"{out}: exists already", hint=hint, path=str(out))
    text = stages.path.read_text(encoding="utf-8")
    if _DEFAULTS_LINE not in text:
        raise UsageError(f"{stages.path}: has defaults of its own", hint="copy it with cp", path=str(stages.path))
    note = "# Take away the first '# ' of a line, and of the line of its section, to set a value for all presets.\n"
    write_file(out, text.replace(_DEFAULTS_LINE, f"\n{note}defaults:\n{_commented(stages)}").encode())


def _commented(stages: StagesFile) -> str:
    lines: list[str] = []
    open_sections: list[str] = []
    for docs in explain("", stages):
        *sections, name = docs.key.split(".")
        for depth, section in enumerate(sections):
            if open_sections[: depth + 1] != sections[: depth + 1]:
                lines.append(f"  # {'  ' * depth}{section}:")
                open_sections = sections[: depth + 1]
        open_sections = sections
        indent = "  " * len(sections)
        words = f"{docs.meaning} ({docs.values}{'; must ' + docs.rule if docs.rule else ''})"
        lines += (f"  # {indent}# {line}" for line in textwrap.wrap(words, WIDTH))
        lines.append(f"  # {indent}{name}: {json.dumps(docs.default)}")
    return "\n".join(lines) + "\n"
