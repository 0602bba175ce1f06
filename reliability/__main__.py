"""Run the reliability programs; each writes reliability_<name>.json (benchmarks/keep.py says where).

python -m reliability                                    # all of them, full counts
python -m reliability mutants --count 100000 --seed 0    # one by name
python -m reliability --record                           # the results are kept in benchmarks/results
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time

from benchmarks.keep import add_output_options, write_result
from benchmarks.timing import machine

# Name -> count of the full run. Each is a module of this package with `run(count, seed) -> dict`; the dict holds
# "failures", a list of what went wrong (empty: the figure holds), and whatever else it counted.
PROGRAMS: dict[str, int] = {
    "kill": 200,
    "io_errors": 200,
    "interrupts": 100,
    "training_faults": 90,
    "double_start": 100,
    "lost_locks": 100,
    "determinism": 3,
    "mutants": 100_000,
    "bombs": 100,
    "attacks": 100,
    "injections": 10_000,
    "configurations": 10_000,
    "byte_counts": 10_000,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*PROGRAMS, []], help=f"any of {', '.join(PROGRAMS)}; default all")
    parser.add_argument("--count", type=int, help="cases; default that of the full run")
    parser.add_argument("--seed", type=int, default=0)
    add_output_options(parser)
    options = parser.parse_args()
    failed = 0
    for name in options.names or PROGRAMS:
        started = time.perf_counter()
        count = options.count or PROGRAMS[name]
        results = importlib.import_module(f"reliability.{name}").run(count, options.seed)
        kept = {
            "program": name,
            "count": count,
            "seed": options.seed,
            "seconds": round(time.perf_counter() - started, 1),
            "machine": machine(),
            "results": results,
        }
        print(json.dumps(kept, indent=2), flush=True)
        failed += len(results["failures"])
        write_result(options.output, f"reliability_{name}", kept)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
