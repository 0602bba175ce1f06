"""Numbers that the pages state are those of the code: defaults, limits, presets, parameter counts, results."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from small_chain import ROOT

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.config.schema import PipelineConfig
from golfpipe.config.yaml_file import MAX_BYTES
from golfpipe.data.config import DataConfig
from golfpipe.data.text_files import LONGEST_DOCUMENT
from golfpipe.loading.warning_signs import VALIDATION_RISE
from golfpipe.model.config import ModelConfig, multiplied_weights, parameter_count, parameter_shapes
from golfpipe.optim.muon import POLAR_STEPS
from golfpipe.quant.config import CLIP_GRIDS, target_bytes_of
from golfpipe.records.log_lines import MOST_BYTES
from golfpipe.stages import verify_script
from golfpipe.submission.rules import CHALLENGE_TARGETS
from golfpipe.submission.significance import LEVEL, MARGINS_NATS
from golfpipe.submission.trial import experiments, packed_scorer
from golfpipe.sweeps import slurm
from golfpipe.training.bad_steps import MAX_BAD_STEPS
from golfpipe.training.calibration import CALIBRATION_TOKENS

DEFAULTS = PipelineConfig()
TTT, OPTIM, TRAIN = DEFAULTS.ttt, DEFAULTS.optim, DEFAULTS.train
STAGES = load_stages(ROOT / "stages.yaml")
LIMIT = target_bytes_of(
    resolve_config(STAGES, preset="16l-fit").config.quantize,
    DEFAULTS.pack.limit_bytes,
    DEFAULTS.pack.code_bytes_reserve,
)


def preset(name: str) -> PipelineConfig:
    return resolve_config(STAGES, preset=name).config


def page(name: str) -> str:
    """The text of a page, its lines joined."""
    return re.sub(r"\s+", " ", (ROOT / name).read_text())


def short(value: float) -> str:
    """5e-4 for 0.0005, as the pages write it."""
    return f"{value:g}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-")


CLAIMS: dict[str, tuple[str, ...]] = {
    "README.md": (
        f"({DEFAULTS.pack.code_bytes_reserve:,} bytes, which hold every script)",
        f"{DEFAULTS.pack.limit_bytes:,} bytes of code and weights",
    ),
    "docs/choosing-a-size.md": (
        f"`pack.code_bytes_reserve` ({DEFAULTS.pack.code_bytes_reserve:,} bytes",
        f"the file may have {LIMIT:,} bytes",
    ),
    "docs/quantization.md": (
        ", ".join(f"{ratio:.2f}" for ratio in CLIP_GRIDS["pr951"]),
        f"from {CLIP_GRIDS['wide'][0]:.2f} to {CLIP_GRIDS['wide'][-1]:.2f} in steps of 0.02",
        f"{CALIBRATION_TOKENS:,}; proportionally fewer",
    ),
    "docs/stages/ttt.md": (
        f"windows of {TTT.cosine.context_length:,}, {TTT.cosine.batch_sequences} a batch,"
        f" for {TTT.cosine.epochs} epochs",
        f"The lr is {short(TTT.cosine.lr)} times a half cosine",
        f"times {TTT.cosine.mlp_output_lr_scale:g} for the output matrices of the MLPs and times"
        f" {TTT.cosine.mlp_input_lr_scale:g} for their input matrices",
        f"chunks of {TTT.score_first_lora.chunk_tokens} targets",
        f"within {TTT.score_first_lora.context_length:,} tokens",
        f"adapters of rank {TTT.score_first_lora.rank} on",
        f"lr {TTT.score_first_lora.lr:g}, betas",
        f"taken {TTT.score_first_lora.batch_documents} at once",
        f"A chunk is {TTT.score_first_sgd.chunk_tokens:,} targets",
        f"for {TTT.score_first_sgd.epochs} epochs in disjoint windows of {TTT.score_first_sgd.context_length:,},"
        f" {TTT.score_first_sgd.batch_sequences} a batch, on all weights: momentum {TTT.score_first_sgd.momentum:g}",
        f"lr {TTT.score_first_sgd.lr:g} times a half cosine",
    ),
    "docs/stages/train.md": (
        *(f"| {step} | {a:g} | {b:g} | {c:g} |" for step, (a, b, c) in enumerate(POLAR_STEPS, 1)),
        f"`optim.matrix_lr`, {OPTIM.matrix_lr:g} |",
        f"`optim.embed_lr`, {OPTIM.embed_lr:g} |",
        f"`optim.scalar_lr`, {OPTIM.scalar_lr:g} |",
        f"betas {OPTIM.beta1:g} and {OPTIM.beta2:g}, eps 1e-8. Weight decay is {OPTIM.weight_decay:g} in all groups",
        f"from {OPTIM.momentum_start:g} to {OPTIM.momentum:g} over the first {OPTIM.momentum_warmup_steps:,} steps",
        {10: "more than ten in a row"}[MAX_BAD_STEPS],
        {0.01: "rises by more than a percent"}[VALIDATION_RISE],
    ),
    "docs/stages/data.md": (f"more than {LONGEST_DOCUMENT:,} characters are cut",),
    "docs/tutorial.md": ({0.05: "Five percent of the text"}[DataConfig().val_fraction],),
    "docs/stages/pack.md": (f"Over `pack.limit_bytes` ({DEFAULTS.pack.limit_bytes:,}, code included)",),
    "docs/stages/sweep.md": (
        f"a task has {slurm.DEFAULT_MINUTES // 60} hours",
        f"bounds the tasks in the queue ({slurm.ARRAY_TASKS})",
    ),
    "docs/submission-script.md": (
        f"at {verify_script._MOST_STEPS} steps of at most {verify_script._MOST_SEQUENCES} sequences and"
        f" {verify_script._MOST_TARGETS:,} targets",
        f"`pack.code_bytes_reserve` ({DEFAULTS.pack.code_bytes_reserve:,})",
    ),
    "docs/rules.md": (
        f"At {experiments.NUM_CUTS} cuts",
        f"at least {experiments.MIN_TARGETS:,} targets",
        f"of a {experiments.SWAP_TARGETS}-target text",
        f"up to {packed_scorer.MAX_PROBES} positions",
        f"{CHALLENGE_TARGETS:,} at sp1024",
        f"at least {MARGINS_NATS[0]} nats per token better than the record at p < {LEVEL}",
    ),
    "docs/security.md": (f"at most {MAX_BYTES // 1000} KB", f"of a log above {MOST_BYTES // 10**6} MB"),
    "docs/model.md": (
        f"{parameter_count(preset('16l').model):,} parameters",
        *(
            f"{millions:.2f} M"
            for pattern in ("blocks.*mlp", "blocks.*attention|kv_projections", r"bigram\.table", r"token_embedding")
            for millions in [
                sum(
                    size[0] * (size[1] if len(size) > 1 else 1)
                    for name, size in parameter_shapes(preset("16l").model).items()
                    if re.match(pattern, name) and len(size) == 2
                )
                / 1e6
            ]
        ),
    ),
    "docs/speed-tables.md": (f"({multiplied_weights(preset('16l').model) / 1e6:.1f} M for `16l`",),
}


@pytest.mark.parametrize(("name", "claim"), [(name, claim) for name, claims in CLAIMS.items() for claim in claims])
def test_a_stated_number_is_that_of_the_code(name: str, claim: str) -> None:
    assert claim in page(name)


def test_the_table_of_presets() -> None:
    text = (ROOT / "docs/model.md").read_text().partition("## Presets")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    assert len(rows) >= 8
    for name, layers, ratio, sharing, trigrams, warmdown, slope, _ in rows:
        config = preset(name.strip("`"))
        model: ModelConfig = config.model
        assert (layers, ratio, slope) == (str(model.num_layers), f"{model.mlp_ratio:.1f}", f"{model.leaky_slope:g}")
        assert trigrams == (f"{model.trigram_buckets:,}" if model.trigram_buckets else "none")
        assert warmdown == f"{config.train.warmdown_steps:,}"
        shared: Any = model.kv_sharing
        assert sharing == (shared if isinstance(shared, str) else f"last {shared.last}")


def test_the_table_of_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    for extra, packages in extras.items():
        if extra not in ("test", "dev"):
            assert [package.partition(">")[0] for package in packages] == rows[extra].strip().split(", "), extra


def test_the_results_of_the_readme() -> None:
    kept = json.loads((ROOT / "benchmarks/results/same_work.json").read_text())
    text, seeds, mean = page("README.md"), kept["seeds"], kept["mean"]
    numbers = [
        ", ".join(f"{seed[key]:{kind}}" for seed in seeds)
        for key, kind in (("val_bpb_trained", ".4f"), ("val_bpb_packed", ".4f"), ("packed_bytes", ","))
    ]
    assert f"| preset `tiny`, seeds 0, 1, 2 | {' | '.join(numbers)} |" in text
    means = f"**{mean['val_bpb_trained']:.4f}** | **{mean['val_bpb_packed']:.4f}** | {mean['packed_bytes']:,.0f}"
    assert f"| mean | {means} |" in text
