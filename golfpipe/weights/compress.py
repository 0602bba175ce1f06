"""The weights of any model to bytes of a given size: plan the tensors, solve for the size, and write one payload."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from golfpipe.codec.coders import CODERS
from golfpipe.codec.config import PackConfig
from golfpipe.codec.container import encode_payload, payload_pieces, read_header
from golfpipe.codec.pieces import EXACT_DTYPES, Piece
from golfpipe.codec.state import StoredTensor, describe
from golfpipe.codec.stream_cache import StreamCache
from golfpipe.errors import ConfigError, StageFailed
from golfpipe.machine.code_search import own_code_search
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.quant.calibrator import Calibrator
from golfpipe.quant.config import OPEN_METHOD, ClassScheme, QuantizeConfig, TensorClass, target_bytes_of
from golfpipe.quant.quantizer import QuantizeWork, Solution, Target
from golfpipe.quant.run import run_quantizer
from golfpipe.weights.costs import block_costs
from golfpipe.weights.decompress import decompress
from golfpipe.weights.plan import Plan, blocks_of, cut, exact_layout, plan_state
from golfpipe.weights.rules import Rule
from golfpipe.weights.size_table import SizeTable, size_table

# Shapes: R rows, C columns

_SCHEME = ClassScheme(bits=4)
"""Of a coded block. Under a target the solver decides about the bits."""


class QuantizedPlans(NamedTuple):
    """What quantizing planned tensors gives."""

    pieces: list[Piece]
    solution: Solution | None
    """How the size was met; None where nothing is coded."""


class Options(TypedDict, total=False):
    """The options of `compress`, which says what they are."""

    target_bytes: float | None
    bits: float | None
    rules: Mapping[str, Rule] | None
    calibration: Calibrator | None
    method: str
    show: Callable[[SizeTable], object] | None


@overload
def compress(
    state_dict: Mapping[str, Tensor], *, return_weights: Literal[False] = False, **options: Unpack[Options]
) -> bytes: ...


@overload
def compress(
    state_dict: Mapping[str, Tensor], *, return_weights: Literal[True], **options: Unpack[Options]
) -> tuple[bytes, dict[str, Tensor]]: ...


def compress(
    state_dict: Mapping[str, Tensor],
    *,
    target_bytes: float | None = None,
    bits: float | None = None,
    rules: Mapping[str, Rule] | None = None,
    calibration: Calibrator | None = None,
    method: str = OPEN_METHOD,
    show: Callable[[SizeTable], object] | None = None,
    return_weights: bool = False,
) -> bytes | tuple[bytes, dict[str, Tensor]]:
    """Return a state dict as bytes, from which `decompress` makes one with the same names, shapes and types.

    target_bytes: the most bytes of the result, which comes within a thousandth of it (of one tensor alone, or of a
    coarse type: as near as its sizes come); or bits: coded bits per coded weight. rules: what becomes of tensors by
    name (golfpipe.weights.rules). calibration: what errors cost; without one every tensor tolerates the same error
    relative to its size. method: a quantizer with open-ended codes. show is called with the table of sizes, as in
    show=print. return_weights: return what `decompress` will give, too.

    Raises ConfigError for arguments that contradict each other or the tensors, StageFailed for NaN and for a target
    that is out of reach.
    """
    settings = _settings(target_bytes, bits, method)
    measured = calibration.data() if calibration is not None else None
    widths = {name: len(moments) for name, moments in measured.moments.items()} if measured is not None else {}
    plans = plan_state(state_dict, rules or {}, widths)
    vocabulary = calibration.vocabulary if calibration is not None else 0
    on_cpu = all(plan.tensor.device.type == "cpu" for plan in plans)
    with own_code_search("auto" if on_cpu else "off", warnings.warn):
        pieces = quantize_plans(plans, settings, PackConfig(), measured, vocabulary=vocabulary).pieces
    payload = encode_payload(description(plans), pieces, coder=PackConfig().coder)
    _check(payload, pieces, target_bytes)
    if show is not None:
        show(size_table(plans, read_header(payload), [num_pieces(plan) for plan in plans], measured))
    return (payload, decompress(payload)) if return_weights else payload


def description(plans: Sequence[Plan]) -> dict[str, object]:
    """Return what the payload says of the tensors."""
    return describe(
        StoredTensor(
            name=plan.name,
            dtype=plan.dtype,
            shape=tuple(plan.tensor.shape),
            pieces=num_pieces(plan),
            axis=plan.axis,
            same_as=plan.same_as,
        )
        for plan in plans
    )


def quantize_plans(
    plans: Sequence[Plan],
    settings: QuantizeConfig,
    pack: PackConfig,
    measured: CalibrationData | None,
    *,
    vocabulary: int,
    file_of: Callable[[bytes], bytes] = bytes,
) -> QuantizedPlans:
    """Return the pieces of all tensors, numbered, in order.

    vocabulary: the rows of a table whose errors meet the output too. file_of turns a payload into the file whose bytes
    a target counts. Raises ConfigError for a calibration of another model, StageFailed for a target out of reach.
    """
    fixed: dict[str, Piece] = {}
    blocks: dict[str, Tensor] = {}
    classes: dict[str, TensorClass] = {}
    for plan in plans:
        for piece in _fixed_pieces(len(fixed) + len(blocks), plan):
            fixed[piece.name] = piece
        for part_RC in cut(plan, plan.tensor):
            for block_RC in part_RC.split(blocks_of(part_RC.shape)):
                name = str(len(fixed) + len(blocks))
                blocks[name] = block_RC
                classes[name] = "token_table" if _is_table(plan, measured, vocabulary) else "mlp"
    if not blocks:
        return QuantizedPlans(list(fixed.values()), None)
    names = [str(number) for number in range(len(fixed) + len(blocks))]
    work = QuantizeWork(
        weights=blocks,
        classes=classes,
        schemes=dict.fromkeys(blocks, _SCHEME),
        settings=settings,
        calibration=block_costs(plans, measured, list(blocks)) if measured is not None else None,
        target=_target(settings, pack, description(plans), names, fixed, blocks, file_of),
        advance=lambda count: None,
    )
    found = run_quantizer(work)
    return QuantizedPlans([fixed[name] if name in fixed else found.pieces[name] for name in names], found.solution)


def _settings(target_bytes: float | None, bits: float | None, method: str) -> QuantizeConfig:
    if (target_bytes is None) == (bits is None):
        raise ConfigError("compress needs either target_bytes or bits", hint="compress(state, target_bytes=15_900_000)")
    if target_bytes is not None:
        return QuantizeConfig(method=method, target_bytes=float(target_bytes))
    if bits is None or not 0 < bits <= 9:
        raise ConfigError(f"bits={bits} must lie in 0..9, coded bits per coded weight")
    return QuantizeConfig(method=method, target_bits=float(bits))


def _target(
    settings: QuantizeConfig,
    pack: PackConfig,
    model: Mapping[str, object],
    names: Sequence[str],
    fixed: Mapping[str, Piece],
    blocks: Mapping[str, Tensor],
    file_of: Callable[[bytes], bytes],
) -> Target:
    """Return the size to solve for: that of the file, or of the blocks' codes alone."""
    cache = StreamCache(CODERS.load(pack.coder))
    if settings.target_bits:
        count = sum(block.numel() for block in blocks.values())
        return Target(
            settings.target_bits * count / 8,
            lambda found: sum(len(stream) for piece in found.values() for stream in cache.streams_of(piece)),
            cache.streams_of,
        )

    def file_bytes(found: Mapping[str, Piece]) -> float:
        pieces = [fixed[name] if name in fixed else found[name] for name in names]
        return len(file_of(encode_payload(model, pieces, coder=pack.coder, streams_of=cache.streams_of)))

    size = target_bytes_of(settings, pack.limit_bytes, pack.code_bytes_reserve)
    return Target(size, file_bytes, cache.streams_of)


def num_pieces(plan: Plan) -> int:
    if plan.how == "coded":
        return sum(len(blocks_of(part.shape)) for part in plan.parts)
    if plan.how == "exact":
        return len(exact_layout(plan))
    return 0 if plan.how == "same" else 1


def _is_table(plan: Plan, measured: CalibrationData | None, vocabulary: int) -> bool:
    """Return True for a table whose errors cost more than what is known of it says."""
    if measured is None or plan.name not in measured.fisher:
        return plan.is_table
    return plan.name not in measured.moments and plan.tensor.ndim == 2 and len(plan.tensor) == vocabulary


def _fixed_pieces(number: int, plan: Plan) -> Iterator[Piece]:
    """Yield the pieces of a tensor whose values are kept in fp16 or bit by bit, numbered from `number` on."""
    if plan.how not in ("fp16", "exact"):
        return
    flat_N = plan.tensor.resolve_conj().resolve_neg().cpu().reshape(-1).contiguous()
    if plan.how == "fp16":
        yield Piece(name=str(number), shape=(len(flat_N),), bits=16, floats=flat_N.to(torch.float16).numpy())
        return
    start = 0
    for width, count in exact_layout(plan):
        bits = next(bits for bits, dtype in EXACT_DTYPES.items() if np.dtype(dtype).itemsize == width)
        end = start + width * count
        raw = flat_N.view(torch.uint8).numpy()[start:end].view(EXACT_DTYPES[bits])
        yield Piece(name=str(number), shape=(count,), bits=bits, raw=raw)
        number, start = number + 1, end


def _check(payload: bytes, pieces: Sequence[Piece], target_bytes: float | None) -> None:
    """Check that the payload is small enough and decodes to what was encoded. Raises StageFailed."""
    if target_bytes is not None and len(payload) > target_bytes:
        raise StageFailed(
            f"a target of {target_bytes:.0f} bytes cannot be reached: nothing is coded, and all takes {len(payload)}",
            hint='rules={"NAME": "coded"} for the largest tensors',
        )
    for piece, decoded in zip(pieces, payload_pieces(payload, read_header(payload)), strict=True):
        if any(array.tobytes() != decoded.arrays[part].tobytes() for part, array in piece.arrays.items()):
            raise StageFailed(f"piece {piece.name}: decoding gives other weights than were packed; this is a bug")
