"""Known vulnerabilities of the pinned packages, without a network: requirements.lock against a
copy of the OSV database.

python -m benchmarks.advisories all.zip                       # the zip of the PyPI ecosystem that osv.dev publishes
python -m benchmarks.advisories records/ --lock other.lock    # or a folder of its JSON records
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]


def pins(lock: str) -> dict[str, Version]:
    """Normalized name -> version of a lock file's text."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE)
    return {_normalized(name): Version(version) for name, version in found}


def affecting(record: dict[str, Any], pinned: dict[str, Version]) -> Iterator[str]:
    """Names of pinned packages that the OSV record is about, in the version that is pinned."""
    if record.get("withdrawn"):
        return
    for affected in record.get("affected", []):
        package = affected.get("package", {})
        name = _normalized(package.get("name", ""))
        if package.get("ecosystem") == "PyPI" and name in pinned and _is_affected(affected, pinned[name]):
            yield name


def _is_affected(affected: dict[str, Any], version: Version) -> bool:
    # A local label, as of a build without CUDA, is the same source.
    public = Version(version.public)
    listed = {parsed for text in affected.get("versions", []) if (parsed := _parsed(text)) is not None}
    return public in listed or any(
        _within(part["events"], public) for part in affected.get("ranges", []) if part.get("type") == "ECOSYSTEM"
    )


def _within(events: list[dict[str, str]], version: Version) -> bool:
    """Whether the last event at or before the version leaves it affected."""
    inside = False
    known = [(kind, _parsed(text)) for event in events for kind, text in event.items()]
    for kind, at in sorted(((k, v) for k, v in known if v is not None), key=lambda event: event[1]):
        if kind == "introduced" and at <= version:
            inside = True
        elif (kind == "fixed" and at <= version) or (kind == "last_affected" and at < version):
            inside = False
    return inside


def _parsed(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def records(database: Path) -> Iterator[dict[str, Any]]:
    """The OSV records of a zip, or of a folder."""
    if database.is_dir():
        yield from (json.loads(path.read_bytes()) for path in sorted(database.rglob("*.json")))
        return
    with zipfile.ZipFile(database) as archive:
        yield from (json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    options = parser.parse_args()
    pinned = pins(options.lock.read_text())
    count, hits = 0, []
    for record in records(options.database):
        count += 1
        hits += [
            f"{name} {pinned[name]}: {record['id']} {record.get('summary', '')}" for name in affecting(record, pinned)
        ]
    print(*hits, sep="\n")
    print(f"{len(pinned)} packages, {count} records, {len(hits)} findings")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main())
