"""Files of a kilobyte or so that declare, or decompress to, a gigabyte and more: each is refused before the memory is
asked for.

python -m reliability bombs --count 50
"""

from __future__ import annotations

import io
import json
import lzma
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from golfpipe.cli.failure import Mode, _as_golfpipe_error, show_failure
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.data.shard_format import SHARD_MAGIC
from golfpipe.store.tensors import tensors_to_bytes
from reliability import repair
from reliability.confined import SECONDS, Peak, run_confined
from reliability.specimens import SmallRun, build, working_in
from reliability.subjects import Subject, silence, subjects

GIGABYTE = 1 << 30
MEMORY_BYTES = 100_000_000
"""Over the baseline; a bomb that goes off asks for ten times that."""
MODE = Mode(json=False, quiet=True, verbose=False)

Bomb = tuple[str, str, str, Callable[[bytes], bytes]]
"""What it is, the subject, the file, from the sound content to the bomb."""


def run(count: int, seed: int) -> dict[str, Any]:
    """All bombs, or the first `count` of them."""
    torch.set_num_threads(1)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        return run_on(build(Path(name).resolve()), all_bombs()[:count])


def run_on(small: SmallRun, bombs: list[Bomb]) -> dict[str, Any]:
    """The same on a run that is there; every file is put back."""
    with working_in(small.folder):
        found = {subject.name: subject for subject in subjects(small)}
        for subject in found.values():  # so that what a first call loads is no part of a bomb
            for read in subject.readers.values():
                with silence():
                    read()
        made = [_content(bomb, found) for bomb in bombs]
        peak, failures, rows = Peak(), [], []

        def case(index: int) -> tuple[str, float]:
            return _explode(bombs[index], made[index], found)

        for done in run_confined(case, len(bombs), peak, memory_bytes=MEMORY_BYTES):
            name = bombs[done.index][0]
            outcome, seconds = done.value or (f"died: {done.died}", 0.0)
            size = len(made[done.index])
            shown = outcome.replace(str(small.folder), "...")[:200]
            rows.append({"bomb": name, "bytes": size, "seconds": round(seconds, 3), "outcome": shown})
            if not outcome.startswith(("exit 2", "exit 3", "harmless")) or seconds > SECONDS:
                failures.append(f"{name}: {outcome} after {seconds:.1f} s")
    return {"bombs": rows, "failures": failures, "peak_bytes_over_baseline": peak.bytes}


def _content(bomb: Bomb, found: dict[str, Subject]) -> bytes:
    """The bomb itself, made outside of the confinement."""
    _, name, file, make = bomb
    return make(b"" if name == "--set" else _path(found[name], file).read_bytes())


def _path(subject: Subject, file: str) -> Path:
    return next(path for path in subject.files if path.name == file)


def _explode(bomb: Bomb, content: bytes, found: dict[str, Subject]) -> tuple[str, float]:
    """(what became of it, seconds of the slowest reader)."""
    _, name, file, _ = bomb
    if name == "--set":
        override = "model.rope_base=" + content.decode()
        return _timed(lambda: resolve_config(load_stages(), overrides=[override]))
    subject = found[name]
    path = _path(subject, file)
    before = path.read_bytes()
    manifest = subject.folder / "manifest.json"
    sealed = manifest.read_bytes() if manifest.is_file() else None
    path.write_bytes(content)
    try:
        if sealed is not None:
            repair.repair_folder(subject.folder, path if path != manifest else None)
        timed = [_timed(read) for key, read in subject.readers.items() if key != "plan"]
    finally:
        path.write_bytes(before)
        if sealed is not None:
            manifest.write_bytes(sealed)
    # One reader at least must refuse it; no other may go off.
    outcomes, slowest = [text for text, _ in timed], max(seconds for _, seconds in timed)
    bad = [text for text in outcomes if not text.startswith(("exit 2", "exit 3", "taken in"))]
    refused = [text for text in outcomes if text.startswith("exit")]
    return (bad or refused or ["harmless"])[0], slowest


def _timed(read: Callable[[], Any]) -> tuple[str, float]:
    started = time.process_time()
    return _outcome(read), time.process_time() - started


def _outcome(read: Callable[[], Any]) -> str:
    try:
        with silence():
            read()
    except BaseException as error:
        known = _as_golfpipe_error(error, Mode.of(["audit"]))
        if known is None:
            return f"traceback {type(error).__name__}: {error}"
        with silence():
            return f"exit {show_failure(error, MODE)}: {known.message}"
    return "taken in"


# ---- the bombs --------------------------------------------------------------------------------------------------


def all_bombs() -> list[Bomb]:
    return [*_payload_bombs(), *_safetensors_bombs(), *_checkpoint_bombs(), *_text_bombs(), *_other_bombs()]


def lzma_bomb(num_bytes: int) -> bytes:
    """An LZMA2 stream of zeros: one chunk of 2 MB, which resets everything, again and again."""
    chunk = lzma.compress(bytes(1 << 21), lzma.FORMAT_RAW, filters=repair.FILTERS)[:-1]
    return chunk * (num_bytes >> 21) + b"\x00"


def _payload_bombs() -> list[Bomb]:
    def wrapped(change: Callable[[bytes, Any, bytes], bytes]) -> Callable[[bytes], bytes]:
        def make(content: bytes) -> bytes:
            payload = content[8 + int.from_bytes(content[:8], "little") :]
            front, header, streams = repair.payload_parts(payload)
            changed = change(front, json.loads(header), streams)
            return tensors_to_bytes({"payload": torch.frombuffer(bytearray(changed), dtype=torch.uint8)})

        return make

    def header(edit: Callable[[Any], None]) -> Callable[[bytes], bytes]:
        def change(front: bytes, parsed: Any, streams: bytes) -> bytes:
            edit(parsed)
            text = json.dumps(parsed, sort_keys=True, separators=(",", ":"))
            return repair.payload_of(front, text.encode(), streams)

        return wrapped(change)

    def body(front: bytes, content: bytes) -> bytes:
        return repair.payload_with_digest(front, content)

    def length(front: bytes, parsed: Any, streams: bytes) -> bytes:
        return body(front, b"\xff\xff\xff\xff" + streams)

    def bomb_header(front: bytes, parsed: Any, streams: bytes) -> bytes:
        packed = lzma_bomb(GIGABYTE)
        return body(front, len(packed).to_bytes(4, "little") + packed)

    def nibble_stream(front: bytes, parsed: Any, streams: bytes) -> bytes:
        """The first tensor's first stream decompresses to a gigabyte instead of its few bytes."""
        packed = lzma_bomb(GIGABYTE)
        lengths = parsed["tensors"][0][3]
        rest = streams[lengths[0] :]
        lengths[0] = len(packed)
        return repair.payload_of(
            front, json.dumps(parsed, sort_keys=True, separators=(",", ":")).encode(), packed + rest
        )

    def shape(value: list[int]) -> Callable[[Any], None]:
        return lambda parsed: parsed["tensors"][0].__setitem__(1, value)

    def model(**values: Any) -> Callable[[Any], None]:
        return lambda parsed: parsed["model"].update(values)

    def many(parsed: Any) -> None:
        parsed["tensors"] += [[f"x{i}", [1 << 22], 4, [2, 2, 2]] for i in range(300)]

    file = "packed.safetensors"
    found: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("payload header length 4 GB", wrapped(length)),
        ("payload header of 1 GB when decompressed", wrapped(bomb_header)),
        ("payload tensor of 2^40 values", header(shape([1 << 40]))),
        ("payload tensor of 2^30 values", header(shape([1 << 15, 1 << 15]))),
        ("payload tensor of 2^320 values", header(shape([1 << 40] * 8))),
        ("payload tensor of 10^30 values", header(shape([10**30]))),
        ("payload with 300 tensors of 4 M values", header(many)),
        ("payload model 65536 wide", header(model(model_dim=65536))),
        ("payload model of 10^9 layers", header(model(num_layers=10**9))),
        ("payload model of 1024 layers 65536 wide", header(model(num_layers=1024, model_dim=65536, kv_sharing="none"))),
        ("payload model with an MLP ratio of 1e300", header(model(mlp_ratio=1e300))),
        ("payload model with 2^62 buckets", header(model(bigram_buckets=1 << 62))),
        ("payload stream lengths of 2^40", header(lambda parsed: parsed["tensors"][0].__setitem__(3, [1 << 40] * 3))),
        ("payload name of 3 MB", header(lambda parsed: parsed["tensors"][0].__setitem__(0, "x" * 3_000_000))),
    ]
    bombs: list[Bomb] = [(what, "pack", file, make) for what, make in found]
    bombs += [(f"{what}, trellis codes", "pack-trellis", file, make) for what, make in found[2:5]]
    bombs.append(("nibble stream of 1 GB when decompressed", "pack-nibble", file, wrapped(nibble_stream)))
    return bombs


def _safetensors_bombs() -> list[Bomb]:
    def raw(length: int) -> Callable[[bytes], bytes]:
        return lambda content: struct.pack("<Q", length) + content[8:]

    def header(edit: Callable[[Any], None]) -> Callable[[bytes], bytes]:
        def make(content: bytes) -> bytes:
            size = int.from_bytes(content[:8], "little")
            parsed = json.loads(content[8 : 8 + size])
            edit(next(iter(value for key, value in parsed.items() if key != "__metadata__")))
            text = json.dumps(parsed).encode()
            return struct.pack("<Q", len(text)) + text + content[8 + size :]

        return make

    def deep(content: bytes) -> bytes:
        text = b'{"x":' + b"[" * 500_000 + b"]" * 500_000 + b"}"
        return struct.pack("<Q", len(text)) + text

    def deep_metadata(content: bytes) -> bytes:
        text = json.dumps({"__metadata__": {"golfpipe": "[" * 400_000}}).encode()
        return struct.pack("<Q", len(text)) + text

    file = "ema.safetensors"
    found = [
        ("safetensors header of 2^63 bytes", raw(1 << 63)),
        ("safetensors header of 2^62 bytes", raw(1 << 62)),
        ("safetensors header of 4 GB", raw(1 << 32)),
        ("safetensors header of 99 MB", raw(99_000_000)),
        ("safetensors shape [2^62]", header(lambda entry: entry.update(shape=[1 << 62]))),
        ("safetensors shape [2^31, 2^33]", header(lambda entry: entry.update(shape=[1 << 31, 1 << 33]))),
        ("safetensors shape [0, 2^62]", header(lambda entry: entry.update(shape=[0, 1 << 62]))),
        ("safetensors offsets up to 2^50", header(lambda entry: entry.update(data_offsets=[0, 1 << 50]))),
        ("safetensors header nested 500,000 deep", deep),
    ]
    return [
        *((what, "train", file, make) for what, make in found),
        ("safetensors metadata nested 400,000 deep", "quantize", "quantized.safetensors", deep_metadata),
    ]


def _checkpoint_bombs() -> list[Bomb]:
    def rezipped(
        change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
    ) -> Callable[[bytes], bytes]:
        def make(content: bytes) -> bytes:
            out = io.BytesIO()
            with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w", compression) as target:
                for info in source.infolist():
                    target.writestr(info.filename, change(info.filename, source.read(info)))
            return out.getvalue()

        return make

    def compressed(name: str, data: bytes) -> bytes:
        return bytes(256 << 20) if name.endswith("/data/0") else data  # deflated to 250 KB

    def pickled(data: bytes) -> Callable[[bytes], bytes]:
        return rezipped(lambda name, old: data if name.endswith("data.pkl") else old)

    def declared(content: bytes) -> bytes:
        """The central directory says 4 GB for the first tensor."""
        start = content.find(b"PK\x01\x02")
        start = content.find(b"PK\x01\x02", start + 4)
        return content[: start + 24] + b"\xf0\xff\xff\xff" + content[start + 28 :]

    def legacy(content: bytes) -> bytes:
        out = io.BytesIO()
        torch.save({"tok_emb.weight": torch.zeros(4, 4)}, out, _use_new_zipfile_serialization=False)
        return out.getvalue().replace(b"\x10\x00\x00\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x01\x00\x00\x00")

    def view(content: bytes) -> bytes:
        out = io.BytesIO()
        torch.save({"tok_emb.weight": torch.zeros(1).expand(1 << 20, 1 << 12)}, out)
        return out.getvalue()

    doubling = b"\x80\x02}" + b"K\x01" + b"".join(b"\x85q%c0h%ch%c\x86" % (i, i, i) for i in range(40))
    found = [
        ("checkpoint entry of 256 MB, deflated", rezipped(compressed, zipfile.ZIP_DEFLATED)),
        ("checkpoint entry that declares 4 GB", declared),
        ("checkpoint in the old format", legacy),
        ("checkpoint with a view of 4 G values on one", view),
        ("checkpoint pickle that declares a 4 GB string", pickled(b"\x80\x02B\xff\xff\xff\x7f" + b"x" * 20)),
        (
            "checkpoint pickle that declares a 2^60-byte string",
            pickled(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x"),
        ),
        ("checkpoint pickle that declares a 2 GB number", pickled(b"\x80\x02\x8b\xff\xff\xff\x7f" + b"x" * 20)),
        ("checkpoint pickle nested 50,000 deep", pickled(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")),
        ("checkpoint pickle with a key of 2^40 parts", pickled(doubling + b"K\x01s.")),
        ("checkpoint pickle with a memo index of 2^31", pickled(b"\x80\x02}r\xff\xff\xff\x7f.")),
    ]
    return [(what, "final_model.pt", "final_model.pt", make) for what, make in found]


def _text_bombs() -> list[Bomb]:
    aliases = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    file = "stages.yaml"
    return [
        ("YAML aliases that double 40 times", "stages.yaml", file, lambda _: aliases.encode()),
        ("YAML nested 20,000 deep", "stages.yaml", file, lambda _: b"[" * 20_000),
        ("YAML block nested 400 deep", "stages.yaml", file, lambda _: b"".join(b" " * i + b"x:\n" for i in range(400))),
        ("YAML number of 60,000 digits", "stages.yaml", file, lambda _: b"defaults: " + b"9" * 60_000),
        ("YAML of 2 MB", "stages.yaml", file, lambda _: b"# x\n" * 500_000),
        ("YAML merge keys", "stages.yaml", file, lambda _: b"defaults: {<<: &a {<<: *a}}"),
        ("--set with a list nested 50,000 deep", "--set", "", lambda _: b"[" * 50_000),
        ("--set 1e999999999", "--set", "", lambda _: b"1e999999999"),
        ("manifest nested 200,000 deep", "train", "manifest.json", lambda _: b'{"a":' * 200_000),
        ("manifest number of 900,000 digits", "train", "manifest.json",
         lambda _: b'{"schema":' + b"9" * 900_000 + b"}"),
        ("manifest of 40 MB", "train", "manifest.json", lambda _: b" " * 40_000_000),
        ("manifest that declares a file of 2^60 bytes", "train", "manifest.json", _declare_size),
        ("training log nested 300,000 deep", "training log", "log.jsonl", lambda _: b"[" * 300_000),
        ("training log of 300 MB of zeros", "training log", "log.jsonl", lambda _: bytes(300_000_000)),
        ("JSON line of text nested 300,000 deep", "texts", "texts.jsonl", lambda _: b'{"text":' * 300_000),
        ("sweep results nested 300,000 deep", "sweep results", "results.jsonl", lambda _: b"[" * 300_000),
        ("submission.json nested 300,000 deep", "records folder", "submission.json", lambda _: b"[" * 300_000),
        ("submission.json with a number of 100,000 digits", "records folder", "submission.json",
         lambda _: b'{"val_bpb":' + b"9" * 100_000 + b"}"),
        ("records log of 100 MB", "records folder", "train_seed1337.log", lambda _: b"val_bpb:" * 12_500_000),
        ("script that extracts 1 GB", "records folder", "train_gpt.py",
         lambda _: b"import lzma\nexec(lzma.decompress(" + repr(lzma_bomb(GIGABYTE)[:200_000]).encode() + b"))"),
    ]  # fmt: skip


def _declare_size(content: bytes) -> bytes:
    manifest = json.loads(content)
    manifest["files"]["ema.safetensors"]["bytes"] = 1 << 60
    return json.dumps(repair.resealed(manifest)).encode()


def _other_bombs() -> list[Bomb]:
    def count(tokens: int) -> Callable[[bytes], bytes]:
        return lambda content: struct.pack("<iii", SHARD_MAGIC, 1, tokens) + content[12:]

    def charsmap(size: int) -> Callable[[bytes], bytes]:
        """The normalizer's table declares a trie of that size."""

        def make(content: bytes) -> bytes:
            start = content.find(b"nmt_nfkc\x12")
            if start < 0:
                return content[:-4] + b"\xff" * 4
            start += 9
            while content[start] & 0x80:
                start += 1
            return content[: start + 1] + struct.pack("<I", size) + content[start + 5 :]

        return make

    shard, model = "val_000000.bin", "tokenizer.model"
    return [
        ("shard that declares 2^31 - 1 tokens", "shards", shard, count(2**31 - 1)),
        ("shard that declares -1 tokens", "shards", shard, count(-1)),
        ("shard that declares 2^30 tokens, header alone", "shards", shard,
         lambda content: count(1 << 30)(content)[:1024]),
        ("tokenizer with a field of 2 GB", "tokenizer", model, lambda _: b"\x0a\xff\xff\xff\xff\x07" + b"x" * 100),
        ("tokenizer with a field of 2^63 bytes", "tokenizer", model,
         lambda _: b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        ("tokenizer whose trie declares 4 GB", "tokenizer", model, charsmap(0xFFFFFFFC)),
        ("tokenizer whose trie declares 1 GB", "tokenizer", model, charsmap(GIGABYTE)),
        ("tokenizer of nested groups", "tokenizer", model, lambda _: b"\x0b" * 100_000),
        ("tokenizer of a million empty pieces", "tokenizer", model, lambda content: content + b"\x0a\x00" * 1_000_000),
    ]  # fmt: skip
