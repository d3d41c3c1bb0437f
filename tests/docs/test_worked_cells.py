"""The worked cells: every line of arithmetic is right, and the library returns the same figures."""

from __future__ import annotations

from typing import Any

import pytest

import roofline as rl
from tests.docs.pages import DOCS, agrees, arithmetic, sums, table

PAGE = DOCS / "worked-cells.md"
LLAMA = {"systems": "dgx-h100", "batch": 64}
DEEPSEEK = {"models": "deepseek-v3", "systems": "dgx-h200", "recipes": "fp8", "batch": 16, "context": 2048}
CELLS: dict[str, dict[str, Any]] = {
    "A": LLAMA | {"models": "llama-3.1-70b", "recipes": "bf16", "tp": 8, "context": 2048, "fidelity": "ideal"},
    "B": DEEPSEEK | {"tp": 8, "ep": 8, "fidelity": "ideal"},
    "C": LLAMA | {"models": "llama-3.3-70b", "recipes": "fp8", "tp": 4, "context": 8192, "fidelity": "kernel"},
}
SCALES = {"ms": 1e3, "1/s": 1.0, "GB": 1e-9, "W": 1.0, "J": 1.0, "1": 1.0, "1e9/MWh": 1e-9}


@pytest.mark.parametrize(("page", "fewest"), [("worked-cells.md", 90), ("deepseek-bound.md", 6)])
def test_every_line_of_arithmetic_is_right(page: str, fewest: int) -> None:
    lines = list(sums(DOCS / page))
    assert len(lines) >= fewest
    values = [(line, arithmetic(line.expression)) for line in lines]
    assert not [f"{line.where}: {value!r}" for line, value in values if not agrees(line.result, value)]


def test_a_cell_carries_its_numbers_on() -> None:
    """Figures of the tables are results of the boxes, not typed a second time."""
    results = {s.result for s in sums(PAGE)}
    for cell in CELLS:
        assert {value for _, value, _ in table(PAGE, f"headline: {cell}")} <= results


@pytest.mark.parametrize("cell", CELLS)
def test_the_library_returns_the_same(cell: str) -> None:
    found = rl.rollup(rl.decode(**CELLS[cell]), "facility").squeeze()
    rows = table(PAGE, f"headline: {cell}")
    assert len(rows) >= 6
    for name, printed, unit in rows:
        value = float(found[name]) * SCALES[unit]
        assert agrees(printed, value), f"cell {cell}, {name}: page {printed}, library {value!r} {unit}"


def test_the_inputs_are_those_of_the_sheet() -> None:
    """Where a sheet was fitted anew, this says which line of the page to change."""
    sheet = rl.Efficiency.load("h100").model_dump()
    rows = table(PAGE, "inputs: C")
    assert rows
    for path, printed in rows:
        value = sheet
        for name in path.split("."):
            value = value[name]
        assert float(printed) == pytest.approx(value, rel=1e-12), path


def test_arithmetic_refuses_what_is_not() -> None:
    assert arithmetic("2 * (3 + 4) ** 2 / sqrt(4) - min(1, 2)") == 48
    for text in ("__import__('os')", "'a' * 3", "x + 1", "[1]"):
        with pytest.raises(ValueError, match="not arithmetic"):
            arithmetic(text)
