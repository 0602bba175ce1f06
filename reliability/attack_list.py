"""The attacks that `attacks` tries: what is planted, and the command that a victim then runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reliability import repair

SECRET = b"secret\n" * 2000
"""Somebody's file outside; larger than any log, so that cutting it back shows too."""
MODEL = "artifacts/small/train"
PACKED = "artifacts/small/pack"
SCORED = "artifacts/small/evaluate-pack"
DATA = "artifacts/data/texts"


@dataclass(frozen=True)
class Place:
    """Where an attack happens."""

    work: Path
    """The folder that the victim works in, with a finished run."""
    outside: Path
    """What no command may touch; a payload that runs writes `outside/pwned`."""

    @property
    def pwned(self) -> Path:
        return self.outside / "pwned"


@dataclass(frozen=True)
class Attack:
    """One trick and the command that meets it."""

    name: str
    plant: Callable[[Place], None]
    words: tuple[str, ...]
    writes: tuple[str, ...] = ()
    """Below work/: where the command may write; names with these beginnings."""
    succeeds: bool = False
    """The command may end with 0: what was planted is simply not followed."""
    is_harmless: Callable[[Place], bool] = lambda place: True
    """Of what the command wrote."""


def all_attacks() -> list[Attack]:
    return [*_pickles(), *_zips(), *_yaml(), *_names(), *_links(), *_blocking(), *_records(), *_pages()]


class _Call:
    """Pickles as a call of `function` on `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def _pickles() -> list[Attack]:
    import functools
    import importlib
    import runpy
    import subprocess

    code = "open({!r}, 'w').close()"
    calls: list[tuple[str, Callable[[str], _Call]]] = [
        ("os.system", lambda pwned: _Call(os.system, f"touch {pwned}")),
        ("subprocess.Popen", lambda pwned: _Call(subprocess.Popen, ["touch", pwned])),
        ("eval", lambda pwned: _Call(eval, code.format(pwned))),
        ("exec", lambda pwned: _Call(exec, code.format(pwned))),
        ("open", lambda pwned: _Call(open, pwned, "w")),
        ("getattr", lambda pwned: _Call(getattr, _Call(importlib.import_module, "os"), "system")),
        ("functools.partial", lambda pwned: _Call(functools.partial(os.system, f"touch {pwned}"))),
        ("runpy", lambda pwned: _Call(runpy.run_path, pwned)),
        ("torch.load", lambda pwned: _Call(torch.load, pwned)),
        ("torch.hub", lambda pwned: _Call(torch.hub.load, "a/b", "c")),
    ]

    def saved(make: Callable[[str], _Call]) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            torch.save({"tok_emb.weight": make(str(place.pwned))}, place.work / "final_model.pt")

        return plant

    def old_format(place: Place) -> None:
        state = {"x": _Call(os.system, f"touch {place.pwned}")}
        torch.save(state, place.work / "final_model.pt", _use_new_zipfile_serialization=False)

    def bare(place: Place) -> None:
        (place.work / "final_model.pt").write_bytes(pickle.dumps(_Call(os.system, f"touch {place.pwned}")))

    def archive(place: Place) -> None:
        content = pickle.dumps(_Call(os.system, f"touch {place.pwned}"))
        with tarfile.open(place.work / "final_model.pt", "w") as tar:
            for name in ("storages", "tensors", "pickle", "../../outside/pwned"):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))

    def torchscript(place: Place) -> None:
        class Module(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + 1

        torch.jit.trace(Module(), torch.zeros(1)).save(str(place.work / "final_model.pt"))

    words = ("import", "final_model.pt", "-o", "artifacts/out/import")
    found = [Attack(f"pickle in a checkpoint: {name}", saved(make), words) for name, make in calls]
    return [
        *found,
        Attack("checkpoint in the old format", old_format, words),
        Attack("a bare pickle", bare, words),
        Attack("checkpoint as a tar", archive, words),
        Attack("a TorchScript archive", torchscript, words),
    ]


def _zips() -> list[Attack]:
    def rewritten(
        change: Callable[[list[tuple[str, bytes]], Place], list[tuple[str, bytes]]],
    ) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / "final_model.pt"
            with zipfile.ZipFile(path) as source:
                entries = [(info.filename, source.read(info)) for info in source.infolist()]
            import warnings

            with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as target:
                warnings.simplefilter("ignore")
                for name, content in change(entries, place):
                    target.writestr(name, content)

        return plant

    def twice(entries: list[tuple[str, bytes]], place: Place) -> list[tuple[str, bytes]]:
        evil = pickle.dumps(_Call(os.system, f"touch {place.pwned}"), protocol=2)
        return [*entries, *((name, evil) for name, _ in entries if name.endswith("data.pkl"))]

    def outwards(entries: list[tuple[str, bytes]], place: Place) -> list[tuple[str, bytes]]:
        return [*entries, ("../../outside/pwned", b"x"), (str(place.pwned), b"x")]

    def code(entries: list[tuple[str, bytes]], place: Place) -> list[tuple[str, bytes]]:
        root = entries[0][0].split("/")[0]
        return [*entries, (f"{root}/code/__torch__.py", b"import os"), (f"{root}/constants.pkl", b"\x80\x02).")]

    words = ("import", "final_model.pt", "-o", "artifacts/out/import")
    return [
        Attack("zip with two data.pkl", rewritten(twice), words),
        Attack("zip with names that lead outside", rewritten(outwards), words),
        Attack("zip with code of TorchScript", rewritten(code), words),
    ]


def _yaml() -> list[Attack]:
    payloads = [
        "!!python/object/apply:os.system ['touch {pwned}']",
        "!!python/object/new:os.system ['touch {pwned}']",
        "!!python/object/apply:subprocess.Popen [[touch, '{pwned}']]",
        "!!python/object:os.system {{}}",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/object/apply:builtins.eval [\"open('{pwned}','w')\"]",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {pwned}']",
        "!!binary aGVsbG8=",
        "&a [*a]",
    ]

    def stages(payload: str) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            (place.work / "stages.yaml").write_text(f"defaults: {payload.format(pwned=place.pwned)}\n")

        return plant

    def grids(place: Place) -> None:
        (place.work / "grids.yaml").write_text(f"pack.coder: !!python/object/apply:os.system ['touch {place.pwned}']\n")

    def nothing(place: Place) -> None:
        return

    found = [Attack(f"stages.yaml: {payload[:40]}", stages(payload), ("config", "show")) for payload in payloads]
    tagged = "train.max_steps=!!python/object/apply:os.system ['touch {outside}/pwned']"
    return [*found, Attack("tags in --set", nothing, ("config", "show", "--set", tagged)),
            Attack("tags in a grid file", grids, ("sweep", MODEL, "--grids", "grids.yaml", "--cells"))]  # fmt: skip


def _names() -> list[Attack]:
    """Path traversal: in manifests, in stages.yaml, in options."""

    def manifest(folder: str, edit: Callable[[dict[str, Any], Place], Any]) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / folder / "manifest.json"
            parsed = json.loads(path.read_bytes())
            edit(parsed, place)
            path.write_text(json.dumps(repair.resealed(parsed)))

        return plant

    def listed(name: str) -> Callable[[dict[str, Any], Place], Any]:
        entry = {"sha256": hashlib.sha256(SECRET).hexdigest(), "bytes": len(SECRET), "content": True}
        return lambda parsed, place: parsed["files"].update({name.replace("OUTSIDE", str(place.outside)): entry})

    def stages(text: str) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / "stages.yaml"
            path.write_text(path.read_text() + text if text.startswith("\n") else text)

        return plant

    def step(name: str) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / "stages.yaml"
            path.write_text(
                path.read_text().replace(
                    "  quantize:\n", f"  {name}:\n    stage: evaluate\n    inputs: [train, data]\n  quantize:\n"
                )
            )

        return plant

    def nothing(place: Place) -> None:
        return

    names = ("../../../outside/secret", "OUTSIDE/secret", "a/../../../../outside/secret", "..\\..\\secret", "./x",
             "a//b", "", "..", "a/..", "x\x00y")  # fmt: skip
    found = [Attack(f"manifest lists {name!r}", manifest(MODEL, listed(name)), ("audit", MODEL)) for name in names]
    location = manifest(DATA, lambda parsed, place: parsed.update(location=str(place.outside)))
    tokenizer = manifest(
        DATA, lambda parsed, place: parsed["metrics"].update(tokenizer_file="../../../../outside/secret")
    )
    fresh = ("artifacts/out",)
    run = ("run", "--preset", "small", "--set", "data.source=artifacts/data/texts", "--until")
    return [
        *found,
        Attack("token data in another folder", location, ("data", "inspect", DATA)),
        Attack("token data with a tokenizer elsewhere", tokenizer, ("data", "inspect", DATA)),
        Attack("a step named ../../../outside/x", step('"../../../outside/x"'), (*run, "../../../outside/x")),
        Attack("a step with an absolute name", step('"/tmp/golfpipe-attack"'), (*run, "/tmp/golfpipe-attack")),
        Attack("a preset named ../../outside",
               stages('default_preset: "../../outside/x"\npresets: {"../../outside/x": {}}\n'), ("train", DATA)),
        Attack("--name ../../outside/x", nothing, ("train", DATA, "--name", "../../outside/x")),
        Attack("a submission's date that leads outside", nothing,
               ("submit", SCORED, "-o", "artifacts/out/submit", "--set", "submit.date=2026-01-01/../../../../outside"),
               fresh),
    ]  # fmt: skip


def _links() -> list[Attack]:
    def link(name: str, target: str = "../outside/secret") -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(place.work / target)

        return plant

    def hard(name: str) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / name
            path.unlink(missing_ok=True)
            os.link(place.outside / "secret", path)

        return plant

    def same_content(name: str) -> Callable[[Place], None]:
        """A link to a file of the right content: still not one that the folder holds."""

        def plant(place: Place) -> None:
            path = place.work / name
            shutil.move(path, place.outside / "moved")
            path.symlink_to(place.outside / "moved")

        return plant

    out = ("artifacts/small/unpacked", "artifacts/small/.unpacked")
    quantize = ("quantize", MODEL, "-o", "artifacts/out/quantize")
    fresh = ("artifacts/out",)
    begun = "artifacts/begun/.train.partial"
    resume = ("train", "--resume", "--name", "begun")
    return [
        Attack("weights are a link to a secret", link(f"{MODEL}/ema.safetensors"), ("audit", MODEL)),
        Attack("weights are a link to the right content", same_content(f"{MODEL}/ema.safetensors"), ("audit", MODEL)),
        Attack("manifest is a link", link(f"{MODEL}/manifest.json"), ("audit", MODEL)),
        Attack("output is a link", link("artifacts/out/quantize", "../outside"), quantize),
        Attack("the unfinished output is a link", link("artifacts/out/.quantize.partial", "../outside"), quantize,
               fresh, True),
        Attack("the replaced output is a link", link("artifacts/out/.quantize.old", "../outside"), quantize, fresh),
        Attack("the lock is a link", link("artifacts/out/.quantize.lock"), quantize, fresh),
        Attack("a temporary file is a link", link("artifacts/small/.unpacked.safetensors.tmp"), ("unpack", PACKED),
               out, True),
        Attack("the unpacked file is a link", link("artifacts/small/unpacked.safetensors"), ("unpack", PACKED), out),
        Attack("the unpacked file is a hard link", hard("artifacts/small/unpacked.safetensors"), ("unpack", PACKED),
               out),
        Attack("the report is a link", link("page.html"), ("report", "artifacts/small", "-o", "page.html"),
               ("page.html", ".page.html"), True),
        Attack("the log of an interrupted run is a link", link(f"{begun}/log.jsonl"), resume, ("artifacts/begun",)),
        Attack("the log of an interrupted run is a hard link", hard(f"{begun}/log.jsonl"), resume,
               ("artifacts/begun",)),
        Attack("the checkpoint of an interrupted run is a link", link(f"{begun}/checkpoint.safetensors"), resume,
               ("artifacts/begun",)),
        Attack("clean meets a link to a folder", link("artifacts/small/.x.old", "../outside"),
               ("clean", "artifacts/small", "--yes"), ("artifacts/small",), True),
    ]  # fmt: skip


def _blocking() -> list[Attack]:
    """Pipes and devices where files are expected."""

    def pipe(name: str) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / name
            path.unlink(missing_ok=True)
            os.mkfifo(path)

        return plant

    def zeros(name: str) -> Callable[[Place], None]:
        def plant(place: Place) -> None:
            path = place.work / name
            path.unlink(missing_ok=True)
            path.symlink_to("/dev/zero")

        return plant

    def remove_model(place: Place) -> None:
        os.remove(place.work / "bare" / "tokenizer.model")
        os.mkfifo(place.work / "bare" / "a.model")

    found = []
    for what, plant in (("a pipe", pipe), ("/dev/zero", zeros)):
        found += [
            Attack(f"manifest is {what}", plant(f"{MODEL}/manifest.json"), ("audit", MODEL)),
            Attack(f"weights are {what}", plant(f"{MODEL}/ema.safetensors"), ("audit", MODEL)),
            Attack(f"checkpoint is {what}", plant("final_model.pt"),
                   ("import", "final_model.pt", "-o", "artifacts/out/import")),
            Attack(f"tokenizer is {what}", plant("bare/tokenizer.model"),
                   ("data", "inspect", "bare", "--tokenizer", "bare/tokenizer.model")),
            Attack(f"shard is {what}", plant("bare/val_000000.bin"), ("data", "inspect", "bare"), (), True),
            Attack(f"log is {what}", plant("bare/log.jsonl"),
                   ("train", DATA, "--name", "x", "--replay", "bare/log.jsonl")),
            Attack(f"submission.json is {what}", plant("foreign/submission.json"), ("audit", "foreign"), (), True),
            Attack(f"records log is {what}", plant("foreign/train_seed1337.log"), ("audit", "foreign"), (), True),
            Attack(f"records script is {what}", plant("foreign/train_gpt.py"), ("audit", "foreign"), (), True),
            Attack(f"sweep results are {what}", plant("artifacts/small/sweep/results.jsonl"),
                   ("report", "artifacts/small", "-o", "page.html"), ("page.html", ".page"), True),
            Attack(f"stages.yaml is {what}", plant("stages.yaml"), ("config", "show"), (), True),
        ]  # fmt: skip
    return [*found, Attack("the only tokenizer is a pipe", remove_model, ("data", "inspect", "bare"))]


def _records() -> list[Attack]:
    def script(place: Place) -> None:
        code = f"open({str(place.pwned)!r}, 'w').close()\n"
        for name in ("train_gpt.py", "sitecustomize.py", "torch.py", "numpy.py", "conftest.py", "setup.py", "json.py"):
            (place.work / "foreign" / name).write_text(code)
            (place.work / name).write_text(code)

    def linked(place: Place) -> None:
        path = place.work / "foreign" / "submission.json"
        (place.outside / "secret.json").write_text(path.read_text())
        path.unlink()
        path.symlink_to(place.outside / "secret.json")

    return [
        Attack("records script that would run", script, ("audit", "foreign"), (), True),
        Attack("records script asked to run", script, ("audit", "foreign", "--execute")),
        Attack("modules beside the artifacts, audit", script, ("audit", SCORED), (), True),
        Attack("modules beside the artifacts, audit --execute", script, ("audit", SCORED, "--execute"), (), True),
        Attack("submission.json is a link", linked, ("audit", "foreign"), (), True),
    ]


def _pages() -> list[Attack]:
    """Text of an artifact that would be code in a page."""

    def plant(place: Place) -> None:
        path = place.work / MODEL / "manifest.json"
        parsed = json.loads(path.read_bytes())
        script = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>"
        parsed["provenance"] |= {"host": script, "device_name": script, "commit": script, "argv": [script]}
        parsed["metrics"]["stop_reason"] = script
        path.write_text(json.dumps(repair.resealed(parsed)))

    def is_plain(place: Place) -> bool:
        page = (place.work / "page.html").read_text()
        return "<script>alert" not in page and "<img src=x" not in page

    words = ("report", MODEL, "-o", "page.html")
    return [Attack("markup in a manifest", plant, words, ("page.html", ".page"), True, is_plain)]
