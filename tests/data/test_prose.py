import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.data.prose import is_prose, prose_paragraphs


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("Return the name of\n    the file.\n\nIt is never   empty by itself.",
         ["Return the name of the file.", "It is never empty by itself."]),
        ("Title\n=====\n\nThe :class:`~queue.Queue` is\n``None`` if it was closed.",
         ["The queue.Queue is None if it was closed."]),
        ("* this is the first of the items\n* This is the second one, with more.",
         ["This is the first of the items.", "This is the second one, with more."]),
        ("we only get here if the file is gone", ["We only get here if the file is gone."]),
        ("The value is such that", []),
        (">>> print(the_value_of_it)\nThis is the output of it.", []),
        ("Copyright (c) 2001 by the authors of the work.", []),
        ("Permission to use this is granted to all of you.", []),
        ("XXX This should be done in some other way.", []),
        ("x = the_value(of, it) if it is there.", []),
        ("stmt ::= the expression of the statement.", []),
        ("+----+----+\n| a  | b  |\n+----+----+", []),
        ("alpha beta gamma delta epsilon zeta", []),
        ("", []),
    ],
)  # fmt: skip
def test_paragraphs(text, paragraphs):
    assert list(prose_paragraphs(text)) == paragraphs


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_single_lines_of_prose(text):
    for paragraph in prose_paragraphs(text):
        assert "\n" not in paragraph
        assert is_prose(paragraph)
