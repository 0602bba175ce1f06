"""Fixtures that several packages' tests share."""

from __future__ import annotations

from dataclasses import replace

import fake_stages
import pytest

from golfpipe.stages.registry import STAGES


@pytest.fixture
def faked_stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every stage is a fake one; returns the list of those that ran."""
    for name, stage in STAGES.items():
        monkeypatch.setitem(STAGES, name, replace(stage, module="fake_stages"))
    fake_stages.CALLS.clear()
    return fake_stages.CALLS
