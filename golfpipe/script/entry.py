"""The submission's script: train, quantize, pack, reload the packed bytes, adapt, score. One file, no other state.

This module is the only code of train_gpt.py that is not also a stage's: it reads shards and tokenizer, takes settings
from the environment, and writes log and model. golfpipe.script.generate puts it and the modules that it needs into one
file. Started by torchrun, its processes share training and scoring; the first one writes.

    DATA_PATH               folder of the shards *train_*.bin and *val_*.bin
    TOKENIZER_PATH          SentencePiece model
    SEED, RUN_ID            random seed; name of logs/<RUN_ID>.txt
    MAX_WALLCLOCK_SECONDS   cap on training time, 0 for none
    GOLF_<SECTION>_<KEY>    any other number of the configuration, e.g. GOLF_TRAIN_MAX_STEPS=20
"""

from __future__ import annotations

import difflib
import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import sentencepiece
import torch
from torch import Tensor

from golfpipe.codec.coders import CODERS
from golfpipe.codec.config import PackConfig
from golfpipe.codec.container import decode_payload, encode_payload
from golfpipe.codec.formats import FORMATS
from golfpipe.codec.pieces import Piece
from golfpipe.data.shard_files import ShardFile, list_shards
from golfpipe.data.shard_format import Split
from golfpipe.model.config import ModelConfig, parameter_count, parameter_shapes, plain_model, possible_names
from golfpipe.model.network import Network, build_network, initialize, load_network
from golfpipe.optim.config import OptimConfig
from golfpipe.optim.process_group import ProcessGroup
from golfpipe.quant.config import QuantizeConfig
from golfpipe.quant.dequantize import dequantize_weights
from golfpipe.quant.export import quantize_weights
from golfpipe.quant.quantizers import QUANTIZERS
from golfpipe.scoring.byte_table import build_byte_table, scored_bytes
from golfpipe.scoring.config import EvaluateConfig
from golfpipe.scoring.score import Score, score_windows, summarize, summarize_sample
from golfpipe.scoring.windows import Window, batch_windows, gathered, moved_together, plan_windows, spread_windows
from golfpipe.training.config import TrainConfig
from golfpipe.training.log_lines import (
    calibration_line,
    cap_line,
    memory_line,
    score_line,
    size_lines,
    start_lines,
    train_line,
    validation_line,
)
from golfpipe.training.loop import FinishedStep, run_training
from golfpipe.training.token_stream import TokenStream
from golfpipe.training.trainer import Trainer

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_CALIBRATION, _TARGET = "golfpipe.training.calibration", "golfpipe.quant.target"
ADAPTATION = "golfpipe.adapt.method"
"""Modules that only some settings need: they are imported by name, so that other scripts do without them."""
_CHOOSE_CODE = ("step", "target_bits")
"""Numbers whose 0 leaves modules out of the script, so that only a new script can bring them back."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration of the run."""

    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    ttt_method: str = ""
    """Test-time training that is part of the score; empty where there is none."""
    ttt_module: str = ""
    """The module of the method."""
    ttt_precision: str = "fp32"
    ttt: Any = None
    """The method's recipe."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def chosen_modules(settings: Settings) -> list[str]:
    """Return the modules that this run needs beside those that the entry imports."""
    quantize = settings.quantize
    return [
        QUANTIZERS.module(quantize.method),
        CODERS.module(settings.pack.coder),
        *(FORMATS.module(name) for name in quantize.formats),
        *([ADAPTATION, settings.ttt_module] if settings.ttt_module else []),
        *([_CALIBRATION] if quantize.calibration != "none" else []),
        *([_TARGET] if quantize.has_target else []),
    ]


def script_settings(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Put the values of the environment in place of the run's own.

    Numbers can be changed. Choices decide what code the script holds, so they are fixed. SystemExit names an unknown or
    fixed GOLF_* variable and the nearest one that can be set.
    """
    mine = {name: text for name, text in environ.items() if name.startswith("GOLF_")}
    for name, key in (("SEED", "GOLF_SEED"), ("MAX_WALLCLOCK_SECONDS", "GOLF_TRAIN_MAX_SECONDS")):
        if name in environ:
            mine[key] = environ[name]
    known: list[str] = []
    changed: Settings = _with_environment(settings, "GOLF", mine, known)
    for name in mine:
        near = difflib.get_close_matches(name, known, 1, 0)
        raise SystemExit(f"{name} is no setting of this script, the nearest is {near[0]}")
    return changed


def _with_environment(section: Any, prefix: str, environ: dict[str, str], known: list[str]) -> Any:
    """Return the section with the values of GOLF_* variables.

    The variables that are used leave `environ`; the names of all that could be used are added to `known`.
    """
    changes = {}
    for item in fields(section):
        value, name = getattr(section, item.name), f"{prefix}_{item.name.upper()}"
        if is_dataclass(value):
            changes[item.name] = _with_environment(value, name, environ, known)
        elif type(value) in (int, float) and (value or item.name not in _CHOOSE_CODE):
            known.append(name)
            if name in environ:
                text = environ.pop(name)
                try:
                    changes[item.name] = type(value)(text)
                except ValueError:
                    raise SystemExit(f"{name}={text}: expected {type(value).__name__}") from None
    return replace(section, **changes)


class Data:
    """Shards and tokenizer in the folder and file that the environment names."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.folder = Path(environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024"))
        tokenizer_path = environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_1024_bpe.model")
        processor = sentencepiece.SentencePieceProcessor(model_file=tokenizer_path)
        pieces = range(processor.vocab_size())
        self.vocab_size = len(pieces)
        self.table = build_byte_table(
            [processor.id_to_piece(i) for i in pieces], [_piece_type(processor, i) for i in pieces]
        )
        self.validation = TokenStream(self.shards("val"))
        sidecars = [ShardFile(path) for path in sorted(self.folder.glob("*val_bytes_*.bin"))]
        self.sidecar = TokenStream(sidecars) if sidecars else None
        if (sidecars or self.table.case_transformed) and sum(map(len, sidecars)) != self.validation.num_tokens:
            raise SystemExit("DATA_PATH: *val_bytes_*.bin files are missing")

    def shards(self, split: Split) -> list[ShardFile]:
        """Return the shards in the order of their names."""
        return [ShardFile(path) for path in list_shards(self.folder, split)]


def _packed_file(payload: bytes) -> bytes:
    """Return the content of packed.safetensors, byte for byte as golfpipe's own `pack` writes it."""
    return safetensors.torch.save({"payload": torch.from_numpy(np.frombuffer(payload, np.uint8).copy())})


def _piece_type(processor: sentencepiece.SentencePieceProcessor, i: int) -> str:
    """Return the kind of piece i as the byte table takes it, which need not tell the kinds of boundary apart."""
    if processor.is_unknown(i) or processor.is_control(i) or processor.is_unused(i):
        return "control"
    return "byte" if processor.is_byte(i) else "normal"


class Script:
    """One run, from training to the score."""

    def __init__(self, settings: Settings, data: Data, run_id: str, processes: ProcessGroup, code_bytes: int) -> None:
        self.settings, self.data, self.processes, self.code_bytes = settings, data, processes, code_bytes
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.log_path = Path("logs", run_id + ".txt")
        self.log_path.parent.mkdir(exist_ok=True)
        self.train_loss = 0.0

    def say(self, line: str) -> None:
        """Write a line to stdout and into the log; only the first process speaks."""
        if self.processes.rank == 0:
            print(line, flush=True)
            with self.log_path.open("a") as file:
                file.write(line + "\n")

    # ---- training: run_training calls the first four methods -------------------------------------------------------

    def log(self, steps: list[FinishedStep]) -> None:
        self.train_loss = steps[-1].train_loss_nats
        for step in steps:
            if step.step % self.settings.train.log_every == 0 or step.step == 1:
                self.say(train_line(step.step, self.trainer.max_steps, step.train_loss_nats, step.elapsed_seconds))

    def validate(self, step: int) -> None:
        score, trainer = self.averaged_score(), self.trainer
        self.say(validation_line(step, trainer.max_steps, score.val_loss_nats, score.val_bpb, trainer.elapsed_seconds))

    def checkpoint(self, step: int) -> None:
        pass

    def stop_requested(self) -> bool:
        return False

    def averaged_score(self) -> Score:
        """Averaged weights on windows of the training length from everywhere in the validation split."""
        train, data = self.settings.train, self.data
        windows = spread_windows(data.validation.num_tokens - 1, train.context_length, train.validation_targets)
        tokens = gathered(data.validation, windows)
        sizes = scored_bytes(data.table, tokens, gathered(data.sidecar, windows) if data.sidecar else None)
        with self.trainer.averaged_weights() as network:
            return summarize_sample(self.nats(network, tokens, moved_together(windows)), sizes)

    def train(self) -> dict[str, Tensor]:
        """Train from the seed and return the fp32 weights that are to be quantized."""
        settings, train = self.settings, self.settings.train
        network = build_network(settings.model, _DTYPES[train.precision])
        initialize(network, settings.seed)
        network.to(self.device)
        compiled = train.compile != "off" and self.device.type == "cuda"
        stream = TokenStream(self.data.shards("train"))
        self.trainer = trainer = Trainer(
            network, stream, train, settings.optim, self.device, compiled, processes=self.processes
        )
        self.say(start_lines(settings.seed, parameter_count(settings.model), train, trainer.max_steps))
        if compiled:
            trainer.warm_up(train.compile_warmup_steps)
        if run_training(trainer, self) == "max_seconds":
            self.say(cap_line(trainer.steps_done, trainer.max_steps, trainer.elapsed_seconds))
        self.validate(trainer.steps_done)
        if self.device.type == "cuda":
            self.say(memory_line(torch.cuda.max_memory_allocated()))
        weights = trainer.average.state() if train.ema_decay > 0 else dict(network.named_parameters())
        return {name: weights[name] for name in parameter_shapes(settings.model)}

    # ---- the packed file --------------------------------------------------------------------------------------

    def quantize(self, weights: dict[str, Tensor]) -> dict[str, Piece]:
        settings, quantize = self.settings, self.settings.quantize
        calibration = self.calibrate(weights) if quantize.calibration != "none" else None
        target = None
        if quantize.has_target:
            shapes = parameter_shapes(settings.model)
            target = import_module(_TARGET).size_target(
                quantize, settings.pack, plain_model(settings.model), shapes, _packed_file
            )
        return quantize_weights(
            weights,
            quantize,
            universe=possible_names(settings.model),
            calibration=calibration,
            target=target,
        ).pieces

    def calibrate(self, weights: dict[str, Tensor]) -> Any:
        """Measure what errors cost, on tokens of the train shards or of the model itself. Its seconds count as
        training."""
        settings, quantize = self.settings, self.settings.quantize
        module = import_module(_CALIBRATION)
        started = time.perf_counter()
        plan = module.plan_calibration(quantize, parameter_count(settings.model), settings.train.context_length)
        stream = TokenStream(self.data.shards("train")) if quantize.calibration == "train" else None
        found = module.calibrate(self.network(weights, "fp32"), quantize, plan, stream, self.device)
        self.say(calibration_line(time.perf_counter() - started))
        return found

    def write_model(self, weights: dict[str, Tensor]) -> bytes:
        """Quantize, write the file that counts, and return its content."""
        coder = self.settings.pack.coder
        pieces = self.quantize(weights)
        content = _packed_file(encode_payload(plain_model(self.settings.model), pieces.values(), coder=coder))
        Path("packed.safetensors").write_bytes(content)
        self.say(size_lines(coder, len(content), self.code_bytes))
        self.say(f"packed_sha256:{hashlib.sha256(content).hexdigest()}")
        return content

    # ---- the score --------------------------------------------------------------------------------------------

    def nats(self, network: Network, tokens: np.ndarray, windows: Iterator[Window]) -> np.ndarray:
        nats = np.full(len(tokens) - 1, np.nan, np.float32)
        batches = batch_windows(windows, self.settings.evaluate.pass_tokens(self.device.type))
        score_windows(network.last_nats, tokens, self.processes.share(batches), nats, self.device)
        self.processes.merge(nats)
        return nats

    def summary(self, tokens: np.ndarray, nats: np.ndarray) -> Score:
        data = self.data
        sizes = scored_bytes(data.table, tokens, data.sidecar.span(0, len(tokens)) if data.sidecar else None)
        return summarize(tokens, nats, sizes, self.settings.model.bos_id)

    def network(self, weights: dict[str, Tensor], precision: str) -> Network:
        return load_network(self.settings.model, weights, _DTYPES[precision]).to(self.device)

    def evaluate(self, content: bytes) -> Score:
        """Read the packed file back, adapt the model where the run does so, and score it."""
        settings = self.settings
        windows = settings.evaluate
        split = self.data.validation
        tokens = split.span(0, windows.max_targets + 1 if windows.max_targets else split.num_tokens)
        payload = safetensors.torch.load(content)["payload"].numpy().tobytes()
        weights = dequantize_weights(decode_payload(payload)[1])
        if settings.ttt_module:
            network = self.network(weights, settings.ttt_precision)
            work = import_module(ADAPTATION).Work(
                network=network,
                tokens=tokens,
                bos_id=settings.model.bos_id,
                windows=windows,
                seed=settings.seed,
                device=self.device,
                processes=self.processes,
                on_adapted=lambda documents: self.say(f"ttt adapted_documents:{documents}"),
                on_epoch=self.say_epoch,
            )
            nats = import_module(settings.ttt_module).METHOD.run(work, settings.ttt)
            if nats is not None:
                return self.summary(tokens, nats)
            weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
        plan = plan_windows(len(tokens) - 1, windows)
        return self.summary(tokens, self.nats(self.network(weights, windows.precision), tokens, plan))

    def say_epoch(self, epoch: int, loss: float, factor: float) -> None:
        self.say(f"ttt epoch:{epoch} loss:{loss:.4f}")

    def run(self) -> None:
        settings = self.settings
        weights = self.train()
        content = self.processes.first(self.write_model(weights) if self.processes.rank == 0 else b"")
        started = time.perf_counter()
        score = self.evaluate(content)
        seconds = time.perf_counter() - started
        method = settings.ttt_method or settings.evaluate.method
        self.say(
            f"exact train_loss:{self.train_loss!r} val_loss_nats:{score.val_loss_nats!r} val_bits:{score.val_bpb!r}"
        )
        self.say(score_line(method, score.val_loss_nats, score.val_bpb, seconds))


def main(settings: Settings, environ: Mapping[str, str], path: str) -> None:
    """Run the script whose file is `path`. SystemExit for settings and data that do not fit."""
    processes = ProcessGroup(int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1")))
    if processes.size > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(environ["LOCAL_RANK"]))
    settings = script_settings(settings, environ)
    processes.meet()
    data = Data(environ)
    if data.vocab_size != settings.model.vocab_size:
        raise SystemExit(
            f"TOKENIZER_PATH: {data.vocab_size} pieces, not GOLF_MODEL_VOCAB_SIZE={settings.model.vocab_size}"
        )
    Script(settings, data, environ.get("RUN_ID", uuid.uuid4().hex), processes, Path(path).stat().st_size).run()
    processes.leave()
