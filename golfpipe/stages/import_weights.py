"""Bring the weights of any model into the pipeline, without an architecture.

golfpipe import final_model.pt --as weights --rule 'qo_bank=split(0)'
"""

from __future__ import annotations

from pathlib import Path

from golfpipe.codec.state import StoredTensor, describe
from golfpipe.errors import UsageError
from golfpipe.jobs.job import Job
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.store.state_files import read_state
from golfpipe.store.tensors import check_storable
from golfpipe.weights.plan import plan_state
from golfpipe.weights.rules import parse_rules


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write weights.safetensors: the tensors, numbered in their order. Its metadata has their names and the rules.

    The job's arguments are path (a file or a folder of files) and rules (texts by name pattern).
    """
    if "path" not in job.arguments:
        raise UsageError("import reads files of weights, so it is no step of a pipeline", hint="golfpipe import FILE")
    path: Path = job.arguments["path"]
    rules: dict[str, str] = job.arguments["rules"]
    state = read_state(path)
    check_storable(state)  # under their own names; the file numbers them
    plans = plan_state(state, parse_rules(rules), {})
    lines = [
        StoredTensor(name=plan.name, dtype=plan.dtype, shape=tuple(plan.tensor.shape), pieces=1, same_as=plan.same_as)
        for plan in plans
    ]
    own = {str(number): plan.tensor for number, plan in enumerate(plans) if plan.same_as is None}
    out.write_tensors("weights.safetensors", own, {"rules": rules, **describe(lines)})
    bytes_by_type: dict[str, int] = {}
    values_by_type: dict[str, int] = {}
    for plan in plans:
        if plan.same_as is None:
            count = plan.tensor.numel()
            values_by_type[plan.dtype] = values_by_type.get(plan.dtype, 0) + count
            bytes_by_type[plan.dtype] = bytes_by_type.get(plan.dtype, 0) + count * plan.tensor.element_size()
    return Result(
        kind="weights",
        metrics={
            "tensors": len(plans),
            "values": sum(values_by_type.values()),
            "values_by_type": values_by_type,
            "bytes_by_type": bytes_by_type,
        },
        provenance={"imported_from": str(path)},
    )
