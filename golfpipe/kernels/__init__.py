"""Code compiled for the processor at hand, where torch's own is far from what the processor can do."""
