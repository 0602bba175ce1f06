"""Seeded damage to files: what bits, bytes, JSON and tensor headers can be turned into. Pure functions over bytes."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any

Edit = tuple[bytes, str]
"""The mutant, and what was done in words."""

HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 10**30)
_JUNK: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, *HUGE, "", "x", "0", "nan", "../../etc/passwd", "/etc/passwd",
    "a\x00b", "\ud800", "\u2581", "x" * 3000, [], {}, [[]], [None], {"": 0}, {"a": {"b": []}}, [0] * 300,
)  # fmt: skip


class _Raw(str):
    """Text that goes into the JSON as it is."""


class _Pairs(list):  # type: ignore[type-arg]
    """An object with its keys as they come, repeated ones too."""


_RAW_JUNK = tuple(
    _Raw(text)
    for text in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "01", "+1", "'a'",
                 "[" * 3000 + "]" * 3000, "nul", "1.", "tru", '"\\u12"', '{"a":1,"a":2}', "1e400000", "")
)  # fmt: skip


def damage_bytes(rng: random.Random, content: bytes) -> Edit:
    """Bit flips, truncation, extension, and whatever disks, networks and editors do."""
    kind = rng.choice(_BYTE_KINDS)
    return kind(rng, content), kind.__name__.removeprefix("_").replace("_", " ")


def _flip_a_bit(rng: random.Random, content: bytes) -> bytes:
    return _flipped(rng, content, 1)


def _flip_bits(rng: random.Random, content: bytes) -> bytes:
    return _flipped(rng, content, rng.randint(2, 16))


def _flipped(rng: random.Random, content: bytes, count: int) -> bytes:
    changed = bytearray(content or b"\x00")
    for _ in range(count):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_a_bit_of_the_front(rng: random.Random, content: bytes) -> bytes:
    front = min(len(content), 64)
    return _flipped(rng, content[:front], 1) + content[front:]


def _truncate(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))] if content else b""


def _empty(rng: random.Random, content: bytes) -> bytes:
    return b""


def _extend(rng: random.Random, content: bytes) -> bytes:
    return content + rng.choice(
        (b"\x00" * rng.randint(1, 64), rng.randbytes(rng.randint(1, 64)), content[-32:], b"\n{}\n")
    )


def _extend_the_front(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((b"\xef\xbb\xbf", b"\x00", b"\n", rng.randbytes(8))) + content


def _cut_a_slice(rng: random.Random, content: bytes) -> bytes:
    start, end = _slice(rng, content)
    return content[:start] + content[end:]


def _repeat_a_slice(rng: random.Random, content: bytes) -> bytes:
    start, end = _slice(rng, content)
    return content[:end] + content[start:end] + content[end:]


def _zero_a_slice(rng: random.Random, content: bytes) -> bytes:
    start, end = _slice(rng, content)
    return content[:start] + bytes(end - start) + content[end:]


def _random_slice(rng: random.Random, content: bytes) -> bytes:
    start, end = _slice(rng, content)
    return content[:start] + rng.randbytes(end - start) + content[end:]


def _all_random(rng: random.Random, content: bytes) -> bytes:
    return rng.randbytes(len(content))


def _huge_number(rng: random.Random, content: bytes) -> bytes:
    """A length field, wherever it is, that declares more than there is."""
    number = struct.pack("<Q", rng.choice(HUGE) & (2**64 - 1))[: rng.choice((4, 8))]
    start = rng.randrange(min(len(content), 4096) + 1)
    return content[:start] + number + content[start + len(number) :]


def _nan_values(rng: random.Random, content: bytes) -> bytes:
    value = struct.pack(rng.choice(("<f", "<d")), rng.choice((float("nan"), float("inf"), float("-inf"))))
    start = rng.randrange(len(content) + 1) // 4 * 4
    return content[:start] + value + content[start + len(value) :]


def _slice(rng: random.Random, content: bytes) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 2, 4, 16, 256, 4096)))


_BYTE_KINDS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip_a_bit, _flip_a_bit, _flip_bits, _flip_a_bit_of_the_front, _truncate, _empty, _extend, _extend_the_front,
    _cut_a_slice, _repeat_a_slice, _zero_a_slice, _random_slice, _all_random, _huge_number, _nan_values,
)  # fmt: skip


def edit_json(rng: random.Random, content: bytes) -> tuple[bytes, str, str]:
    """(mutant, what was done, the path of keys to where): a key removed, renamed or repeated, a
    value of another kind."""
    value = copy.deepcopy(json.loads(content))
    parent, key, path = _pick(rng, value)
    if parent is None:
        return _dumped(rng.choice(_JUNK)).encode(errors="surrogatepass"), "replace everything", ""
    action = rng.choice(("remove", "rename", "repeat", "value", "value", "value", "raw", "nudge", "add"))
    where = ".".join(str(part) for part in path)
    if action == "raw":
        parent[key] = rng.choice(_RAW_JUNK)
    elif action == "nudge":
        parent[key] = _nudged(rng, parent[key])
    elif action == "add" and isinstance(parent, dict):
        parent[rng.choice(("x", "", "__metadata__", str(key) + "2"))] = rng.choice(_JUNK)
    elif action == "remove":
        del parent[key]
    elif action == "rename" and isinstance(parent, dict):
        renamed = rng.choice((str(key) + "x", str(key)[:-1], "", str(key).upper()))
        parent[renamed] = parent.pop(key)
    elif action == "repeat" and isinstance(parent, dict):
        return _dumped_with_repeat(value, parent, key).encode(errors="surrogatepass"), "repeat a key", where
    else:
        action = "value"
        parent[key] = rng.choice(_JUNK)
    return (
        _dumped(value).encode(errors="surrogatepass"),
        f"{action} a key" if action != "value" else "replace a value",
        where,
    )


def edit_tensors(rng: random.Random, content: bytes) -> tuple[bytes, str, str]:
    """The same for a safetensors file: in its header, with a correct length, or in the values of one tensor."""
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    entry = header[name]
    action = rng.choice(("rename", "drop", "add", "dtype", "shape", "offsets", "swap", "nan", "values", "json", "huge"))
    if action == "rename":
        header[rng.choice((name + "x", name.upper(), "", "../" + name, name.replace(".", "_")))] = header.pop(name)
    elif action == "drop":
        del header[name]
    elif action == "add":
        header["extra"] = {"dtype": "U8", "shape": [4], "data_offsets": [len(body), len(body) + 4]}
        body += b"\x00" * 4
    elif action == "dtype":
        entry["dtype"] = rng.choice(
            ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "F8_E4M3", "C64", "X")
        )
    elif action == "shape":
        shape = entry["shape"]
        entry["shape"] = rng.choice((shape[::-1], [*shape, 1], [1, *shape], [], [0], [-1], shape[:-1]))
    elif action == "offsets":
        start, end = entry["data_offsets"]
        entry["data_offsets"] = rng.choice(([start, end + 4], [start + 4, end], [end, start], [0, 0], [start, 2**63]))
    elif action == "huge":
        entry["shape"] = [rng.choice(HUGE), *entry["shape"][1:]]
    elif action == "swap" and len(names) > 1:
        other = rng.choice([found for found in names if found != name])
        header[name], header[other] = header[other], header[name]
    elif action == "nan":
        start, end = entry["data_offsets"]
        body = body[:start] + b"\xff" * (end - start) + body[end:]
    elif action == "values":
        start, end = entry["data_offsets"]
        body = body[:start] + rng.randbytes(end - start) + body[end:]
    else:
        text, done, where = edit_json(rng, json.dumps(header).encode())
        return len(text).to_bytes(8, "little") + text + body, f"header: {done}", where
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body, f"tensor: {action}", name


def edit_lines(rng: random.Random, content: bytes) -> Edit:
    """JSON lines or YAML: lines dropped, repeated, swapped, edited."""
    lines = content.split(b"\n")
    number = rng.randrange(len(lines))
    action = rng.choice(("drop", "repeat", "swap", "json", "junk", "indent"))
    if action == "drop":
        del lines[number]
    elif action == "repeat":
        lines.insert(number, lines[number])
    elif action == "swap":
        other = rng.randrange(len(lines))
        lines[number], lines[other] = lines[other], lines[number]
    elif action == "indent":
        lines[number] = b" " * rng.randint(1, 4) + lines[number]
    elif action == "json" and lines[number].startswith(b"{"):
        lines[number] = edit_json(rng, lines[number])[0]
    else:
        junk = (b"\x00", b"\xff\xfe", b"[" * 3000, b"{}", b"null", b"&a [*a]", b"!!python/object/apply:os.system [id]",
                b"<<: *x", b"? !!set", b"%YAML 9.9", b"- - - -", b"a: b: c", b"9" * 5000, b"\t\tx: 1",
                b"---")  # fmt: skip
        lines.insert(number, rng.choice(junk))
    return b"\n".join(lines), f"{action} a line"


def _pick(rng: random.Random, value: Any) -> tuple[Any, Any, list[Any]]:
    """A random place in the tree: its parent, its key there, the path. (None, None, []) where there is none."""
    parent, key, path = None, None, []
    node = value
    while isinstance(node, dict | list) and node:
        step = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        parent, key = node, step
        path.append(step)
        node = node[step]
        if rng.random() < 0.35:
            break
    return parent, key, path


def _nudged(rng: random.Random, value: Any) -> Any:
    """Nearly the same: what a wrong digit or letter makes of it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 10))
    if isinstance(value, float):
        return value * rng.choice((0.5, 1.0001, -1.0))
    if isinstance(value, str) and value:
        place = rng.randrange(len(value))
        return value[:place] + rng.choice("abz09-_/") + value[place + 1 :]
    if isinstance(value, list) and value:
        return [*value, value[rng.randrange(len(value))]]
    return 0


def _dumped_with_repeat(root: Any, target: Any, key: Any) -> str:
    """`root` as JSON in which `target`, one of its objects, has `key` twice."""

    def rebuilt(node: Any) -> Any:
        if isinstance(node, dict):
            pairs = _Pairs((name, rebuilt(value)) for name, value in node.items())
            return _Pairs([*pairs, (key, rebuilt(node[key]))]) if node is target else pairs
        return [rebuilt(item) for item in node] if isinstance(node, list) else node

    return _dumped(rebuilt(root))


def _dumped(value: Any) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{_dumped(item)}" for key, item in value) + "}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_dumped(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_dumped(item) for item in value) + "]"
    return json.dumps(value)
