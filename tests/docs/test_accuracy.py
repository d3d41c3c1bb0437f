"""docs/accuracy.md says what predictions of the shipped points are worth today."""

from __future__ import annotations

import re
import runpy
from functools import cache
from typing import Any

import pytest

from tests.docs.pages import DOCS, table

PAGE = DOCS / "accuracy.md"

TOLERANCE = 0.05
"""By how much, as a share, a figure of the page may differ from today's before the page is to be made again."""


@cache
def made() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "make_accuracy.py"))


@cache
def scores() -> Any:
    return made()["validate"](made()["SHIPPED"])


def rows(text: str) -> list[list[str]]:
    """Cells of a table without its header."""
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def agree(printed: str, now: str) -> bool:
    """Words alike, each number within TOLERANCE or half a point of a percent."""
    number = re.compile(r"\d+(?:\.\d+)?")
    if number.sub("#", printed) != number.sub("#", now):
        return False
    pairs = zip(number.findall(printed), number.findall(now), strict=True)
    slack = 0.5 if "%" in printed else 0.005
    return all(abs(float(a) - float(b)) <= max(slack, TOLERANCE * float(b)) for a, b in pairs)


@pytest.mark.parametrize("mark", ["overall", "source", "gpu", "framework", "batch", "peer"])
def test_the_page_says_what_is_found_today(mark: str) -> None:
    """Else run python docs/make_accuracy.py."""
    now = {"overall": made()["overall"], "peer": made()["beside"]}.get(mark)
    text = made()["grouped"](scores(), mark) if now is None else now(scores())
    printed = table(PAGE, f"{mark}-shipped")
    assert len(printed) == len(rows(text))
    for then, today in zip(printed, rows(text), strict=True):
        assert all(agree(a, b) for a, b in zip(then, today, strict=True)), (then, today)


def test_sources_are_listed_with_their_licences() -> None:
    assert table(PAGE, "origins") == rows(made()["origins"]())


@pytest.mark.parametrize(
    ("printed", "now", "same"),
    [("12.7 %", "12.9 %", True), ("12.7 %", "14 %", False), ("1.02", "1.30", False), ("8 of 9", "8 of 9", True)],
)
def test_agreement_is_of_words_and_numbers(printed: str, now: str, same: bool) -> None:
    assert agree(printed, now) is same
