"""Files that start a submission's script where there are GPUs: torchrun on this machine, Modal, a Slurm cluster.

Each runs train_gpt.py once per seed of the record and leaves logs and packed models in results/seed<N>/. The templates
are plain scripts, so that people can read and change what they get.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Launcher = Literal["torchrun", "modal", "slurm"]


@dataclass(frozen=True, kw_only=True)
class LaunchSettings:
    """The values that the templates are filled with."""

    name: str
    seeds: tuple[int, ...]
    gpus: int
    requirements: tuple[str, ...]
    """Packages and their versions, as in requirements.txt."""
    python: str
    """The minor version that measured the score, such as 3.11."""
    minutes: int
    """The wall-clock minutes of one seed, with room to spare."""


def launcher_file(launcher: Launcher, settings: LaunchSettings) -> tuple[str, str]:
    """Return the name and the content of the file."""
    name, template = _TEMPLATES[launcher]
    return name, _filled(template, settings)


def launch_minutes(seconds: Sequence[float | None]) -> int:
    """Return half as much again as the longest seed took, plus a quarter of an hour for installing and compiling."""
    longest = max((value for value in seconds if value is not None), default=1200.0)
    return int(longest * 1.5 / 60) + 15


def _filled(template: str, settings: LaunchSettings) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", settings.name.lower()).strip("-")[:40] or "submission"
    values = {
        "SLUG": slug,
        "SEEDS": " ".join(map(str, settings.seeds)),
        "SEED_TUPLE": repr(settings.seeds),
        "LAST_INDEX": str(len(settings.seeds) - 1),
        "GPUS": str(settings.gpus),
        "PYTHON": settings.python,
        "PACKAGES": "\n".join(f"    {line!r}," for line in settings.requirements).replace("'", '"'),
        "MINUTES": str(settings.minutes),
        "CLOCK": f"{settings.minutes // 60:02d}:{settings.minutes % 60:02d}:00",
    }
    return re.sub(r"@@(\w+)@@", lambda match: values[match[1]], template)


_TORCHRUN = """\
#!/usr/bin/env bash
# Run train_gpt.py once per seed on this machine's GPUs.
#
#   pip install -r requirements.txt
#   DATA_PATH=/data/fineweb10B_sp1024 TOKENIZER_PATH=/data/fineweb_1024_bpe.model bash launch_torchrun.sh
#
# SEEDS="1 2" and GPUS=1 change what is run; logs and packed models land in results/seed<N>/.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${DATA_PATH:?set it to the folder with *train_*.bin and *val_*.bin}"
: "${TOKENIZER_PATH:?set it to the SentencePiece model}"
[ -f "$here/train_gpt.py" ] || { echo "no train_gpt.py beside this file" >&2; exit 2; }
DATA_PATH="$(realpath "$DATA_PATH")"
TOKENIZER_PATH="$(realpath "$TOKENIZER_PATH")"
export DATA_PATH TOKENIZER_PATH
for seed in ${SEEDS:-@@SEEDS@@}; do
    out="$here/results/seed$seed"
    mkdir -p "$out"
    (cd "$out" && SEED="$seed" RUN_ID="seed$seed" \\
        torchrun --standalone --nproc_per_node="${GPUS:-@@GPUS@@}" "$here/train_gpt.py" 2>&1 | tee "train_seed$seed.log")
done
"""

_SLURM = """\
#!/usr/bin/env bash
#SBATCH --job-name=@@SLUG@@
#SBATCH --array=0-@@LAST_INDEX@@
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=@@GPUS@@
#SBATCH --exclusive
#SBATCH --time=@@CLOCK@@
#SBATCH --output=slurm_%A_%a.out
#
# One array task per seed, each on a node of its own. Add your cluster's --partition and --account.
#
#   DATA_PATH=/data/fineweb10B_sp1024 TOKENIZER_PATH=/data/fineweb_1024_bpe.model sbatch launch_slurm.sh
#
# Start it in this folder, with the packages of requirements.txt in the environment. Logs and packed models land in
# results/seed<N>/.
set -euo pipefail
here="${SLURM_SUBMIT_DIR:?start this with sbatch}"
: "${DATA_PATH:?set it to the folder with *train_*.bin and *val_*.bin}"
: "${TOKENIZER_PATH:?set it to the SentencePiece model}"
[ -f "$here/train_gpt.py" ] || { echo "no train_gpt.py in $here: start sbatch in the records folder" >&2; exit 2; }
seeds=(@@SEEDS@@)
seed="${seeds[${SLURM_ARRAY_TASK_ID:-0}]}"
out="$here/results/seed$seed"
mkdir -p "$out"
DATA_PATH="$(realpath "$DATA_PATH")"
TOKENIZER_PATH="$(realpath "$TOKENIZER_PATH")"
export DATA_PATH TOKENIZER_PATH SEED="$seed" RUN_ID="seed$seed"
cd "$out"
srun torchrun --standalone --nproc_per_node="${SLURM_GPUS_ON_NODE:-@@GPUS@@}" "$here/train_gpt.py" 2>&1 | tee "train_seed$seed.log"
"""

_MODAL = '''\
"""Run train_gpt.py once per seed on @@GPUS@@ H100 GPUs of Modal, and copy the results back.

    pip install modal && modal setup
    modal volume create @@SLUG@@-data
    modal volume put @@SLUG@@-data /data/fineweb10B_sp1024 /shards
    modal volume put @@SLUG@@-data /data/fineweb_1024_bpe.model /tokenizer.model
    modal run launch_modal.py                 # or: --seeds 1,2

Logs and packed models land in results/seed<N>/ beside this file.
"""

import os
import subprocess
from pathlib import Path

import modal

HERE = Path(__file__).resolve().parent
SEEDS = @@SEED_TUPLE@@
GPUS = @@GPUS@@
DATA, SCRIPT = "/data", "/submission/train_gpt.py"
MAX_FILE_BYTES = 32_000_000
PACKAGES = [
@@PACKAGES@@
]

app = modal.App("@@SLUG@@")
data = modal.Volume.from_name("@@SLUG@@-data", create_if_missing=True)
image = (
    modal.Image.debian_slim(python_version="@@PYTHON@@")
    .pip_install(*PACKAGES)
    .add_local_file(HERE / "train_gpt.py", SCRIPT)
)


# The "!" keeps Modal from giving a faster GPU, whose times would not count.
@app.function(image=image, gpu=f"H100!:{GPUS}", volumes={DATA: data}, timeout=60 * @@MINUTES@@)
def train(seed: int) -> dict[str, bytes]:
    """One seed: name -> content of what the script wrote, and its log."""
    shards, tokenizer = Path(DATA, "shards"), Path(DATA, "tokenizer.model")
    if not any(shards.rglob("*val_*.bin")) or not tokenizer.is_file():
        raise SystemExit("the volume @@SLUG@@-data lacks /shards or /tokenizer.model: see the top of launch_modal.py")
    folder = next(shards.rglob("*val_*.bin")).parent
    work = Path("/tmp", f"seed{seed}")
    work.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "DATA_PATH": str(folder),
        "TOKENIZER_PATH": str(tokenizer),
        "SEED": str(seed),
        "RUN_ID": f"seed{seed}",
    }
    with (work / f"train_seed{seed}.log").open("wb") as log:
        command = ["torchrun", "--standalone", f"--nproc_per_node={GPUS}", SCRIPT]
        done = subprocess.run(command, cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        print((work / f"train_seed{seed}.log").read_text(errors="replace")[-4000:])
    files = (path for path in work.rglob("*") if path.is_file() and path.stat().st_size <= MAX_FILE_BYTES)
    return {path.relative_to(work).as_posix(): path.read_bytes() for path in files}


@app.local_entrypoint()
def main(seeds: str = "") -> None:
    wanted = [int(seed) for seed in seeds.split(",")] if seeds else list(SEEDS)
    for seed, files in zip(wanted, train.map(wanted)):
        for name, content in files.items():
            target = HERE / "results" / f"seed{seed}" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        print(f"seed {seed}: {len(files)} files in {HERE / 'results' / f'seed{seed}'}")
'''

_TEMPLATES: dict[Launcher, tuple[str, str]] = {
    "torchrun": ("launch_torchrun.sh", _TORCHRUN),
    "modal": ("launch_modal.py", _MODAL),
    "slurm": ("launch_slurm.sh", _SLURM),
}
