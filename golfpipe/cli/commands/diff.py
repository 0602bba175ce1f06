"""`golfpipe diff A B`"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golfpipe.cli.answer import Answer
from golfpipe.cli.command import input_path
from golfpipe.cli.layout import text_width, wrapped
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import format_metric, format_table, paragraphs, shortened

if TYPE_CHECKING:
    from golfpipe.review.differences import Difference

KEY_WIDTH, VALUE_WIDTH = 30, 18
"""Characters of a key and of a value at most, which leaves room for the change within 80 columns."""


def diff(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="A run, such as artifacts/demo, or an artifact.")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="Another one.")],
    options: OutputOptions,
) -> Answer:
    """Show what differs between two runs or artifacts: data, settings, code, numbers.

    Reads the manifests of both. Writes nothing. What is equal is counted and not listed. Times are left out, since they
    always differ. Long values are cut; --json has them whole.

    \b
    Examples:
      golfpipe diff artifacts/demo artifacts/a
      golfpipe diff artifacts/demo/train artifacts/a/train --json
    """
    from golfpipe.review.differences import SUBJECTS
    from golfpipe.review.differences import diff as find_differences

    found = find_differences(input_path(first), input_path(second))
    parts = [[f"first   {found.first}", f"second  {found.second}"]]
    for subject in SUBJECTS:
        rows = [_row(item) for item in found.found if item.subject == subject]
        if rows:
            header = [subject, "first", "second"] + (["change"] if subject == "numbers" else [])
            parts.append(format_table(header, [row[: len(header)] for row in rows]))
    equal = ", ".join(f"{count} {subject}" for subject, count in found.equal.items() if count)
    parts.append([f"{'nothing differs; ' if not found.found else ''}equal: {equal or 'nothing'}"])
    for which, only in (("first", found.only_first), ("second", found.only_second)):
        if only:
            text = f"only in the {which}: {', '.join(only)}"
            parts[-1] += wrapped(text, text_width(sys.stdout))
    return Answer(
        lines=paragraphs(*parts),
        path=found.second,
        extra={
            "differences": [asdict(item) | {"change": item.change} for item in found.found],
            "equal": dict(found.equal),
            "only_first": list(found.only_first),
            "only_second": list(found.only_second),
        },
    )


def _row(item: Difference) -> list[str]:
    change = item.change
    name = item.key.rpartition(".")[2]
    return [
        shortened(item.key, KEY_WIDTH),
        *(shortened(_text(item, value), VALUE_WIDTH) for value in (item.first, item.second)),
        f"{'+' if change > 0 else ''}{format_metric(name, change)}" if change is not None else "",
    ]


def _text(item: Difference, value: Any) -> str:
    if item.subject == "numbers":
        return format_metric(item.key.rpartition(".")[2], value)
    return value if isinstance(value, str) else json.dumps(value)
