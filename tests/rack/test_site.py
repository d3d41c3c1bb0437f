"""Sites of made-up systems: against every count tried one by one, and what every site keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl
from roofline.rack.energy import PowerFacts
from roofline.rack.site import Filled, Part, SiteLimit, fill, watts_of
from tests.oracle.plans_power import watts_at

PSU = {"psu_load": (0.05, 0.2, 0.5, 1.0), "psu_efficiency": (0.88, 0.94, 0.96, 0.95)}


@st.composite
def facts(draw: st.DrawFn) -> PowerFacts:
    """A system whose accelerators may all draw their TDP, unless its `max_w` is lowered."""
    accelerators = draw(st.sampled_from([1, 4, 8, 72]))
    tdp_w, host_w = draw(st.floats(100.0, 2000.0)), draw(st.floats(10.0, 5000.0))
    full = accelerators * tdp_w + host_w
    return PowerFacts(
        accelerators=accelerators,
        tdp_w=tdp_w,
        idle_w=draw(st.floats(0.02, 0.5)) * tdp_w,
        host_w=host_w,
        max_w=full / 0.85,
        psu_rated_w=full * draw(st.floats(1.0, 2.0)),
        pue=draw(st.floats(1.2, 2.0)),
        provisioned_w={"v": full / accelerators * 1.5},
        fixed_overhead=draw(st.sampled_from([0.0, 0.2])),
        network_w=draw(st.sampled_from([0.0, 400.0])),
        **PSU,
    )


@st.composite
def parts(draw: st.DrawFn, most: int = 3) -> list[Part]:
    """One to three pools of a unit, each on a system."""
    found = []
    for role in ("prefill", "decode", "ffn")[: draw(st.integers(1, most))]:
        system = draw(facts())
        group = draw(st.integers(1, 2 * system.accelerators))
        watts = draw(st.floats(system.idle_w, system.tdp_w))
        prompts = 1.0 if role == "prefill" else draw(st.floats(0.0, 1.0))
        found.append(Part(role, f"sys-{role}", "acc", system, group, draw(st.integers(1, 30)), watts, prompts))
    return found


def plain(part: Part, boundary: str, replicas: int) -> float:
    """Watts of systems placed together with `replicas` at work, by the oracle of section 11."""
    known = dict(vars(part.facts))
    systems = max(1, math.ceil(part.group / part.facts.accelerators))
    used = replicas * part.group
    n = systems * part.facts.accelerators
    mean = (used * part.draw_w + (n - used) * part.facts.idle_w) / n  # as one replica of all that stands there
    return watts_at(boundary, known, n, mean)


def room(part: Part) -> int:
    n = part.facts.accelerators
    return n // part.group if part.group <= n else 1


@given(parts(), st.floats(1e3, 1e7))
def test_no_other_counts_serve_more(listed: list[Part], power_w: float) -> None:
    """Every number of groups of the first pool is tried, with the most of the others that then fit."""
    found = fill(listed, power_w)
    each = [plain(part, "facility", room(part)) for part in listed]
    per_group = [room(part) / part.replicas for part in listed]
    if sum(each) > power_w:
        assert found.limit is SiteLimit.SITE_POWER
        assert found.placed == ()
        return
    assert found.limit is SiteLimit.NONE
    counts = [one.groups for one in found.placed]
    taken = math.fsum(count * watts for count, watts in zip(counts, each, strict=True))
    assert found.taken_w == pytest.approx(taken, rel=1e-9)
    assert taken <= power_w * (1 + 1e-9)
    best = 0.0
    for first in range(1, min(int(power_w / each[0]), 400) + 1):
        units = first * per_group[0]
        for guess in {units, *(k * held for held in per_group[1:] for k in range(1, 60) if k * held <= units)}:
            needed = [max(1, math.ceil(guess / held - 1e-9)) for held in per_group]
            if math.fsum(k * watts for k, watts in zip(needed, each, strict=True)) <= power_w * (1 - 1e-12):
                best = max(best, guess)
    assert found.units >= best * (1 - 1e-9)
    assert found.units == pytest.approx(min(k * held for k, held in zip(counts, per_group, strict=True)), rel=1e-12)


@given(parts(), st.floats(1e3, 1e7), st.floats(0.0, 1.0))
def test_a_site_is_its_racks_and_what_idles(listed: list[Part], power_w: float, load: float) -> None:
    found = fill(listed, power_w)
    for boundary in ("accelerator", "rack", "facility"):
        total = 0.0
        for one in found.placed:
            works = load * one.busy
            each = works * plain(one.part, boundary, one.per_group) + (1 - works) * plain(one.part, boundary, 0)
            if boundary == "accelerator":  # only what is in replicas
                used = one.per_group * one.part.group
                each = used * (works * one.part.draw_w + (1 - works) * one.part.facts.idle_w)
            total += one.groups * each
        assert found.at(load, boundary) == pytest.approx(total, rel=1e-9)  # type: ignore[arg-type]
    if found.placed:
        assert found.at(load, "facility") >= found.at(load, "rack") * (1 - 1e-12)
        assert found.at(load, "rack") >= found.at(load, "accelerator")
        assert found.at(0.0, "facility") <= found.at(load, "facility") * (1 + 1e-12)
        assert found.at(1.0, "facility") <= found.taken_w * (1 + 1e-12) <= power_w * (1 + 1e-9)
        assert max(one.busy for one in found.placed) == pytest.approx(1.0, rel=1e-12)
        for one in found.placed:
            assert one.accelerators == one.systems * one.part.facts.accelerators
            assert one.idle_accelerators + one.replicas * one.part.group == one.accelerators
            assert one.busy * one.replicas == pytest.approx(found.units * one.part.replicas, rel=1e-9)


@given(parts(), st.floats(1e3, 1e7), st.floats(1.0, 3.0))
def test_more_power_never_serves_less(listed: list[Part], power_w: float, times: float) -> None:
    assert fill(listed, times * power_w).units >= fill(listed, power_w).units * (1 - 1e-12)


@given(parts(most=1), st.floats(0.0, 1.0))
def test_the_power_of_a_rack_is_kept(listed: list[Part], share: float) -> None:
    """With room between idle and full, as many replicas run as the rack takes, and one more would be too many."""
    (part,) = listed
    idle, full = plain(part, "rack", 0), plain(part, "rack", room(part))
    systems = part.systems
    lowered = replace(part, facts=replace(part.facts, max_w=(idle + share * (full - idle)) / systems * (1 + 1e-9)))
    found = fill([lowered], 1e9)
    kept = [n for n in range(1, room(part) + 1) if plain(part, "rack", n) <= lowered.facts.max_w * systems]
    if not kept:
        assert found.limit is SiteLimit.RACK_POWER
        assert "one replica takes sys-prefill to" in found.reason
        return
    (one,) = found.placed
    assert one.per_group == max(kept)
    assert bool(found.rack_limited) == (one.per_group < room(part))
    assert f"{one.per_group} of {room(part)} replicas" in found.rack_limited or not found.rack_limited
    each = found.at(1.0, "rack") / one.systems
    assert each <= lowered.facts.max_w * (1 + 1e-12)


def one_part() -> Part:
    system = PowerFacts(8, 700.0, 75.0, 1352.0, 10200.0, 19800.0, **PSU, pue=1.3, provisioned_w={"v": 1730.0})
    return Part("serving", "box", "acc", system, 8, 1, 600.0, 0.3)


def test_a_box_by_hand() -> None:
    """8 * 600 + 1352 = 6152 W over 0.94 + 0.02*(6152/19800 - 0.2)/0.3 is 6493.7 W, at the facility 8441.8 W."""
    part = one_part()
    rack = 6152.0 / (0.94 + 0.02 * (6152.0 / 19800.0 - 0.2) / 0.3)
    found = fill([part], 1e6)
    assert found.placed[0].systems == 118  # 1e6/8441.8 = 118.46
    assert found.units == 118
    assert rack == pytest.approx(6493.7, abs=0.05)
    assert found.at(1.0, "facility") == pytest.approx(118 * 1.3 * rack, rel=1e-12)
    plate = fill([part], 1e6, "provisioned")
    assert plate.units == 75  # 1e6/(10200*1.3) = 75.4
    assert plate.taken_w == pytest.approx(75 * 13260.0)
    vintage = fill([part], 1e6, "provisioned", "v")
    assert vintage.units == 72  # 1e6/(8*1730) = 72.3
    assert vintage.at(1.0, "facility") == pytest.approx(72 * 1.3 * rack, rel=1e-12)


def test_reasons() -> None:
    part = one_part()
    small = fill([part], 5e3)
    assert small == Filled(limit=SiteLimit.SITE_POWER, reason=small.reason)
    assert small.reason == "the least is 1 box (serving): 8.4 kW at the facility, of 5.0 kW"
    hidden = replace(part, draw_w=math.nan, facts=replace(part.facts, tdp_w=math.nan, idle_w=math.nan))
    assert fill([hidden], 1e6).limit is SiteLimit.UNDISCLOSED
    known = fill([hidden], 1e6, "provisioned", "v")
    assert known.units == 72
    assert math.isnan(known.at(1.0, "facility"))
    with pytest.raises(rl.InputError, match=r"box: power.max_w = 1000 W is below the \d+ W that it draws idle"):
        fill([replace(part, facts=replace(part.facts, max_w=1000.0))], 1e6)
    with pytest.raises(rl.InputError, match="vintage 'w': none of this system"):
        fill([part], 1e6, "provisioned", "w")


@pytest.mark.parametrize(
    ("power", "watts"),
    [("1MW", 1e6), ("100 MW", 1e8), ("250kw", 2.5e5), ("1.2e-3 GW", 1.2e6), (5e5, 5e5), ("750 W", 750)],
)
def test_powers(power: float | str, watts: float) -> None:
    assert watts_of(power) == pytest.approx(watts)


@pytest.mark.parametrize(
    "power", ["0MW", "1", "MW", "-1MW", "1 megawatt", "", "1e400MW", 0, -5.0, math.nan, None, True]
)
def test_what_is_no_power(power: object) -> None:
    with pytest.raises(rl.InputError, match="power"):
        watts_of(power)
