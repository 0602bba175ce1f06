"""A dataset repository of the Hugging Face hub on the loopback interface: info, tree, and files with ranges.

Troubles can be planned: a transfer that breaks off in the middle, or one whose bytes are altered.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

REPOSITORY = "someone/shards"
PLAIN_GIT = (".json", ".model")
"""Files that are not LFS, so that the hub knows only git's name of them."""


class FakeHub:
    """`files`: path -> content of the newest commit. Counts requests by what they ask for.
    `repository`: None is any."""

    def __init__(self, files: dict[str, bytes], repository: str | None = REPOSITORY) -> None:
        self.repository = repository
        self.commits = {"a" * 40: dict(files)}
        self.newest = "a" * 40
        self.break_off: Counter[str] = Counter()
        """Name of a file -> how many of its next transfers end in the middle."""
        self.alter: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        """Bytes of each file that were sent."""
        self.url = ""

    def commit(self, files: dict[str, bytes], sha: str) -> None:
        self.commits[sha] = dict(files)
        self.newest = sha

    def resolve(self, revision: str) -> str | None:
        return self.newest if revision == "main" else revision if revision in self.commits else None


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            named = "/".join(path.removeprefix("/api").removeprefix("/datasets/").split("/")[:2])
            repository = hub.repository or named
            info, tree = f"/api/datasets/{repository}", f"/api/datasets/{repository}/tree/"
            files = f"/datasets/{repository}/resolve/"
            if path.startswith(tree):
                self._tree(path.removeprefix(tree).split("/")[0])
            elif path == info or path.startswith(f"{info}/revision/"):
                self._info(path.removeprefix(f"{info}/revision/") if path != info else "main")
            elif path.startswith(files):
                revision, _, name = path.removeprefix(files).partition("/")
                self._file(revision, name, body=body)
            else:
                self._error("RepoNotFound")

        def _info(self, revision: str) -> None:
            hub.requests["info"] += 1
            sha = hub.resolve(revision)
            if sha is None:
                self._error("RevisionNotFound")
            else:
                self._json(
                    {
                        "id": hub.repository or "any/one",
                        "sha": sha,
                        "siblings": [],
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                    }
                )

        def _tree(self, revision: str) -> None:
            hub.requests["tree"] += 1
            sha = hub.resolve(revision)
            if sha is None:
                self._error("RevisionNotFound")
                return
            entries: list[dict[str, Any]] = [{"type": "directory", "path": "datasets", "oid": "0" * 40, "size": 0}]
            entries += [_entry(path, content) for path, content in hub.commits[sha].items()]
            self._json(entries)

        def _file(self, revision: str, name: str, *, body: bool) -> None:
            sha = hub.resolve(revision)
            content = hub.commits.get(sha or "", {}).get(name)
            if sha is None or content is None:
                self._error("EntryNotFound")
                return
            short = name.rpartition("/")[2]
            start = 0
            wanted = self.headers.get("Range")
            if wanted:
                start = int(wanted.removeprefix("bytes=").rstrip("-").split("-")[0])
            self.send_response(206 if wanted else 200)
            self.send_header("X-Repo-Commit", sha)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content) - start))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if not body:
                return
            hub.requests[short] += 1
            rest = content[start:]
            if hub.alter[short] > 0:
                hub.alter[short] -= 1
                rest = rest[:-1] + bytes([rest[-1] ^ 1])
            if hub.break_off[short] > 0:
                hub.break_off[short] -= 1
                rest = rest[: len(rest) // 2]
                self.close_connection = True
            hub.sent[short] += len(rest)
            self.wfile.write(rest)

        def _json(self, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _error(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def _entry(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if not path.endswith(PLAIN_GIT):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
    return entry
