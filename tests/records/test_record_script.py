"""Scripts are told apart, unpacked within bounds for reading, and never run."""

from __future__ import annotations

import base64
import json
import lzma
import zlib
from pathlib import Path

import brotli
import pytest
from records_folders import RECORD, Case, log, write

from golfpipe.cli.app import main
from golfpipe.config.schema import build_config
from golfpipe.records.hints import find_hints
from golfpipe.records.script import look_at_scripts
from golfpipe.records.unpacking import MOST_SOURCE
from golfpipe.script.generate import generate_script, script_settings_of

SOURCE = "".join(f"def function_{n}(x):\n    return x * {n} + {n * n}\n" for n in range(200))
RAW = {"format": lzma.FORMAT_RAW, "filters": [{"id": lzma.FILTER_LZMA2, "preset": 9}]}


def base92(data: bytes) -> str:
    """13 bits in two of 91 characters."""
    alphabet = "!" + "".join(map(chr, range(35, 96))) + "".join(map(chr, range(97, 126)))
    bits = "".join(f"{byte:08b}" for byte in data)
    out = ""
    while len(bits) >= 13:
        value, bits = int(bits[:13], 2), bits[13:]
        out += alphabet[value // 91] + alphabet[value % 91]
    if 0 < len(bits) < 7:
        return out + alphabet[int(bits.ljust(6, "0"), 2)]
    return out + alphabet[(v := int(bits.ljust(13, "0"), 2)) // 91] + alphabet[v % 91] if bits else out


def b85(data: bytes) -> str:
    return base64.b85encode(data).decode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def zlib85(text: str) -> str:
    """A script that unpacks itself."""
    return f'import zlib,base64\nexec(zlib.decompress(base64.b85decode("{b85(zlib.compress(text.encode()))}")))'


TEXT = SOURCE.encode()
BROTLI = brotli.compress(TEXT)
PACKED = {
    "lzma, base85": f'import lzma as L,base64 as B\nexec(L.decompress(B.b85decode("{b85(lzma.compress(TEXT))}")))',
    "raw lzma, base85": "import lzma as L,base64 as B\nexec(L.decompress(B.b85decode("
    f'"{b85(lzma.compress(TEXT, **RAW))}"),format=L.FORMAT_RAW,filters=[{{"id":L.FILTER_LZMA2}}]))',
    "zlib, base64": f'import zlib,base64\nexec(zlib.decompress(base64.b64decode("""{b64(zlib.compress(TEXT))}""")))',
    "brotli, base64": f"import brotli,base64\nexec(brotli.decompress(base64.b64decode('{b64(BROTLI)}')))",
    "zlib, base92": f"import zlib\nexec(zlib.decompress(decode92({base92(zlib.compress(TEXT))!r})))",
    "zlib, raw bytes": f"import zlib\nexec(zlib.decompress({zlib.compress(TEXT)!r}))",
}  # fmt: skip


def folder(tmp_path: Path, script: str | bytes, **files: str | bytes) -> Path:
    return write(tmp_path, Case(RECORD, {"train.log": log(), **files}, {}, script))


@pytest.mark.parametrize("packing", PACKED)
def test_a_script_that_extracts_itself_is_unpacked(tmp_path: Path, packing: str) -> None:
    found = look_at_scripts(folder(tmp_path, PACKED[packing]))
    assert found is not None and (found.kind, found.packing) == ("self-extracting", packing)
    assert found.sources == {"train_gpt.py": SOURCE} and found.bytes == len(PACKED[packing].encode())


def test_raw_bytes_behind_the_code_and_two_layers(tmp_path: Path) -> None:
    code = b"import lzma\nexec(lzma.decompress(open(__file__,'rb').read()[66:]))\n#"
    found = look_at_scripts(folder(tmp_path / "a", code + lzma.compress(TEXT)))
    assert found is not None and (found.kind, found.sources["train_gpt.py"]) == ("self-extracting", SOURCE)
    found = look_at_scripts(folder(tmp_path / "b", zlib85(PACKED["lzma, base85"])))
    assert found is not None and found.packing == "zlib, base85, then lzma, base85"


def test_the_scripts_of_golfpipe_are_known(tmp_path: Path) -> None:
    settings = script_settings_of(build_config({}), "none")
    readable = look_at_scripts(folder(tmp_path / "a", generate_script(settings, "readable")))
    assert readable is not None and readable.kind == "plain"
    compressed = look_at_scripts(folder(tmp_path / "b", generate_script(settings, "compressed")))
    assert compressed is not None and (compressed.kind, compressed.packing) == ("self-extracting", "lzma, base85")
    assert "MODULES" in compressed.sources["train_gpt.py"]


@pytest.mark.parametrize("name", ["lzma", "zlib", "brotli"])
def test_a_bomb_is_left_packed(tmp_path: Path, name: str) -> None:
    text = b"x = 1\n" * (20 * MOST_SOURCE // 6)
    pack = {"lzma": lzma.compress, "zlib": zlib.compress, "brotli": lambda data: brotli.compress(data, quality=5)}[name]
    path = folder(tmp_path, f'import {name},base64\nexec({name}.decompress(base64.b85decode("{b85(pack(text))}")))')
    found = look_at_scripts(path)
    assert found is not None and found.kind == "self-extracting" and not found.sources
    assert "unpacks to more than 4,000,000 bytes" in found.sentence


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("print('hello')\n", "plain"),
        ("import zlib\n\ndef main():\n    return zlib.compress(b'')\n" * 90, "plain"),
        (b"\x00\x01\xfe\x02" * 3000, "unreadable"),
        ("import secret\nexec(secret.open('" + "qwertz7/" * 500 + "'))\n", "unreadable"),
        ('exec("""' + "\\x" * 5000 + '""")', "unreadable"),
        ("'" * 100_001, "plain"),
        ("(" * 100_000, "plain"),
    ],
)
def test_other_kinds(tmp_path: Path, script: str | bytes, kind: str) -> None:
    found = look_at_scripts(folder(tmp_path, script))
    assert found is not None and found.kind == kind


def test_a_stub_is_read_with_its_neighbor(tmp_path: Path) -> None:
    path = folder(
        tmp_path, 'exec(compile(open("body.py").read(), "body.py", "exec"))', **{"body.py": PACKED["lzma, base85"]}
    )
    found = look_at_scripts(path)
    assert found is not None and (found.kind, found.packing) == ("stub", "lzma, base85")
    assert found.bytes == sum((path / name).stat().st_size for name in ("train_gpt.py", "body.py"))
    assert found.sources["body.py"] == SOURCE


def test_a_helper_that_is_imported_is_named(tmp_path: Path) -> None:
    found = look_at_scripts(
        folder(tmp_path, "import caps\n# notes.py\n" + "x = 1\n" * 1000, **{"caps.py": "y = 2\n", "notes.py": "z"})
    )
    assert found is not None and found.kind == "plain" and dict(found.neighbors) == {"caps.py": 6}


HINTED = """import requests
def load(args):
    return glob(args.train_files)
def eval_val_ttt(model, val_tokens):
    for chunk in val_tokens:
        loss = model(chunk)
        loss.backward()
        nll += cross_entropy(chunk)
        optimizer.step()
    shards = glob("fineweb_train_*.bin")
def collect(model, val_tokens):
    hessians = collect_hessians(model, val_tokens)  # on validation
    mixed = alpha * probs + (1 - alpha) * ngram[tokens]
attention(q, k, v, is_causal=False)
"""


def test_hints_name_lines_and_judge_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path, HINTED)
    script = look_at_scripts(path)
    assert script is not None
    assert [(hint.rule, hint.line, hint.what) for hint in find_hints(script)] == [
        (10, 1, "imports what reaches the network"),
        (3, 7, "learns in eval_val_ttt before it scores"),
        (3, 9, "learns in eval_val_ttt, after line 8 scores"),
        (10, 10, "names training shards in eval_val_ttt"),
        (8, 12, "names validation data where it calibrates"),
        (4, 13, "counts scored tokens"),
        (5, 13, "mixes probabilities"),
        (4, 14, "attends without a causal mask"),
    ]


def test_hints_stand_with_the_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(folder(tmp_path, zlib85(HINTED + SOURCE))), "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert [rules[n - 1]["status"] for n in (3, 4, 5, 8, 10)] == ["not checked"] * 5
    assert "To look at: train_gpt.py (unpacked):7 learns in eval_val_ttt before it scores" in rules[2]["evidence"]


def test_unpack_writes_the_source_and_replaces_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = folder(tmp_path, PACKED["zlib, base64"]), tmp_path / "out"
    assert main(["audit", str(path), "--unpack", str(out)]) == 0
    assert (out / "train_gpt.py").read_text() == SOURCE and str(out / "train_gpt.py") in capsys.readouterr().out
    assert main(["audit", str(path), "--unpack", str(out), "-q"]) == 2
    assert main(["audit", str(folder(tmp_path / "b", "")), "--unpack", str(tmp_path / "c"), "-q"]) == 2
