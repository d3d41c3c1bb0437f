"""docs/site.md: its arithmetic holds, and every option, variable and sheet it names is there."""

from __future__ import annotations

import re

import typer

from roofline.cli.site import site
from roofline.planning.site_variables import FIGURES, TEXTS
from roofline.rack.day import SHAPES
from roofline.specs import list_specs
from roofline.specs.prices import Prices
from tests.docs.pages import DOCS, agrees, arithmetic, sums

PAGE = DOCS / "site.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_arithmetic() -> None:
    listed = list(sums(PAGE))
    assert len(listed) == 5
    for one in listed:
        assert agrees(one.result, arithmetic(one.expression)), one.where


def test_options_are_those_of_the_command() -> None:
    app = typer.Typer()
    app.command()(site)
    known = {option for parameter in typer.main.get_command(app).params for option in parameter.opts}
    said = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT))
    assert len(said) > 15
    assert said <= known


def test_names_are_those_of_the_library() -> None:
    shapes = re.search(r"or a shape: (.*?)\. Shapes", TEXT, re.DOTALL)
    assert shapes is not None
    assert set(re.findall(r"`(\w+)`", shapes[1])) == set(SHAPES)
    for name in ("rack_limited", "site_reason", "price_grade", "usd_per_mtok", "usd_per_mtok_total"):
        assert f"`{name}`" in TEXT
        assert name in FIGURES | TEXTS
    for name in list_specs("prices", folders=[]):
        assert name in TEXT
        assert all(tier in TEXT for tier in Prices.load(name, folders=[]).tiers)
