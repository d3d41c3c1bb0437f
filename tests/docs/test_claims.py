"""docs/claims.md: its worked figures are those of today."""

from __future__ import annotations

import runpy
from functools import cache
from typing import Any

import pytest

from tests.docs.pages import DOCS, table

PAGE = DOCS / "claims.md"
TOLERANCE = 0.25
"""By how much, as a share, a figure of the page may differ from today's before the page is to be made again."""


@cache
def made() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "make_claims.py"))


def value(text: str) -> float:
    over, _, under = text.replace(",", "").partition("/")
    return float(over) / float(under or 1.0)


def test_every_case_has_a_row() -> None:
    rows = [row[:4] for row in table(PAGE, "worked")]
    assert rows == [[case.claim, case.model, case.system, case.said] for case in made()["CASES"]]


@pytest.mark.parametrize("number", range(12))
def test_a_row_is_what_the_library_says(number: int) -> None:
    case, row = made()["CASES"][number], table(PAGE, "worked")[number]
    today = made()["cells"](case, case.check())
    assert row[4] == today[4], "run python docs/make_claims.py"
    assert row[9].partition(":")[2] == today[9].partition(":")[2], "run python docs/make_claims.py"
    for printed, now in zip(row[5:9], today[5:9], strict=True):
        assert value(printed) == pytest.approx(value(now), rel=TOLERANCE), "run python docs/make_claims.py"


def test_the_energy_of_the_illustration_is_arithmetic() -> None:
    assert "3.6e9/500,000 = 7,200 J" in PAGE.read_text(encoding="utf-8")
    assert value(table(PAGE, "worked")[0][5]) == 3.6e9 / 500_000
