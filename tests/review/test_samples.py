"""Text of the packed model beside that of the unquantized one."""

import shutil
from pathlib import Path

from recording_reporter import RecordingReporter

from golfpipe.cli.app import main
from golfpipe.report.run_data import read_run
from golfpipe.review.generation import GenerationSettings, Generator
from golfpipe.review.samples import TOKENS, draw_samples


def test_both_models_go_on_from_the_same_words(chain):
    run = read_run(chain.folder / "a")
    samples = draw_samples([run], RecordingReporter(), device="cpu", threads=1)
    assert samples is not None and [name for name, _ in samples.texts] == ["packed file", "unquantized"]
    assert 0 < len(samples.prompt) <= 60
    for (_, text), model in zip(samples.texts, (chain.packed, chain.trained), strict=True):
        settings = GenerationSettings(prompt=samples.prompt, tokens=TOKENS)
        assert text == "".join(Generator(model.path, device="cpu", threads=1).text(settings))
    assert draw_samples([run], RecordingReporter(), device="cpu", threads=1) == samples
    assert draw_samples([run, run], RecordingReporter()) is None


def test_a_run_without_its_weights_has_a_note_and_no_text(chain, tmp_path: Path):
    shutil.copytree(chain.folder / "a", tmp_path / "a")
    (tmp_path / "a" / "pack" / "packed.safetensors").write_bytes(b"damaged")
    reporter = RecordingReporter()
    assert draw_samples([read_run(tmp_path / "a")], reporter, device="cpu", threads=1) is None
    assert len(reporter.notes) == 1 and "no sample text" in reporter.notes[0] and reporter.warnings == []


def test_the_report_holds_the_text_escaped(run_folder: Path):
    assert main(["report", "artifacts/demo", "-q"]) == 0
    page = Path("artifacts/demo/report.html").read_text()
    assert "<h2>Text</h2>" in page and page.count("<pre><b>") == 2
