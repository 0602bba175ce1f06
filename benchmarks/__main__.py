"""Run benchmarks and keep their results.

python -m benchmarks                     # all of them
python -m benchmarks train_step          # one by name; --quick for a smoke run that keeps nothing
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from benchmarks.timing import machine

NAMES = ("train_step",)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help=f"any of {', '.join(NAMES)}; default all")
    parser.add_argument("--quick", action="store_true", help="one repetition, results not kept")
    options = parser.parse_args()
    for name in options.names or NAMES:
        results = importlib.import_module(f"benchmarks.{name}").run(options.quick)
        text = json.dumps({"benchmark": name, "machine": machine(), "results": results}, indent=2)
        print(text, flush=True)
        if not options.quick:
            (RESULTS / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
