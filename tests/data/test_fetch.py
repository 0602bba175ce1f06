"""`data fetch` against a hub on the loopback interface: pinning, resuming, damage, and no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_hub import REPOSITORY, FakeHub, serving

from golfpipe.cli.app import main
from golfpipe.data.shard_format import shard_header
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.store.artifact import open_artifact

FOLDER = "datasets/datasets/fineweb10B_sp420"


def _shard(tokens: np.ndarray) -> bytes:
    return shard_header(len(tokens)) + tokens.astype("<u2").tobytes()


@pytest.fixture(scope="module")
def files(tokenizer: Tokenizer, encoded: list[np.ndarray]) -> dict[str, bytes]:
    documents = np.concatenate(encoded * 30)
    return {
        "README.md": b"# shards",
        "datasets/manifest.json": b"{}",
        "datasets/tokenizers/fineweb_420_bpe.model": tokenizer.model_bytes,
        "datasets/tokenizers/fineweb_8192_bpe.model": tokenizer.model_bytes + b"x",
        f"{FOLDER}/fineweb_val_000000.bin": _shard(documents),
        **{f"{FOLDER}/fineweb_train_{n:06d}.bin": _shard(np.concatenate(encoded * (n + 2))) for n in range(3)},
        "datasets/datasets/fineweb10B_sp8192/fineweb_val_000000.bin": b"other",
    }


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.chdir(tmp_path)
    with serving(FakeHub(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def _fetch(*more: str, shards: int = 2) -> int:
    words = ["data", "fetch", "--variant", "sp420", "--repo-id", REPOSITORY, "--train-shards", str(shards)]
    return main([*words, "-o", "data", *more])


def test_shards_and_tokenizer_become_token_data(
    hub: FakeHub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fetch("--dry-run") == 0
    assert "fineweb_train_000001.bin" in capsys.readouterr().out and not Path("data").exists()
    assert _fetch("--json") == 0
    answer = json.loads(capsys.readouterr().out)
    data = open_artifact(Path("data"), "token_data")
    assert answer["commit"] == "a" * 40 and answer["digest"] == data.manifest.digest
    assert sorted(data.manifest.files) == [
        "fineweb_420_bpe.model", "fineweb_train_000000.bin", "fineweb_train_000001.bin", "fineweb_val_000000.bin",
    ]  # fmt: skip
    for name in data.manifest.files:
        assert data.read(name) == next(content for path, content in files.items() if path.endswith(f"/{name}"))
    assert sorted(path.name for path in Path("data").iterdir() if path.name.startswith(".")) == []
    assert hub.requests["fineweb_val_000000.bin"] == 1


def test_a_second_call_fetches_what_is_new_of_the_same_commit(hub: FakeHub, files: dict[str, bytes]) -> None:
    assert _fetch("-q", shards=1) == 0
    hub.commit(files | {f"{FOLDER}/fineweb_train_000002.bin": b"newer"}, "b" * 40)
    assert _fetch("-q", shards=3) == 0
    data = open_artifact(Path("data"))
    assert data.read("fineweb_train_000002.bin") == files[f"{FOLDER}/fineweb_train_000002.bin"]
    assert hub.requests["fineweb_train_000000.bin"] == 1
    assert json.loads(Path("data/fetch.json").read_text())["commit"] == "a" * 40


def test_a_transfer_that_breaks_off_goes_on_where_it_was(
    hub: FakeHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 4096)
    hub.break_off["fineweb_val_000000.bin"] = 2
    assert _fetch("-q") == 0
    size = len(files[f"{FOLDER}/fineweb_val_000000.bin"])
    assert hub.requests["fineweb_val_000000.bin"] == 3
    assert size <= hub.sent["fineweb_val_000000.bin"] < size + 2 * 4096  # what was kept is not sent again
    assert open_artifact(Path("data")).read("fineweb_val_000000.bin") == files[f"{FOLDER}/fineweb_val_000000.bin"]


@pytest.mark.parametrize("name", ["fineweb_train_000000.bin", "fineweb_420_bpe.model"])
def test_a_damaged_file_is_fetched_again(hub: FakeHub, name: str) -> None:
    hub.alter[name] = 1
    assert _fetch("-q") == 0
    assert hub.requests[name] == 2


def test_a_file_that_stays_damaged_is_refused_and_the_rest_is_kept(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.alter["fineweb_train_000001.bin"] = 99
    assert _fetch() == 1
    assert "fineweb_train_000001.bin: arrived damaged 3 times" in capsys.readouterr().err
    assert not Path("data/fineweb_train_000001.bin").exists() and not Path("data/manifest.json").exists()
    hub.alter.clear()
    assert _fetch("-q") == 0
    assert hub.requests["fineweb_train_000000.bin"] == 1


def test_a_shard_with_a_false_header_is_refused(
    hub: FakeHub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{FOLDER}/fineweb_train_000000.bin"
    hub.commit(files | {name: files[name][:-2]}, "b" * 40)
    assert _fetch() == 2
    assert "fineweb_train_000000.bin" in capsys.readouterr().err
    assert not Path("data/fineweb_train_000000.bin").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--variant", "sp99"], 2, "no validation shards of variant sp99"),
        (["--train-shards", "9"], 2, "has 3 of sp420"),
        (["--revision", "c" * 40], 2, "has no revision"),
        (["--repo-id", "nobody/nothing"], 2, "no such dataset repository"),
        (["--repo-id", "a/b/c"], 2, "no such dataset repository"),
    ],
)
def test_mistakes_say_what_there_is(
    hub: FakeHub, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fetch(*words) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_another_repository_into_the_same_folder_is_refused(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert _fetch("-q") == 0
    assert _fetch("--repo-id", "someone/else") == 2
    assert "was fetched from another repository" in capsys.readouterr().err


def test_without_a_network_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    assert _fetch() == 1
    error = capsys.readouterr().err
    assert "http://127.0.0.1:9: cannot be reached" in error and "golfpipe data add" in error
    assert _fetch("--dry-run") == 0
    planned = capsys.readouterr()
    assert "2 train shards of sp420" in planned.out and "names and sizes are unknown" in planned.err


def test_a_proxy_that_needs_another_package_names_it(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse)
    assert _fetch() == 1
    error = capsys.readouterr().err
    assert "'socksio' package is not installed" in error and "httpx[socks]" in error and "bug" not in error


def test_a_call_that_gave_up_keeps_the_files_that_arrived(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library keeps no part of a file beyond its own retries: the next call begins with that file again."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.break_off["fineweb_train_000001.bin"] = 999
    assert _fetch() == 1
    assert "broke off" in capsys.readouterr().err
    assert not Path("data/manifest.json").exists()
    hub.break_off.clear()
    assert _fetch("-q") == 0
    assert hub.requests["fineweb_val_000000.bin"] == hub.requests["fineweb_train_000000.bin"] == 1
