"""docs/quantization.md and docs/choosing-a-size.md say what the results of the studies say."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest

from benchmarks.tables import DOCS, RESULTS

PAGE = (DOCS / "quantization.md").read_text()
CHOOSING = (DOCS / "choosing-a-size.md").read_text()
CASES_16L = {
    ("trained", "none"): "trained: unquantized",
    ("trained", "trellis, calibrated"): "trained: trellis, calibrated",
    ("trained", "rate, calibrated"): "trained: rate, calibrated",
    ("trained", "trellis, uncalibrated"): "trained: trellis",
    ("trained", "one step of equal relative size everywhere"): "trained: equal steps",
    ("Gaussian", "trellis, uncalibrated"): "gaussian: trellis",
    ("Gaussian", "one step of equal relative size everywhere"): "gaussian: equal steps",
}


def table(first_heading: str, page: str = PAGE) -> list[list[str]]:
    """The rows of the one table of the page that starts with this heading."""
    (start,) = [place for place in range(len(page)) if page.startswith(f"\n| {first_heading} |", place)]
    lines = page[start + 1 :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def result(name: str) -> Any:
    return json.loads((RESULTS / f"quantization_{name}.json").read_text())


def test_all_methods_on_tiny() -> None:
    rows = {row["setting"]: row["seeds"] for row in result("tiny")["rows"]}
    shown = table("setting")
    assert [name.partition(" (")[0] for name, *_ in shown] == [name.partition(" (")[0] for name in rows]
    for name, size, matrices, token_table, *gaps in shown:
        seeds = rows[name]
        assert size == f"{statistics.fmean(seed['packed_bytes'] for seed in seeds):,.0f}"
        bits = seeds[0]["matrix_bits"]
        assert matrices == ("-" if bits is None else f"{statistics.fmean(seed['matrix_bits'] for seed in seeds):.3f}")
        assert token_table == f"{statistics.fmean(seed['token_bits'] for seed in seeds):.2f}"
        found = [seed["gap"] for seed in seeds]
        assert gaps == [f"{gap:+.4f}" for gap in (statistics.fmean(found), *found)]


def test_the_findings_are_those_of_the_table() -> None:
    gaps = {row["setting"]: statistics.fmean(seed["gap"] for seed in row["seeds"]) for row in result("tiny")["rows"]}
    findings = PAGE.partition("## Findings")[2].partition("\n## ")[0]
    for name in ("trellis 4 b", "trellis 3 b", "trellis 2.5 b", "trellis 2 b", "rate 3 b", "rate 2 b",
                 "rate, uncalibrated 3 b", "rate, uncalibrated 2 b", "reference (PR 951, zstd-22)"):  # fmt: skip
        assert f"{gaps[name]:+.4f}" in findings, name


def test_the_least_gain() -> None:
    rows = {(row["least_gain"], row["target_bits"]): row["gaps"] for row in result("least_gain")["rows"]}
    for least, *cells in table("least gain"):
        for bits, cell in zip((2, 2.25, 2.5, 3), cells, strict=True):
            gaps = rows.get((float(least), bits))
            assert cell == ("" if gaps is None else ", ".join(f"{gap:+.4f}" for gap in gaps))


def test_the_price_on_bits() -> None:
    rows = {(row["seed"], row["rate_penalty"]): row for row in result("rate_penalty")["rows"]}
    shown = table("seed")
    assert len(shown) == len(rows)
    for seed, penalty, trained, *cells in shown:
        row = rows[int(seed), float(penalty)]
        assert trained == f"{row['val_bpb_trained']:.4f}"
        assert cells == [f"{cell['packed_bytes']:,}: {cell['val_bpb']:.4f}" for cell in row["packed"].values()]


@pytest.mark.parametrize("row", [row for row in table("weights") if tuple(row[:2]) in CASES_16L], ids=str)
def test_16l_at_the_limit(row: list[str]) -> None:
    kept = {row["case"]: row for row in result("16l")}[CASES_16L[row[0], row[1]]]
    assert row[7] == (f"{kept['val_loss_nats']:.5f}" if "val_loss_nats" in kept else "")
    if row[1] == "none":
        return
    over = kept["packed_bytes"] / kept["entropy_bytes"] - 1
    bits = kept["bits_by_class"]
    assert row[2:6] == [
        f"{kept['packed_bytes']:,}",
        f"{kept['total_bytes']:,}",
        f"{over:.3%}".replace("%", " %"),
        ", ".join(f"{bits[name]:.2f}" for name in ("mlp", "attention", "ngram", "token_table")),
    ]
    assert float(row[6]) == pytest.approx(kept["relative_mse"], rel=0.02)
    assert row[9] == f"{kept['peak_memory_bytes'] / 1e9:.1f} GB"


def test_what_a_bit_is_worth() -> None:
    rows = {row["setting"]: row["seeds"] for row in result("tiny")["rows"]}
    priced = [row for row in result("rate_penalty")["rows"] if not row["rate_penalty"]]
    shown = table("bits a weight | file", CHOOSING)
    assert [row[0] for row in shown] == ["5", "4", "3", "2.5", "2", "1.5"]
    before = None
    for bits, size, gap, half in shown:
        seeds = rows.get(f"trellis {bits} b") or [
            cell | {"gap": cell["val_bpb"] - row["val_bpb_trained"]}
            for row in priced
            for cell in [row["packed"][f"{bits} b"]]
        ]
        assert size == f"{statistics.fmean(seed['packed_bytes'] for seed in seeds):,.0f}"
        found = statistics.fmean(seed["gap"] for seed in seeds)
        assert gap == f"{found:+.4f}"
        if before is not None:
            halves = (before[0] - float(bits)) / 0.5
            assert float(half) == pytest.approx((found - before[1]) / halves, abs=1e-4)
        before = float(bits), found


def test_what_calibration_is_worth() -> None:
    gaps = {row["setting"]: statistics.fmean(seed["gap"] for seed in row["seeds"]) for row in result("tiny")["rows"]}
    for bits in ("3", "2.5", "2"):
        assert f"{gaps[f'rate, uncalibrated {bits} b']:.4f} in" in CHOOSING
        assert f"{gaps[f'rate {bits} b']:.4f} " in CHOOSING
