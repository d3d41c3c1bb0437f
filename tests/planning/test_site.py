"""Sites of shipped systems: by hand from the figures of their plans, and what every site keeps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl
from roofline.grid import axes
from roofline.planning.parts import Chosen
from roofline.planning.question import question
from roofline.planning.site import by_hour, site
from roofline.planning.site_variables import FIGURES
from roofline.rack.cost import Bill
from roofline.rack.energy import PowerFacts
from roofline.specs.stack import Stack
from tests.oracle.plans_power import watts_at
from tests.planning.by_hand import AGGREGATED, STATIC, ByHand

SLO = rl.SLO(ttft_s=2.0, tpot_s=0.05)
OFFICE = (0.15,) * 9 + (1.0,) * 9 + (0.15,) * 6
WHERE: dict[str, Any] = {"models": "llama-3.1-8b", "recipes": "fp8", "workload": "1k/128", "slo": SLO}


def plain(system: rl.System) -> dict[str, Any]:
    facts = PowerFacts.of(system)
    return dict(vars(facts))


@pytest.fixture(scope="module")
def several() -> xr.Dataset:
    """Systems of three makes, modes as they come, under a load that changes."""
    return site(
        systems=["hgx-h100", "hgx-b200", "gb300-nvl72", "mi355x-8", "groq3-lpx", "vr-nvl72"], power="1MW",
        load="office", bill={"sold_usd_per_mtok": 0.2, "sold_usd_per_mtok_input": 0.05, "gco2e_per_kwh": 350.0},
        **WHERE,
    )  # fmt: skip


OWN_HALL = {"usd_per_accelerator_hour": 2.0, "usd_per_kwh": 0.07, "wue_l_per_kwh": 1.0}


def test_a_megawatt_of_boxes_by_hand() -> None:
    """Replicas of two accelerators, four in a box; all that follows from the plan's own rate and draw."""
    given = {"modes": "aggregated", "deployments": [{"tp": 2}]}
    bill = {"usd_per_accelerator_hour": 2.0, "usd_per_kwh": 0.07}
    workload = rl.Workload(isl=1024, osl=128, load=OFFICE)
    ds = site("llama-3.1-8b", "hgx-h100", "fp8", power=1e6, workload=workload, slo=SLO, bill=bill, **given).squeeze()
    unit = rl.plan("llama-3.1-8b", "hgx-h100", "fp8", workload=workload, slo=SLO, **given).squeeze()
    facts = plain(rl.System.load("hgx-h100"))
    box_w = 4 * watts_at("facility", facts, 2, unit["power"].item())
    idle_w = 4 * watts_at("facility", facts, 2, facts["idle_w"])
    boxes = math.floor(1e6 / box_w)
    assert 100 < boxes < 160
    rate = 4 * boxes * unit["request_rate"].item()
    duty = (9 + 15 * 0.15) / 24
    tokens = 86400 * duty * rate * 128
    joules = 86400 * boxes * (duty * box_w + (1 - duty) * idle_w)
    hardware, energy = 24 * 2.0 * 8 * boxes, joules / 3.6e6 * 0.07
    by_hand = {
        "units": 4 * boxes,
        "systems": boxes,
        "site_accelerators": 8 * boxes,
        "idle_accelerators": 0,
        "replicas_per_system": 4,
        "power_taken": boxes * box_w,
        "power_left": 1e6 - boxes * box_w,
        "power_running": boxes * box_w,
        "power_idle": boxes * idle_w,
        "output_tokens_per_s": rate * 128,
        "output_tokens_per_s_per_mw": rate * 128,
        "total_tokens_per_s_per_mw": rate * (128 + 1024),
        "output_tokens_per_day": tokens,
        "input_tokens_per_day": 8 * tokens,
        "energy_per_day": joules,
        "joules_per_token_at_boundary": joules / tokens,
        "tokens_per_mwh": tokens / (joules / 3.6e9),
        "usd_per_day": hardware + energy,
        "energy_usd_per_day": energy,
        "usd_per_mtok": (hardware + energy) / tokens * 1e6,
        "usd_per_mtok_hardware": hardware / tokens * 1e6,
        "usd_per_mtok_energy": joules / tokens / 3.6 * 0.07,
    }
    for name, value in by_hand.items():
        assert ds[name].item() == pytest.approx(value, rel=1e-9), name
    assert unit["tokens_per_mwh"].item() == pytest.approx(ds["tokens_per_mwh"].item(), rel=1e-9)  # full boxes: the same
    assert ds.attrs["filled_by"] == "facility, metered"


def test_pools_on_two_kinds_of_system_by_hand() -> None:
    """Prompts on one system and decoding on another: the counts that keep the plan's ratio."""
    given: dict[str, Any] = {"modes": "disaggregated", "prefill_systems": "hgx-h100"}
    ds = site("llama-3.1-8b", "mi355x-8", "fp8", power="300kW", workload="8k/1k", slo=SLO, **given).squeeze()
    unit = rl.plan("llama-3.1-8b", "mi355x-8", "fp8", workload="8k/1k", slo=SLO, **given).squeeze()
    x, y = int(unit["prefill_replicas"]), int(unit["decode_replicas"])
    first = int(unit["prefill_accelerators"]) // x
    second = (int(unit["accelerators"]) - x * first) // y
    prefill, decode = int(ds["prefill_systems"]), int(ds["decode_systems"])
    units = min(prefill * (8 // first) / x, decode * (8 // second) / y)
    assert ds["units"].item() == pytest.approx(units)
    assert ds["output_tokens_per_s"].item() == pytest.approx(units * unit["request_rate"].item() * 1024, rel=1e-9)
    assert ds["systems"].item() == prefill + decode
    label = str(unit["prefill_system"].item())
    rates = [Bill().usd_per_hour({"dgx-h100": "h100-sxm", "mi355x-8": "mi355x"}[name]) for name in (label, "mi355x-8")]
    hours = [24 * 8 * prefill * rates[0], 24 * 8 * decode * rates[1]]
    assert ds["usd_per_day"].item() == pytest.approx(sum(hours), rel=1e-12)
    per_mtok = ds["usd_per_mtok_input"].item(), ds["usd_per_mtok_output"].item()
    assert per_mtok[0] == pytest.approx(hours[0] / ds["input_tokens_per_day"].item() * 1e6, rel=1e-9)
    assert per_mtok[1] == pytest.approx(hours[1] / ds["output_tokens_per_day"].item() * 1e6, rel=1e-9)


def test_what_every_site_keeps(several: xr.Dataset) -> None:
    runs = several["site_limit"] == 0
    assert 4 <= int(runs.sum()) < runs.size
    held = several.where(runs)
    assert np.allclose((held["tokens_per_mwh"] * held["joules_per_token_at_boundary"]).values[runs], 3.6e9, rtol=1e-12)
    assert (several["power_taken"] + several["power_left"]).values[runs] == pytest.approx(1e6)
    assert bool((held["power_running"] <= held["power_taken"] * (1 + 1e-12)).where(runs, True).all())
    assert bool((held["power_idle"] < held["power_running"]).where(runs, True).all())
    assert bool((held["rack_power_running"] < held["power_running"]).where(runs, True).all())
    assert several["load"].values[0].tolist() == list(OFFICE)
    for name, (units, _) in FIGURES.items():
        assert several[name].attrs["units"] == units
        assert "{" not in several[name].attrs["long_name"]
        assert np.isnan(several[name].where(~runs)).all()
    assert (several["site_reason"].values != "").tolist() == (~runs).values.tolist()
    paid = several["usd_per_mtok_input"] * several["input_tokens_per_day"]
    paid = paid + several["usd_per_mtok_output"] * several["output_tokens_per_day"]
    priced = runs & several["usd_per_day"].notnull()
    assert np.allclose((paid / 1e6).values[priced], several["usd_per_day"].values[priced], rtol=1e-9)
    parts = several["usd_per_mtok_hardware"] + several["usd_per_mtok_energy"]
    assert np.allclose(parts.values[priced], several["usd_per_mtok"].values[priced], rtol=1e-12)


def test_a_day_adds_up_hour_by_hour(several: xr.Dataset) -> None:
    hours = by_hour(several)
    assert hours["power"].dims == (*several["power_running"].dims, "hour")
    runs = (several["site_limit"] == 0).values
    energy, tokens = (3600.0 * hours[name].sum("hour") for name in ("power", "output_tokens_per_s"))
    assert np.allclose(energy.values[runs], several["energy_per_day"].values[runs], rtol=1e-9)
    assert np.allclose(tokens.values[runs], several["output_tokens_per_day"].values[runs], rtol=1e-9)
    assert hours["power"].attrs["units"] == "W"
    with pytest.raises(rl.InputError, match="give a Dataset that site returned"):
        by_hour(hours)


def test_revenue_carbon_and_prices(several: xr.Dataset) -> None:
    sold = (0.05 * several["input_tokens_per_day"] + 0.2 * several["output_tokens_per_day"]) / 1e6
    assert np.allclose(several["revenue_per_day"], sold, equal_nan=True)
    assert np.allclose(several["margin_per_day"], sold - several["usd_per_day"], equal_nan=True)
    carbon = several["joules_per_token_at_boundary"] / 3.6e6 * 350.0
    assert np.allclose(several["gco2e_per_token"], carbon, equal_nan=True)
    assert "water_l_per_token" not in several
    grades = dict(zip(several["system"].values, several["price_grade"].values.ravel(), strict=True))
    assert (grades["dgx-h100"], grades["gb300-nvl72"], grades["vr-nvl72"]) == ("published", "estimated", "")
    rubin = several.sel(system="vr-nvl72").squeeze()
    assert math.isnan(rubin["usd_per_mtok"].item())
    assert rubin["usd_per_mtok_energy"].item() > 0.0
    plain_site = site(systems="hgx-h100", power="1MW", **WHERE)
    assert "revenue_per_day" not in plain_site


@pytest.mark.parametrize("mode", [AGGREGATED, STATIC])
def test_the_share_of_prompts_is_the_time_they_take(mode: str) -> None:
    """w*d*b of s*t + b*w*d in continuous batching, T_p of T in a static batch, candidates one by one."""
    row, chunk = {"tp": 2}, 512
    given: dict[str, Any] = {"modes": mode, "deployments": [row], "chunk": chunk}
    ds = rl.plan("llama-3.1-8b", "dgx-h100", "fp8", workload="2k/256", slo=rl.SLO(tpot_s=0.03), **given)
    cell, workload = ds.squeeze(), rl.Workload.of("2k/256")
    system, model = rl.System.load("dgx-h100"), rl.Model.load("llama-3.1-8b")
    chosen = Chosen(cell, model, {"dgx-h100": system}, {}, workload, Stack.load("default"))
    asked = question(workload, rl.SLO(tpot_s=0.03), chunks=[chunk])
    hand = ByHand("llama-3.1-8b", system, "fp8", row, asked)
    i = int(cell["batch"]) - 1
    if mode == AGGREGATED:
        t, (d, _, _), table = hand.decoding[0][i], hand.with_chunk(chunk), hand.table(chunk)
        prompts = (i + 1) * table.fill * d[i]
        share = prompts / (table.steps * t + prompts)
    else:
        first, _ = hand.prompts(np.array([i + 1]), hand.new)
        share = first[0] / (first[0] + float(hand.table(chunk).longest_steps(i + 1)) * hand.decoding[0][i])
    assert 0.05 < share < 0.95
    assert chosen.prompt_share() == pytest.approx(share, rel=1e-6)


def test_drafts_are_in_the_share_of_prompts() -> None:
    given: dict[str, Any] = {"modes": "aggregated", "acceptance": 0.9}
    ds = rl.plan("deepseek-r1", "hgx-h200", workload="2k/256", slo=rl.SLO(tpot_s=0.05), **given)
    cell = ds.squeeze()
    assert cell["drafts"].item() == 1
    system = rl.System.load("hgx-h200")
    sheets = {axes.label(system): system}
    chosen = Chosen(cell, rl.Model.load("deepseek-r1"), sheets, {}, rl.Workload.of("2k/256"), Stack.load("default"))
    assert chosen.steps() == math.ceil(255 / 1.9 - 1e-9)
    assert 0.0 < chosen.prompt_share() < 1.0
    assert chosen.decode_step_s() / 1.9 < cell["tpot"].item()


def test_a_rack_that_would_draw_too_much_runs_fewer_replicas() -> None:
    given: dict[str, Any] = {"modes": "aggregated", "deployments": [{"tp": 2}], **WHERE}
    free = site(systems="hgx-h100", power="1MW", **given).squeeze()
    each = free["rack_power_running"].item() / free["systems"].item()
    low = rl.System.load("hgx-h100").replace(power__max_w=0.8 * each)
    held = site(systems=low, power="1MW", **given).squeeze()
    assert held["replicas_per_system"].item() < 4
    assert held["idle_accelerators"].item() == held["systems"].item() * (8 - 2 * held["replicas_per_system"].item())
    assert held["rack_power_running"].item() <= 0.8 * each * held["systems"].item()
    said = str(held["rack_limited"].item())
    assert said.startswith(f"{held['replicas_per_system'].item():.0f} of 4 replicas in dgx-h100: all would draw")
    assert held["tokens_per_mwh"].item() < free["tokens_per_mwh"].item()
    assert held["usd_per_mtok"].item() > free["usd_per_mtok"].item()
    facts = plain(low)
    idle_w = watts_at("rack", facts, 8, facts["idle_w"])
    none = site(systems=low.replace(power__max_w=1.05 * idle_w), power="1MW", **given).squeeze()
    assert none["site_limit"].item() == 2
    assert "one replica at work takes its system above" in str(none["site_reason"].item())
    with pytest.raises(rl.InputError, match=r"power\.max_w = 1000 W is below the"):
        site(systems=low.replace(power__max_w=1000.0), power="1MW", **given)


def test_a_system_counted_with_what_is_set_aside() -> None:
    given: dict[str, Any] = {"power": "100MW", **WHERE}
    for vintage, watts in (
        ("semianalysis-v1", 1730.0),
        ("semianalysis-2026", 1370.0),
        (None, (10200 + 473.6) * 1.3 / 8),
    ):
        ds = site(systems="hgx-h100", basis="provisioned", vintage=vintage, **given).squeeze()
        assert ds["power_taken"].item() == pytest.approx(8 * watts * ds["systems"].item())
        assert 0.0 <= ds["power_left"].item() < 40 * watts
        assert ds["systems"].item() <= 1e8 / (8 * watts)
        assert ds.attrs["hardware_prices"].startswith(vintage or "semianalysis-v1")
        assert f"prices/{vintage or 'semianalysis-v1'}=" in ds.attrs["sheets"]
        assert (ds.attrs["basis"], ds.attrs["filled_by"].split(", ")[1]) == ("metered", "provisioned")
    with pytest.raises(rl.InputError, match="the two are never mixed"):
        site(systems="hgx-h100", basis="provisioned", vintage="semianalysis-2026", bill=Bill(), **given)


def test_a_worse_hall_serves_less_and_every_option_reaches_the_bill() -> None:
    base = site(systems="hgx-h100", power="1MW", **WHERE).squeeze()
    worse = site(systems="hgx-h100", power="1MW", pue=1.8, **WHERE).squeeze()
    assert worse["output_tokens_per_s"].item() < base["output_tokens_per_s"].item()
    same = worse["joules_per_token_at_boundary"].item() / base["joules_per_token_at_boundary"].item()
    assert same == pytest.approx(1.8 / 1.3, rel=0.02)
    named = site(systems="hgx-h100", power="1MW", facility="liquid", **WHERE).squeeze()
    assert named["output_tokens_per_s"].item() > base["output_tokens_per_s"].item()
    cheap = site(systems="hgx-h100", power="1MW", bill={"tier": "rental-3yr", "usd_per_kwh": 0.14}, **WHERE).squeeze()
    assert cheap["usd_per_mtok_energy"].item() == pytest.approx(2 * base["usd_per_mtok_energy"].item())
    assert cheap["usd_per_mtok"].item() == pytest.approx(base["usd_per_mtok"].item())  # an hour holds its energy


@given(load=st.lists(st.floats(0.0, 1.0), min_size=24, max_size=24).filter(lambda x: sum(x) > 0.1))
def test_a_busier_day_takes_less_energy_a_token(load: list[float]) -> None:
    given: dict[str, Any] = {"modes": "aggregated", "deployments": [{"tp": 2}], "chunk": 2048, **WHERE}
    full = site(systems="hgx-h100", power="1MW", **given).squeeze()
    part = site(systems="hgx-h100", power="1MW", load=load, **given).squeeze()
    assert part["joules_per_token_at_boundary"].item() >= full["joules_per_token_at_boundary"].item() * (1 - 1e-9)
    assert part["usd_per_mtok"].item() >= full["usd_per_mtok"].item() * (1 - 1e-9)
    assert part["energy_per_day"].item() <= full["energy_per_day"].item() * (1 + 1e-9)


def test_why_a_site_serves_nothing() -> None:
    missed = site("llama-3.3-70b", "hgx-h100", power="1MW", workload="1k/1k", slo=rl.SLO(tpot_s=0.001)).squeeze()
    assert "times over the limit of tpot" in str(missed["site_reason"].item())
    small = site("llama-3.3-70b", "gb300-nvl72", power="50kW", workload="1k/1k").squeeze()
    assert "at the facility, of 50.0 kW; mode aggregated has no pools" in str(small["site_reason"].item())
    with pytest.raises(rl.InputError, match="boundary 'rack': a site is counted at the facility"):
        site("llama-3.3-70b", "hgx-h100", power="1MW", workload="1k/1k", boundary="rack")
    with pytest.raises(rl.InputError, match="bill = 3: give a Bill, or its fields by name"):
        site("llama-3.3-70b", "hgx-h100", power="1MW", workload="1k/1k", bill=3)  # type: ignore[arg-type]
    assert math.isnan(small["output_tokens_per_s"].item())
    hidden = site(
        "llama-3.1-8b", "helios-mi455x", power="1MW", workload="1k/1k", objective="tokens_per_s_per_gpu"
    ).squeeze()
    assert hidden["site_limit"].item() == 4
    assert "watts of helios-mi455x are undisclosed" in str(hidden["site_reason"].item())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"power": "0MW"}, "power '0MW'"),
        ({"pue": 0.9}, "pue = 0.9: out of range"),
        ({"load": [1.0]}, "has 1 shares; give 24"),
        ({"bill": {"usd_per_kwh": -1.0}}, "usd_per_kwh = -1.0"),
        ({"bill": {"usd_kwh": 1.0}}, "'usd_kwh' is none of its fields; give prices"),
        ({"bill": {"usd_per_kwh": 90.0}}, "energy costs more than the hour"),
        ({"basis": "nameplate"}, "basis 'nameplate'"),
        ({"vintage": "semianalysis-v1"}, "give it with basis 'provisioned'"),
        ({"vintage": "x", "basis": "provisioned"}, "vintage 'x': none of dgx-h100"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        site(**{"systems": "hgx-h100", "power": "1MW", "modes": "aggregated", **WHERE, **changes})


def test_a_site_can_be_saved(several: xr.Dataset, tmp_path: Path) -> None:
    from roofline.report.files import save

    text = save(several, tmp_path / "site.csv").read_text()
    assert text.count("\n") == several["systems"].size + 1
    assert "usd_per_mtok [USD]" in text
    save(several, tmp_path / "site.nc")
    again = xr.load_dataset(tmp_path / "site.nc")
    assert again["usd_per_mtok"].values == pytest.approx(several["usd_per_mtok"].values, nan_ok=True)


def test_feed_forwards_apart_are_a_part_of_their_own() -> None:
    """Attention on one system, feed-forwards on another: each on whole systems, all of them charged."""
    given: dict[str, Any] = {"modes": "attention_ffn", "ffn_systems": "gb300-nvl72", "workload": "1k/1k"}
    hourly = {"gb200": 2.0, "gb300": 3.0}
    ds = site(
        "deepseek-r1", "gb200-nvl72", power="10MW", slo=SLO, bill={"usd_per_accelerator_hour": hourly}, **given
    ).squeeze()
    unit = rl.plan("deepseek-r1", "gb200-nvl72", slo=SLO, **given).squeeze()
    prefill, decode, apart = (ds[f"{role}_systems"].item() for role in ("prefill", "decode", "ffn"))
    assert ds["systems"].item() == prefill + decode + apart
    assert ds["site_accelerators"].item() == 72 * (prefill + decode + apart)
    assert ds["output_tokens_per_s"].item() == pytest.approx(
        ds["units"].item() * unit["request_rate"].item() * 1024, rel=1e-9
    )
    hardware = 24 * 72 * (2.0 * (prefill + decode) + 3.0 * apart)
    assert str(unit["prefill_system"].item()) == "gb200-nvl72"
    assert ds["usd_per_day"].item() - ds["energy_usd_per_day"].item() == pytest.approx(hardware, rel=1e-12)
    assert ds["power_running"].item() <= ds["power_taken"].item() <= 1e7
    used = ds["units"].item() * unit["accelerators"].item()
    assert used <= ds["site_accelerators"].item() - ds["idle_accelerators"].item() + 1e-6


@pytest.mark.parametrize("modes", ["aggregated", "disaggregated"])
def test_pue_by_load_is_charged_hour_by_hour(modes: str) -> None:
    load = [0.1] * 8 + [1.0] * 10 + [0.5] * 6
    given: dict[str, Any] = {"power": "1MW", "load": load, "modes": modes, "bill": OWN_HALL, **WHERE}
    flat = site(systems="hgx-h100", pue=1.25, **given).squeeze()
    same = site(systems="hgx-h100", pue={0.4: 1.25, 1.0: 1.25}, **given).squeeze()
    ds = site(systems="hgx-h100", pue={0.4: 1.75, 1.0: 1.25}, **given)
    one = ds.squeeze()
    for name in ("systems", "output_tokens_per_s", "power_running", "power_taken", "output_tokens_per_day"):
        assert one[name].item() == pytest.approx(flat[name].item(), rel=1e-12)  # what stands is sized at full load
    for name in ("energy_per_day", "usd_per_mtok", "usd_per_mtok_input", "usd_per_mtok_energy", "water_l_per_token"):
        assert same[name].item() == pytest.approx(flat[name].item(), rel=1e-12)
    full, idle = one["rack_power_running"].item(), one["rack_power_idle"].item()
    network = 473.6 * one["systems"].item()
    assert flat["power_idle"].item() == pytest.approx(1.25 * (idle + network))
    joules = 0.0
    for share in load:
        racks = share * full + (1.0 - share) * idle
        joules += 3600.0 * (racks + network) * (1.75 - 0.5 * max(0.0, racks / full - 0.4) / 0.6)
    assert one["energy_per_day"].item() == pytest.approx(joules, rel=1e-12)
    assert 3600.0 * by_hour(ds)["power"].sum().item() == pytest.approx(joules, rel=1e-9)
    tokens = one["output_tokens_per_day"].item()
    assert one["usd_per_mtok_energy"].item() == pytest.approx(0.07 * joules / 3.6e6 / tokens * 1e6)
    paid = one["usd_per_mtok_input"].item() * one["input_tokens_per_day"].item()
    paid += one["usd_per_mtok_output"].item() * tokens
    assert paid / 1e6 == pytest.approx(one["usd_per_day"].item(), rel=1e-12)
    assert one["tokens_per_mwh"].item() * one["joules_per_token_at_boundary"].item() == pytest.approx(3.6e9)
    assert one["tokens_per_mwh"].item() < flat["tokens_per_mwh"].item()
    assert ds.attrs["pue_by_load"] == "0.4:1.75,1:1.25"
