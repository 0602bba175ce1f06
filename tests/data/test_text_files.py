import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.data import text_files
from golfpipe.data.text_files import find_text_files, read_documents
from golfpipe.errors import DataError


def write_jsonl(path, *documents):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    return path


def test_folders_are_read_in_path_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("second\n\nwith two paragraphs\n")
    (tmp_path / "a.TXT").write_text("\ufefffirst", encoding="utf-8")
    write_jsonl(tmp_path / "c.jsonl", "third", " \n", "", "fourth \u00e9")
    for name in (".hidden.txt", "readme.md"):
        (tmp_path / name).write_text("not this")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("nor this")
    expected = ["first", "second\n\nwith two paragraphs\n", "third", "fourth \u00e9"]
    assert list(read_documents([tmp_path])) == expected
    assert list(read_documents([tmp_path / "c.jsonl", tmp_path / "a.TXT"])) == ["third", "fourth \u00e9", "first"]


def test_a_hidden_parent_does_not_hide_a_folder(tmp_path):
    folder = tmp_path / ".cache" / "text"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("here")
    assert list(read_documents([folder])) == ["here"]


@settings(deadline=None)
@given(st.lists(st.text("ab<|\u00e9\n", max_size=9), max_size=6), st.integers(1, 7))
def test_separator_equals_str_split(tmp_path_factory, parts, read_bytes):
    content = "<|x|>".join(["begin", *parts])
    path = tmp_path_factory.mktemp("text") / "stories.txt"
    path.write_bytes(content.encode("utf-8"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(text_files, "READ_BYTES", read_bytes)
        documents = list(read_documents([path], separator="<|x|>"))
    assert documents == [text for text in content.split("<|x|>") if text and not text.isspace()]


def test_separator_leaves_jsonl_alone(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", "one--two")
    assert list(read_documents([path], separator="--")) == ["one--two"]


def test_other_fields_may_hold_any_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": %s, "text": "one"}\n' % ("9" * 6000))
    assert list(read_documents([path])) == ["one"]


def test_reading_is_lazy(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", "one", "two")
    path.write_text(path.read_text() + "broken")
    documents = read_documents([path])
    assert [next(documents), next(documents)] == ["one", "two"]
    with pytest.raises(DataError, match=r"a\.jsonl:3: is not JSON"):
        next(documents)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a.jsonl:2: is not JSON"),
        ("[" * 100_000, "a.jsonl:2: is not JSON"),
        ("9" * 5000, "a.jsonl:2: expected an object with a string field 'text', found a float"),
        ('["text"]', "a.jsonl:2: expected an object with a string field 'text', found a list"),
        ('{"body": "x"}', "a.jsonl:2: expected an object with a string field 'text', found keys ['body']"),
        ('{"text": 5}', "a.jsonl:2: expected an object with a string field 'text'"),
        ('{"text": "a\\ud800b"}', "a.jsonl:2: field 'text' holds the lone surrogate \\ud800"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    path = write_jsonl(tmp_path / "a.jsonl", "fine")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError) as caught:
        list(read_documents([path]))
    assert message in caught.value.message
    assert caught.value.path == str(path)


@pytest.mark.parametrize("separator", [None, "--"])
def test_invalid_utf8_is_named_by_file_and_byte(tmp_path, separator):
    path = tmp_path / "a.txt"
    path.write_bytes("\u00e9t\u00e9--abc".encode() + b"\xff--rest")
    with pytest.raises(DataError, match=r"a\.txt: invalid UTF-8 at byte 10: invalid start byte"):
        list(read_documents([path], separator=separator))


def test_invalid_utf8_in_a_later_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "ok"}\n{"text": "\xff"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: invalid UTF-8 at byte 25"):
        list(read_documents([path]))


def test_unusable_sources_are_named(tmp_path):
    with pytest.raises(DataError, match="none: does not exist"):
        find_text_files([tmp_path / "none"])
    with pytest.raises(DataError, match=r"holds no \.txt or \.jsonl file"):
        find_text_files([tmp_path])
    (tmp_path / "a.pdf").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.pdf: ends in '\.pdf', expected \.txt or \.jsonl"):
        find_text_files([tmp_path / "a.pdf"])


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text(" \n")
    write_jsonl(tmp_path / "b.jsonl", "", "\n")
    with pytest.raises(DataError, match="every document is empty"):
        list(read_documents([tmp_path]))
