import gzip
import json
import os
from pathlib import Path

import pytest
import zstandard
from fake_stages import make_artifact
from hypothesis import given, settings
from hypothesis import strategies as st

from golfpipe.data import text_files
from golfpipe.data.text_files import cut_text, find_text_files, read_documents, text_kind
from golfpipe.errors import DataError


def read(*sources, **settings):
    return list(read_documents(find_text_files(sources).files, **settings))


def write_jsonl(path, *documents):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    return path


def test_folders_are_read_in_path_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("second\n\nwith two paragraphs\n")
    (tmp_path / "a.TXT").write_text("\ufefffirst", encoding="utf-8")
    write_jsonl(tmp_path / "c.jsonl", "third", " \n", "", "fourth \u00e9")
    for name in (".hidden.txt", "b/code.py", "b/more.py", "LICENSE"):
        (tmp_path / name).write_text("not this")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("nor this")
    (tmp_path / "d.md").write_text("fifth")
    expected = ["first", "second\n\nwith two paragraphs\n", "third", "fourth \u00e9", "fifth"]
    assert read(tmp_path) == expected
    assert find_text_files([tmp_path]).left_out == {"hidden": 2, ".py": 2, "no suffix": 1}
    assert read(tmp_path / "c.jsonl", tmp_path / "a.TXT") == ["third", "fourth \u00e9", "first"]
    assert read(tmp_path / "LICENSE") == ["not this"]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_files_are_read_as_what_they_hold(tmp_path, compress):
    suffix = ".gz" if compress is gzip.compress else ".zst"
    text = "long text\n" * 200_000
    (tmp_path / f"a.txt{suffix}").write_bytes(compress(text.encode()) + compress(b"more"))  # two members
    (tmp_path / f"b.jsonl{suffix}").write_bytes(compress(b'{"text": "one"}\n{"text": "two"}\n'))
    (tmp_path / f"c.tar{suffix}").write_bytes(b"")
    *pieces, one, two = read(tmp_path)
    assert ("".join(pieces), one, two) == (text + "more", "one", "two")
    assert text_kind(tmp_path / f"b.JSONL{suffix.upper()}") == ".jsonl"
    content = (tmp_path / f"a.txt{suffix}").read_bytes()
    for broken in (content[:-9], content[:5], b"plain text"):
        (tmp_path / f"a.txt{suffix}").write_bytes(broken)
        with pytest.raises(DataError, match=rf"a\.txt\{suffix}: cannot be"):
            read(tmp_path / f"a.txt{suffix}")


def test_linked_folders_are_entered_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("here")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "sources" / "other").symlink_to(tmp_path / "real")
    (tmp_path / "sources" / "b.txt").symlink_to(tmp_path / "real" / "a.txt")
    assert read(tmp_path / "sources") == ["here", "here"]


def test_what_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("here")
    (tmp_path / "b.txt").symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"b\.txt: no plain file, or a link to nothing"):
        find_text_files([tmp_path])
    (tmp_path / "b.txt").unlink()
    os.mkfifo(tmp_path / "b.txt")
    for sources in ([tmp_path], [tmp_path / "b.txt"]):
        with pytest.raises(DataError, match=r"b\.txt: no"):
            read(*sources)
    (tmp_path / "b.txt").unlink()
    (tmp_path / "closed").mkdir()
    listed = type(tmp_path).iterdir

    def refusing(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", refusing)
    with pytest.raises(DataError, match="closed: cannot be read: Permission denied"):
        find_text_files([tmp_path])


@given(st.text("ab \n\r\t", max_size=80), st.integers(4, 20), st.integers(1, 9))
def test_cut_texts_join_to_the_whole(tmp_path_factory, text, longest, read_bytes):
    pieces = list(cut_text(text, longest))
    assert "".join(pieces) == text
    assert all(len(piece) <= longest for piece in pieces)
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(text_files, "READ_BYTES", read_bytes)
        if text.strip():
            assert list(read_documents([path], longest=longest)) == [piece for piece in pieces if piece.strip()]


def test_texts_are_cut_where_they_pause():
    assert list(cut_text("one two\n\nthree\nfour five", 12)) == ["one two\n\n", "three\n", "four five"]
    assert list(cut_text("one two\nthree", 10)) == ["one two\n", "three"]
    assert list(cut_text("one two three", 10)) == ["one two ", "three"]
    assert list(cut_text("onetwothree", 10)) == ["onetwothre", "e"]


def test_lines_and_separated_documents_are_cut_only_where_they_are_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LONGEST_DOCUMENT", 8)
    path = write_jsonl(tmp_path / "a.jsonl", "one two", "three four")
    (tmp_path / "b.txt").write_text("one two--three four")
    expected = ["one two", "three ", "four"]
    assert read(path, longest=3) == read(tmp_path / "b.txt", separator="--", longest=3) == expected


def test_a_separator_that_never_matches_is_an_error(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one\n\ntwo")
    with pytest.raises(DataError, match=r"separator '\\\\n' occurs in none of 2 files") as caught:
        read(tmp_path, separator="\\n")
    assert "$'\\n'" in caught.value.hint
    (tmp_path / "b.txt").write_text("one\\ntwo")
    assert read(tmp_path, separator="\\n") == ["one\n\ntwo", "one", "two"]


def test_a_hidden_parent_does_not_hide_a_folder(tmp_path):
    folder = tmp_path / ".cache" / "text"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("here")
    assert read(folder) == ["here"]


@settings(deadline=None)
@given(st.lists(st.text("ab<|\u00e9\n", max_size=9), min_size=1, max_size=6), st.integers(1, 7))
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
    with pytest.raises(DataError, match=r"holds no \.txt, \.md, \.jsonl file"):
        find_text_files([tmp_path])


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text(" \n")
    write_jsonl(tmp_path / "b.jsonl", "", "\n")
    with pytest.raises(DataError, match="every document is empty"):
        read(tmp_path)


def test_an_artifact_is_no_folder_of_texts(tmp_path: Path) -> None:
    make_artifact(tmp_path / "run" / "train", "trained_model")
    (tmp_path / "run" / "train" / "log.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(DataError, match="an artifact, no folder of texts"):
        find_text_files([tmp_path / "run" / "train"])
    with pytest.raises(DataError, match="holds no"):
        find_text_files([tmp_path / "run"])
