"""What a token costs of a held plan, and what its cost rests on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.errors import InputError
from roofline.insight.holding import held_plan
from roofline.insight.sensitivity import sensitivity
from roofline.insight.uncertainty import uncertainty
from roofline.rack.cost import Bill, token_cost
from tests.insight.test_sensitivity import changed

MODEL, BOX = "llama-3.1-70b", "dgx-h100"
APART = {"usd_per_accelerator_hour": 2.0, "usd_per_kwh": 0.1}
BILLS: dict[str, dict[str, Any]] = {"all in": {}, "energy apart": APART, "paid once": {"prices": "capital-press"}}


@pytest.mark.parametrize("mode", ["aggregated", "static", "disaggregated"])
@pytest.mark.parametrize("name", list(BILLS))
def test_the_cost_is_that_of_its_rate_and_energy(name: str, mode: str) -> None:
    """At half a load: hours are paid for all of the time."""
    asked: dict[str, Any] = {"workload": rl.Workload(1024, 256, load=0.5), "modes": mode, "objective": "usd_per_mtok"}
    held = held_plan(MODEL, BOX, bill=BILLS[name], **asked)
    ds = rl.plan(MODEL, BOX, bill=BILLS[name], **asked).squeeze()
    bill, rates = Bill.of(BILLS[name]), (ds["tokens_per_s_per_gpu"], ds["joules_per_token_at_boundary"])
    hardware, energy = token_cost(bill, "h100-sxm", *(np.array(float(one)) for one in rates), duty=0.5)
    found = held.figures(held.numbers.base())["usd_per_mtok"]
    assert found == pytest.approx(float(hardware + energy), rel=1e-12)
    assert next(iter(held.about)) == "usd_per_mtok"


def test_prices_have_elasticities_that_sum_to_one() -> None:
    ds = sensitivity(MODEL, BOX, workload="1k/1k", modes="aggregated", bill=APART)
    money = ds["elasticity"].sel(figure="usd_per_mtok")
    hour, kwh = (float(money.sel(parameter=path)) for path in ("prices.h100-sxm", "prices.usd_per_kwh"))
    assert hour + kwh == pytest.approx(1.0, rel=1e-9)
    assert 0.0 < kwh < 0.2 < hour
    bandwidth = "accelerator.memory.bytes_per_s"
    costs = []
    for sign in (1.0, -1.0):
        held = held_plan(
            MODEL, changed(rl.System.load(BOX), bandwidth, np.exp(sign * 1e-4)), workload="1k/1k", modes="aggregated",
            bill=APART,
        )  # fmt: skip
        costs.append(float(held.figures(held.numbers.base())["usd_per_mtok"][0]))
    expected = (np.log(costs[0]) - np.log(costs[1])) / 2e-4
    assert float(money.sel(parameter=bandwidth)) == pytest.approx(expected, rel=1e-3)
    all_in = sensitivity(MODEL, BOX, workload="1k/1k", modes="aggregated", bill={})
    assert "prices.usd_per_kwh" not in all_in["parameter"].values
    assert float(all_in["elasticity"].sel(figure="usd_per_mtok", parameter="prices.h100-sxm")) == pytest.approx(1.0)
    assert float(all_in["elasticity"].sel(figure="usd_per_mtok", parameter="facility.pue")) == 0.0


def test_percentiles_follow_the_spread_of_a_price() -> None:
    """With one number that may be off, the percentiles are those of its lognormal."""
    asked: dict[str, Any] = {"workload": "1k/1k", "modes": "aggregated", "draws": 4000, "residual": False}
    ds = uncertainty(MODEL, BOX, bill={}, spread={"published": 1.0, "measured": 0.0, "estimated": 0.0}, **asked)
    again = uncertainty(MODEL, BOX, bill={}, spread={"published": 1.0, "measured": 0.0, "estimated": 0.0}, **asked)
    assert ds.equals(again)
    low, middle, high = ds["value"].sel(figure="usd_per_mtok").values
    point = float(ds["point"].sel(figure="usd_per_mtok"))
    assert middle == pytest.approx(point, rel=0.02)
    assert np.log(high / low) / 2 / 1.645 == pytest.approx(0.10, rel=0.15)  # other published numbers move it little
    share = ds["share"].sel(figure="usd_per_mtok")
    assert str(share["parameter"][int(np.argmax(share.values))].item()) == "prices.h100-sxm"


def test_placeholders_are_estimates_and_what_has_no_price_is_refused() -> None:
    held = held_plan("llama-3.1-8b", "gb300-nvl72", workload="1k/1k", bill={})
    price = held.numbers["prices.gb300"]
    assert (price.grade, price.value, price.unit) == ("estimated", 2.652, "USD/h")
    assert "placeholder" in price.source
    with pytest.raises(InputError, match=r"a100-80-sxm: no price in prices semianalysis-v1"):
        held_plan("llama-3.1-8b", "dgx-a100", workload="1k/1k", bill={})
