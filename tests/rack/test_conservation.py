"""What watts, energy, tokens and money keep, whichever function says them: sums, nesting, units, and sites in parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.layout import Limit
from roofline.rack import best_over_deployments
from roofline.rack.energy import PowerFacts
from roofline.rack.site import Part, SiteLimit, fill
from tests.oracle.plans_power import watts_at

Plain = dict[str, Any]
Reach = Callable[[str], None]

BOUNDARIES = ("accelerator", "rack", "facility")
J_PER_MWH = 3.6e9
MODEL, BOX = "llama-3.1-8b", "dgx-h100"
SHORT: Plain = {"workload": "1k/128", "slo": rl.SLO(ttft_s=4.0, tpot_s=0.05)}
HALF = rl.Workload(isl=1024, osl=128, load=0.5)


def facts_of(system: rl.System) -> Plain:
    return dict(vars(PowerFacts.of(system)))


def passed(cells: xr.Dataset, where: Plain) -> xr.Dataset:
    """A pass rolled up: its duty is not one of the options of the pass."""
    return rl.rollup(cells, where["boundary"], where["basis"], duty=0.6)


PRODUCERS: dict[str, Callable[[Plain], xr.Dataset]] = {
    "decode": lambda where: passed(
        rl.decode(MODEL, [BOX, "gb300-nvl72"], "fp8", deployments=[{"tp": 1}, {"tp": 3, "pp": 2}, {"tp": 8}],
                  batch=[1, 64], context=[2048, 16384]), where),
    "decode, experts": lambda where: passed(
        rl.decode("deepseek-v3", "dgx-h200", "fp8-block", deployments=[{"dp": 16, "ep": 16}], batch=[16, 256],
                  context=4096), where),
    "prefill": lambda where: passed(rl.prefill(MODEL, [BOX, "mi300x-8"], "fp8", tp=[1, 4], isl=[512, 8192]), where),
    "serve, a loop": lambda where: passed(
        rl.serve(MODEL, [BOX], "fp8", tp=[1, 2], concurrency=[1, 64], workload="1k/128"), where),
    "serve, arrivals": lambda where: passed(
        rl.serve(MODEL, [BOX], "fp8", tp=2, rate=[0.5, 5.0], workload="1k/128"), where),
    "best cell": lambda where: best_over_deployments(
        MODEL, [BOX, "mi300x-8"], batch_per_gpu=[1, 64], context=4096, duty=0.6, **where),
    "plan": lambda where: rl.plan(MODEL, [BOX, "gb300-nvl72"], **SHORT | {"workload": HALF}, **where),
    "plan, static": lambda where: rl.plan(MODEL, BOX, modes="static", **SHORT, **where),
    "plan, pools": lambda where: rl.plan(MODEL, "mi355x-8", modes="disaggregated", prefill_systems=BOX,
                                         **SHORT, **where),
    "pairs": lambda where: rl.pairs(
        models=[MODEL], systems=[BOX, "dgx-h200"], workloads=SHORT["workload"], slos=SHORT["slo"], **where),
    "pareto": lambda where: rl.pareto(MODEL, BOX, workload="1k/128", against="tokens_per_mwh", **where),
}  # fmt: skip


@cache
def made(producer: str, boundary: str, basis: str) -> xr.Dataset:
    return PRODUCERS[producer]({"boundary": boundary, "basis": basis})


@pytest.mark.parametrize("basis", ["metered", "provisioned"])
@pytest.mark.parametrize("producer", PRODUCERS)
def test_a_megawatt_hour_is_as_many_joules_whoever_counts(producer: str, basis: str) -> None:
    """tokens/MWh times J/token is 3.6e9, at each boundary; a figure without the other is none."""
    for boundary in BOUNDARIES:
        ds = made(producer, boundary, basis)
        tokens, joules = ds["tokens_per_mwh"], ds["joules_per_token_at_boundary"]
        runs = tokens.notnull().values
        assert runs.any()
        assert (joules.notnull().values == runs).all()
        np.testing.assert_allclose((tokens * joules).values[runs], J_PER_MWH, rtol=1e-12)
        assert (tokens.attrs["units"], joules.attrs["units"]) == ("1/MWh", "J")
        for one in (tokens, joules):
            assert f"{boundary}, {basis}" in one.attrs["long_name"]
        assert (ds.attrs["boundary"], ds.attrs["basis"]) == (boundary, basis)


@pytest.mark.parametrize("basis", ["metered", "provisioned"])
@pytest.mark.parametrize("producer", [name for name in PRODUCERS if name != "pareto"])
def test_each_boundary_holds_the_one_before(producer: str, basis: str) -> None:
    """Of fixed deployments to each its own; of a choice the best at each, which no smaller boundary can be worse at."""
    levels = [made(producer, boundary, basis)["joules_per_token_at_boundary"].values for boundary in BOUNDARIES]
    runs = np.isfinite(levels[0])
    assert runs.any()
    for inner, outer in pairwise(levels):
        assert (np.isfinite(outer) == runs).all()
        assert (outer[runs] >= inner[runs] * (1 - 1e-12)).all()
    assert (levels[2][runs] > levels[0][runs]).all()


@settings(max_examples=25)
@given(
    st.sampled_from([("llama-3.1-70b", "fp8"), ("deepseek-v3", "fp8-block"), ("gpt-oss-120b", "mxfp4")]),
    st.sampled_from([BOX, "dgx-h200", "gb300-nvl72", "mi355x-8"]),
    st.sampled_from([{"tp": 8}, {"tp": 4, "pp": 2}, {"dp": 8, "ep": 8}, {"tp": 2, "dp": 4, "ep": 8}]),
    st.integers(1, 512),
    st.integers(16, 30_000),
    st.booleans(),
)
@pytest.mark.reaches("runs", "does not run")
def test_a_group_is_the_sum_of_its_accelerators(
    reach: Reach, shape: tuple[str, str], system: str, degrees: Plain, batch: int, length: int, prompt: bool
) -> None:
    """Energy of a pass over its tokens is that of G accelerators, each between idle and TDP, while it lasts."""
    if prompt:
        ds = rl.prefill(shape[0], system, shape[1], deployments=[degrees], batch=min(batch, 8), isl=length)
        time_s, tokens = ds["prefill_time"].item(), min(batch, 8) * length
    else:
        ds = rl.decode(shape[0], system, shape[1], deployments=[degrees], batch=batch, context=length)
        time_s, tokens = ds["step_time"].item(), batch
    if ds["limit"].item() != 0:
        assert math.isnan(ds["joules_per_token"].item())
        reach("does not run")
        return
    reach("runs")
    power = rl.System.load(system).accelerator.power
    assert power.idle_w is not None
    assert power.tdp_w is not None
    group = math.prod(degrees.get(name, 1) for name in ("tp", "pp", "dp"))
    assert ds["accelerators"].item() == group
    drawn = ds["power"].item()
    assert power.idle_w <= drawn <= power.tdp_w
    assert ds["joules_per_token"].item() == pytest.approx(group * drawn * time_s / tokens, rel=1e-9)
    assert ds["tokens_per_s_per_gpu"].item() == pytest.approx(tokens / time_s / group, rel=1e-9)
    assert ds["joules_per_token"].item() * tokens >= group * power.idle_w * time_s * (1 - 1e-12)


POOLS: dict[str, tuple[str, str, Plain]] = {
    "one system": (MODEL, BOX, SHORT | {"modes": "disaggregated"}),
    "two systems": (MODEL, "mi355x-8", SHORT | {"modes": "disaggregated", "prefill_systems": BOX}),
    "half of the time": (MODEL, "dgx-h200", SHORT | {"modes": "disaggregated", "workload": HALF}),
    "feed-forwards apart": (
        "deepseek-r1", "gb200-nvl72",
        {"workload": "1k/1k", "slo": rl.SLO(tpot_s=0.03), "modes": "attention_ffn", "ffn_systems": "gb300-nvl72",
         "chunk": 2048},
    ),
}  # fmt: skip
APART = "feed-forwards apart"


@pytest.mark.parametrize(
    ("name", "boundary"), [*((name, one) for name in POOLS if name != APART for one in BOUNDARIES), (APART, "facility")]
)
def test_a_unit_is_the_sum_of_its_pools(name: str, boundary: str) -> None:
    """Watts of a unit are those of each pool's replicas, and so is the energy of its tokens."""
    model, system, options = POOLS[name]
    cell = rl.plan(model, system, boundary=boundary, **options).squeeze()  # type: ignore[arg-type]

    def number(what: str) -> float:
        return float(cell[what].item())

    prefill, decode = number("prefill_replicas"), number("decode_replicas")
    assert prefill >= 1
    apart = np.nan_to_num(number("ffn_accelerators"))
    first, whole = number("prefill_accelerators"), number("accelerators")
    pools = [
        (cell["prefill_system"].item(), prefill, first / prefill, number("prefill_power")),
        (cell["system"].item(), decode, (whole - first) / decode - apart, number("decode_power")),
    ]
    if apart:
        pools.append((cell["ffn_system"].item(), decode, apart, number("ffn_power")))
    assert sum(count * group for _, count, group, _ in pools) == whole
    drawn = sum(count * group * watts for _, count, group, watts in pools)
    assert number("power") * whole == pytest.approx(drawn, rel=1e-9)
    assert number("joules_per_token") * number("output_tokens_per_s") == pytest.approx(drawn, rel=1e-9)
    duty, mean = float(rl.Workload.of(options["workload"]).duty), 0.0
    for label, count, group, watts in pools:
        facts = facts_of(rl.System.load(label))
        busy, idle = (watts_at(boundary, facts, round(group), one) for one in (watts, facts["idle_w"]))
        mean += count * (duty * busy + (1.0 - duty) * idle)
    assert number("power_at_boundary") * whole == pytest.approx(mean, rel=1e-6)
    joules = mean / (duty * number("output_tokens_per_s"))
    assert number("joules_per_token_at_boundary") == pytest.approx(joules, rel=1e-6)


SIZES = st.sampled_from([(4, 1), (4, 2), (4, 8), (8, 4), (8, 8), (12, 8), (12, 1), (6, 4)])
"""Accelerators of a system and of a replica: whole, with some left over, over two systems."""


@st.composite
def sites(draw: st.DrawFn) -> Plain:
    """A box that nobody sells, a bill that nobody pays, a day that nobody has."""
    count, group = draw(SIZES)
    idle_w, host_w = draw(st.floats(20.0, 200.0)), draw(st.floats(100.0, 4000.0))
    changes = {
        "name": "drawn", "accelerators": count, "scale_up__domain": count, "max_systems": 16,
        "accelerator__power__idle_w": idle_w, "power__host_dc_w": {"host": host_w},
        "power__psu__rated_w": 1.6 * (count * 700.0 + host_w), "power__max_w": 1.3 * (count * 700.0 + host_w),
        "facility__pue": draw(st.floats(1.0, 2.0)),
    }  # fmt: skip
    return {
        "changes": changes,
        "group": group,
        "power": draw(st.floats(3e4, 3e7)),
        "load": draw(st.lists(st.floats(0.0, 1.0), min_size=24, max_size=24).filter(lambda day: sum(day) > 0.1)),
        "bill": {
            "usd_per_accelerator_hour": draw(st.floats(0.1, 10.0)), "usd_per_kwh": draw(st.floats(0.0, 1.0)),
            "sold_usd_per_mtok": draw(st.floats(0.0, 10.0)), "sold_usd_per_mtok_input": draw(st.floats(0.0, 10.0)),
            "gco2e_per_kwh": draw(st.floats(0.0, 900.0)), "water_l_per_kwh": draw(st.floats(0.0, 5.0)),
            "wue_l_per_kwh": draw(st.floats(0.0, 3.0)),
        },
        "tight": draw(st.one_of(st.none(), st.floats(0.0, 1.0))),
    }  # fmt: skip


def by_hand(asked: Plain, system: rl.System, cell: xr.Dataset) -> Plain | None:
    """A site of one system in plain numbers, from the rate and draw of one replica; None where nothing can run."""
    facts, group, drawn = facts_of(system), asked["group"], cell["power"].item()
    if math.isnan(drawn):
        assert cell["limit"].item() == Limit.RACK
        return None
    n, most_w = facts["accelerators"], system.power.max_w
    together, room = (1, n // group) if group <= n else (math.ceil(group / n), 1)

    def watts(boundary: str, replicas: int) -> float:
        used = replicas * group
        mean = (used * drawn + (together * n - used) * facts["idle_w"]) / (together * n)
        return watts_at(boundary, facts, together * n, mean)

    may = [k for k in range(1, room + 1) if most_w is None or watts("rack", k) <= together * most_w * (1 + 1e-12)]
    if not may:
        return None
    groups = math.floor(asked["power"] / watts("facility", may[-1]))
    if not groups:
        return None
    replicas, hours = groups * may[-1], asked["load"]
    rate = replicas * cell["request_rate"].item()
    full, idle = (groups * watts("facility", k) for k in (may[-1], 0))
    joules = math.fsum(3600.0 * (share * full + (1.0 - share) * idle) for share in hours)
    inside = math.fsum(
        3600.0 * groups * (share * watts("rack", may[-1]) + (1.0 - share) * watts("rack", 0)) for share in hours
    )
    out_day = math.fsum(3600.0 * share * rate * 128 for share in hours)
    in_day, bill = 8.0 * out_day, asked["bill"]
    energy_usd = joules / 3.6e6 * bill["usd_per_kwh"]
    cost = 24.0 * groups * together * n * bill["usd_per_accelerator_hour"] + energy_usd
    sold = (bill["sold_usd_per_mtok"] * out_day + bill["sold_usd_per_mtok_input"] * in_day) / 1e6
    return {
        "units": replicas,
        "systems": groups * together,
        "site_accelerators": groups * together * n,
        "idle_accelerators": groups * together * n - replicas * group,
        "power_running": full,
        "power_taken": full,
        "power_left": asked["power"] - full,
        "power_idle": idle,
        "rack_power_running": groups * watts("rack", may[-1]),
        "output_tokens_per_s": rate * 128,
        "output_tokens_per_day": out_day,
        "input_tokens_per_day": in_day,
        "energy_per_day": joules,
        "tokens_per_mwh": J_PER_MWH * out_day / joules,
        "usd_per_day": cost,
        "energy_usd_per_day": energy_usd,
        "usd_per_mtok": 1e6 * cost / out_day,
        "usd_per_mtok_energy": 1e6 * energy_usd / out_day,
        "usd_per_mtok_total": 1e6 * cost / (out_day + in_day),
        "revenue_per_day": sold,
        "margin_per_day": sold - cost,
        "gco2e_per_token": joules / 3.6e6 * bill["gco2e_per_kwh"] / out_day,
        "water_l_per_token": (joules * bill["water_l_per_kwh"] + inside * bill["wue_l_per_kwh"]) / 3.6e6 / out_day,
    }


@pytest.mark.reaches("serves", "serves nothing", "limited by its rack", "spans systems", "leaves some over")
@settings(max_examples=50)
@given(sites())
def test_a_site_is_its_racks_and_what_idles(reach: Reach, asked: Plain) -> None:
    """Every figure of a site from one replica's rate and draw alone: racks times a rack, working and idle."""
    system = rl.System.load("dgx-h100").replace(**asked["changes"])
    options: Plain = {"modes": "aggregated", "deployments": [{"tp": asked["group"]}], "chunk": 2048, **SHORT}
    cell = rl.plan(MODEL, system, "fp8", **options).squeeze()
    if asked["tight"] is not None:  # a rack that may draw something between all idle and all at work
        facts = facts_of(system)
        idle, full = (
            watts_at("rack", facts, facts["accelerators"], w) for w in (facts["idle_w"], cell["power"].item())
        )
        system = system.replace(power__max_w=idle * 1.000001 + asked["tight"] * (full - idle))
        cell = rl.plan(MODEL, system, "fp8", **options).squeeze()  # idle neighbours may make another batch the best
    ds = rl.site(
        MODEL, system, "fp8", power=asked["power"], load=asked["load"], bill=asked["bill"], **options
    ).squeeze()  # fmt: skip
    expected = by_hand(asked, system, cell)
    if expected is None:
        assert ds["site_limit"].item() in (SiteLimit.RACK_POWER, SiteLimit.SITE_POWER)
        assert ds["site_reason"].item() != ""
        assert math.isnan(ds["tokens_per_mwh"].item())
        reach("serves nothing")
        return
    reach("serves")
    for name, value in expected.items():
        assert ds[name].item() == pytest.approx(value, rel=1e-8, abs=1e-6 * asked["power"] if "left" in name else 0), (
            name
        )
    assert (ds["rack_limited"].item() != "") == (
        expected["units"] < expected["systems"] * (system.accelerators // asked["group"])
    )
    reach("limited by its rack" if ds["rack_limited"].item() else "every replica runs")
    reach("spans systems" if asked["group"] > system.accelerators else "within a system")
    reach("leaves some over" if expected["idle_accelerators"] else "all in replicas")
    parts = (
        ds["usd_per_mtok_input"] * ds["input_tokens_per_day"] + ds["usd_per_mtok_output"] * ds["output_tokens_per_day"]
    )
    assert parts.item() / 1e6 == pytest.approx(expected["usd_per_day"], rel=1e-9)


@st.composite
def pools(draw: st.DrawFn) -> list[Part]:
    """One to three pools of a unit on made-up systems."""
    found = []
    for role in ("prefill", "decode", "ffn")[: draw(st.integers(1, 3))]:
        count, tdp_w, host_w = (
            draw(st.sampled_from([4, 8, 72])),
            draw(st.floats(200.0, 2000.0)),
            draw(st.floats(50, 5000)),
        )
        system = PowerFacts(
            count, tdp_w, 0.1 * tdp_w, host_w, 1.4 * (count * tdp_w + host_w), 1.5 * (count * tdp_w + host_w),
            (0.1, 0.5, 1.0), (0.9, 0.96, 0.95), draw(st.floats(1.0, 1.6)), {"v": 2.0 * tdp_w},
        )  # fmt: skip
        group, replicas = draw(st.integers(1, 2 * count)), draw(st.integers(1, 9))
        found.append(Part(role, f"sys-{role}", "acc", system, group, replicas, draw(st.floats(0.2, 1.0)) * tdp_w, 0.0))
    return found


@pytest.mark.reaches("both serve")
@given(pools(), st.floats(1e4, 1e7), st.floats(1e4, 1e7), st.sampled_from([None, "metered", "v"]))
def test_two_sites_in_one_serve_no_less(
    reach: Reach, listed: list[Part], one_w: float, other_w: float, counted: str | None
) -> None:
    """What two meters power, one of their sum powers: units, and with them tokens, are never lost by joining."""
    how: Plain = {"basis": "metered"} if counted == "metered" else {"basis": "provisioned", "vintage": counted}
    one, other, both = (fill(listed, watts, **how) for watts in (one_w, other_w, one_w + other_w))
    assert both.units >= (one.units + other.units) * (1 - 1e-9)
    if one.placed and other.placed:
        reach("both serve")
        assert both.taken_w <= (one_w + other_w) * (1 + 1e-9)


def test_a_site_is_the_plan_where_nothing_is_left_over() -> None:
    """Full boxes always at work take of a token what the plan says, at its facility; so do all functions alike."""
    plan = rl.plan(MODEL, BOX, "fp8", **SHORT, modes="aggregated").squeeze()
    assert plan["tp"].item() in (1, 2, 4, 8)
    site = rl.site(MODEL, BOX, "fp8", power="1MW", **SHORT, modes="aggregated").squeeze()
    capped = rl.power_cap(MODEL, BOX, "fp8", caps=[700.0], **SHORT, modes="aggregated").squeeze()
    slopes = rl.sensitivity(MODEL, BOX, "fp8", **SHORT, modes="aggregated")
    claim = rl.check_claim("1 J/token", MODEL, BOX, recipes="fp8", modes="aggregated", **SHORT)
    joules = plan["joules_per_token_at_boundary"].item()
    assert site["joules_per_token_at_boundary"].item() == pytest.approx(joules, rel=1e-9)
    assert capped["joules_per_token_at_boundary"].item() == pytest.approx(joules, rel=1e-9)
    value = slopes["value"].sel(figure="joules_per_token_at_boundary").item()
    assert value == pytest.approx(joules, rel=1e-9)
    assert claim.rung("best_plan").joules_per_token == pytest.approx(joules, rel=1e-9)
    asked: Plain = {"recipes": "fp8", "modes": ("aggregated",), "workload": "1k/128", "slo": {"ttft_s": 4.0}}
    compared = rl.compare(BOX, BOX, model=MODEL, at=20, interactivity=(20,), attribution=False, **asked)
    assert J_PER_MWH / compared["tokens_per_mwh"].values.ravel() == pytest.approx(joules, rel=1e-9)
