import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.scoring.documents import document_starts


@pytest.mark.parametrize(
    ("tokens", "starts"),
    [([], []), ([1], [0]), ([5], [0]), ([1, 5, 1, 1, 6], [0, 2, 3]), ([5, 6, 1, 7], [0, 2])],
)
def test_starts(tokens, starts):
    assert document_starts(np.array(tokens, dtype=np.uint16), bos_id=1).tolist() == starts


@given(st.lists(st.integers(0, 3)))
def test_documents_cover_every_token_once(tokens):
    tokens = np.array(tokens, dtype=np.uint16)
    starts = document_starts(tokens, bos_id=1)
    documents = np.split(tokens, starts[1:])
    np.testing.assert_array_equal(np.concatenate(documents), tokens)
    assert all(1 not in document[1:] for document in documents)
