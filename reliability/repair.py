"""What an attacker does after changing a file: every checksum outside is computed again, so that only inner checks
are left to find the change."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

from golfpipe.codec.container import PAYLOAD_MAGIC
from golfpipe.store.canonical import digest_of
from golfpipe.store.manifest import MANIFEST_NAME, timeless

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 23, "lc": 3, "lp": 0, "pb": 2}]


def repair_folder(folder: Path, changed: Path | None) -> None:
    """Write the sha256 and size of `changed` into the manifest, then digest and checksum. Does nothing where the
    manifest is no JSON object any more."""
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_bytes())
        if changed is not None:
            content = changed.read_bytes()
            entry = manifest["files"][changed.relative_to(folder).as_posix()]
            entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        path.write_bytes(json.dumps(resealed(manifest)).encode())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return


def resealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the digest and checksum that belong to what it says."""
    named = {
        "kind": manifest["kind"],
        "version": manifest["kind_version"],
        "files": {name: entry["sha256"] for name, entry in manifest["files"].items() if entry["content"]},
        "model": manifest["model"],
        "metrics": timeless(manifest["metrics"]),
    }
    whole = {key: value for key, value in manifest.items() if key != "checksum"} | {"digest": digest_of(named)}
    return whole | {"checksum": digest_of(whole)}


def payload_parts(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """(version and coder, header as JSON, streams) of a sound payload."""
    length = int.from_bytes(payload[42:46], "little")
    return (
        payload[8:10],
        lzma.decompress(payload[46 : 46 + length], lzma.FORMAT_RAW, filters=FILTERS),
        payload[46 + length :],
    )


def payload_of(front: bytes, header: bytes, streams: bytes) -> bytes:
    """Put together again, with its digest."""
    packed = lzma.compress(header, lzma.FORMAT_RAW, filters=FILTERS)
    return payload_with_digest(front, len(packed).to_bytes(4, "little") + packed + streams)


def payload_with_digest(front: bytes, body: bytes) -> bytes:
    return PAYLOAD_MAGIC + front + hashlib.sha256(front + body).digest() + body
