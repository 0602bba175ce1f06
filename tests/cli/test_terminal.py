"""What leaves for the terminal does nothing there, and a terminal that takes no more does not change what was done."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golfpipe.cli.answer import Answer, answer_json
from golfpipe.cli.app import main
from golfpipe.cli.progress import BarReporter, LineReporter, QuietReporter
from golfpipe.cli.table import format_table, paragraphs
from golfpipe.cli.terminal import print_lines, print_message, print_path
from golfpipe.errors import GolfpipeError
from golfpipe.visible import visible, visible_json, visible_line
from reliability.payloads import acts

ESCAPES = "\x1b]0;title\x07\x08\x7f\x9b31m\r\u202e\u2066\udcfc"
FORGED = f"name{ESCAPES}\nerror: forged"


@given(st.text(st.characters()))
def test_nothing_hidden_stays(text: str) -> None:
    shown = visible(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    assert visible(shown) == shown == shown.encode().decode()
    assert len(visible_line(text).splitlines()) <= 1
    assert json.loads(visible_json(json.dumps({"text": text}, ensure_ascii=False))) == {"text": text}


def test_readable_text_is_left_alone() -> None:
    for text in ("a plain line", "Gr\u00fc\u00dfe \u4e2d\u6587 \U0001f600", "C:\\path\\x1b"):
        assert visible_line(text) == text
    assert visible_line("a\x1b\n\u202e") == "a\\x1b\\n\\u202e"


def test_lines_messages_and_tables_forge_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(paragraphs([FORGED], format_table(["a", FORGED], [[FORGED, "1"]])))
    print_message(f"error: {FORGED}")
    stream = io.StringIO()
    for reporter in (QuietReporter(stream), LineReporter(stream, interval=0), BarReporter(stream)):
        reporter.note(FORGED)
        reporter.warn(FORGED)
        with reporter.task(FORGED, 2, "steps") as task:
            task.advance(1, FORGED)
    found = capsys.readouterr()
    for text in (found.out, found.err):
        assert not acts(text)
        assert not [line for line in text.splitlines()[1:] if line.startswith("error: forged")]
    shown = stream.getvalue()
    assert not {"\x07", "\x08", "\x7f", "\x9b", "\u202e"} & set(shown) and "\x1b]0" not in shown
    assert "\nerror: forged" not in shown and "\n  error: forged" in shown


def test_json_is_one_line_of_printable_characters() -> None:
    error = GolfpipeError(FORGED, hint=FORGED, path=FORGED)
    text = answer_json(Answer(kind=FORGED, metrics={FORGED: FORGED}, error=error))
    assert text.isprintable() and text.isascii()
    assert json.loads(text)["error"]["message"] == FORGED


def test_a_path_alone_is_for_scripts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    print_path(Path("a\x1b b"))
    assert capsys.readouterr().out == "a\x1b b\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_path(Path("a\x1b b"))
    assert capsys.readouterr().out == "a\\x1b b\n"


@pytest.mark.parametrize("raw", [False, True])
def test_generated_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raw: bool
) -> None:
    pieces = ["one\ttwo\n", "\x1b[31m", "\x07\u4e2d"]
    fake = SimpleNamespace(text=lambda settings: iter(pieces))
    monkeypatch.setattr("golfpipe.review.generation.Generator", lambda *given, **more: fake)
    assert main(["generate", "model", "--prompt", "p\x9b", *(["--raw"] if raw else [])]) == 0
    escaped = "p\\x9bone\ttwo\n\\x1b[31m\\x07\u4e2d\n"
    assert capsys.readouterr().out == (f"p\x9b{''.join(pieces)}\n" if raw else escaped)


def run(words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A golfpipe command of the shell, with its redirections."""
    given = os.environ | {"PYTHONPATH": os.getcwd(), "GOLFPIPE": f"{sys.executable} -m golfpipe"} | environment
    return subprocess.run(["bash", "-c", words], env=given, capture_output=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("$GOLFPIPE presets >&-", 0),
        ("$GOLFPIPE presets 2>&-", 0),
        ("$GOLFPIPE presets --json <&- >&- 2>&-", 0),
        ("$GOLFPIPE presets >/dev/full", 1),
        ("$GOLFPIPE presets -q >/dev/full", 1),
        ("$GOLFPIPE presets --json >/dev/full", 1),
        ("$GOLFPIPE presets --help >/dev/full", 1),
        ("$GOLFPIPE status nowhere --json >/dev/full", 2),
        ("$GOLFPIPE status nowhere 2>/dev/full", 2),
        ("$GOLFPIPE status nowhere >&- 2>&-", 2),
        ("$GOLFPIPE presets | true; exit ${PIPESTATUS[0]}", 1),
    ],
)
def test_closed_and_full_output(words: str, code: int) -> None:
    done = run(words)
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert "bug" not in said and "Traceback" not in said and "Exception" not in said
    if code == 1 and "full" in words and "--help" not in words:
        assert said.startswith("error: standard output: No space left on device\nhint: ")


def test_what_is_opened_next_does_not_take_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = f"""import os
from golfpipe.cli.terminal import open_streams
open_streams()
with open({str(tmp_path / "file")!r}, "w") as file:
    os.write(1, b"noise")
    assert file.fileno() > 2
"""
    done = run(f"{sys.executable} -c '{code.replace(chr(39), chr(34))}' >&- 2>&-")
    assert done.returncode == 0 and (tmp_path / "file").read_text() == ""
