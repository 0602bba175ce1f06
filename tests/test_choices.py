"""Tables of choices: what they load, and what they say to a name that they do not have."""

import sys

import pytest

from golfpipe.choices import Table
from golfpipe.errors import ConfigError

TABLE = Table("instrument", "dumps", {"json": "json", "no such": "golfpipe.no_such_module"})


def test_a_name_leads_to_its_module_and_object() -> None:
    assert TABLE.names == ("json", "no such") and "json" in TABLE and "jso" not in TABLE and [] not in TABLE
    assert TABLE.module("json") == "json"
    assert TABLE.load("json")([1]) == "[1]"


def test_nothing_is_imported_before_it_is_chosen() -> None:
    assert TABLE.module("no such") not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        TABLE.load("no such")


@pytest.mark.parametrize(("name", "hint"), [("jsn", "did you mean json?"), ("", "valid: json, no such")])
def test_an_unknown_name_is_an_error_that_names_the_nearest(name: str, hint: str) -> None:
    for ask in (TABLE.module, TABLE.load, lambda name: TABLE.check("orchestra.first", name)):
        with pytest.raises(ConfigError, match=f"unknown instrument {name}") as caught:
            ask(name)
        assert caught.value.hint == hint
    assert caught.value.message.startswith("orchestra.first: ")
