"""Where the bytes of a compressed state dict are, tensor by tensor, and what would make large ones smaller."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from golfpipe.codec.container import PayloadHeader
from golfpipe.codec.pieces import OPEN_STATES
from golfpipe.quant.calibration_data import CalibrationData
from golfpipe.visible import visible_line
from golfpipe.weights.costs import part_moments
from golfpipe.weights.plan import Plan

_LARGE = 0.01
"""The share of the bytes from which on a tensor gets a suggestion."""
_MOST_LINES = 40
_NAME_WIDTH, _STORED_WIDTH = 26, 26
"""A line fits a terminal of 80 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeLine:
    """One tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: str
    """How it is stored, and why."""
    num_bytes: int
    bits: float
    """Bits per value; 0 for a tensor without values."""
    suggestion: str
    """What would make it smaller; empty where it costs at most a hundredth of the bytes, or where nothing would."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeTable:
    """The tensors in the order of the state dict. `str` gives the table as text, the largest tensors first."""

    lines: tuple[SizeLine, ...]
    header_bytes: int
    total_bytes: int
    note: str
    """What would help all tensors; may be empty."""

    def __str__(self) -> str:
        by_size = sorted(self.lines, key=lambda line: -line.num_bytes)
        rows = [f"{'tensor':{_NAME_WIDTH}} {'bytes':>11} {'share':>6} {'bits':>6}  stored"]
        for line in by_size[:_MOST_LINES]:
            name = visible_line(line.name) or "''"
            name = name if len(name) <= _NAME_WIDTH else f"..{name[2 - _NAME_WIDTH :]}"
            stored = visible_line(line.stored)[:_STORED_WIDTH]
            share = line.num_bytes / self.total_bytes
            rows.append(
                f"{name:{_NAME_WIDTH}} {line.num_bytes:>11,} {share:>6.1%} {line.bits:>6.2f}  {stored}".rstrip()
            )
            rows += textwrap.wrap(line.suggestion, 80, initial_indent="    ", subsequent_indent="    ")
        rest = by_size[_MOST_LINES:]
        if rest:
            rows.append(f"{f'{len(rest)} more tensors':{_NAME_WIDTH}} {sum(line.num_bytes for line in rest):>11,}")
        rows.append(f"{'names and shapes':{_NAME_WIDTH}} {self.header_bytes:>11,}")
        rows.append(f"{'all':{_NAME_WIDTH}} {self.total_bytes:>11,}")
        rows += [self.note] if self.note else []
        return "\n".join(rows)


def size_table(
    plans: Sequence[Plan], header: PayloadHeader, pieces_of: Sequence[int], measured: CalibrationData | None
) -> SizeTable:
    """Return the table of a payload that was written by these plans; pieces_of: the number of pieces of each."""
    sizes = [sum(entry.stream_bytes) for entry in header.entries]
    total = header.overhead_bytes + sum(sizes)
    lines, start = [], 0
    for plan, count in zip(plans, pieces_of, strict=True):
        entries, num_bytes = header.entries[start : start + count], sum(sizes[start : start + count])
        start += count
        kinds = {OPEN_STATES[entry.bits] for entry in entries if entry.bits in OPEN_STATES}
        coded = f"coded, {len(plan.parts)} parts" if len(plan.parts) > 1 else "coded"
        states = f", {max(kinds)} states" if kinds and max(kinds) > 1 else ""
        stored = f"{coded}{states}" if plan.how == "coded" else f"{plan.how} ({plan.why})"
        values = plan.tensor.numel()
        lines.append(
            SizeLine(
                name=plan.name,
                dtype=plan.dtype,
                shape=tuple(plan.tensor.shape),
                stored=stored,
                num_bytes=num_bytes,
                bits=8 * num_bytes / values if values else 0.0,
                suggestion=_suggestion(plan, measured) if num_bytes > _LARGE * total else "",
            )
        )
    helps = measured is None and any(plan.how == "coded" for plan in plans)
    note = "not calibrated: with a Calibration the same bytes cost less of the loss" if helps else ""
    return SizeTable(lines=tuple(lines), header_bytes=header.overhead_bytes, total_bytes=total, note=note)


def _suggestion(plan: Plan, measured: CalibrationData | None) -> str:
    rule = f'rules={{"{plan.name}": '
    if plan.how == "exact" and not plan.tensor.is_floating_point():
        return "leave it out if the script can compute it"
    if plan.how in ("exact", "fp16"):
        return f'{rule}"coded"}} if it is a weight; leave it out if the script can compute it'
    if plan.tensor.ndim > 2 and len(plan.parts) == 1:
        return f"{rule}split(0)}} if it is a bank of matrices: each then gets steps of its own"
    if measured is not None and any(part_moments(plan, part, measured.moments) is None for part in plan.parts):
        if plan.name not in measured.fisher:
            return f'calibration.add("{plan.parts[0].label}", x) and observe(logits) tell what its errors cost'
        if plan.tensor.shape[0] < 4 * plan.parts[0].shape[1]:
            return f'calibration.add("{plan.parts[0].label}", x), if its inputs are x, lets later columns mend errors'
    return ""
