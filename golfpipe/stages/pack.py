"""Entropy-code quantized weights into the one file whose bytes count.

golfpipe pack artifacts/demo/quantize
golfpipe pack artifacts/demo/quantize -o artifacts/demo-nibble/pack --set pack.coder=nibble
golfpipe pack artifacts/demo/quantize --limit-bytes 500000   # exit 4 where it does not fit
"""

from __future__ import annotations

from collections.abc import Collection

from golfpipe.codec.container import decode_payload, encode_payload, read_header
from golfpipe.codec.formats import ideal_bytes
from golfpipe.codec.pieces import Piece
from golfpipe.errors import ArtifactError, StageFailed
from golfpipe.jobs.job import Job
from golfpipe.loading.pieces import architecture, packed_file, pieces_by_tensor, read_pieces, values_by_tensor
from golfpipe.machine.devices import select_threads
from golfpipe.store.artifact import Artifact
from golfpipe.store.artifact_writer import ArtifactWriter
from golfpipe.store.manifest import Result
from golfpipe.store.metric_values import text

PACKED = "packed.safetensors"


def run(job: Job, out: ArtifactWriter) -> Result:
    """Write packed.safetensors and sizes.json (bytes per tensor). The metric `fits` says whether the limit is kept."""
    select_threads(job.context.threads)
    source, settings = job.inputs["model"], job.config.pack
    pieces = read_pieces(source)
    model = architecture(source)
    tensors = pieces_by_tensor(model, pieces)
    classes, values = _classes(source, tensors), values_by_tensor(model, pieces)
    with job.context.reporter.task("pack", len(pieces), "tensors") as task:
        payload = encode_payload(model, pieces.values(), coder=settings.coder)
        content = packed_file(payload)
        task.advance(len(pieces))
    out.write(PACKED, content)
    header = read_header(payload)
    piece_bytes = header.piece_bytes
    sizes = [
        {
            "name": name,
            "class": classes[name],
            "bits": min((piece.bits for piece in own), default=0),
            "values": values[name] if own else 0,
            "bytes": sum(piece_bytes[piece.name] for piece in own),
        }
        for name, own in tensors.items()
    ]
    header_bytes = len(content) - sum(piece_bytes[piece.name] for own in tensors.values() for piece in own)
    out.write_json("sizes.json", {"header_bytes": header_bytes, "tensors": sizes})
    _, decoded = decode_payload(payload)
    if not all(_same_piece(decoded[name], piece) for name, piece in pieces.items()):
        raise StageFailed(
            f"{out.path(PACKED)}: decoding gives other weights than were packed; this is a bug in golfpipe"
        )
    total = len(content) + settings.code_bytes_reserve
    return Result(
        kind="packed_model",
        metrics={
            "packed_bytes": len(content),
            "code_bytes": settings.code_bytes_reserve,
            "code_bytes_source": "reserved",
            "total_bytes": total,
            "limit_bytes": settings.limit_bytes,
            "fits": total <= settings.limit_bytes,
            "entropy_bytes": round(sum(ideal_bytes(piece) for piece in pieces.values())),
        },
        model=model,
    )


def _classes(source: Artifact, names: Collection[str]) -> dict[str, str]:
    """Return the class of each of the tensors, as quantize reported it. Raises ArtifactError."""
    report = source.read_json("report.json")
    lines = report.get("tensors") if isinstance(report, dict) else None
    listed = [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    found = {text(line, "name"): text(line, "class") for line in listed}
    classes = {name: found_class for name in names if (found_class := found.get(name)) is not None}
    missing = [name for name in names if name not in classes]
    if missing:
        raise ArtifactError(
            f"{source.path / 'report.json'}: field tensors: no class of {missing[0]}",
            hint="run golfpipe quantize again with --force",
        )
    return classes


def _same_piece(left: Piece, right: Piece) -> bool:
    """Return True if two pieces are equal to the last bit."""
    return left.arrays.keys() == right.arrays.keys() and all(
        array.tobytes() == right.arrays[part].tobytes() for part, array in left.arrays.items()
    )
