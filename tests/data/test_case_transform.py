"""Both case transforms give every text back; what is no text of theirs is refused."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golfpipe.data.case_transform import CaseDecoder, CaseTransform
from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import CASE_MARKERS

CAPS, BEFORE_SPACE = (CaseTransform(form) for form in ("caps", "caps_before_space"))
FORMS = [CAPS, BEFORE_SPACE]
ALL_MARKERS = "".join(CASE_MARKERS.values())
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    alphabet=f"aAbBzZ  .\n019\u00e4\u00c4\u00df\u0130\u2581\uff21{ALL_MARKERS}", max_size=40
)


def readable(text: str) -> str:
    """Markers as letters behind a tilde."""
    return re.sub(f"[{ALL_MARKERS}]", lambda marker: "~" + "TANE"[ALL_MARKERS.index(marker[0]) % 4], text)


@pytest.mark.parametrize(
    ("text", "caps", "before_space"),
    [
        ("The NASA iPhone A", "~Tthe ~Anasa i~Nphone ~Ta", "~Tthe~A nasa i~Nphone~T a"),
        ("two  Words\nOne", "two  ~Twords\n~Tone", "two ~T words\n~Tone"),
        ("USA3x McDonald AbC", "~Ausa3x ~Tmc~Ndonald ~Tab~Nc", "~Ausa3x~T mc~Ndonald~T ab~Nc"),
        ("\u00c4rger \u00c9Tat", "\u00c4rger \u00c9~Ttat", "\u00c4rger \u00c9~Ttat"),
        ("", "", ""),
    ],
)
def test_the_forms_by_example(text: str, caps: str, before_space: str) -> None:
    assert [readable(form.encode(text)) for form in FORMS] == [caps, before_space]


def test_a_marker_of_the_text_is_escaped() -> None:
    assert CAPS.encode("\ue001B\ue004") == "\ue004\ue001\ue001b\ue004\ue004"
    assert BEFORE_SPACE.encode("\ue001 \ue011") == "\ue001 \ue014\ue011"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.form)
@settings(deadline=None, max_examples=400)
@given(texts)
@example("A B CC dD\ue011 E\ue014\ue014 F")
def test_decoding_is_the_inverse(form: CaseTransform, text: str) -> None:
    transformed = form.encode(text)
    assert not re.search("[A-Z]", transformed)
    assert form.decode(transformed) == text


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.form)
@settings(deadline=None)
@given(texts, st.lists(st.integers(0, 200), max_size=8))
def test_parts_of_any_size_decode_like_the_whole(form: CaseTransform, text: str, cuts: list[int]) -> None:
    transformed = form.encode(text)
    places = [0, *sorted(min(cut, len(transformed)) for cut in cuts), len(transformed)]
    decoder = CaseDecoder(form)
    parts = [decoder.add(transformed[start:end]) for start, end in pairwise(places)]
    decoder.end()
    assert "".join(parts) == text and decoder.misplaced is None


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.form)
@settings(deadline=None)
@given(st.text(alphabet=f"aB 1{ALL_MARKERS}", max_size=12))
def test_any_text_is_decoded_or_refused(form: CaseTransform, text: str) -> None:
    """What a model writes may be no text of the form: then the markers at fault alone are missing."""
    try:
        decoded = form.decode(text)
    except DataError as error:
        assert f"of transform {form.form}" in error.message
        decoder = CaseDecoder(form)
        decoded = decoder.add(text)
    markers = CASE_MARKERS[form.form]
    assert [c.lower() for c in decoded if c not in markers] == [c.lower() for c in text if c not in markers]


T, A, N, E = CASE_MARKERS["caps"]
T2, A2, N2, E2 = CASE_MARKERS["caps_before_space"]


@pytest.mark.parametrize("text", [f"a{T}b", f"{T}1", f"{T} a", f"a{N}{N}b", f"{N}b", f"{T}{T}a", f"a {T}", f"{E}a", E])
def test_markers_in_illegal_places_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"marker U\+E00\d of transform caps stands where it marks nothing"):
        CAPS.decode(text)


@pytest.mark.parametrize("text", [f"a{T2}b", f"{T2}  b", f"a{T2} 1", f"a{N2} b", f"{A2} {A2} b", f"a{T2} ", f"{E2}{T}"])
def test_so_they_are_in_the_other_form(text: str) -> None:
    with pytest.raises(DataError, match=r"U\+E01\d of transform caps_before_space"):
        BEFORE_SPACE.decode(text)


def test_long_runs_take_linear_time() -> None:
    text = "a" * 200_000 + "B"
    assert CAPS.decode(CAPS.encode(text)) == text
