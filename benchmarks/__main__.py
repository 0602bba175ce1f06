"""Run benchmarks, each in a process of its own.

python -m benchmarks                            # all of them, about 14 minutes on 2 cores
python -m benchmarks train_step evaluation      # some by name
python -m benchmarks --quick                    # toy sizes: whether they run, no figures
python -m benchmarks --record                   # the results are kept, and go into docs/speed.md and speed-tables.md

BENCHMARK_CLOCK=cpu OMP_NUM_THREADS=1 in the environment measures CPU seconds of one thread, where the machine is busy
with other work. A result is a table on standard output and NAME.json in a folder (benchmarks/keep.py), or
NAME_without_amx.json where the processor has no AMX tiles: the kept results of the two stand beside each other.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.child import peak_memory_bytes
from benchmarks.keep import add_output_options, write_result
from benchmarks.tables import NAMES, RESULTS, detail_table, result_name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help=f"any of {', '.join(NAMES)}; default all")
    parser.add_argument("--quick", action="store_true", help="toy sizes, one repetition")
    add_output_options(parser)
    options = parser.parse_args()
    if options.quick and options.output == RESULTS:
        parser.error("--quick measures nothing that --record could keep")
    names = options.names or list(NAMES)
    if len(names) == 1:
        run_one(names[0], options.quick, options.output)
        return 0
    words = [*(["--quick"] if options.quick else []), "--output", str(options.output)]
    codes = [
        subprocess.run([sys.executable, "-m", "benchmarks", name, *words], check=False).returncode for name in names
    ]
    return max(codes)


def run_one(name: str, quick: bool, output: Path) -> None:
    """Run one benchmark here, print its table, and write its result."""
    from benchmarks.timing import machine
    from golfpipe.version import source_commit

    started = time.perf_counter()
    results = importlib.import_module(f"benchmarks.{name}").run(quick)
    kept = {
        "benchmark": name,
        "commit": source_commit(),
        "machine": machine(),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "results": results,
    }
    print(f"## {name}\n\n{detail_table({'': kept})}\n", flush=True)
    write_result(output, result_name(name, kept["machine"]["amx"]), kept)


if __name__ == "__main__":
    sys.exit(main())
