"""Notice shards that change while they are in use: what was computed from them would name data that it did not see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from golfpipe.errors import ArtifactError
from golfpipe.store.artifact import Artifact

_Identity = tuple[int, int, int, int]


class ShardWatch:
    """The shards of token data as they are when it is made, which must be before their content is checked."""

    def __init__(self, data: Artifact, hint: str) -> None:
        """`hint` says what to do about a shard that changed."""
        self._data, self._hint = data, hint
        names = [name for name in data.manifest.files if name.endswith(".bin")]
        self._seen = {name: identity for name in names if (identity := _identity(data.path_of(name))) is not None}

    def leave_out(self, names: Iterable[str]) -> None:
        """Watch these shards no longer, because nothing is read from them."""
        for name in names:
            self._seen.pop(name, None)

    def check(self) -> None:
        """Compare inode, size and times of every shard with those at first. Raises ArtifactError for one that was
        written or replaced since. One that cannot be seen just now is left to its reader."""
        for name, before in self._seen.items():
            now = _identity(self._data.path_of(name))
            if now is None or now == before:
                continue
            # A new mode, owner or hard link changes the last of the times alone, and so does whoever sets the others
            # back after writing: the content decides.
            if now[:3] != before[:3] or not self._is_intact(name):
                raise self._changed(name)
            self._seen[name] = now

    def verify(self) -> None:
        """Check the shards as `check` does, and then their content. Raises ArtifactError."""
        self.check()
        for name in self._seen:
            if not self._is_intact(name):
                raise self._changed(name)

    def _changed(self, name: str) -> ArtifactError:
        path = str(self._data.path_of(name))
        return ArtifactError(f"{path}: was changed while it was in use", hint=self._hint, path=path)

    def _is_intact(self, name: str) -> bool:
        try:
            self._data.file(name)
        except ArtifactError:
            return False
        return True


def _identity(path: Path) -> _Identity | None:
    """Return inode, size, and the times of the last change of content and of anything; None where nothing is there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
