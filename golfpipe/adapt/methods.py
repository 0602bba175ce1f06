"""The methods of test-time training: a line each."""

from __future__ import annotations

from golfpipe.choices import Table

METHODS = Table(
    "test-time training method",
    "METHOD",
    {
        "cosine": "golfpipe.adapt.cosine",
        "score_first_lora": "golfpipe.adapt.score_first_lora",
        "score_first_sgd": "golfpipe.adapt.score_first_sgd",
    },
)
"""ttt.method -> the module whose METHOD is that Method. The method's recipe is the section ttt.<name>."""
