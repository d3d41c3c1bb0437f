"""Bands of made residuals: they cover what they are to, whatever the order, and widen where less is known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.serving.bands import TIERS, Band
from roofline.validation.banding import ENOUGH, LEAST, Residuals, bands, cells, inside, left_out, share

MODELS = 24


def made(
    seed: int = 1,
    models: int = MODELS,
    each: int = 40,
    between: float = 0.1,
    within: float = 0.1,
    quantity: str = "tpot",
    kind: str = "closed",
    tier: str = "calibrated",
) -> Residuals:
    """Models whose errors have a part of their own (log, sigma `between`) and one of each row (`within`)."""
    rng = np.random.default_rng(seed)
    log = rng.normal(0.0, between, (models, 1)) + rng.normal(0.0, within, (models, each))
    names = np.repeat([f"m{i:02d}" for i in range(models)], each)
    n = log.size
    constant = [np.full(n, text) for text in (quantity, kind, tier)]
    return Residuals.of(*constant, names, names, log.ravel(), np.ones(n, dtype=bool))


def joined(*parts: Residuals) -> Residuals:
    names = [name for name in Residuals.__dataclass_fields__ if name != "weight"]
    return Residuals.of(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def ends(found: tuple[Band, ...], quantity: str = "tpot", kind: str = "closed", tier: str = "calibrated") -> Band:
    return next(band for band in found if (band.quantity, band.kind, band.tier) == (quantity, kind, tier))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("between", [0.0, 0.1, 0.3])
def test_bands_cover_models_that_they_have_not_seen(coverage: float, between: float) -> None:
    """The share of left-out rows, models alike: to within what so few models can say."""
    found = [
        share(rows, left_out(rows, coverage)).by_model
        for rows in (made(seed, between=between, each=15) for seed in range(6))
    ]
    assert np.mean(found) == pytest.approx(coverage, abs=0.05)


def test_a_band_is_that_of_the_normal_errors_it_was_made_from() -> None:
    band = ends(bands(made(models=300, each=10, between=0.2, within=0.1)))
    spread = 1.2816 * math.hypot(0.2, 0.1)
    assert math.log(band.high / band.low) / 2.0 == pytest.approx(spread, rel=0.1)
    assert band.grade == "measured"
    assert (band.rows, band.groups) == (3000, 300)


@given(
    logs=st.lists(st.lists(st.floats(-2.0, 2.0, allow_nan=False), min_size=1, max_size=6), min_size=ENOUGH, max_size=9),
    lower=st.lists(st.floats(-3.0, 3.0, allow_nan=False), max_size=8),
)
def test_laws_of_all_bands(logs: list[list[float]], lower: list[float]) -> None:
    """They hold their prediction, end nowhere at 1, and no tier is narrower than a better one."""
    rows = [("calibrated", f"m{i}", value) for i, row in enumerate(logs) for value in row]
    rows += [(list(TIERS)[1 + i % 2], f"n{i}", value) for i, value in enumerate(lower)]
    tier, model, log = (list(column) for column in zip(*rows, strict=True))
    n = len(log)
    texts = [np.full(n, "ttft"), np.full(n, "open"), np.array(tier), np.array(model), np.array(model)]
    found = bands(Residuals.of(*texts, np.array(log, dtype=float), np.ones(n, dtype=bool)))
    assert {band.quantity for band in found} == {"ttft"}
    for band in found:
        assert band.low <= 1.0 - LEAST < 1.0 + LEAST <= band.high
    for above, below in pairwise(found):
        if above.kind == below.kind:
            assert below.low <= above.low
            assert below.high >= above.high


@pytest.mark.parametrize("seed", range(5))
def test_more_coverage_is_wider(seed: int) -> None:
    rows = joined(made(seed, 12, 10), made(seed + 50, 8, 10, within=0.3, tier="sheet"))
    for tier in ("calibrated", "sheet"):
        widths = [
            math.log(band.high / band.low) for band in (ends(bands(rows, c), tier=tier) for c in (0.5, 0.7, 0.8, 0.9))
        ]
        assert all(less < more for less, more in pairwise(widths)), widths


def test_the_order_of_rows_does_not_count() -> None:
    rows = joined(made(2, 8, 5), made(3, 6, 4, tier="sheet"), made(4, 9, 3, quantity="power", kind="batch"))
    order = np.random.default_rng(0).permutation(rows.log.size)
    assert bands(rows) == bands(rows.take(order))
    assert bands(rows) == bands(rows)


def test_a_campaign_does_not_set_the_band_alone() -> None:
    """A group with a thousand rows weighs as its square root: 30 others of 10 rows hold their own."""
    narrow, wide = made(1, 30, 10, between=0.0, within=0.05), made(2, 1, 1000, between=0.0, within=0.5)
    wide = replace(wide, model=np.full(1000, "big"), group=np.full(1000, "big"))
    band = ends(bands(joined(narrow, wide)))
    alike = np.quantile(np.concatenate([narrow.log, wide.log]), 0.9)
    assert math.log(band.high) < 0.6 * alike


def test_few_groups_borrow_from_all_kinds_and_say_so() -> None:
    few, many = made(1, ENOUGH - 1, 10, kind="apart", within=0.4), made(2, 10, 10)
    found = bands(joined(few, many))
    assert ends(found, kind="apart").grade == "estimated"
    assert ends(found, kind="closed").grade == "measured"
    assert ends(found, kind="apart").high == ends(found, kind="batch").high  # both that of all kinds
    assert ends(found, kind="apart").rows == 10 * (ENOUGH - 1)
    assert bands(few) == ()  # not even all kinds have enough


def test_lower_tiers_are_as_wide_as_their_rows_are_off() -> None:
    best, off = made(1, within=0.05, between=0.05), made(2, within=0.3, between=0.3, tier="sheet")
    rows = joined(best, off)
    found = bands(rows)
    assert ends(found).high < 1.15
    assert ends(found, tier="kernels").high == ends(found).high  # nothing is known against them
    assert ends(found, tier="kernels").grade == "estimated"
    assert ends(found, tier="sheet").grade == "measured"
    assert share(rows, inside(rows, found), rows.tier == "sheet").by_row == pytest.approx(0.8, abs=0.03)


def test_times_lend_their_extra_to_energy_and_a_part_to_power() -> None:
    """Ends of power are half as wide as those of rates here, in logs: so is its extra."""
    names = {"tpot": 0.2, "throughput": 0.2, "joules_per_token": 0.2, "power": 0.1}
    parts = [made(1, 12, 10, between=0.0, within=within, quantity=name) for name, within in names.items()]
    found = bands(joined(*parts, made(9, 12, 10, within=0.8, tier="sheet")))
    assert {ends(found, name, tier="sheet").grade for name in list(names)[1:]} == {"estimated"}
    extras = {}
    for name in names:
        best, worst = (math.log(ends(found, name, tier=tier).high) for tier in ("calibrated", "sheet"))
        extras[name] = math.sqrt(worst**2 - best**2)
    assert extras["joules_per_token"] == pytest.approx(extras["tpot"], rel=0.01)
    assert extras["tpot"] > 0.5
    assert extras["power"] == pytest.approx(extras["tpot"] / 2.0, rel=0.02)


def test_rows_of_a_second_prediction_widen_but_are_not_counted() -> None:
    best, again = made(1), made(1, within=0.4, tier="kernels")
    rows = joined(best, replace(again, counts=np.zeros(again.log.size, dtype=bool)))
    found = bands(rows)
    assert ends(found, tier="kernels").high > 1.3 * ends(found).high
    assert (ends(found, tier="kernels").rows, ends(found, tier="kernels").groups) == (0, 0)
    assert share(rows, inside(rows, found)).rows == best.log.size
    assert [cell[:3] for cell in cells(rows)] == [("tpot", "closed", "calibrated")]


def test_what_is_given_has_no_band() -> None:
    rows = made(quantity="throughput", kind="open")
    found = bands(rows)
    assert {band.kind for band in found} == {"closed", "apart", "batch"}
    assert np.isnan(inside(rows, found)).all()
    assert share(rows, inside(rows, found)).rows == 0


def test_shares_count_rows_groups_and_models_alike() -> None:
    names = np.array(["a", "a", "a", "b"])
    groups = np.array(["a1", "a1", "a2", "b1"])
    constant = [np.full(4, text) for text in ("tpot", "closed", "calibrated")]
    rows = Residuals.of(*constant, groups, names, np.zeros(4), np.ones(4, dtype=bool))
    found = share(rows, np.array([1.0, 1.0, 0.0, 0.0]))
    assert (found.rows, found.by_row) == (4, 0.5)
    assert found.by_group == pytest.approx(1 / 3)
    assert found.by_model == pytest.approx(1 / 3)
