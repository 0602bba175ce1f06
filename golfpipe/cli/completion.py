"""Completion of option values in the shell (`golfpipe --install-completion`)."""

from __future__ import annotations


def complete_preset(incomplete: str) -> list[tuple[str, str]]:
    """Presets of ./stages.yaml, else golfpipe's own, with what they are for."""
    from golfpipe.pipeline.completion import preset_names

    return [(name, about) for name, about in preset_names() if name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """KEY=, and VALUE where it is one of a few words."""
    from golfpipe.pipeline.completion import setting_words

    return setting_words(incomplete)
