"""The user's own scoring method, a Python file, as something that can be put on trial.

The file is run as it is, with the rights of whoever runs the trial: watched, but not held back.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from golfpipe.adapt.method import Method
from golfpipe.data.tokenizer import Tokenizer
from golfpipe.errors import StageFailed, UsageError
from golfpipe.submission.trial.scorer import OnScored, TextOf, Trial, stream_order

# Shapes: N targets, T told targets, V vocabulary

TEMPLATE = Path(__file__).with_name("example_scorer.py")
"""A scorer that passes, to start from."""
ORDERED_TARGETS = 4096
"""The least length of a trial in which documents change their order: a few of them must lie in it."""
_HINT = "this prints a file to start from: golfpipe trial --example"


class FileScorer(TextOf):
    """A Scorer over the functions `score`, and where they are there `order` and `probabilities`, of a file."""

    adapts = True
    scores_computed = 0
    same_nats = Method.same_nats

    def __init__(self, file: Path, tokenizer: Tokenizer) -> None:
        """Raises UsageError for a file that has no function `score`, StageFailed where running the file fails."""
        super().__init__(tokenizer)
        self.name, self._file = file.name, file
        module = self._run_file()
        self._functions = {name: getattr(module, name, None) for name in ("score", "order", "probabilities")}
        for name, function in self._functions.items():
            if not callable(function) and (function is not None or name == "score"):
                raise UsageError(f"{file}: expected a function {name}(tokens, ...), found {function!r}", hint=_HINT)
        self.ordered = self._functions["order"] is not None
        self.wanted_targets = ORDERED_TARGETS if self.ordered else 0
        self.probability_sums: list[float] = []

    def score(self, tokens: np.ndarray, on_scored: OnScored) -> np.ndarray:
        """Scores that are missing at the end are NaN, and those too many are told and left out."""
        nats = self._numbers("score", 1, tokens.copy())
        on_scored(int(np.isfinite(nats).sum()), float(nats[np.isfinite(nats)].sum()))
        missing = max(0, len(tokens) - 1 - len(nats))
        return np.append(nats, np.full(missing, np.nan))[: len(tokens) - 1]

    def order(self, tokens: np.ndarray) -> np.ndarray:
        if not self.ordered:
            return stream_order(tokens)
        order = self._numbers("order", 1, tokens.copy())
        if not np.array_equal(np.sort(order), stream_order(tokens)):
            raise StageFailed(
                f"{self._file}: order() gave {len(order):,} numbers, expected each of 0 to {len(tokens) - 2:,} once",
                hint="target i is the token i + 1; order() lists targets, the one that is scored first at the front",
            )
        return order.astype(np.int64)

    def probabilities(self, tokens: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        if self._functions["probabilities"] is None:
            return None
        table = self._numbers("probabilities", 2, tokens.copy(), targets.copy())
        if table.shape != (len(targets), self.vocab_size):
            raise StageFailed(
                f"{self._file}: probabilities() gave {list(table.shape)}, expected {[len(targets), self.vocab_size]}:"
                " a row for each target, a column for each token of the vocabulary"
            )
        return table

    def comparable_targets(self, num_targets: int) -> int:
        """All of them, unless the order of documents may depend on which there are."""
        return 0 if self.ordered else num_targets

    def trials(self) -> Sequence[Trial]:
        return (Trial(score=self.score, moves_documents=not self.ordered),)

    def _run_file(self) -> ModuleType:
        sys.path.insert(0, str(self._file.parent))  # as Python does for a script
        spec = importlib.util.spec_from_file_location("scorer", self._file)
        if spec is None or spec.loader is None:
            raise UsageError(f"{self._file}: expected a Python file, NAME.py", hint=_HINT)
        module = importlib.util.module_from_spec(spec)
        sys.modules["scorer"] = module
        self._guarded("the file", spec.loader.exec_module, module)
        return module

    def _numbers(self, name: str, axes: int, *arguments: np.ndarray) -> np.ndarray:
        """Call a function of the file, and return what it gives as fp64 with so many axes."""
        given = self._guarded(f"{name}()", self._functions[name], *arguments)
        if hasattr(given, "detach"):  # a tensor of torch
            given = given.detach().cpu()
        try:
            numbers = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise StageFailed(f"{self._file}: {name}() gave no numbers but {type(given).__name__} ({error})") from error
        if numbers.ndim != axes:
            raise StageFailed(f"{self._file}: {name}() gave shape {list(numbers.shape)}, expected {axes} axes")
        return numbers

    def _guarded(self, what: str, function: Callable[..., Any] | None, *arguments: Any) -> Any:
        """Call what strangers wrote. What it raises becomes StageFailed with the line of the file."""
        assert function is not None
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            lines = [
                frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(self._file)
            ]
            line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else (lines or [None])[-1]
            place = f"{self._file}, line {line}" if line else str(self._file)
            raise StageFailed(f"{place}: {what} raised {type(error).__name__}: {error}") from error
