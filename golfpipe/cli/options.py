"""The options that commands share, each written once.

A command takes one parameter whose type is one of the dataclasses below; `spread` turns the fields into options for
typer.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from golfpipe.cli.completion import complete_machine, complete_preset, complete_setting

_PANELS = _SETTINGS, _MACHINE, _OUTPUT = "Settings", "Machine", "Output"
"""The panels of the help, in this order."""


class Device(StrEnum):
    """The device on which the work runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How a command prints. Every command has these options."""

    json: Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.", rich_help_panel=_OUTPUT)] = (
        False
    )
    quiet: Annotated[
        bool,
        typer.Option("-q", "--quiet", help="Print the output path alone, no progress.", rich_help_panel=_OUTPUT),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option("-v", "--verbose", help="Say more; show tracebacks of bugs.", rich_help_panel=_OUTPUT),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ConfigOptions(OutputOptions):
    """The options that say where settings come from."""

    config: Annotated[
        Path | None,
        typer.Option(help="Pipeline file; default ./stages.yaml, else golfpipe's own.", rich_help_panel=_SETTINGS),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            help="Named settings; `golfpipe presets` lists them.",
            rich_help_panel=_SETTINGS,
            autocompletion=complete_preset,
        ),
    ] = None
    machine: Annotated[
        str | None,
        typer.Option(
            help="Cut the work for laptop, gpu-24gb, ...; `golfpipe presets` lists them. Changes no result.",
            rich_help_panel=_MACHINE,
            autocompletion=complete_machine,
        ),
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Override one setting, e.g. quantize.mlp.bits=5. Repeatable; the last wins.",
            rich_help_panel=_SETTINGS,
            autocompletion=complete_setting,
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Random seed.", rich_help_panel=_SETTINGS)] = None


@dataclass(frozen=True, kw_only=True)
class WorkOptions(ConfigOptions):
    """How work is done, by one stage or by all of them."""

    device: Annotated[Device, typer.Option(help="auto takes cuda, then mps, then cpu.", rich_help_panel=_MACHINE)] = (
        Device.auto
    )
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", rich_help_panel=_MACHINE)] = None
    force: Annotated[
        bool, typer.Option("--force", help="Run although up to date; replace a trained model.", rich_help_panel=_OUTPUT)
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would happen and what it needs; write nothing.", rich_help_panel=_OUTPUT
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class StageOptions(WorkOptions):
    """Options of the commands that write one artifact."""

    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="Artifact folder to write.", rich_help_panel=_OUTPUT),
    ] = None


class Executor(StrEnum):
    """The place where the cells of a sweep run."""

    local = "local"
    slurm = "slurm"


@dataclass(frozen=True, kw_only=True)
class SweepOptions(StageOptions):
    """Options of the commands that run the cells of a sweep."""

    jobs: Annotated[
        int | None,
        typer.Option(
            "-j", "--jobs", min=1, help="Processes at a time; default cores / threads.", rich_help_panel=_MACHINE
        ),
    ] = None
    executor: Annotated[
        Executor, typer.Option(help="slurm submits the cells as a job array.", rich_help_panel=_MACHINE)
    ] = Executor.local
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Option of sbatch, e.g. partition=gpu or time=2:00:00. Repeatable.",
            rich_help_panel=_MACHINE,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SharedOptions(StageOptions):
    """Options of the commands whose work many processes can share."""

    nproc: Annotated[
        int | None,
        typer.Option(
            "--nproc",
            min=1,
            metavar="N",
            help="Processes on this machine, one per GPU, started by torchrun; default those of --machine, else 1.",
            rich_help_panel=_MACHINE,
        ),
    ] = None


def spread(command: Callable[..., Any]) -> Callable[..., Any]:
    """Replace the parameter of an options dataclass by its fields, so that typer offers them as options."""
    hints = typing.get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    bundle = next(name for name, hint in hints.items() if _is_options(hint))
    options_type = hints.pop(bundle)
    option_hints = typing.get_type_hints(options_type, include_extras=True)
    names = [field.name for field in dataclasses.fields(options_type)]

    @functools.wraps(command)
    def with_options(**values: Any) -> Any:
        options = options_type(**{name: values.pop(name) for name in names})
        return command(**values, **{bundle: options})

    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != bundle
    ]
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=option_hints[field.name]
        )
        for field in dataclasses.fields(options_type)
    ]
    shared.sort(key=lambda parameter: _PANELS.index(parameter.annotation.__metadata__[0].rich_help_panel))
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    signature = inspect.Signature(keyword_only + shared)
    with_options.__signature__ = signature  # type: ignore[attr-defined]  # inspect, and so typer, reads it
    with_options.__annotations__ = {p.name: p.annotation for p in keyword_only + shared}
    return with_options


def _is_options(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, OutputOptions)
