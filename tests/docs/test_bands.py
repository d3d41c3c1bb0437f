"""docs/bands.md has the bands that ship, and says what they cover."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from roofline.serving.bands import COVERAGE, QUANTITIES
from roofline.serving.bands import table as shipped
from tests.docs.pages import DOCS, ROOT, table

PAGE = DOCS / "bands.md"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "make_bands.py"))


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()[2:]]


def test_the_page_has_the_bands_that_ship(made: dict[str, Any]) -> None:
    """Else run python tools/make_bands.py."""
    assert table(PAGE, "bands") == cells(made["band_table"](shipped().values()))


def test_the_page_says_what_they_cover() -> None:
    """Rows within the bands, of every quantity: 80 % give or take 5."""
    rows = table(PAGE, "coverage")
    assert [row[0] for row in rows] == list(QUANTITIES.values())
    for row in rows:
        assert int(row[1]) >= 100
        assert abs(float(row[2].removesuffix(" %")) / 100.0 - COVERAGE) <= 0.05, row


def test_a_table_is_put_below_its_mark(made: dict[str, Any]) -> None:
    text = "before\n\n<!-- bands -->\nold\nold\n\nafter\n"
    assert made["put"](text, "bands", "new\n") == "before\n\n<!-- bands -->\nnew\n\nafter\n"
    assert made["put"]("<!-- bands -->\nold\n", "bands", "new\n") == "<!-- bands -->\nnew\n"
    with pytest.raises(SystemExit, match="cells"):
        made["put"](text, "cells", "new\n")
