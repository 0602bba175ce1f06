"""What the text of a script shows of the rules that only running it could judge: places to look at, never a verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from golfpipe.records.script import Script

_MOST_PER_RULE = 6
_LONGEST_LINE = 4000
_FUNCTION = re.compile(r"^([ \t]*)(?:async[ \t]+)?def[ \t]+(\w{1,80})")
_SCORING = re.compile(r"eval|ttt|adapt|score|slid|valid", re.IGNORECASE)
_SCORES = re.compile(r"cross_entropy|loss_sum|nll|bpb")


class Hint(NamedTuple):
    """A line of the script that somebody should look at."""

    rule: int
    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}"


_ANYWHERE: tuple[tuple[int, re.Pattern[str], str], ...] = (
    (4, re.compile(r"is_causal\s*=\s*False|\bbidirectional\b|causal\s*=\s*False"), "attends without a causal mask"),
    (4, re.compile(r"\b(n_?gram|backoff|suffix)\w*\s*(=|\[|\().*\b(val|tokens)", re.I), "counts scored tokens"),
    (5, re.compile(r"\bprobs?\b.*(\*|\+).*\b(alpha|mix|boost|blend|lam)|\b(alpha|mix|blend|boost)\w*\s*\*.*prob", re.I),
     "mixes probabilities"),
    (8, re.compile(r"(calib|hessian|gptq)\w*\W.{0,120}\bval_|\bval_\w*.{0,120}(calib|hessian)", re.I),
     "names validation data where it calibrates"),
    (10, re.compile(r"^\s*(?:import|from)\s+(requests|urllib|http|socket|ftplib|aiohttp|httpx|huggingface_hub|datasets"
                    r"|wandb|boto3|paramiko)\b"), "imports what reaches the network"),
    (10, re.compile(r"urlopen|urlretrieve|hf_hub_download|snapshot_download|\b(wget|curl|git clone|pip install)\b"),
     "fetches from the network"),
)  # fmt: skip
_IN_SCORING: tuple[tuple[int, re.Pattern[str], str], ...] = (
    (3, re.compile(r"\.backward\(|optimizer\w*\.step\(|\bopt\w*\.step\("), "learns"),
    (8, re.compile(r"\b(collect_hessians|calibrat\w*)\("), "calibrates"),
    (10, re.compile(r"fineweb_train|train_files|train_shards|train_loader|load_train", re.I), "names training shards"),
)


def find_hints(script: Script) -> tuple[Hint, ...]:
    """Return the places of each rule, the first ones of each kind, in the lines of the readable source."""
    found: list[Hint] = []
    for name, text in script.sources.items():
        where = f"{name} (unpacked)" if script.kind == "self-extracting" else name
        found += _in_text(where, text)
    return tuple(found)


def hint_sentence(hints: Sequence[Hint], rule: int) -> str:
    """Return the sentence with a rule's hints; empty where there are none."""
    own = [hint for hint in hints if hint.rule == rule]
    if not own:
        return ""
    more = f" and {len(own) - _MOST_PER_RULE} more" if len(own) > _MOST_PER_RULE else ""
    return f" To look at: {'; '.join(str(hint) for hint in own[:_MOST_PER_RULE])}{more}."


def _in_text(name: str, text: str) -> Iterator[Hint]:
    scored_at: dict[str, int] = {}
    for number, (line, function) in enumerate(_with_functions(text), start=1):
        for rule, pattern, what in _ANYWHERE:
            if pattern.search(line):
                yield Hint(rule, name, number, what)
        if function is None or not _SCORING.search(function):
            continue
        if _SCORES.search(line):
            scored_at.setdefault(function, number)
        for rule, pattern, what in _IN_SCORING:
            if not pattern.search(line):
                continue
            order = ""
            if rule == 3:
                order = f", after line {scored_at[function]} scores" if function in scored_at else " before it scores"
            yield Hint(rule, name, number, f"{what} in {function}{order}")


def _with_functions(text: str) -> Iterator[tuple[str, str | None]]:
    """Each line (without its comment) and the name of the function around it."""
    inside: list[tuple[int, str]] = []
    for line in text.splitlines():
        code = line[:_LONGEST_LINE].split("#", 1)[0]
        if code.strip():
            indent = len(code) - len(code.lstrip())
            while inside and indent <= inside[-1][0]:
                inside.pop()
            found = _FUNCTION.match(code)
            if found is not None:
                inside.append((len(found[1]), found[2]))
        yield code, inside[-1][1] if inside else None
