"""Download published shards from a dataset repository of the Hugging Face hub, of one commit, and check each.

`fetch.json` in the folder names the repository and the commit that the files came from, so that a second
call takes more shards of the same commit. A file takes its place only when its size, its sha256 and (of a
shard) its header are right.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golfpipe.data.shard_files import read_shard_length
from golfpipe.errors import DataError, StageFailed, UsageError
from golfpipe.extras import require
from golfpipe.store.canonical import canonical_json, file_sha256, parse_json
from golfpipe.store.files import make_folder, write_file, writing
from golfpipe.store.manifest import is_plain_name

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REPOSITORY = "willdepueoai/parameter-golf"
"""The challenge's published data."""
PIN_FILE = "fetch.json"
DOWNLOADS = ".downloads"
"""The folder, below the output folder, for downloads under way."""
ATTEMPTS = 3
"""How often a file that arrives damaged is fetched."""
MAX_TOKENIZER_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of the repository, as the hub describes it."""

    path: str
    bytes: int
    sha256: str | None
    """The file's sha256. None for a small file: the hub knows only git's hash of it."""
    git_sha1: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class FetchPlan:
    """The files to fetch, all of one commit."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]
    tokenizer: RemoteFile

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def plan_fetch(
    folder: Path, *, repository: str, variant: str, train_shards: int, revision: str | None = None
) -> FetchPlan:
    """Ask the hub for the files at `revision`, else at the commit that the folder was begun with, else the newest.

    Raises UsageError for a repository, revision or variant that does not exist, StageFailed without a network.
    """
    api = _api()
    pinned = _pinned_commit(folder, repository) if revision is None else None
    with _hub_errors(repository, revision):
        commit = pinned or api.dataset_info(repository, revision=revision).sha
        if commit is None:
            raise StageFailed(f"{repository}: the hub names no commit")
        files = [_remote(entry) for entry in api.list_repo_tree(
            repository, recursive=True, revision=commit, repo_type="dataset") if hasattr(entry, "size")]  # fmt: skip
    shards = _shards(files, repository, variant)
    train = [file for file in shards if re.search(r"train_\d+\.bin$", file.name)]
    validation = [file for file in shards if re.search(r"val_(?:bytes_)?\d+\.bin$", file.name)]
    if train_shards > len(train):
        raise UsageError(f"--train-shards {train_shards}: {repository} has {len(train)} of {variant}")
    tokenizer = _tokenizer(files, shards, repository, variant)
    return FetchPlan(
        repository=repository,
        commit=commit,
        files=(tokenizer, *validation, *train[:train_shards]),
        tokenizer=tokenizer,
    )


def fetch(plan: FetchPlan, folder: Path, advance: Callable[[float, str], None]) -> None:
    """Download every file of the plan into the folder. `advance(bytes, file)` is called as bytes arrive.

    Raises StageFailed where the network fails or a file stays damaged. Files that have arrived are kept, and the same
    call goes on with the next. Within a call the library resumes a transfer that breaks off.
    """
    with writing(folder):
        make_folder(folder)
    write_file(folder / PIN_FILE, _pin(plan))
    for file in plan.files:
        target = folder / file.name
        if _is_right(target, file):
            advance(file.bytes, file.name)
            continue
        _fetch_one(plan, file, target, advance)
    shutil.rmtree(folder / DOWNLOADS, ignore_errors=True)


def _fetch_one(plan: FetchPlan, file: RemoteFile, target: Path, advance: Callable[[float, str], None]) -> None:
    from huggingface_hub import hf_hub_download

    for attempt in range(ATTEMPTS):
        with _hub_errors(plan.repository, plan.commit):
            arrived = Path(
                hf_hub_download(
                    plan.repository, file.path, repo_type="dataset", revision=plan.commit, endpoint=_endpoint(),
                    local_dir=target.parent / DOWNLOADS, force_download=attempt > 0,
                    tqdm_class=_progress_class(advance, file.name),
                )
            )  # fmt: skip
        if _is_right(arrived, file):
            if file.name.endswith(".bin"):
                read_shard_length(arrived)
            os.replace(arrived, target)
            return
        advance(-arrived.stat().st_size, file.name)
        arrived.unlink()
    raise StageFailed(
        f"{target}: arrived damaged {ATTEMPTS} times: its sha256 is not what the hub says",
        hint="a proxy may alter files, or the disk may be full; the same command tries again",
        path=str(target),
    )


def _is_right(path: Path, file: RemoteFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    if file.sha256 is not None:
        return file_sha256(path) == file.sha256
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.git_sha1


def _shards(files: Sequence[RemoteFile], repository: str, variant: str) -> list[RemoteFile]:
    """The shards in the folder that is named for the variant, in order."""
    pattern = re.compile(rf"(?:^|/)[^/]*{re.escape(variant)}/[^/]*(?:train|val|val_bytes)_\d+\.bin$")
    shards = sorted((file for file in files if pattern.search(file.path)), key=lambda file: file.path)
    if not any("val_" in file.name for file in shards):
        found = sorted({m[1] for file in files if (m := re.search(r"([^/_]+)/[^/]*val_\d+\.bin$", file.path))})
        raise UsageError(
            f"{repository}: has no validation shards of variant {variant}",
            hint=f"it has {', '.join(found)}" if found else "--repo-id names another repository",
        )
    if len({file.path.rpartition("/")[0] for file in shards}) > 1:
        raise UsageError(f"{repository}: several folders are named for {variant}", hint="give a longer --variant")
    return shards


def _tokenizer(files: Sequence[RemoteFile], shards: Sequence[RemoteFile], repository: str, variant: str) -> RemoteFile:
    """Return the only *.model beside the shards, or else named for the vocabulary size. Raises DataError."""
    models = [file for file in files if file.name.endswith(".model") and file.bytes <= MAX_TOKENIZER_BYTES]
    beside = [m for m in models if m.path.rpartition("/")[0] == shards[0].path.rpartition("/")[0]]
    size = re.sub(r"\D", "", variant)
    named = [model for model in models if size and size in re.findall(r"\d+", model.name)]
    for candidates in (beside, named):
        if len(candidates) == 1:
            return candidates[0]
    found = ", ".join(model.path for model in models) or "no *.model file"
    raise DataError(f"{repository}: which tokenizer belongs to {variant}? found {found}")


def _remote(entry: Any) -> RemoteFile:
    name = entry.path.rpartition("/")[2]
    if not is_plain_name(name):
        raise DataError(f"the hub names a file {entry.path!r}, which is no plain name")
    lfs = entry.lfs
    return RemoteFile(
        path=entry.path, bytes=entry.size, sha256=lfs.sha256 if lfs is not None else None, git_sha1=entry.blob_id
    )


def _pin(plan: FetchPlan) -> bytes:
    files = {file.name: {"sha256": file.sha256, "bytes": file.bytes} for file in plan.files}
    pin = {"repository": plan.repository, "commit": plan.commit, "files": files}
    return (canonical_json(pin) + "\n").encode()


def _pinned_commit(folder: Path, repository: str) -> str | None:
    path = folder / PIN_FILE
    if not path.is_file():
        return None
    pin = parse_json(path.read_bytes(), str(path))
    known = isinstance(pin, dict) and pin.get("repository") == repository and isinstance(pin.get("commit"), str)
    if not known:
        raise UsageError(f"{folder}: was fetched from another repository", hint="give another -o", path=str(folder))
    return str(pin["commit"])


def _endpoint() -> str | None:
    """Return the present HF_ENDPOINT: the library reads it only once, when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


def _api() -> HfApi:
    require("huggingface_hub")
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint(), library_name="golfpipe")


@contextmanager
def _hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turn what the library raises inside the `with` block into errors that say what to do."""
    from huggingface_hub import errors

    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)  # its retries show in the progress already
    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{repository}: has no revision {revision}", hint="give a branch, tag or commit") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UsageError(
            f"{repository}: no such dataset repository, or not a public one",
            hint="--repo-id OWNER/NAME; HF_TOKEN for a private one",
        ) from error
    except ImportError as error:  # of the library's own: a SOCKS proxy needs a package that it does not bring
        raise StageFailed(str(error), hint="pip install 'httpx[socks]', or unset ALL_PROXY and HTTPS_PROXY") from error
    except Exception as error:
        if not _is_network_trouble(error):
            raise
        where = _endpoint() or "https://huggingface.co"
        raise StageFailed(
            f"{where}: cannot be reached, or broke off ({' '.join(str(error).split())[:200]})",
            hint="the same command goes on when there is a network; HF_ENDPOINT names a mirror; shards from elsewhere:"
            " golfpipe data add FOLDER --tokenizer FILE",
        ) from error
    finally:
        log.setLevel(level)


def _is_network_trouble(error: Exception) -> bool:
    """Return True for errors of the network. Versions of the library use different HTTP clients, which raise different
    errors; an OSError with an errno is about the disk."""
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return False
    return isinstance(error, OSError) or library in ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests")


def _progress_class(advance: Callable[[float, str], None], name: str) -> type[Any]:
    """What the library takes for its bar, passing the bytes on."""
    from huggingface_hub.utils.tqdm import tqdm

    class Forward(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **(options | {"disable": True}))  # type: ignore[no-untyped-call]  # tqdm is untyped
            advance(float(options.get("initial") or 0), name)

        def update(self, n: float | None = 1) -> bool | None:
            advance(float(n or 0), name)
            return None

    return Forward
