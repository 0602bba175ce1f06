"""A whole run folder without torch or training: every artifact real, every number invented."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golfpipe.config.resolve import StagesFile, load_stages, resolve_config
from golfpipe.config.schema import PipelineConfig, build_config, plain_config
from golfpipe.jobs.job import Context, Job
from golfpipe.jobs.key import job_key
from golfpipe.jobs.registry import STAGES
from golfpipe.model.config import parameter_count, parameter_shapes
from golfpipe.store.artifact import Artifact, open_artifact
from golfpipe.store.artifact_writer import ArtifactWriter, begin, finish
from golfpipe.store.manifest import Kind, Result

PROVENANCE = {
    "golfpipe": "0.1",
    "python": "3.11.7",
    "platform": "Linux-6.1",
    "host": "fake-host",
    "packages": {"torch": "2.12.0+cpu", "numpy": "2.1.0", "safetensors": "0.6.2", "constriction": "0.4.1"},
    "commit": "0123456789ab",
    "device": "cpu",
    "argv": ["run", "--preset", "tiny"],
    "started_unix": 1_700_000_000.0,
    "seconds": 1.5,
}

TARGETS, BYTES = 598_653, 1_436_686


@functools.cache
def stages() -> StagesFile:
    return load_stages()


@dataclass
class FakeRun:
    """Writes artifacts below `folder`. Change attributes before calling `build`."""

    folder: Path
    seed: int = 0
    val_bpb: float = 2.61
    """Of the trained weights; each later form is a little worse."""
    train_seconds: float = 55.0
    eval_seconds: float = 12.5
    packed_size: int = 40_000
    limit_bytes: int = 16_000_000
    adapted: bool = True
    scored_targets: int = TARGETS
    train_log: bool = True
    overrides: tuple[str, ...] = ()
    evaluate_earlier_forms: bool = True
    rehearsal: bool = False
    extra_train_metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        resolved = resolve_config(stages(), preset="tiny", overrides=self.overrides, seed=self.seed)
        self.config: PipelineConfig = resolved.config

    def build(self) -> FakeRun:
        data = self.data()
        trained = self.train(data)
        quantized = self.quantize(trained)
        packed = self.pack(quantized)
        if self.evaluate_earlier_forms:
            self.evaluate(trained, data, "evaluate-train", self.val_bpb)
            self.evaluate(quantized, data, "evaluate-quantize", self.val_bpb + 0.0125)
        self.evaluate(packed, data, "evaluate-pack", self.val_bpb + 0.0125)
        if self.adapted:
            adapted = self.ttt(packed, data)
            self.evaluate(adapted, data, "evaluate-ttt", self.val_bpb - 0.08, protocol="pre_eval")
        return self

    def open(self, name: str) -> Artifact:
        return open_artifact(self.folder / name)

    def data(self) -> Artifact:
        writer = begin(self.folder / "data")
        writer.write("val_000000.bin", b"tokens")
        metrics = {"train_tokens": 2_000_000, "val_tokens": TARGETS + 1, "val_bytes": BYTES, "vocab_size": 1024}
        return self._finish(writer, "data", "token_data", "data-add", metrics, {})

    def train(self, data: Artifact) -> Artifact:
        writer = begin(self.folder / "train")
        writer.write("ema.safetensors", b"weights of seed %d" % self.seed)
        steps = [
            {"type": "step", "step": n, "train_loss_nats": 3 + 4 * math.exp(-n / 60),
             "lr_factor": min(1, (250 - n) / 100), "seconds": 0.2 * n, "tokens": 4096 * n}
            for n in range(1, 251)
        ]  # fmt: skip
        validations = [
            {
                "type": "validation",
                "step": n,
                "val_loss_nats": 3.1 + 4 * math.exp(-n / 60),
                "val_bpb": 2.2 + math.exp(-n / 60),
            }
            for n in range(50, 251, 50)
        ]
        lines = [{"type": "start", "seed": self.seed}, *steps, *validations, {"type": "end"}]
        writer.write("log.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode(), content=False)
        if self.train_log:
            model = f"seed:{self.seed}\nmodel_params:{parameter_count(self.config.model)}\n"
            text = f"{model}step:250/250 val_loss:4.1 val_bpb:2.7\n"
            writer.write("train.log", text.encode(), content=False)
        metrics = {
            "parameters": parameter_count(self.config.model),
            "steps": 250,
            "tokens": 250 * 4096,
            "train_loss_nats": 4.2,
            "val_loss_nats": 4.3,
            "val_bpb": self.val_bpb + 0.01,
            "scored_targets": 32768,
            "stop_reason": "max_steps",
            "warmdown_start_step": 150,
            "train_seconds": self.train_seconds,
            "step_avg_ms": 220.5,
            "peak_memory_bytes": None,
        } | self.extra_train_metrics
        return self._finish(writer, "train", "trained_model", "train", metrics, {"data": data})

    def quantize(self, trained: Artifact) -> Artifact:
        writer = begin(self.folder / "quantize")
        writer.write("quantized.safetensors", b"codes of seed %d" % self.seed)
        tensors = [
            {
                "name": name,
                "class": tensor_class,
                "bits": bits,
                "values": values,
                "relative_mse": 0.02 / (1 + index % 7) if bits < 16 else 1e-8,
                "entropy_bits": bits - 0.7 if bits < 16 else None,
                "entropy_bytes": values * (bits - 0.7) / 8 if bits < 16 else values * 2.0,
                "edge_share": 0.01 if bits < 16 else None,
            }
            for index, (name, tensor_class, bits, values) in enumerate(self._tensors())
        ]
        writer.write_json("report.json", {"tensors": tensors})
        metrics = {"relative_mse": 0.0123, "entropy_bytes": round(sum(t["entropy_bytes"] for t in tensors))}
        return self._finish(writer, "quantize", "quantized_model", "quantize", metrics, {"model": trained})

    def pack(self, quantized: Artifact) -> Artifact:
        writer = begin(self.folder / "pack")
        content = (b"packed bytes of seed %d " % self.seed).ljust(self.packed_size, b".")
        writer.write("packed.safetensors", content)
        tensors = list(self._tensors())
        total = sum(values * bits for _, _, bits, values in tensors)
        sizes = [
            {"name": name, "class": tensor_class, "bits": bits, "values": values,
             "bytes": (self.packed_size - 400) * values * bits // total}
            for name, tensor_class, bits, values in tensors
        ]  # fmt: skip
        writer.write_json("sizes.json", {"header_bytes": 300, "tensors": sizes})
        reserve = self.config.pack.code_bytes_reserve
        metrics = {
            "packed_bytes": self.packed_size,
            "code_bytes": reserve,
            "code_bytes_source": "reserved",
            "total_bytes": self.packed_size + reserve,
            "limit_bytes": self.limit_bytes,
            "fits": self.packed_size + reserve <= self.limit_bytes,
            "entropy_bytes": self.packed_size - 500,
        }
        return self._finish(writer, "pack", "packed_model", "pack", metrics, {"model": quantized})

    def ttt(self, model: Artifact, data: Artifact) -> Artifact:
        writer = begin(self.folder / "ttt")
        writer.write("adapted.safetensors", b"adapted of seed %d" % self.seed)
        lines = [
            {"epoch": n, "loss_nats": 4.2 - 0.1 * n, "lr_factor": 1 - n / 4, "seconds": 3.0 * n} for n in range(1, 4)
        ]
        writer.write("ttt.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode(), content=False)
        metrics = {"protocol": "pre_eval", "eligible": False, "seconds": 9.0}
        return self._finish(writer, "ttt", "adapted_model", "ttt", metrics, {"model": model, "data": data})

    def evaluate(
        self,
        model: Artifact,
        data: Artifact,
        name: str,
        val_bpb: float,
        *,
        protocol: str = "none",
        stage: str = "evaluate",
    ) -> Artifact:
        writer = begin(self.folder / name)
        writer.write("documents.safetensors", f"scores of {name} of seed {self.seed}".encode())
        metrics = {
            "val_loss_nats": val_bpb * 1.6634,
            "val_bpb": val_bpb,
            "scored_targets": self.scored_targets,
            "scored_bytes": BYTES if self.scored_targets == TARGETS else BYTES // 6,
            "split_targets": TARGETS,
            "whole_split": self.scored_targets == TARGETS,
            "method": self.config.evaluate.method,
            "context_length": 256,
            "stride": 64 if self.config.evaluate.method == "sliding" else None,
            "protocol": protocol,
            "eligible": protocol != "pre_eval",
            "eval_seconds": self.eval_seconds,
            "model_kind": model.manifest.kind,
            "model_digest": model.manifest.digest,
        }
        return self._finish(writer, name, "evaluation", stage, metrics, {"model": model, "data": data})

    def _tensors(self) -> list[tuple[str, str, int, int]]:
        """(name, class, bits, values) of every tensor."""
        quantize = self.config.quantize
        found = []
        for name, shape in parameter_shapes(self.config.model).items():
            values = math.prod(shape)
            tensor_class = next(rule.to for rule in quantize.rules if rule.matches(name, values))
            found.append((name, str(tensor_class), getattr(quantize, tensor_class).bits, values))
        return found

    def _finish(
        self,
        writer: ArtifactWriter,
        name: str,
        kind: Kind,
        stage: str,
        metrics: dict[str, Any],
        inputs: dict[str, Artifact],
    ) -> Artifact:
        out = self.folder / name
        manifest = finish(
            writer,
            out,
            Result(
                kind=kind,
                metrics={"seconds": 1.5} | metrics,
                model=None if kind == "token_data" else plain_config(self.config.model),
            ),
            stage=stage,
            key=job_key(STAGES[stage], self.config, {role: a.manifest.digest for role, a in inputs.items()}),
            config=plain_config(self.config),
            inputs=tuple(artifact.reference(role) for role, artifact in inputs.items()),
            provenance=PROVENANCE | ({"rehearsal": True} if self.rehearsal else {}),
        )
        return Artifact(out, manifest)


def submit_job(evaluations: list[Artifact], out: Path, *overrides: str) -> Job:
    """The job that `golfpipe submit EVALUATION... --set ...` makes."""
    inherited = evaluations[0].manifest.config
    resolved = resolve_config(stages(), inherited=inherited, overrides=overrides)
    roles = ["evaluation", *(f"evaluation-{n}" for n in range(2, len(evaluations) + 1))]
    return Job(
        stage=STAGES["submit"],
        config=build_config(plain_config(resolved.config)),
        inputs=dict(zip(roles, evaluations, strict=True)),
        out=out,
        context=Context(),
    )
