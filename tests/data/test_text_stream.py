"""Streamed text is the decoded text, and never part of a character."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from golfpipe.data.text_stream import DOCUMENT_BREAK, TextStream
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.scoring.byte_table import CASE_MARKERS

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(deadline=None, max_examples=60)
@given(texts)
@example("a  b \U0001f469\u200d\U0001f469 \u4f60\u597d")
@example(" \u2581x")
@example("  def f(x):\n\treturn  x \n\n")
@example("A NASA iPhone \ue011 B\u00c4")
def test_the_pieces_join_to_the_decoded_text(
    tokenizer: Tokenizer, keeping_tokenizer: Tokenizer, cased_tokenizer: Tokenizer, text: str
) -> None:
    for model in (tokenizer, keeping_tokenizer, cased_tokenizer):
        ids = model.encode([text])[0]
        stream = TextStream(model)
        pieces = [stream.add(int(token)) for token in ids]
        assert "".join(pieces) + stream.end() == model.decode(ids)
        assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in model.decode(ids)


def test_what_a_marker_waits_for_comes_with_it(cased_tokenizer: Tokenizer) -> None:
    model = cased_tokenizer
    first = model.pieces.index(CASE_MARKERS["caps_before_space"][0])
    stream, ids = TextStream(model), model.encode(["the The"])[0].tolist()
    parts = {token: stream.add(token) for token in ids}
    assert parts[first] == "" and "".join(parts.values()) == "the The"
    assert [stream.add(first), stream.add(first), stream.add(ids[1])][:2] == ["", ""]  # a model may write anything
    stream.add(model.bos_id)
    assert stream.add(ids[1]) == model.pieces[ids[1]].lower()


def _bytes(tokenizer: Tokenizer, *values: int) -> list[int]:
    return [tokenizer.pieces.index(f"<0x{value:02X}>") for value in values]


def test_a_character_of_bytes_comes_whole(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    assert [stream.add(token) for token in _bytes(tokenizer, 0xF0, 0x9F, 0x98, 0x80)] == ["", "", "", "\U0001f600"]


def test_a_character_cut_off_is_a_replacement_character(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    assert stream.add(_bytes(tokenizer, 0xF0)[0]) == ""
    word = next(i for i, piece in enumerate(tokenizer.pieces) if piece == "e")
    assert stream.add(word) == "\ufffde"
    assert stream.add(_bytes(tokenizer, 0xC3)[0]) == ""
    assert stream.end() == "\ufffd"
    assert stream.end() == ""


def test_a_document_ends_in_an_empty_line(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    ids = [*tokenizer.encode(["the dog"])[0], *tokenizer.encode(["the fox"])[0]]
    assert "".join(stream.add(int(token)) for token in ids) == f"the dog{DOCUMENT_BREAK}the fox"
