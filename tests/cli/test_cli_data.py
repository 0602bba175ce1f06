"""The data commands on real, small text."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from golfpipe.cli.app import main
from golfpipe.store.artifact import open_artifact

TEXT = "the model reads every token of a text and says how likely the next one is before it sees it"
MODEL = "artifacts/data/corpus-300/tokenizer.model"
SMALL = ["--set", "data.vocab_size=300", "--set", "data.val_fraction=0.2"]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    lines = [json.dumps({"text": " ".join(chance.choices(TEXT.split(), k=40))}) for _ in range(60)]
    Path("corpus.jsonl").write_text("\n".join(lines))
    return Path("corpus.jsonl")


def _answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    main([*words, "--json"])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_settings_of_what_is_there_already_are_refused(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        error = _answer(capsys, *words)["error"]
        return error["message"] if error is not None else ""

    assert said("data", "tokenize", str(corpus), *SMALL) == ""
    run = ("run", "artifacts/data/corpus-300", "--preset", "tiny", "--dry-run")
    for setting, change in (("transform=caps", "none -> caps"), ("val_fraction=0.3", "0.2 -> 0.3")):
        for words in (run, (*run, "--from", "train"), ("train", "artifacts/data/corpus-300", "--dry-run")):
            message = said(*words, "--set", f"data.{setting}")
            assert message.startswith(f"--set data.{setting.split('=')[0]}: {change}: decided by an earlier step")
    assert said(*run, *SMALL) == "", "these are the ones that made it"
    again = ("data", "tokenize", str(corpus), "--tokenizer", MODEL, "--dry-run")
    assert said(*again, "--set", "data.val_fraction=0.3") == ""
    for setting in ("vocab_size=400", "normalization=nmt_nfkc", "transform=caps"):
        assert "decides nothing, since the tokenizer is there" in said(*again, "--set", f"data.{setting}")
    Path("artifacts/data/corpus-300/manifest.json").unlink()
    add = ("data", "add", "artifacts/data/corpus-300", "--set", "data.shuffle=false")
    assert "since the shards are there" in said(*add)


def test_tokenize_inspect_add(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = _answer(capsys, "data", "tokenize", str(corpus), "--processes", "1", *SMALL)
    assert made["error"] is None
    assert made["artifact"] == "artifacts/data/corpus-300"
    metrics = made["metrics"]
    assert metrics["train_documents"] + metrics["val_documents"] == 60
    assert metrics["vocab_size"] == 300
    assert _answer(capsys, "data", "tokenize", str(corpus), "--processes", "2", *SMALL)["up_to_date"] is True

    seen = _answer(capsys, "data", "inspect", "artifacts/data/corpus-300")
    assert seen["metrics"]["val_tokens"] == metrics["val_tokens"]
    assert seen["metrics"]["val_bytes"] == metrics["val_bytes"]
    assert seen["sample"]

    assert _answer(capsys, "data", "add", "artifacts/data/corpus-300")["error"]["type"] == "UsageError"
    Path("artifacts/data/corpus-300").rename("shards")
    Path("shards/manifest.json").unlink()
    outside = Path("shards/tokenizer.model").rename("sp.model")
    elsewhere = _answer(capsys, "data", "add", "shards", "--tokenizer", str(outside), "-o", "artifacts/data/added")
    assert elsewhere["error"] is None
    assert sorted(path.name for path in Path("shards").iterdir()) == ["train_000000.bin", "val_000000.bin"]
    assert sorted(path.name for path in Path("artifacts/data/added").iterdir()) == ["manifest.json", "sp.model"]
    assert elsewhere["metrics"]["val_bytes"] == metrics["val_bytes"]
    Path("shards").chmod(0o555)  # the administrator could write all the same
    refused = _answer(capsys, "data", "add", "shards", "--tokenizer", str(outside))["error"]
    assert "is read-only" in refused["message"] and "-o artifacts/data/shards" in refused["hint"]
    Path("shards").chmod(0o755)
    in_place = _answer(capsys, "data", "add", "shards", "--tokenizer", str(outside))
    assert in_place["artifact"] == "shards"
    assert sorted(open_artifact(Path("shards")).manifest.files) == ["sp.model", "train_000000.bin", "val_000000.bin"]
    assert in_place["digest"] == elsewhere["digest"]
    assert _answer(capsys, "data", "add", "shards")["up_to_date"] is True
    assert _answer(capsys, "data", "inspect", "artifacts/data/added")["metrics"]["val_tokens"] == metrics["val_tokens"]


def test_altered_shards_are_noticed(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _answer(capsys, "data", "tokenize", str(corpus), "--processes", "1", *SMALL)
    shard = Path("artifacts/data/corpus-300/val_000000.bin")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    answer = _answer(capsys, "data", "inspect", "artifacts/data/corpus-300")
    assert answer["exit_code"] == 3
    assert "val_000000.bin" in answer["error"]["message"]


def test_validation_text_in_the_training_shards_is_found(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _answer(capsys, "data", "tokenize", str(corpus), "--processes", "1", *SMALL)
    clean = _answer(capsys, "data", "inspect", "artifacts/data/corpus-300", "--overlap")
    documents = clean["metrics"]["val_documents"]
    assert clean["overlap"] == {"documents": documents, "found": 0, "shards": {}} and clean["known_split"] is None
    shards = Path("shards")
    shards.mkdir()
    for source, names in (("train", ["train_000000"]), ("val", ["train_000001", "fineweb_val_000000"])):
        for name in names:
            shutil.copy(f"artifacts/data/corpus-300/{source}_000000.bin", shards / f"{name}.bin")
    words = ("data", "inspect", "shards", "--overlap", "--tokenizer", MODEL)
    mixed = _answer(capsys, *words)
    assert mixed["overlap"] == {"documents": documents, "found": documents, "shards": {"train_000001.bin": documents}}
    assert "cut short" in mixed["known_split"]
    assert main([*words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{documents} of the {documents} validation documents (100.0%) begin like documents of the training" in said
    for path in shards.glob("train_*"):
        path.unlink()
    assert "this data has only val" in _answer(capsys, *words)["error"]["message"]


def test_given_tokenizer_and_separator(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _answer(capsys, "data", "tokenize", str(corpus), "--processes", "1", *SMALL)
    Path("two.txt").write_text("one document<|end|>another document")
    words = [
        "data",
        "tokenize",
        "two.txt",
        "--tokenizer",
        MODEL,
        "--processes",
        "1",
    ]
    answer = _answer(capsys, *words, "--separator", "<|end|>", "--shard-tokens", "1024")
    assert (answer["metrics"]["train_documents"], answer["metrics"]["val_documents"]) == (1, 1)
    assert _answer(capsys, *words)["error"]["type"] == "DataError"
