"""The byte table sums to the decoded bytes of any text; tokenizers and documents for which it does not are refused."""

import pickle
from string import ascii_uppercase

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golfpipe.data import tokenizer as tokenizer_module
from golfpipe.data import tokenizer_file
from golfpipe.data.text_changes import STEPS, sentences, text_changes
from golfpipe.data.tokenizer import Tokenizer, check_byte_table, train_tokenizer
from golfpipe.errors import DataError
from golfpipe.scoring.byte_table import CASE_MARKERS

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    alphabet=" \n\ta.,\u2581\u00a0\u00e9\u4f60\u0416\u05d0\u0639\U0001f600\u200d\u0300\x00\x7f\ufeff\u3000", max_size=40
)


@pytest.fixture(scope="module")
def verbatim_tokenizer(train_plain) -> Tokenizer:
    """Keeps every space and character as it is."""
    return train_plain(normalization_rule_name="identity", remove_extra_whitespaces=False)


@settings(deadline=None)
@given(texts)
@example("\u2581\u2581a \u2581")
@example("  \U0001f469\u200d\U0001f469\u200d\U0001f467 x\u00a0y ")
def test_byte_table_sums_to_the_decoded_bytes(tokenizer, text):
    (ids,) = tokenizer.encode([text])
    assert ids[0] == tokenizer.bos_id
    assert check_byte_table(tokenizer, [ids]) == len(tokenizer.decode(ids).encode("utf-8"))


@settings(deadline=None)
@given(texts)
def test_byte_table_of_a_tokenizer_that_does_not_normalize(verbatim_tokenizer, text):
    (ids,) = verbatim_tokenizer.encode([text])
    assert verbatim_tokenizer.decode(ids) == text.replace("\u2581", " ")
    assert check_byte_table(verbatim_tokenizer, [ids]) == len(text.replace("\u2581", " ").encode("utf-8"))


@settings(deadline=None)
@given(st.lists(texts, max_size=5))
def test_batches_encode_like_single_texts(tokenizer, batch):
    for ids, text in zip(tokenizer.encode(batch), batch, strict=True):
        np.testing.assert_array_equal(ids, tokenizer.encode([text])[0])


def test_trained_tokenizer_has_the_settings_of_the_challenge(tokenizer):
    assert tokenizer.pieces[:5] == ["<pad>", "<s>", "</s>", "<unk>", "<0x00>"]
    assert tokenizer.piece_types[:5] == ["control", "control", "control", "unknown", "byte"]
    assert tokenizer.piece_types.count("byte") == 256
    assert (tokenizer.vocab_size, tokenizer.bos_id) == (420, 1)
    assert tokenizer.decode(tokenizer.encode(["two\n\nlines  of\ttext\uff01"])[0]) == "two lines of text!"
    digits = [tokenizer.pieces[i] for i in tokenizer.encode(["1969"])[0][1:]]
    assert "".join(digits) == "\u25811969" and all(len(piece.strip("\u2581")) <= 1 for piece in digits)


def test_training_repeats_to_the_byte():
    sentences = ["the cat sat on the mat", "the dog sat on the log"] * 9
    first, again = (train_tokenizer(iter(sentences), vocab_size=285, normalization="identity") for _ in range(2))
    assert first.model_bytes == again.model_bytes


def test_training_looks_at_a_bounded_amount_of_text(monkeypatch):
    monkeypatch.setattr(tokenizer_module, "MAX_TRAINING_BYTES", 10_000)
    monkeypatch.setattr(tokenizer_module, "MAX_SENTENCE_CHARACTERS", 100)
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield "the cat sat on the mat and would not go " * 20  # one line longer than a training sentence

    assert train_tokenizer(endless(), vocab_size=285, normalization="nmt_nfkc").vocab_size == 285
    assert drawn == 13


@pytest.mark.parametrize(
    ("sentences", "vocab_size", "message"),
    [
        ([], 300, "there is no text"),
        (["the cat"], 400, r"yields a tokenizer of \d+ pieces, not data.vocab_size=400"),
        (["the cat sat on the mat"], 262, r"single bytes alone are \d+ pieces"),
    ],
)
def test_text_that_gives_no_such_tokenizer(sentences, vocab_size, message):
    with pytest.raises(DataError, match=message) as caught:
        train_tokenizer(sentences, vocab_size=vocab_size, normalization="nmt_nfkc")
    assert "vocab_size" in caught.value.hint


def test_a_vocabulary_that_nobody_asked_for_is_as_large_as_the_text_yields():
    assert train_tokenizer(["the cat sat on the mat"], vocab_size=0, normalization="identity").vocab_size < 400


def test_the_vocabulary_grows_with_the_characters():
    text = "".join(chr(0x4E00 + number) for number in range(2000)) * 2
    tokenizer = train_tokenizer([text], vocab_size=0, normalization="identity")
    assert 2048 < tokenizer.vocab_size <= 4096
    assert check_byte_table(tokenizer, tokenizer.encode([text])) == len(text.encode())
    with pytest.raises(DataError, match=r"data\.vocab_size=1024 cannot be trained") as caught:
        train_tokenizer([text], vocab_size=1024, normalization="identity")
    assert "0 lets the text decide" in caught.value.hint


SCRIPTS = {
    "chinese": "".join(chr(0x4E00 + i * i % 97) for i in range(3000)),
    "japanese": "".join(chr(0x3041 + i * i % 80) + chr(0x4E00 + i % 50) for i in range(2000)),
    "thai": "".join(chr(0x0E01 + i * 7 % 46) for i in range(3000)),
    "russian": " ".join("".join(chr(0x430 + (i * j) % 32) for j in range(1, 6)) for i in range(400)),
    "python": "def f(x):\n    if x:\n\treturn  1\n\n\n" * 40,
}


@pytest.mark.parametrize("normalization", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_bytes_are_the_bytes_of_the_source_or_the_difference_is_stated(script, normalization):
    tokenizer = train_tokenizer([SCRIPTS[script]] * 2, vocab_size=0, normalization=normalization)
    assert "\u2581" in tokenizer.pieces

    @settings(deadline=None, max_examples=60)
    @given(texts | st.text(alphabet=f"{SCRIPTS[script][:40]} \n\t\u2581\u3000\uff21\ufb01\ufdfa\u200b", max_size=40))
    @example("A C")
    @example(SCRIPTS[script])
    def law(text):
        (ids,) = tokenizer.encode([text])
        counted = check_byte_table(tokenizer, [ids])
        decoded = tokenizer.decode(ids)
        stated = text_changes(text, decoded, tokenizer)
        assert len(text.encode()) - counted == sum(stated[step] for step in STEPS)
        assert "rest" not in stated
        if normalization == "identity":
            assert set(stated) <= {"marks"} and decoded == text.replace("\u2581", " ")

    law()


def test_changes_are_said_in_words(tokenizer):
    text = "one  two\n\u2581\uff21 \ufdfa"
    changes = text_changes(text, tokenizer.decode(tokenizer.encode([text])[0]), tokenizer)
    said = "; ".join(sentences(changes))
    assert "U+2581 becomes a space: 2 bytes fewer" in said
    assert "bytes more" in said  # one Arabic ligature is eighteen letters
    assert "runs of white space become one space, and none is left around a document: 2 bytes fewer" in said
    assert "1 line break gone" in said


def test_a_tokenizer_without_a_piece_for_the_space_is_refused(train_plain):
    with pytest.raises(DataError, match=r"plain\.model: the tokenizer has no piece for the space"):
        train_plain(
            sentence_iterator=iter([SCRIPTS["chinese"]] * 3),
            max_sentence_length=10_000,
            character_coverage=0.999,
            vocab_size=400,
        )


def test_pickle_and_file_round_trip(tokenizer, tmp_path):
    path = tmp_path / "small.model"
    path.write_bytes(tokenizer.model_bytes)
    for other in (Tokenizer.load(path), pickle.loads(pickle.dumps(tokenizer))):
        assert other.digest == tokenizer.digest
        assert other.encode(["the lazy dog"])[0].tolist() == tokenizer.encode(["the lazy dog"])[0].tolist()


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a model, but a text"])
def test_broken_files_are_refused(tmp_path, content):
    path = tmp_path / "broken.model"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.model: is not a SentencePiece model"):
        Tokenizer.load(path)


def test_truncated_model_is_refused(tokenizer):
    with pytest.raises(DataError, match="cut: "):
        Tokenizer(tokenizer.model_bytes[:1000], name="cut")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.model: cannot be read: No such file"):
        Tokenizer.load(tmp_path / "none.model")


def test_oversized_file_is_refused(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "MAX_MODEL_BYTES", 1000)
    path = tmp_path / "large.model"
    path.write_bytes(tokenizer.model_bytes)
    with pytest.raises(DataError, match=r"large\.model: 1001 bytes, expected a tokenizer of at most 1000"):
        Tokenizer.load(path)


def test_tokenizer_without_bos_is_refused(train_plain):
    with pytest.raises(DataError, match=r"plain\.model: has no BOS piece"):
        train_plain(bos_id=-1)


def test_vocabulary_beyond_uint16_is_refused(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer_file, "MAX_VOCAB_SIZE", 419)
    with pytest.raises(DataError, match="has more than 419 pieces"):
        Tokenizer(tokenizer.model_bytes)


def piece_ids(tokenizer: Tokenizer, *pieces: str) -> np.ndarray:
    return np.array([tokenizer.pieces.index(piece) for piece in pieces], dtype=np.uint16)


@pytest.mark.parametrize(
    ("pieces", "named"),
    [
        (("<s>", "\u2581the", "<unk>", "\u2581the"), "token 2, unknown piece '<unk>' (id 3)"),
        (("<s>", "\u2581the", "</s>", "\u2581the"), "token 2, control piece '</s>' (id 2)"),
        (("<s>", "\u2581the", "<s>", "\u2581the"), "token 2, control piece '<s>' (id 1)"),
        (("<s>", "\u2581the", "<0xFF>", "\u2581the"), "token 2, byte piece '<0xFF>'"),
        (("<s>", "\u2581the", "<0xE2>", "<0x82>"), "token 2, byte piece '<0xE2>'"),
    ],
)
def test_documents_that_the_byte_table_does_not_fit(tokenizer, pieces, named):
    with pytest.raises(DataError) as caught:
        check_byte_table(tokenizer, [piece_ids(tokenizer, *pieces)])
    assert named in caught.value.message
    assert caught.value.hint is not None


def test_a_control_piece_at_the_end_is_fine(tokenizer):
    assert check_byte_table(tokenizer, [piece_ids(tokenizer, "<s>", "\u2581the", "</s>")]) == 3


def test_the_fault_is_found_in_a_long_document(tokenizer):
    (ids,) = tokenizer.encode(["the dog and \u00e9\u4f60\U0001f600 " * 200])
    broken = np.concatenate((ids[:777], piece_ids(tokenizer, "<unk>"), ids[777:]))
    with pytest.raises(DataError, match=r"token 777, unknown piece"):
        check_byte_table(tokenizer, [ids, broken])


def test_tokenizer_without_dummy_prefix_is_refused(train_plain):
    tokenizer = train_plain(add_dummy_prefix=False, remove_extra_whitespaces=False)
    with pytest.raises(DataError, match=r"plain\.model: byte table counts .* token 1, normal piece"):
        check_byte_table(tokenizer, tokenizer.encode([" the cat"]))


def test_tokenizer_without_byte_fallback_is_refused_for_unknown_characters(train_plain):
    tokenizer = train_plain(byte_fallback=False, vocab_size=30)
    assert check_byte_table(tokenizer, tokenizer.encode(["the cat"])) == 7
    with pytest.raises(DataError, match="unknown piece '<unk>'"):
        check_byte_table(tokenizer, tokenizer.encode(["the \u4f60 cat"]))


def test_decode_refuses_foreign_ids(tokenizer):
    with pytest.raises(DataError, match="token id 420 lies outside"):
        tokenizer.decode(np.array([1, 420]))


# ---- case transforms ------------------------------------------------------------------------------------------------

cased_texts = texts | st.text(alphabet="aAbBsST  .\n\u00c4\u2581\ue001\ue002\ue003\ue004\ue011\ue014", max_size=40)


@pytest.fixture(scope="module", params=CASE_MARKERS)
def cased(request, sentences) -> Tokenizer:
    given = [f"{first}\n {second.title()} {first.upper()}" for first in sentences for second in sentences]
    return train_tokenizer(given, vocab_size=420, normalization="identity", transform=request.param)


def test_transformed_text_comes_back_with_its_own_bytes(cased):
    @settings(deadline=None)
    @given(cased_texts)
    @example(" The cat")
    @example("\ue004\ue004\ue004\ue014\ue014\ue014A")
    @example("THE \u2581The")
    def law(text):
        (ids,) = cased.encode([text])
        decoded = text.replace("\u2581", " ")
        assert cased.decode(ids) == decoded
        assert check_byte_table(cased, [ids]) == cased.sizes(ids).sum() == len(decoded.encode())

    law()


def test_markers_are_pieces_of_their_own_and_no_piece_has_a_capital(cased):
    markers = CASE_MARKERS[cased.transform]
    assert [piece for piece in cased.pieces if set(piece) & set(markers)] == list(markers)
    kinds = zip(cased.pieces, cased.piece_types, strict=True)
    assert not any(set(piece) & set(ascii_uppercase) for piece, kind in kinds if kind == "normal")
    (ids,) = cased.encode(["The NASA"])
    sizes = dict(zip((cased.pieces[i] for i in ids[1:]), cased.sizes(ids).tolist(), strict=True))
    assert sizes[markers[0]] == sizes[markers[1]] == 0


def test_a_word_has_the_same_pieces_in_either_case_where_the_marker_is_before_the_space(cased):
    lower, title, capitals = (ids[1:].tolist() for ids in cased.encode(["a the", "a The", "a THE"]))
    marked = [[i for i in ids if cased.pieces[i] not in CASE_MARKERS[cased.transform]] for ids in (title, capitals)]
    assert (marked == [lower, lower]) == (cased.transform == "caps_before_space")
    assert len(title) == len(lower) + (1 if cased.transform == "caps_before_space" else 2)


def test_a_marker_that_marks_nothing_is_an_error_but_at_a_cut(cased):
    (ids,) = cased.encode(["the Cat"])
    cut = ids[: ids.tolist().index(cased.pieces.index(CASE_MARKERS[cased.transform][0])) + 1]
    with pytest.raises(DataError, match="stands where it marks nothing"):
        cased.decode(cut)
    assert cased.decode(cut, cut=True).strip() == "the"


def test_after_a_normalization_such_a_marker_adds_nothing(train_plain):
    """The capital has no letter of one character with this accent, the small one has."""
    markers = CASE_MARKERS["caps"]
    tokenizer = train_plain(user_defined_symbols=list(markers), add_dummy_prefix=False)
    (ids,) = tokenizer.encode(["the T\u0308"])
    assert tokenizer.decode(ids) == "the \u1e97"
    assert check_byte_table(tokenizer, [ids]) == len("the \u1e97".encode())


def test_a_tokenizer_of_transformed_text_with_a_space_of_its_own_is_refused(train_plain):
    tokenizer = train_plain(user_defined_symbols=list(CASE_MARKERS["caps"]))
    with pytest.raises(DataError, match=r"plain\.model: byte table counts .* bytes but the document decodes to"):
        check_byte_table(tokenizer, tokenizer.encode(["the cat"]))
