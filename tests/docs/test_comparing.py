"""docs/comparing.md: its sums are right, its factors multiply, and what can be found quickly is what is found today."""

from __future__ import annotations

import math
import runpy
from functools import cache
from typing import Any

import pytest

from roofline.insight.mixtures import LEVERS
from roofline.insight.studies import rerun, study, sums
from tests.docs.pages import DOCS, table

PAGE = DOCS / "comparing.md"
DRIFT = 0.1
"""By how much a figure of the page may differ from today's before the page is to be made again."""

SUFFIX = {"k": 1e3, "M": 1e6, "G": 1e9}


@cache
def made() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "make_comparing.py"))


def figure(cell: str) -> float:
    """A printed number."""
    word = cell.split()[0]
    if word == "n/a":
        return math.nan
    return float(word.rstrip("kMG")) * SUFFIX.get(word[-1], 1.0)


def near(printed: str, value: float) -> bool:
    """Whether a figure is what is found today, within DRIFT; n/a where nothing is."""
    said = figure(printed)
    return (math.isnan(said) and math.isnan(value)) or abs(said / value - 1.0) <= DRIFT


def test_the_sums_are_the_claims() -> None:
    expected = sums(study("gb300-over-hopper").claim)
    rows = table(PAGE, "sums")
    assert [row[:2] for row in rows] == [[one.what, one.how] for one in expected]
    for row, one in zip(rows, expected, strict=True):
        assert figure(row[2]) == pytest.approx(one.value, rel=0.005)


@pytest.mark.parametrize("mark", ["factors", "split"])
def test_factors_multiply_to_the_ratio(mark: str) -> None:
    *rows, last = table(PAGE, mark)
    columns = range(1, len(last) if mark == "split" else 2)
    for column in columns:
        product = math.prod(figure(row[column]) for row in rows)
        assert product == pytest.approx(figure(last[column]), rel=0.005 * len(rows))


def test_curve_and_baselines_are_of_one_search() -> None:
    levels, baselines = table(PAGE, "levels"), table(PAGE, "baselines")
    shown = made()["SHOWN"]
    assert [int(row[0]) for row in levels] == list(shown)
    (box,) = [row for row in baselines if row[0] == "replicas within one domain of 8"]
    assert [row[4] for row in levels] == box[1:]
    widest = baselines[0]
    assert all(figure(a) <= figure(b) * 1.01 for a, b in zip(widest[1:], box[1:], strict=True))


def test_the_page_says_what_is_found_today() -> None:
    """Figures within DRIFT: else run python -m docs.make_comparing."""
    found = rerun("gb300-over-hopper", attribution=False, interactivity=made()["SHOWN"])
    for printed, row in zip(table(PAGE, "levels"), made()["levels"](found.ds), strict=True):
        for cell, today in zip(printed[1:], row[1:], strict=True):
            assert near(cell, figure(today)), (printed, row)
    at = made()["SPLIT_AT"][1]
    again = {at: rerun("ai-factory-split", at=at, interactivity=(at,))}
    for printed, row in zip(table(PAGE, "split"), made()["split"](again), strict=True):
        assert near(printed[2], figure(row[1])), (printed, row)


def test_every_lever_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for lever in LEVERS:
        assert f"| {lever.group} | `{lever.name}` | {lever.meaning} |" in text
