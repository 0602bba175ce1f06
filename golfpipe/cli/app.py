"""The command line: its commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import functools
import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated, Any

import typer
import typer.core

from golfpipe.cli.answer import Answer
from golfpipe.cli.commands.audit import audit
from golfpipe.cli.commands.clean import clean
from golfpipe.cli.commands.compare import compare
from golfpipe.cli.commands.config_docs import config_docs
from golfpipe.cli.commands.config_init import config_init
from golfpipe.cli.commands.config_show import config_show
from golfpipe.cli.commands.data_add import data_add
from golfpipe.cli.commands.data_demo import data_demo
from golfpipe.cli.commands.data_fetch import data_fetch
from golfpipe.cli.commands.data_inspect import data_inspect
from golfpipe.cli.commands.data_tokenize import data_tokenize
from golfpipe.cli.commands.diff import diff
from golfpipe.cli.commands.doctor import doctor
from golfpipe.cli.commands.evaluate import evaluate
from golfpipe.cli.commands.evaluate_merge import evaluate_merge
from golfpipe.cli.commands.generate import generate
from golfpipe.cli.commands.import_checkpoint import import_checkpoint
from golfpipe.cli.commands.ls import ls
from golfpipe.cli.commands.pack import pack
from golfpipe.cli.commands.plan import plan
from golfpipe.cli.commands.presets import presets
from golfpipe.cli.commands.quantize import quantize
from golfpipe.cli.commands.report import report
from golfpipe.cli.commands.run import run
from golfpipe.cli.commands.status import status
from golfpipe.cli.commands.submit import submit
from golfpipe.cli.commands.sweep import sweep
from golfpipe.cli.commands.train import train
from golfpipe.cli.commands.trial import trial
from golfpipe.cli.commands.ttt import ttt
from golfpipe.cli.commands.unpack import unpack
from golfpipe.cli.commands.vendor import vendor_compress, vendor_decompress
from golfpipe.cli.completion import bash_equals_signs
from golfpipe.cli.failure import Mode, interruption, show_answer, show_failure
from golfpipe.cli.narrow_help import HelpfulCommand, HelpfulGroup
from golfpipe.cli.options import spread
from golfpipe.cli.terminal import open_streams, print_lines, write_answer
from golfpipe.cli.torchrun import Launch, check_can_share, launch
from golfpipe.version import __version__

WHOLE, STEPS, REVIEW, HELP = "The whole chain", "The steps, in order", "Looking at results", "Settings and machine"

_typer_settings: dict[str, Any] = {
    "cls": HelpfulGroup,
    "no_args_is_help": True,
    "rich_markup_mode": "rich",
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class _PipelineOrder(HelpfulGroup):
    """Lists commands and groups in PIPELINE_ORDER, not groups last, and knows commands of two words."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=PIPELINE_ORDER.index)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        both = " ".join(args[:2])
        return super().resolve_command(ctx, [both, *args[2:]] if both in PIPELINE_ORDER else args)


app = typer.Typer(**_typer_settings | {"cls": _PipelineOrder})
data_app = typer.Typer(**_typer_settings, help="Text to token shards: demo, tokenize, add, fetch, inspect.")
vendor_app = typer.Typer(**_typer_settings, help="Write a file that reads or makes packed bytes without golfpipe.")
config_app = typer.Typer(**_typer_settings, help="Show and explain the settings; write a file of your own.")

_Command = Callable[..., Any]
COMMANDS: tuple[tuple[typer.Typer, str, str | None, _Command], ...] = (
    (app, "plan", WHOLE, plan),
    (app, "run", WHOLE, run),
    (data_app, "demo", None, data_demo),
    (data_app, "tokenize", None, data_tokenize),
    (data_app, "add", None, data_add),
    (data_app, "fetch", None, data_fetch),
    (data_app, "inspect", None, data_inspect),
    (app, "train", STEPS, train),
    (app, "import", STEPS, import_checkpoint),
    (app, "quantize", STEPS, quantize),
    (app, "pack", STEPS, pack),
    (app, "ttt", STEPS, ttt),
    (app, "evaluate", STEPS, evaluate),
    (app, "evaluate merge", STEPS, evaluate_merge),
    (app, "submit", STEPS, submit),
    (app, "ls", REVIEW, ls),
    (app, "status", REVIEW, status),
    (app, "sweep", REVIEW, sweep),
    (app, "diff", REVIEW, diff),
    (app, "compare", REVIEW, compare),
    (app, "audit", REVIEW, audit),
    (app, "trial", REVIEW, trial),
    (app, "generate", REVIEW, generate),
    (app, "unpack", REVIEW, unpack),
    (vendor_app, "decompress", None, vendor_decompress),
    (vendor_app, "compress", None, vendor_compress),
    (app, "clean", REVIEW, clean),
    (app, "report", REVIEW, report),
    (config_app, "show", None, config_show),
    (config_app, "docs", None, config_docs),
    (config_app, "init", None, config_init),
    (app, "presets", HELP, presets),
    (app, "doctor", HELP, doctor),
)
"""Each command's group, name, panel of the help, and function."""

GROUPS = ((data_app, "data", STEPS), (vendor_app, "vendor", REVIEW), (config_app, "config", HELP))

# fmt: off
PIPELINE_ORDER = (
    "plan", "run", "data", "train", "import", "quantize", "pack", "ttt", "evaluate", "evaluate merge", "submit",
    "ls", "status", "sweep", "diff", "compare", "audit", "trial", "generate", "unpack", "vendor", "clean",
    "report", "config", "presets", "doctor",
)
# fmt: on


def _interruptible(function: _Command) -> _Command:
    """Return the command with Ctrl-C turned into an error with a message. Typer makes it a bare 130."""

    @functools.wraps(function)
    def with_message(**values: Any) -> Any:
        try:
            return function(**values)
        except KeyboardInterrupt as interrupt:
            raise interruption(interrupt) from interrupt

    return with_message


def _unwrapped(function: _Command) -> str:
    """Return the docstring with each paragraph on one line, for the help. Paragraphs after \\b keep their lines."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(text if text.startswith("\b") else " ".join(text.split()) for text in paragraphs)


for _group, _name, _panel, _function in COMMANDS:
    _group.command(
        _name, cls=HelpfulCommand, help=_unwrapped(_function), rich_help_panel=_panel, no_args_is_help=False
    )(_interruptible(spread(_function)))
for _group, _name, _panel in GROUPS:
    app.add_typer(_group, name=_name, rich_help_panel=_panel)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_lines([f"golfpipe {__version__}"])
        raise typer.Exit


@app.callback()
def _golfpipe(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train, quantize, pack, adapt and score language models that fit in a byte limit.

    `golfpipe run` does it all; each step is also a command that reads and writes artifact folders.
    """


@functools.cache
def command() -> Any:
    """Return all commands as typer parses them. Making them takes longer than most commands, and one will do."""
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. This is the console script."""
    open_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    mode = Mode.of(words)
    previous = _terminate_like_interrupt()
    try:
        # Typer returns what the command returned, or an int where --help or --version ended it.
        check_can_share(words)
        with bash_equals_signs():
            answer = command()(words, prog_name="golfpipe", standalone_mode=False)
        if isinstance(answer, Launch):
            return launch(answer, words)
        if isinstance(answer, Answer):
            return show_answer(answer, mode)
        write_answer("")  # what --help or --version printed
        return answer or 0
    except BaseException as error:
        return show_failure(error, mode)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


class _Terminated(KeyboardInterrupt):
    """SIGTERM as a KeyboardInterrupt, so that stages that clean up on Ctrl-C do so here too."""

    exit_code = 143


def _terminate_like_interrupt() -> Any:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread, as in a notebook's worker
        return None
