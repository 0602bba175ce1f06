"""The table of statements in docs/records.md is what its example gives."""

from __future__ import annotations

import re
from pathlib import Path

from records_folders import Case, write

from golfpipe.records.folder import read_folder
from golfpipe.records.summary import metrics

DOCUMENT = (Path(__file__).parents[2] / "docs" / "records.md").read_text()


def test_the_table_of_statements(tmp_path: Path) -> None:
    record, log = (re.search(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL)[1] for kind in ("json", "text"))
    found = metrics(read_folder(write(tmp_path, Case(record, {"train_seed7.log": log}, {}))))
    rows = [
        f"| {s['quantity']} | {s['value']} | {s['source']} | {s['label']} | {'yes ' if s['counts'] else ''}|"
        for s in found["statements"]
    ]
    assert rows == [line for line in DOCUMENT.splitlines() if re.match(r"\| \w+ \| [\d.]+ \|", line)]
    assert (found["train_seconds"], found["eval_seconds"]) == (596.14 + 3.4, 212.5 + 318.4)
