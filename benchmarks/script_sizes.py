"""Bytes of the generated script by preset, test-time training and quantizer, in both layouts; a Markdown table.

python -m benchmarks.script_sizes        # CPU, seconds
"""

from __future__ import annotations

from golfpipe.config.resolve import load_stages, resolve_config
from golfpipe.config.submit import Layout
from golfpipe.script.generate import generate_script, script_settings_of

TO_LIMIT = ("quantize.target_bytes=limit", "quantize.calibration=train")
CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("demo", ()),
    ("14l-xsa6", ("ttt.method=score_first_lora",)),
    ("16l", ()),
    ("16l", ("ttt.method=cosine",)),
    ("16l", ("ttt.method=score_first_sgd",)),
    ("16l", ("quantize.method=trellis",)),
    ("16l", ("quantize.target_bytes=limit", "quantize.calibration=none")),
    ("16l", TO_LIMIT),
    ("14l-xsa6", (*TO_LIMIT, "ttt.method=score_first_lora")),
)
LAYOUTS: tuple[Layout, ...] = ("readable", "compressed")


def main() -> None:
    """Print a row per case."""
    print("| preset | settings | readable | compressed |\n|---|---|---:|---:|")
    for preset, overrides in CASES:
        config = resolve_config(load_stages(), preset=preset, overrides=overrides).config
        adapted = any(override.startswith("ttt.") for override in overrides)
        settings = script_settings_of(config, "ttt" if adapted else "none")
        sizes = " | ".join(f"{len(generate_script(settings, layout)):,}" for layout in LAYOUTS)
        print(f"| `{preset}` | {', '.join(f'`{override}`' for override in overrides)} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
