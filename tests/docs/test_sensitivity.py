"""The tables of docs/sensitivity.md are what its script makes of the sheets today, and its claims hold."""

from __future__ import annotations

import runpy

import pytest

from roofline.insight.spreads import SPREADS
from tests.docs.pages import DOCS, table

PAGE = DOCS / "sensitivity.md"


def test_the_tables_are_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "make_sensitivity.py"))
    ds = made["example"]()
    assert PAGE.read_text(encoding="utf-8") == made["page"](ds), "run: python docs/make_sensitivity.py"
    assert float(ds["sum_of_rates"].sel(figure="tokens_per_mwh")) == pytest.approx(1.0, abs=1e-8)
    assert float(ds["elasticity_error"].max()) < 1e-8
    assert 60 <= ds.sizes["parameter"] <= 100  # some eighty


def test_every_spread_is_on_the_page() -> None:
    rows = {row[0]: tuple(float(cell) for cell in row[1:4]) for row in table(PAGE, "spreads")}
    assert rows == dict(SPREADS)


def test_the_picture_is_there() -> None:
    assert (DOCS / "img" / "tornado.png").stat().st_size > 10_000
