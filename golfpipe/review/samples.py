"""Text of a run's packed model beside that of its unquantized one, from the same beginning and the same seed."""

from __future__ import annotations

from collections.abc import Sequence

from golfpipe.data.token_data import validation_bytes
from golfpipe.errors import GolfpipeError
from golfpipe.jobs.provenance import data_reference
from golfpipe.report.run_data import RunData, Samples
from golfpipe.reporter import Reporter
from golfpipe.review.generation import GenerationSettings, Generator
from golfpipe.store.artifact import Artifact
from golfpipe.store.manifest import Kind
from golfpipe.store.search import find_artifact

TOKENS = 80
"""Tokens that each model draws."""
_PROMPT_BYTES, _PROMPT_WORDS, _PROMPT_CHARACTERS = 400, 8, 60
_FORMS: tuple[tuple[Kind, str], ...] = (("packed_model", "packed file"), ("trained_model", "unquantized"))


def draw_samples(
    runs: Sequence[RunData], reporter: Reporter, *, device: str = "auto", threads: int | None = None
) -> Samples | None:
    """Return what the models of a run write after the first words of the validation text; None where they cannot, and
    for several runs.

    The reason is a note: a run is reported on without its weights, too.
    """
    forms = _FORMS if len(runs) == 1 else ()
    models = [(name, model) for kind, name in forms if (model := runs[0].first(kind)) is not None]
    if not models:
        return None
    try:
        prompt = _first_words(models[0][1])
        settings = GenerationSettings(prompt=prompt, tokens=TOKENS)
        texts = []
        with reporter.task("sample text", len(models), "models") as task:
            for name, model in models:
                texts.append((name, "".join(Generator(model.path, device=device, threads=threads).text(settings))))
                task.advance(1)
    except GolfpipeError as error:
        reporter.note(f"no sample text: {error.message}")
        return None
    return Samples(prompt, tuple(texts))


def _first_words(model: Artifact) -> str:
    """Return the first words of the validation text; nothing, which begins a document, where it is not at hand."""
    reference = data_reference(model.manifest)
    if reference is None:
        return ""
    text = validation_bytes(find_artifact(reference, model.path), _PROMPT_BYTES) or b""
    words = text.decode("utf-8", "ignore").split()[:_PROMPT_WORDS]
    return " ".join(words)[:_PROMPT_CHARACTERS]
