"""The real corpus takes seconds to build, so that is done once; the rules are tested on a small library."""

import sys

import pytest

from golfpipe.data import demo_corpus
from golfpipe.data.demo_corpus import demo_documents, source_digest
from golfpipe.errors import DataError

MODULE = '''
# Copyright 2001 by the people who wrote this module.
"""The first module of the library, which is about numbers."""

# This comment is about the function that
# comes after it in the file.
def function():
    """Return the number that is after this one."""
    return """
# This is in a string and so it is not a comment.
"""

class Numbers:
    """All of the numbers that there are in the world."""

    def method(self):
        """Return the number that is after this one."""  # a repetition
'''


@pytest.fixture
def library(tmp_path):
    (tmp_path / "numbers.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "latin.py").write_bytes(
        "# -*- coding: latin-1 -*-\n\n# This is the caf\u00e9 at the end of the street.\n".encode("latin-1")
    )
    for folder in ("test", "site-packages", "pydoc_data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text('"""This is a text that is not for the corpus."""')
    (tmp_path / "pydoc_data" / "topics.py").write_text(
        "topics = {'b': 'This is the second topic of the manual.', 'a': 'This is the first topic of the manual.'}"
    )
    return tmp_path


def test_a_small_library(library, monkeypatch):
    monkeypatch.setattr(demo_corpus, "MIN_DOCUMENT_CHARACTERS", 1)
    assert sorted(demo_documents(library)) == [
        "The first module of the library, which is about numbers.\n"
        "This comment is about the function that comes after it in the file.\n"
        "Return the number that is after this one.\n"
        "All of the numbers that there are in the world.",
        "This is the caf\u00e9 at the end of the street.",
        "This is the first topic of the manual.",
        "This is the second topic of the manual.",
    ]


def test_documents_end_with_subjects_or_at_the_size_limit(library, monkeypatch):
    monkeypatch.setattr(demo_corpus, "MIN_DOCUMENT_CHARACTERS", 45)
    monkeypatch.setattr(demo_corpus, "ENOUGH_CHARACTERS", 30)
    monkeypatch.setattr(demo_corpus, "MAX_DOCUMENT_CHARACTERS", 130)
    assert sorted(demo_documents(library)) == [
        "All of the numbers that there are in the world.",
        "The first module of the library, which is about numbers.\n"
        "This comment is about the function that comes after it in the file.",
    ]


def test_a_python_without_sources_is_refused(library, monkeypatch):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(library)})
    with pytest.raises(DataError, match="standard library has 214 characters of prose, expected at least 1000000"):
        demo_documents()


def test_the_corpus_of_this_python():
    modules = set(sys.modules)
    documents = demo_documents()
    assert not {name for name in set(sys.modules) - modules if name.startswith(("idlelib", "tkinter", "distutils"))}
    assert 1_000_000 < sum(map(len, documents)) < 10_000_000
    assert len(set(documents)) == len(documents) > 300
    assert all(len(text) >= 200 for text in documents)
    letters = sum(sum(map(str.isalpha, text)) for text in documents)
    assert letters > 0.75 * sum(map(len, documents))


def test_digest_depends_on_every_document_and_the_order():
    digests = {source_digest(documents) for documents in ([], ["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""])}
    assert len(digests) == 5
    assert source_digest(["a"]) == "bf5d3affb73efd2ec6c36ad3112dd933efed63c4e1cbffcfa88e2759c144f2d8"
