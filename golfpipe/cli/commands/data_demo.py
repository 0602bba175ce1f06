"""`golfpipe data demo`"""

from __future__ import annotations

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import run_stage
from golfpipe.cli.options import StageOptions


def data_demo(options: StageOptions) -> Answer:
    """Make token data from the text that comes with Python.

    Reads the manual, docstrings and comments of this Python's standard library. Writes token_data, by default in
    artifacts/data/demo: shards and a tokenizer trained on the train split.

    \b
    Examples:
      golfpipe data demo
      golfpipe data demo -o artifacts/data/demo512 --set data.vocab_size=512
    """
    from golfpipe.pipeline.single import DEMO_DATA
    from golfpipe.pipeline.text_digest import demo_digest

    return run_stage("data-demo", options, out=DEMO_DATA, argument_digest=demo_digest())
