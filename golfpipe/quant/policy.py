"""Resolve a policy: which class, and so which storage, each tensor gets. The first rule that matches wins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from golfpipe.errors import ConfigError
from golfpipe.quant.config import ClassScheme, QuantPolicy, TensorClass


def assign_classes(
    policy: QuantPolicy, shapes: Mapping[str, tuple[int, ...]], universe: Iterable[str] | None
) -> dict[str, TensorClass]:
    """Tensor name -> class, in the order of `shapes`.

    universe: every tensor name that this architecture could have with all optional features on; None leaves out the
    check of the rules, for callers that have done it. Raises ConfigError for a tensor that no rule matches, and for a
    rule that no tensor of the universe could reach.
    """
    if universe is not None:
        require_live_rules(policy, universe)
    classes: dict[str, TensorClass] = {}
    for name, shape in shapes.items():
        found = next((rule.to for rule in policy.rules if rule.matches(name, math.prod(shape))), None)
        if found is None:
            raise ConfigError(
                f"no quantization rule matches tensor {name} {list(shape)}",
                hint="add a rule that does, for example {match: '*', to: small} as the last one",
            )
        classes[name] = found
    return classes


def require_live_rules(policy: QuantPolicy, universe: Iterable[str]) -> None:
    """ConfigError for a rule that can never match.

    A rule without max_values takes all that its pattern matches; one with max_values may leave any tensor to later
    rules, whatever its size here, unless an earlier rule already takes all tensors of that name up to that size.
    """
    taken_up_to = dict.fromkeys(universe, 0.0)  # name -> largest size that the rules so far are sure to take
    for position, rule in enumerate(policy.rules, start=1):
        limit = rule.max_values or math.inf
        reached = [name for name, taken in taken_up_to.items() if fnmatchcase(name, rule.match) and limit > taken]
        if not reached:
            size = f", max_values {rule.max_values}" if rule.max_values else ""
            raise ConfigError(
                f"quantization rule {position} (match {rule.match!r}{size}, to {rule.to}) can never match: "
                "no tensor has such a name, or earlier rules take them all"
            )
        taken_up_to.update(dict.fromkeys(reached, limit))


def assign_schemes(policy: QuantPolicy, classes: Mapping[str, TensorClass]) -> dict[str, ClassScheme]:
    """Tensor name -> storage of its class."""
    return {name: getattr(policy, tensor_class) for name, tensor_class in classes.items()}
