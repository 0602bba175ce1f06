"""golfpipe: train, quantize, pack, adapt and score language models that fit in a byte limit."""

__version__ = "0.1.0"
