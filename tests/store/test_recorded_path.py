"""Any name that a disk can hold survives JSON that every reader takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from golfpipe.store.recorded_path import recorded_path, well_formed_json

_ANY = TypeAdapter(dict[str, str])


@given(st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name))
def test_every_name_comes_back(name: bytes) -> None:
    path = Path(os.fsdecode(name))
    text = well_formed_json({"path": str(path)})
    assert text.encode("utf-8")
    kept = _ANY.validate_json(text, strict=True)["path"]
    if not any("\uef80" <= character <= "\uefff" for character in str(path)):
        assert recorded_path(kept) == path
    assert well_formed_json({"path": kept}) == text


def test_other_json_is_what_it_was() -> None:
    value = {"a": "Gr\u00fc\u00dfe \u4e2d \U0001f600", "b": [1, 2.5, None, True], "c": "\\udc80"}
    assert json.loads(well_formed_json(value)) == value
    assert recorded_path("\ud800") == Path("\ud800") and recorded_path("a\0b") == Path("a\0b")
