"""The clean process in which a scoring method is put on trial. `golfpipe.submission.trial.room` starts it twice.

Its one argument is a JSON file with the method, the settings and where to write the result. It reads only the packed
model or the user's own files, the tokenizer and the validation shard, which holds the text on trial; whatever else is
opened is a finding. The second process scores one altered text that the first one left: what the first one kept, on
disk or in memory, is gone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golfpipe.config.schema import build_config
from golfpipe.data.token_data import load_tokenizer
from golfpipe.errors import GolfpipeError
from golfpipe.loading.pieces import model_config
from golfpipe.loading.weights import check_vocabulary, load_weights
from golfpipe.machine.devices import select_device, select_threads
from golfpipe.store.artifact import open_artifact
from golfpipe.submission.trial.data_copy import DataCopy, on_file
from golfpipe.submission.trial.experiments import (
    check_bytes,
    check_count,
    check_cuts,
    check_probabilities,
    check_shorter,
    check_sums,
    document_sums,
    needed_targets,
    restart_text,
    scores_in_order,
    silent,
)
from golfpipe.submission.trial.file_scorer import FileScorer
from golfpipe.submission.trial.packed_scorer import PackedScorer
from golfpipe.submission.trial.scorer import Scorer
from golfpipe.submission.trial.watcher import AuditHook, inherited_handles

Build = Callable[[dict[str, Any]], Scorer]


def main(build: Build | None = None) -> None:
    """Do what the request asks and write the result. `build` makes another scorer than the one that is asked for."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    hook = AuditHook()
    inherited = inherited_handles()
    try:
        result = put_on_trial(request, build or _BUILDERS[request["method"]])
    except GolfpipeError as error:
        result = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
    result |= {"files": sorted(set(hook.files)), "sockets": [*sorted(set(hook.sockets)), *inherited]}
    Path(request["result"]).write_text(json.dumps(result), encoding="utf-8")


def packed_scorer(request: dict[str, Any]) -> PackedScorer:
    """Return the method that the request's settings describe, on the packed model's weights."""
    packed, data = open_artifact(Path(request["packed"]), "packed_model"), open_artifact(Path(request["data"]))
    model, tokenizer = model_config(packed), load_tokenizer(data)
    check_vocabulary(model, tokenizer)
    config, device = build_config(request["config"]), torch.device(select_device(request["device"]))
    return PackedScorer(model, load_weights(packed), tokenizer, config, device, adapted=request["adapted"])


def file_scorer(request: dict[str, Any]) -> FileScorer:
    """Return the method in the user's own file."""
    return FileScorer(Path(request["file"]), load_tokenizer(open_artifact(Path(request["data"]))))


_BUILDERS: dict[str, Build] = {"packed": packed_scorer, "file": file_scorer}


def put_on_trial(request: dict[str, Any], build: Build) -> dict[str, Any]:
    """Make the scorer and do all experiments, or in the second process only score the text that lies in the file. The
    scores are written to a file."""
    select_threads(request["threads"])
    torch.set_deterministic_debug_mode("warn")  # torch.use_deterministic_algorithms would load the compiler for it
    started = time.perf_counter()
    data = DataCopy(open_artifact(Path(request["data"])))
    scorer = on_file(build(request), data)
    text = data.text()
    if request["restarted"]:
        np.save(request["scores"], scores_in_order(scorer, text, scorer.score(text, silent)))
        return {}
    tokens = text[: request["targets"] + 1] if request["targets"] else text[: needed_targets(scorer, text) + 1]
    count, nats = check_count(scorer, tokens)
    np.save(request["scores"], scores_in_order(scorer, tokens, nats))
    told = check_probabilities(scorer, tokens, nats)
    found = {
        "method": scorer.name,
        "adapts": scorer.adapts,
        "ordered": scorer.ordered,
        "count": asdict(count),
        "sums": asdict(check_sums(scorer, tokens)),
        "probabilities": asdict(told) if told is not None else None,
        "cuts": asdict(check_cuts(scorer, tokens, first_nats=nats)),
        "shorter": asdict(check_shorter(scorer, tokens)),
        "bytes": asdict(check_bytes(scorer, text)),
        "document_nats": document_sums(nats, tokens, scorer.bos_id, within=scorer.comparable_targets(len(nats))),
        "seconds": time.perf_counter() - started,
    }
    other, found["restart_cut"] = restart_text(scorer, tokens)
    data.place(other)
    return found


if __name__ == "__main__":
    main()
