"""What is read, by the functions that the commands call, and what each reader took in: a digest and a fingerprint."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golfpipe.cli.answer import Answer, answer_json
from golfpipe.cli.command import artifact_answer
from golfpipe.cli.commands.audit import audit
from golfpipe.cli.commands.compare import compare
from golfpipe.cli.options import OutputOptions
from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.data.text_files import read_documents
from golfpipe.data.token_data import load_shards, load_tokenizer, load_validation
from golfpipe.data.tokenizer import Tokenizer, check_byte_table
from golfpipe.jobs.job import Context
from golfpipe.jobs.registry import MODEL_KINDS
from golfpipe.jobs.unfinished import read_begun
from golfpipe.loading.document_scores import read_document_scores as documents_of
from golfpipe.loading.replay_log import read_replay
from golfpipe.loading.weights import load_weights
from golfpipe.pipeline.data_sources import inspect_data
from golfpipe.pipeline.graph import build_graph
from golfpipe.pipeline.importing import prepare_import
from golfpipe.pipeline.settings import Settings
from golfpipe.pipeline.single import Request, prepare
from golfpipe.pipeline.training import prepare_training
from golfpipe.report.run_data import adaptation_curve, read_sweep, tensor_errors, training_curves
from golfpipe.report.section_sweep import sweep_rows
from golfpipe.report.sweep_points import sweep_points
from golfpipe.stages import import_checkpoint
from golfpipe.stages.training_checkpoint import CHECKPOINT, load_checkpoint
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.canonical import canonical_json
from golfpipe.store.manifest import MANIFEST_NAME, timeless
from reliability.specimens import SmallRun, texts

QUIET = OutputOptions(quiet=True)


@dataclass(frozen=True)
class Taken:
    """What a reader took in."""

    digest: str | None
    """The name under which it did; None for files that have none."""
    named: str
    """Fingerprint of the values that the digest stands for."""
    whole: str
    """Fingerprint of everything."""


@dataclass(frozen=True)
class Subject:
    """One thing that is read."""

    name: str
    folder: Path
    """An artifact, or where the files are."""
    files: tuple[Path, ...]
    """That may be damaged."""
    readers: Mapping[str, Callable[[], Taken]]
    codes: tuple[int, ...]
    """Exit codes of a refusal."""
    checksums: bool = True
    """Every value is under a checksum, so that no changed one may be taken in."""

    @property
    def is_artifact(self) -> bool:
        return (self.folder / MANIFEST_NAME).is_file()


class Malformed(Exception):
    """A reader took in what breaks the rules of its format. Never expected."""


def subjects(small: SmallRun) -> list[Subject]:
    """All of them, in the finished run `small`. Reads nothing."""
    run, found = small.run, []
    for name, file in (("train", "ema"), ("ttt", "adapted"), ("quantize", "q"), ("quantize-rate", "q"),
                       ("quantize-trellis", "q"), ("pack", "p"), ("pack-nibble", "p"), ("pack-rate", "p"),
                       ("pack-trellis", "p")):  # fmt: skip
        found.append(_artifact(run / name, weights=_weights_reader(run / name), plan=_plan_reader(run / name, file)))
    pair = run / "evaluate-train", run / "evaluate-pack"
    found.append(
        _artifact(
            pair[1],
            documents=_documents_reader(pair[1]),
            compare=_answer_reader(lambda: compare(str(pair[0]), str(pair[1]), QUIET, 100, 0)),
        )
    )
    found.append(_artifact(run / "submit"))
    found.append(_artifact(small.data, tokens=_tokens_reader(small.data), inspect=_inspect_reader(small.data)))
    found += _without_manifest(small)
    return found


def _artifact(folder: Path, **readers: Callable[[], Taken]) -> Subject:
    files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    readers["audit"] = _audit_reader(folder)
    name = folder.name if folder.parent.name != "data" else "token data"
    # Evaluations that say that they scored otherwise are not damaged, only not comparable.
    return Subject(name, folder, files, readers, codes=(2, 3) if "compare" in readers else (3,))


def _without_manifest(small: SmallRun) -> list[Subject]:
    folder, bare = small.folder, small.folder / "bare"
    partial = folder / "artifacts" / "begun" / ".train.partial"
    foreign, sweep = folder / "foreign", small.run / "sweep"

    def files(root: Path, pattern: str = "*") -> tuple[Path, ...]:
        return tuple(sorted(path for path in root.glob(pattern) if path.is_file()))

    unsealed = functools.partial(Subject, checksums=False)
    stages, lines, log = folder / "stages.yaml", folder / "texts.jsonl", bare / "log.jsonl"
    return [
        Subject("checkpoint", partial, files(partial), {"resume": _checkpoint_reader(folder)}, codes=(2, 3)),
        Subject("final_model.pt", folder, (folder / "final_model.pt",), {"import": _import_reader(folder)}, codes=(2,)),
        unsealed("stages.yaml", folder, (stages,), {"resolve": _stages_reader(stages)}, (2,)),
        unsealed("tokenizer", bare, files(bare, "*.model"), {"load": _tokenizer_reader(bare)}, (2,)),
        unsealed("shards", bare, files(bare, "*.bin"), {"inspect": _inspect_reader(bare)}, (2,)),
        unsealed("texts", folder, (lines,), {"read": _texts_reader(lines)}, (2,)),
        unsealed("training log", bare, (log,), {"replay": _replay_reader(log)}, (2,)),
        unsealed("records folder", foreign, files(foreign), {"audit": _audit_reader(foreign)}, (3,)),
        unsealed("sweep results", sweep, (sweep / "results.jsonl",), {"report": _sweep_reader(small.run)}, ()),
    ]


# ---- readers ----------------------------------------------------------------------------------------------------


def _weights_reader(folder: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        artifact = open_artifact(folder, *MODEL_KINDS)
        weights = load_weights(artifact)
        for name, tensor in weights.items():
            if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
                raise Malformed(f"tensor {name}: {tensor.dtype}, finite {bool(torch.isfinite(tensor).all())}")
        curves: list[Any] = []
        if artifact.manifest.kind == "trained_model":
            curves = [training_curves(artifact), read_replay(folder)]
        elif artifact.manifest.kind == "adapted_model":
            curves = [adaptation_curve(artifact)]
        elif artifact.manifest.kind == "quantized_model":
            curves = [tensor_errors(artifact)]
        return _taken(artifact, _print_of(weights), repr(curves))

    return read


def _documents_reader(folder: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        artifact = open_artifact(folder, "evaluation")
        documents = documents_of(artifact)
        if any(not np.isfinite(values).all() for values in documents.values()):
            raise Malformed("documents that are not finite")
        artifact_answer(artifact, up_to_date=None)
        return _taken(artifact, _print_of({name: torch.from_numpy(array) for name, array in documents.items()}))

    return read


def _tokens_reader(folder: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        artifact = open_artifact(folder, "token_data")
        tokenizer = load_tokenizer(artifact)
        shards = [*load_shards(artifact, "train"), *load_shards(artifact, "val")]
        text = load_validation(artifact, tokenizer, 100)
        whole = hashlib.sha256(tokenizer.model_bytes)
        for shard in shards:
            whole.update(shard[:].tobytes())
        return _taken(artifact, whole.hexdigest(), str(len(text.tokens)))

    return read


def _inspect_reader(folder: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        artifact, tokenizer, splits = inspect_data(folder, None)
        said = repr((tokenizer.digest, splits))
        if artifact is not None:
            return _taken(artifact, said)
        return Taken(None, said, said)

    return read


def _plan_reader(folder: Path, kind: str) -> Callable[[], Taken]:
    """The next step's settings, from those that the manifest carries."""
    stage = {"ema": "quantize", "q": "pack"}.get(kind, "evaluate")

    def read() -> Taken:
        job = prepare(Request(stage=stage, inputs={"model": folder}))
        return Taken(job.inputs["model"].manifest.digest, "", f"{job.key} {job.config}")

    return read


def _answer_reader(command: Callable[[], Answer]) -> Callable[[], Taken]:
    def read() -> Taken:
        answer = command()
        text = answer_json(answer) + "".join(answer.lines)
        return Taken(None, "", text)

    return read


def _audit_reader(folder: Path) -> Callable[[], Taken]:
    return _answer_reader(lambda: audit(str(folder), QUIET))


def _checkpoint_reader(folder: Path) -> Callable[[], Taken]:
    from golfpipe.model.network import build_network
    from golfpipe.training.guarded import GuardedTrainer
    from golfpipe.training.token_stream import TokenStream

    out = folder / "artifacts" / "begun" / "train"
    partial = out.with_name(".train.partial")
    made: list[GuardedTrainer] = []

    def read() -> Taken:
        job = prepare_training(Request(stage="train", settings=Settings(), out=out, context=Context(resume=True)), None)
        begun = read_begun(out)
        if not made:
            stream = TokenStream(load_shards(job.inputs["data"], "train"))
            network = build_network(job.config.model, torch.float32)
            made.append(GuardedTrainer(network, stream, job.config.train, job.config.optim, torch.device("cpu")))
        logs = {path: path.read_bytes() for path in partial.iterdir() if path.suffix in (".jsonl", ".log")}
        try:
            if load_checkpoint(ArtifactWriter(partial), made[0]) is None and (partial / CHECKPOINT).exists():
                raise Malformed("a checkpoint that is there as none")
        finally:
            for path, content in logs.items():
                path.write_bytes(content)
        whole = _print_of(made[0].state_tensors()) + repr((made[0].state_values(), begun, job.key))
        return Taken(None, whole, whole)

    return read


def _import_reader(folder: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        request = Request(
            stage="import", settings=Settings(config_file=folder / "stages.yaml"), out=folder / "imported"
        )
        plan = prepare_import(request, folder / "final_model.pt", None)
        kept: dict[str, Any] = {}

        class Kept(ArtifactWriter):
            def write_tensors(self, name: str, tensors: dict[str, Tensor], *more: Any, **named: Any) -> None:
                kept.update(tensors)

        import_checkpoint.run(plan.job, Kept(folder))
        if any(not bool(torch.isfinite(tensor).all()) for tensor in kept.values()):
            raise Malformed("imported weights that are not finite")
        whole = _print_of(kept) + repr(plan.inferred)
        return Taken(None, whole, whole)

    return read


def _stages_reader(path: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        stages = load_stages(path)
        said = [repr(stages)]
        for preset in [None, *stages.presets]:
            resolved = resolve_config(stages, preset=preset)
            said.append(repr((resolved, build_graph(stages.pipeline, resolved.config))))
        return Taken(None, "", "".join(said))

    return read


def _tokenizer_reader(folder: Path) -> Callable[[], Taken]:
    path = next(folder.glob("*.model"))
    samples = [*texts(2), "A\u00e9\u4e2d\U0001f600 \u00a0x\n\ty"]

    def read() -> Taken:
        tokenizer = Tokenizer.load(path)
        encoded = tokenizer.encode(samples)
        if any(int(ids.max()) >= tokenizer.vocab_size for ids in encoded):
            raise Malformed("ids outside of the vocabulary")
        said = f"{tokenizer.digest} {check_byte_table(tokenizer, encoded)}"
        return Taken(None, said, said)

    return read


def _texts_reader(path: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        said = hashlib.sha256("\x00".join(read_documents([path])).encode("utf-8", "surrogatepass")).hexdigest()
        return Taken(None, said, said)

    return read


def _replay_reader(path: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        replay, digest = read_replay(path)
        if not all(isinstance(factor, float) and np.isfinite(factor) for factor in replay.lr_factors):
            raise Malformed("learning-rate factors that are no numbers")
        if not isinstance(replay.qat_first_step, int | None):
            raise Malformed(f"qat_first_step {replay.qat_first_step!r}")
        return Taken(None, digest, digest)

    return read


def _sweep_reader(run: Path) -> Callable[[], Taken]:
    def read() -> Taken:
        rows = read_sweep(run)
        said = repr(sweep_points(rows)) + str(sweep_rows(rows))
        return Taken(None, said, said)

    return read


# ---- fingerprints -----------------------------------------------------------------------------------------------


def _taken(artifact: Artifact, content: str, more: str = "") -> Taken:
    manifest = artifact.manifest
    named = content + canonical_json([manifest.kind, manifest.model, timeless(manifest.metrics)])
    return Taken(manifest.digest, named, named + more + manifest.to_json().decode())


def _print_of(tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        whole.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        whole.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


@contextlib.contextmanager
def silence() -> Any:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
