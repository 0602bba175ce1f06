"""How the tensors of a state dict are stored: rules by name, and what happens to a tensor that no rule mentions.

    rules = {"qo_bank": split(0), "*.c_attn.weight": split(0, 3), "rope.*": "exact", "hash_table": "coded"}

The names are shell patterns; the first rule that matches a tensor decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from golfpipe.choices import unknown_name
from golfpipe.errors import ConfigError

Word = Literal["coded", "table", "fp16", "exact", "transposed"]
"""coded: to codes, whatever its size (a scalar is stored as without a rule); table: also, and finer without
calibration, as a token table needs it; fp16: rounded to that; exact: every bit as it is; transposed: coded as a matrix
[inputs, outputs], the other way round than nn.Linear's."""


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a tensor along one axis, which are coded one by one; see `split`."""

    axis: int
    sizes: int | tuple[int, ...] | None

    def part_sizes(self, name: str, shape: tuple[int, ...]) -> list[int] | None:
        """Return the sizes of the parts; None where every index is a part. Raises ConfigError where they do not fit."""
        if self.axis >= len(shape):
            raise ConfigError(f"rule of {name!r}: split({self.axis}), but the tensor has shape {list(shape)}")
        size = shape[self.axis]
        if isinstance(self.sizes, int) and self.sizes > 0 and size % self.sizes == 0:
            return [size // self.sizes] * self.sizes
        if isinstance(self.sizes, tuple) and sum(self.sizes) == size and min(self.sizes) > 0:
            return list(self.sizes)
        if self.sizes is None and len(shape) > 1:
            return None
        raise ConfigError(
            f"rule of {name!r}: {self.sizes} parts of axis {self.axis} do not make up the shape {list(shape)}"
        )


Rule = Split | Word


def split(axis: int = 0, sizes: int | Sequence[int] | None = None) -> Split:
    """Return the rule for a tensor of which each part along an axis is a weight of its own.

    split(0): every index of axis 0, as in a bank [2 L, D, D] of 2 L matrices. split(0, 3): three equal parts, as in a
    fused query, key and value. split(0, [512, 128, 128]): parts of these sizes. The parts of `bank` are called bank.0,
    bank.1, and so on in a calibration. The state dict keeps the tensor whole. Raises ConfigError for a negative axis.
    """
    if type(axis) is not int or axis < 0:
        raise ConfigError(f"split: axis {axis!r} must be a whole number from 0 on")
    return Split(axis, sizes if isinstance(sizes, int | None) else tuple(int(size) for size in sizes))


def check_rules(rules: Mapping[str, Rule], names: Sequence[str]) -> None:
    """Check that every rule is one and matches a tensor. Raises ConfigError."""
    for pattern, rule in rules.items():
        if not isinstance(rule, Split) and rule not in get_args(Word):
            raise unknown_name(str(rule), "rule", get_args(Word))
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown_name(pattern, "tensor for the rule", names)


def rule_of(rules: Mapping[str, Rule], name: str) -> Rule | None:
    """Return the rule of a tensor; None where none matches."""
    return next((rule for pattern, rule in rules.items() if fnmatchcase(name, pattern)), None)


def parse_rules(texts: Mapping[str, str]) -> dict[str, Rule]:
    """Read rules as the command line has them: `split(0)`, `split(0, 3)`, `split(0, 512, 128, 128)`, or a word.

    Raises ConfigError.
    """
    return {pattern: _parse_rule(pattern, text) for pattern, text in texts.items()}


def _parse_rule(pattern: str, text: str) -> Rule:
    if text in get_args(Word):
        return next(word for word in get_args(Word) if word == text)
    numbers = text.removeprefix("split(").removesuffix(")")
    fields = [field.strip() for field in numbers.split(",")]
    if not text.startswith("split(") or not text.endswith(")") or not all(field.isdecimal() for field in fields):
        raise ConfigError(
            f"rule of {pattern!r}: {text!r} is none",
            hint=f"split(0), split(0, 3), or one of {', '.join(get_args(Word))}",
        )
    axis, *sizes = (int(field) for field in fields)
    return split(axis, (sizes[0] if len(sizes) == 1 else sizes) if sizes else None)
