"""Vendored files run without golfpipe: they read every payload bit for bit, and write the same bytes as the package."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from golfpipe import Calibration, compress, decompress, split
from golfpipe.cli.app import main
from golfpipe.codec.container import encode_payload
from golfpipe.codec.pieces import Piece
from golfpipe.codec.state import DTYPE_BYTES
from golfpipe.errors import ArtifactError, UsageError
from golfpipe.script.vendor import vendored_file
from golfpipe.stages.verify_script import BARRIER

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")
vendored = functools.cache(vendored_file)  # making one takes a second

FILES = [
    (what, layout, pure)
    for what, pure in (("decompress", False), ("decompress", True), ("compress", False))
    for layout in ("readable", "compressed")
]
MOST_BYTES = {("decompress", False): 7_000, ("decompress", True): 7_600, ("compress", False): 21_800}
"""Of the compressed files. What was asked for is 9,000 and 22,000."""
_FP8 = tuple(name for name in DTYPE_BYTES if name.startswith("float8"))
_NOT_IN_NUMPY = (*_FP8, "complex32")

_CHILD = (
    BARRIER
    + """
import hashlib, importlib.util, json, pathlib
pure, folder = sys.argv[1] == "pure", pathlib.Path(sys.argv[2])
if pure:
    sys.modules.update(dict.fromkeys(("torch", "constriction")))  # importing one of them now fails
else:
    import torch
    torch.set_num_threads(1)

def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def described(values):
    if not pure:
        raw = values.contiguous().reshape(-1).view(torch.uint8).numpy() if values.numel() else b""
        return [str(values.dtype)[6:], list(values.shape), hashlib.sha256(raw).hexdigest()]
    return [str(values.dtype), list(values.shape), hashlib.sha256(values.tobytes()).hexdigest()]

found = {}
for number, path in enumerate(sorted(folder.glob("pure_*.py" if pure else "torch_*.py"))):
    module = load(path, f"codec{number}")
    load(path, f"again{number}")
    read = {}
    for payload in sorted(folder.glob("*.payload")):
        try:
            state = module.decompress(payload.read_bytes())
            read[payload.stem] = {name: described(values) for name, values in state.items()}
            assert ("b" not in state) or state["b"] is state["a"]
        except (module.ArtifactError, TypeError) as error:
            read[payload.stem] = f"{type(error).__name__}: {error}"
    made = None
    if hasattr(module, "compress"):
        network = torch.nn.Sequential(torch.nn.Embedding(64, 48), torch.nn.Linear(48, 64), torch.nn.Linear(64, 64))
        network.load_state_dict(torch.load(folder / "network.pt"))
        with module.Calibration(network) as calibration:
            calibration.observe(network(torch.arange(64)))
        state = torch.load(folder / "state.pt")
        calibration.add("bank.1", state["bank"][0])
        options = {"rules": {"bank": module.split(0)}, "calibration": calibration}
        made, weights = module.compress(state, target_bytes=24_000, return_weights=True, **options)
        assert all(torch.equal(weights[name], module.decompress(made)[name]) for name in weights)
        try:
            module.compress({"w": torch.full((99, 99), torch.nan)}, bits=3)
        except module.StageFailed as error:
            made = made.hex(), str(error)
    found[path.stem] = [read, made]
print(json.dumps(found))
"""
)


def states() -> dict[str, dict[str, torch.Tensor]]:
    """State dicts with all types that NumPy has, and some that it has not."""
    generator = torch.Generator().manual_seed(0)
    weight = 0.05 * torch.randn(120, 96, generator=generator)
    few = torch.tensor([0.0, -1.5, 3.25, 1e-3])
    numbers = [name for name in DTYPE_BYTES if name not in _NOT_IN_NUMPY and name != "bfloat16"]
    types = {f"few.{name}": few.to(getattr(torch, name)) for name in (*numbers, "bfloat16")}
    large = {f"large.{name}": weight.to(getattr(torch, name)) for name in ("float64", "float16", "bfloat16")}
    other = {
        "a": weight,
        "b": weight,
        "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
        "empty": torch.empty(0, 3, dtype=torch.bfloat16),
        "huge": torch.tensor([1e30, float("inf")]),
        "counter": torch.arange(9000),
        "mask": (torch.arange(9000) % 7 == 0).reshape(3, 3000),
        "kernel": torch.randn(40, 30, 3, 3, generator=generator),
        "vector": torch.randn(9000, generator=generator),
        "codes beyond fp16": ((1 - weight.abs()) * 65504 * weight.sign()).half(),
    }
    fp8 = {"few": few.to(torch.float8_e4m3fn), "large": weight.to(torch.float8_e5m2)}
    return {"types": {**types, **large, **other}, "fp8": fp8, "half complex": {"z": few.to(torch.complex32)}}


def packed_model(coder: str) -> bytes:
    """A payload with an architecture, as packed models of golfpipe are, and pieces of every kind that these have."""
    random = np.random.default_rng(0)
    pieces = [
        Piece(
            name=f"grid.{bits}",
            shape=(12, 33),
            bits=bits,
            codes=random.integers(-(1 << bits - 1), 1 << bits - 1, (12, 33)).astype(np.int8),
            scales=random.random((12, 1)).astype(np.float16),
        )
        for bits in (2, 4, 6, 8)
    ]
    pieces += [
        Piece(
            name=f"open.{states}",
            shape=(40, 70),
            bits=states,
            codes=np.rint(random.normal(size=(40, 70)) * random.choice([1, 9, 400], (40, 1))).astype(np.int16),
            scales=(64 * random.integers(-20, 9, 110)).astype(np.int16),
        )
        for states in (0, -4, -8)
    ]
    for bits, dtype in ((16, np.float16), (32, np.float32)):
        pieces.append(
            Piece(name=f"float.{bits}", shape=(7, 5), bits=bits, floats=random.normal(size=(7, 5)).astype(dtype))
        )
    return encode_payload({"layers": 2}, pieces, coder=coder)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(64, 48), torch.nn.Linear(48, 64), torch.nn.Linear(64, 64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vendored files, payloads, and what the compressor is to work on."""
    folder = tmp_path_factory.mktemp("vendored")
    for what, layout, pure in FILES:
        name = f"{'pure' if pure else 'torch'}_{what}_{layout}.py"
        (folder / name).write_bytes(vendored(what, layout, pure=pure))
    payloads = {name: compress(state, bits=3.0) for name, state in states().items()}
    payloads |= {coder: packed_model(coder) for coder in ("range", "nibble")}
    payloads["scalar codes"] = compress(states()["types"], bits=2.0, method="rate")
    for name, payload in payloads.items():
        (folder / f"{name}.payload").write_bytes(payload)
    damaged = bytearray(payloads["range"])
    damaged[-9] ^= 4
    for name, payload in {
        "cut": payloads["types"][:-1],
        "damaged": damaged,
        "nothing": b"",
        "other": b"PK" * 99,
    }.items():
        (folder / f"{name}.payload").write_bytes(payload)
    trained = network()
    torch.save(trained.state_dict(), folder / "network.pt")
    bank = 0.05 * torch.randn(3, 80, 64, generator=torch.Generator().manual_seed(1))
    torch.save({**trained.state_dict(), "bank": bank}, folder / "state.pt")
    return folder


def run_child(folder: Path, kind: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-W", "ignore:ComplexHalf", "-c", _CHILD, kind, str(folder)],
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def with_torch(folder: Path) -> dict:
    return run_child(folder, "torch")


@pytest.fixture(scope="module")
def with_numpy(folder: Path) -> dict:
    return run_child(folder, "pure")


def digest(raw: bytes | np.ndarray) -> str:
    return hashlib.sha256(raw).hexdigest()


def expected(folder: Path, *, arrays: bool) -> dict:
    """What the package's own decompress gives, as the child describes it."""
    found: dict = {}
    for file in folder.glob("*.payload"):
        try:
            state = decompress(file.read_bytes())
        except ArtifactError as error:
            found[file.stem] = f"ArtifactError: {error}"
            continue
        found[file.stem] = described = {}
        for name, tensor in state.items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            if arrays and dtype == "bfloat16":
                tensor, dtype = tensor.float(), "float32"
            raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b""
            described[name] = [dtype, list(tensor.shape), digest(raw)]
    return found


def test_readers_with_torch_give_what_the_package_gives(folder: Path, with_torch: dict) -> None:
    right = expected(folder, arrays=False)
    assert len(with_torch) == 4 and len(right) == 10
    for read, _ in with_torch.values():
        assert read == right


def test_readers_with_numpy_alone_give_the_same_values(folder: Path, with_numpy: dict) -> None:
    right = expected(folder, arrays=True)
    right["fp8"] = "TypeError: few: NumPy has no float8_e4m3fn; a reader that is not pure gives it"
    right["half complex"] = "TypeError: z: NumPy has no complex32; a reader that is not pure gives it"
    assert len(with_numpy) == 2
    for read, _ in with_numpy.values():
        assert read == right


def test_the_compressors_write_the_bytes_of_the_package(folder: Path, with_torch: dict) -> None:
    torch.set_num_threads(1)
    trained, state = network(), torch.load(folder / "state.pt")
    with Calibration(trained) as calibration:
        calibration.observe(trained(torch.arange(64)))
    calibration.add("bank.1", state["bank"][0])
    right = compress(state, target_bytes=24_000, rules={"bank": split(0)}, calibration=calibration)
    made = [made for _, made in with_torch.values() if made is not None]
    assert len(made) == 2
    for written, refusal in made:
        assert bytes.fromhex(written) == right
        assert refusal.startswith("w: holds NaN")


@pytest.mark.parametrize(("what", "pure"), MOST_BYTES)
def test_compressed_files_are_small(what, pure: bool) -> None:
    content = vendored(what, "compressed", pure=pure)
    assert len(content) <= MOST_BYTES[what, pure], len(content)
    assert content.isascii()


@pytest.mark.parametrize("layout", ["readable", "compressed"])
def test_every_process_makes_the_same_bytes(layout) -> None:
    code = f"from golfpipe.script.vendor import *; print(vendored_file('decompress', {layout!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith(repr(vendored("decompress", layout)))


def test_a_pure_compressor_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot do without torch"):
        vendored_file("compress", "readable", pure=True)


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A readable file, imported where golfpipe is installed, too."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    for name in ("codec", "errors", "weights"):  # as files beside it may be called
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not mine')\n")
    path = tmp_path / "my codec.py"
    path.write_bytes(vendored("decompress", "readable"))
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file_and_an_installed_golfpipe_do_not_meet(imported: ModuleType) -> None:
    assert imported.ArtifactError is not ArtifactError
    package = imported.ArtifactError.__module__.partition(".")[0]
    assert package.startswith("golfpipe_") and package != "golfpipe"
    assert type(sys.meta_path[-1]).__name__ == "TextImporter"  # whatever is installed is found first
    assert sys.modules["golfpipe.errors"].ArtifactError is ArtifactError
    assert imported.__all__ == ["decompress", "ArtifactError"]
    with pytest.raises(imported.ArtifactError, match="begins with b'nothing'"):
        imported.decompress(b"nothing")


def test_a_compressed_file_can_begin_a_script() -> None:
    weight = 0.05 * torch.randn(120, 96, generator=torch.Generator().manual_seed(0))
    data = compress({"w": weight}, bits=3.0)
    own = "\n".join(f"{letter} = {letter.upper()} = None" for letter in "abcdefghijklmnopqrstuvwxyz")
    space: dict = {"__name__": "somewhere", "data": data}
    code = f"{vendored('decompress', 'compressed').decode()}\n{own}\nstate = decompress(data)"
    exec(compile(code, "script", "exec", dont_inherit=True), space)
    assert torch.equal(space["state"]["w"], decompress(data)["w"])
    shown = {name for name in space if len(name) > 1} - {"__builtins__", "__name__", "data", "state"}
    assert shown == {"base64", "lzma", "_golf", "__all__", *space["__all__"]}


def test_the_command_writes_prints_and_replaces_only_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golfpipe.script.vendor.vendored_file", vendored)
    out = tmp_path / "new" / "codec.py"
    assert main(["vendor", "decompress", "-o", str(out)]) == 0
    assert out.read_bytes() == vendored("decompress", "readable")
    assert f"{out.stat().st_size:,} B" in capsys.readouterr().out
    assert main(["vendor", "compress", "-o", str(out), "--compressed", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert out.read_bytes() == vendored("compress", "compressed")
    assert answer["metrics"]["file_bytes"] == out.stat().st_size and answer["artifact"] == str(out)
    assert main(["vendor", "decompress", "--pure"]) == 0
    assert capsys.readouterr().out.encode() == vendored("decompress", "readable", pure=True)
    mine = tmp_path / "train_gpt.py"
    mine.write_text("print('years of work')\n")
    changed = tmp_path / "changed.py"
    changed.write_bytes(out.read_bytes() + b"print('mine')\n")
    for place in (mine, changed, tmp_path):
        assert main(["vendor", "decompress", "-o", str(place)]) == 2
    assert "vendor replaces only what it wrote" in capsys.readouterr().err
    assert changed.read_bytes().endswith(b"print('mine')\n")
    assert mine.read_text() == "print('years of work')\n"
    assert main(["vendor", "compress", "--pure", "-o", str(out)]) == 2
