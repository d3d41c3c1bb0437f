"""Money of tokens: annuities, hours and energy against plain sums; parts that add up; bad input refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl
from roofline.rack.cost import Bill, Spent, annuity, footprint, spent, token_cost

sums = st.floats(0.01, 1e9)
shares = st.floats(0.0, 1.0)


@given(paid=st.floats(1.0, 1e8), years=st.integers(1, 40), rate=st.floats(0.0, 0.5))
def test_an_annuity_pays_the_sum_back_with_interest(paid: float, years: int, rate: float) -> None:
    due = annuity(paid, years, rate)
    worth = math.fsum(due / (1.0 + rate) ** year for year in range(1, years + 1))
    assert worth == pytest.approx(paid, rel=1e-9)
    assert due >= paid / years * (1.0 - 1e-12)


def test_an_hour_of_what_is_paid_once_by_hand() -> None:
    """50,000 USD over 4 years at 10 %: 15,773.54 a year (a table of annuities: 0.315471), 6 % of operations."""
    bill = Bill(usd_per_accelerator=50_000, lifetime_years=4, discount_rate=0.1, operations_share=0.06)
    assert bill.usd_per_hour("anything") == pytest.approx((50_000 * 0.315471 + 3_000) / 8760, rel=2e-6)
    flat = Bill(usd_per_accelerator={"a": 8760.0}, lifetime_years=2, discount_rate=0.0, operations_share=0.0)
    assert flat.usd_per_hour("a") == 0.5
    assert math.isnan(flat.usd_per_hour("b"))
    assert not flat.includes_energy


def test_energy_at_seven_cents_by_hand() -> None:
    """0.5 J a token: a million take 0.5 MJ = 0.138889 kWh, at 0.07 USD/kWh 0.00972222 USD."""
    bill = Bill(usd_per_accelerator_hour=2.0)
    hardware, energy = token_cost(bill, "h100-sxm", np.array([1000.0]), np.array([0.5]))
    assert energy[0] == pytest.approx(0.00972222, rel=1e-6)
    assert hardware[0] == pytest.approx(2.0 / 3.6)  # 3.6 million tokens an hour
    money = spent(bill, {"h100-sxm": (10.0, 0.0)}, (1_000.0, 0.0))
    assert (money.energy, money.hardware, money.total) == (pytest.approx(70.0), 20.0, pytest.approx(90.0))


def test_an_hour_that_holds_its_energy_is_the_public_formula() -> None:
    """cost_hr/(tput_per_gpu*3600/1e6) of SemiAnalysis InferenceX, whatever energy costs."""
    for usd_per_kwh in (0.0, 0.07, 0.2):
        bill = Bill(usd_per_kwh=usd_per_kwh)
        hardware, energy = token_cost(bill, "gb300", np.array([6000.0]), np.array([0.35]))
        assert (hardware + energy)[0] == pytest.approx(2.652 / (6000.0 * 3600 / 1e6), rel=1e-12)
        assert energy[0] == pytest.approx(0.35e6 / 3.6e6 * usd_per_kwh)
        assert (bill.grade("gb300"), bill.grade("h100-sxm"), bill.grade("rubin-vr200")) == (
            "estimated",
            "published",
            "",
        )
    assert Bill(tier="neocloud").usd_per_hour("h200-sxm") == 1.74
    assert Bill(prices="semianalysis-2026").usd_per_hour("rubin-vr200") == 3.61
    assert Bill(prices="capital-press").usd_per_hour("gb200") > Bill(prices="capital-press").usd_per_hour("h100-sxm")


@given(
    hours=st.tuples(sums, shares), kwh=st.tuples(sums, shares), usd=st.floats(0.1, 100.0), price=st.floats(0.0, 1.0),
    tokens=st.tuples(st.floats(1.0, 1e12), st.floats(1.0, 1e12)),
)  # fmt: skip
def test_parts_of_a_price_pay_for_all_of_it(
    hours: tuple[float, float],
    kwh: tuple[float, float],
    usd: float,
    price: float,
    tokens: tuple[float, float],
) -> None:
    bill = Bill(usd_per_accelerator_hour=usd, usd_per_kwh=price)
    money = spent(bill, {"x": (hours[0], hours[0] * hours[1])}, (kwh[0], kwh[0] * kwh[1]))
    assert money.total == pytest.approx(usd * hours[0] + price * kwh[0], rel=1e-12)
    found = money.per_mtok(*tokens)
    paid = (found["usd_per_mtok_input"] * tokens[0] + found["usd_per_mtok_output"] * tokens[1]) / 1e6
    assert paid == pytest.approx(money.total, rel=1e-9)
    both = found["usd_per_mtok_hardware"] + found["usd_per_mtok_energy"]
    assert both == pytest.approx(found["usd_per_mtok"], rel=1e-12)
    assert found["usd_per_mtok"] * tokens[1] == pytest.approx(money.total * 1e6, rel=1e-12)
    assert found["usd_per_mtok_total"] * sum(tokens) == pytest.approx(money.total * 1e6, rel=1e-12)
    assert 0.0 <= found["usd_per_mtok_output"] <= found["usd_per_mtok"] * (1 + 1e-12)


@given(low=st.floats(0.0, 1.0), more=st.floats(0.0, 1.0))
def test_dearer_energy_never_makes_a_token_cheaper(low: float, more: float) -> None:
    def total(price: float) -> float:
        return spent(Bill(usd_per_accelerator_hour=1.0, usd_per_kwh=price), {"x": (1.0, 0.0)}, (3.0, 0.0)).total

    assert total(low + more) >= total(low)


def test_what_is_not_known_is_not_made_up() -> None:
    bill = Bill(usd_per_accelerator_hour={"a": 1.0})
    money = spent(bill, {"a": (1.0, 0.0), "b": (1.0, 0.0)}, (10.0, 0.0))
    assert math.isnan(money.total)
    assert money.energy == pytest.approx(0.7)
    within = spent(Bill(), {"h100-sxm": (2.0, 1.0)}, (math.nan, math.nan))  # all-in hours, watts undisclosed
    assert (within.total, within.prompts) == (2.60, 1.30)
    assert math.isnan(within.hardware)
    assert math.isnan(spent(bill, {"a": (1.0, 0.0)}, (math.nan, 0.0)).total)


def test_carbon_and_water_by_hand() -> None:
    """100 kWh at the meter, 80 of them in racks, for 1e6 tokens."""
    bill = Bill(gco2e_per_kwh=400.0, water_l_per_kwh=2.0, wue_l_per_kwh=1.5)
    found = footprint(bill, 100.0, 80.0, 1e6)
    assert found == {"gco2e_per_token": pytest.approx(0.04), "water_l_per_token": pytest.approx(320e-6)}
    assert footprint(Bill(), 100.0, 80.0, 1e6) == {}
    assert footprint(Bill(wue_l_per_kwh=1.0), 100.0, 80.0, 1e6) == {"water_l_per_token": pytest.approx(80e-6)}


def test_energy_dearer_than_the_hour_that_holds_it_is_refused() -> None:
    with pytest.raises(rl.InputError, match=r"usd_per_kwh = 5: energy costs more than the hour.*h100-sxm 1\.3 USD/h"):
        spent(Bill(usd_per_kwh=5.0), {"h100-sxm": (1.0, 0.0)}, (1.0, 0.0))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"usd_per_kwh": -0.07}, "usd_per_kwh = -0.07: give a finite number >= 0"),
        ({"usd_per_kwh": math.nan}, "usd_per_kwh = nan"),
        ({"usd_per_accelerator_hour": -1.0}, "usd_per_accelerator_hour = -1.0: give a finite number > 0"),
        ({"usd_per_accelerator": {"h100-sxm": 0.0}}, r"usd_per_accelerator\[h100-sxm\] = 0.0"),
        ({"usd_per_accelerator": {}}, "names no accelerator"),
        ({"usd_per_accelerator": 1.0, "usd_per_accelerator_hour": 1.0}, "in one of these ways"),
        ({"prices": "semianalysis-v1", "usd_per_accelerator": 1.0}, "in one of these ways"),
        ({"lifetime_years": 0.0}, "lifetime_years = 0.0: give a finite number > 0"),
        ({"discount_rate": 8.0}, "8 % is 0.08"),
        ({"operations_share": 5.0}, "5 % is 0.05"),
        ({"tier": "nobody"}, "no tier named 'nobody'"),
        ({"tier": "neocloud", "usd_per_accelerator_hour": 1.0}, "of no prices by the hour"),
        ({"gco2e_per_kwh": -1.0}, "gco2e_per_kwh = -1.0"),
        ({"prices": "no-such"}, "no prices named 'no-such'"),
    ],
)
def test_bad_bills_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        Bill(**fields)


def test_what_a_result_says_of_a_bill() -> None:
    said = Bill(gco2e_per_kwh=300.0).attributes
    assert said["hardware_prices"] == "semianalysis-v1, hyperscaler"
    assert (said["price_vintage"], said["usd_per_kwh"], said["gco2e_per_kwh"]) == ("semianalysis-v1", "0.07", "300")
    own = Bill(usd_per_accelerator=4e4).attributes
    assert own["hardware_prices"] == "given, paid once"
    assert own["capital"] == "5 years, 0.08 a year, operations 0.05 a year"
    assert Bill(usd_per_accelerator_hour=2.0).attributes["hardware_prices"] == "given by the hour"
    assert Spent(3.0, 1.0, 0.0, 0.0).hardware == 2.0
