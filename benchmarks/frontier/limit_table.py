"""The law's ranking for the challenge: 16 MB, 600 seconds on eight GPUs, vocabularies by layers.

python -m benchmarks.frontier.limit_table        # prints the table of docs/planning.md; a second, trains nothing
"""

from __future__ import annotations

from golfpipe.config.resolve import load_stages, packaged_stages_file, resolve_config
from golfpipe.planning.candidates import candidates, parse_vary
from golfpipe.planning.designs import Ranked, Task, fitting_designs, law_of, ranked
from golfpipe.planning.speeds import stated_times

PRESET, HARDWARE = "16l", "gpus-8x80gb"
SIZE, SECONDS = 15.95e6, 600.0
VOCABULARIES = (1024, 2048, 4096, 8192, 16384, 32768)
LAYERS = (9, 11, 13, 16, 20, 24)


def ranking() -> dict[tuple[int, int], Ranked]:
    """Return the designs by vocabulary and layers, the least estimate first."""
    stages = load_stages(packaged_stages_file())
    config = resolve_config(stages, preset=PRESET).config
    vary = [f"{name}={','.join(map(str, values))}" for name, values in (("vocab", VOCABULARIES), ("layers", LAYERS))]
    times = stated_times(stages.machines[HARDWARE])
    task = Task(size=SIZE, seconds=SECONDS, times=times, bytes_per_token={}, text_bytes=None)
    designs = fitting_designs(candidates(parse_vary(vary, config, has_text=True), config), task)
    return {
        (one.design.model.vocab_size, one.design.model.num_layers): one for one in ranked(designs, law_of(designs, []))
    }


def table() -> str:
    """Return the ranking as the lines of a Markdown table: bits per byte more than the first design, bits, steps."""
    found = ranking()
    lines = [
        "| vocabulary | "
        + " | ".join(f"{LAYERS[0]} layers" if layers == LAYERS[0] else f"{layers}" for layers in LAYERS)
        + " |",
        "|---" * (1 + len(LAYERS)) + "|",
    ]
    for vocabulary in VOCABULARIES:
        cells = (found[vocabulary, layers] for layers in LAYERS)
        shown = (f"+{one.behind:.3f}, {one.design.bits:.2f} b, {one.design.steps:,}" for one in cells)
        lines.append(f"| {vocabulary:,} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    first, *_ = ranking().values()
    for (vocabulary, layers), one in list(ranking().items())[:8]:
        print(f"{vocabulary:,} pieces, {layers} layers: behind by {one.behind:.3f} +-{one.behind_error:.3f}")
