"""Watts around a placed replica: what is conserved, what is charged, what supplies lose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.errors import InputError
from roofline.rack.energy import JOULES_PER_MWH, Basis, Boundary, Placed, PowerFacts, joules_per_token
from roofline.specs import list_specs

BOX = PowerFacts(
    accelerators=8,
    tdp_w=700.0,
    idle_w=70.0,
    host_w=1000.0,
    max_w=8000.0,
    psu_rated_w=10_000.0,
    psu_load=(0.1, 0.5, 1.0),
    psu_efficiency=(0.9, 0.96, 0.94),
    pue=1.25,
    provisioned_w={"v1": 1500.0},
)

positive = st.floats(1.0, 1e5)


@st.composite
def facts(draw: st.DrawFn, tight: bool = False) -> PowerFacts:
    """Any system that a sheet can describe.   tight : it may draw less than its accelerators could."""
    tdp = draw(positive)
    loads = draw(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5, unique=True).map(sorted))
    accelerators, pue = draw(st.integers(1, 144)), draw(st.floats(1.0, 2.0))
    efficiency = tuple(draw(st.floats(0.3, 1.0)) for _ in loads)
    idle, host = tdp * draw(st.floats(0.0, 0.5)), draw(st.floats(0.0, 1e4))
    lowest, highest = (accelerators * watts + host for watts in (idle, tdp))
    share = draw(st.floats(0.0, 1.0))
    room = (lowest + share * (highest - lowest)) if tight else highest * (1.0 + share)
    return PowerFacts(
        accelerators=accelerators,
        tdp_w=tdp,
        idle_w=idle,
        host_w=host,
        max_w=room / min(efficiency),
        psu_rated_w=draw(st.floats(10.0, 1e6)),
        psu_load=tuple(loads),
        psu_efficiency=efficiency,
        pue=pue,
        provisioned_w={"v1": tdp * 3.0},
        fixed_overhead=draw(st.sampled_from([0.0, 0.5, 1.0])) * (pue - 1.0),
        network_w=draw(st.sampled_from([0.0, 500.0])),
    )


few_or_many = st.one_of(st.integers(1, 4), st.integers(1, 300))
groups = st.lists(st.integers(1, 300), min_size=1, max_size=4).map(np.array)


def draws(fact: PowerFacts, shares: list[float]) -> np.ndarray:
    """Draws between idle and TDP."""
    return fact.idle_w + np.array(shares) * (fact.tdp_w - fact.idle_w)


@given(facts(), st.integers(1, 300), st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3))
def test_each_boundary_holds_the_one_before(fact: PowerFacts, group: int, shares: list[float]) -> None:
    """facility >= rack >= accelerator, metered and at the nameplate, busy and idle; idle never above busy."""
    draw, size = draws(fact, shares), np.array(group)
    for basis in ("metered", "provisioned"):
        inner, rack, facility = (fact.placed(draw, size, b, basis) for b in ("accelerator", "rack", "facility"))  # type: ignore[arg-type]
        slack = 1 - 1e-12
        for smaller, larger in ((inner, rack), (rack, facility)):
            assert (larger.busy_w >= smaller.busy_w * slack).all()
            assert (larger.idle_w >= smaller.idle_w * slack).all()
        systems, _ = fact.placement(size)
        served_w = rack.busy_w + systems * fact.network_w
        fixed_w = systems * fact.fixed_overhead * fact.max_w
        np.testing.assert_allclose(facility.busy_w, served_w * (fact.pue - fact.fixed_overhead) + fixed_w, rtol=1e-13)
        assert (inner.used == rack.used).all()
        assert (inner.used == facility.used).all()
        assert (inner.busy_w >= inner.idle_w * slack).all()


def test_a_building_with_a_fixed_overhead_is_worse_at_low_load() -> None:
    """At the rating its PUE is that of the sheet, at half of it the fixed part counts twice; constant without one."""
    hall = replace(BOX, fixed_overhead=0.1)
    for load, pue in ((1.0, 1.25), (0.5, 1.35), (0.25, 1.55)):
        rack = np.array(load * 3 * 8000.0)
        assert float(hall.at_meter(rack, 3)) / rack == pytest.approx(pue, rel=1e-12)
        assert float(BOX.at_meter(rack, 3)) / rack == pytest.approx(1.25, rel=1e-12)
    unrated = replace(hall, max_w=np.nan)
    assert np.isnan(unrated.at_meter(np.array(1e3), 1))
    assert float(replace(BOX, max_w=np.nan).at_meter(np.array(1e3), 1)) == 1250.0


@pytest.mark.reaches("all work", "some work", "none works")
@settings(max_examples=4 * settings.default.max_examples)
@given(facts(tight=True), few_or_many, st.floats(0.0, 1.0))
def test_no_system_draws_more_than_it_may(
    reach: Callable[[str], None], fact: PowerFacts, group: int, share: float
) -> None:
    """As many replicas work as fit under max_w, one more would not; what is drawn or set aside is never more."""
    draw, size = draws(fact, [share])[0], np.array(group)
    systems, room = (int(count) for count in fact.placement(size))
    working = int(fact.at_work(np.array(draw), size))

    def rack_w(replicas: int) -> float:
        return float(fact.wall_watts("rack", np.array(draw), np.array(replicas * group), np.array(systems)))

    most_w = systems * fact.max_w
    assert 0 <= working <= room
    assert working == room or rack_w(working + 1) > most_w
    reach("all work" if working == room else "some work" if working else "none works")
    said = fact.rack_limited("box", float(draw), group)
    assert (said == "") == (working == room)
    places: list[tuple[Boundary, Basis]] = [(b, s) for b in ("accelerator", "rack") for s in ("metered", "provisioned")]  # type: ignore[misc]
    for boundary, basis in places:
        placed = fact.placed(np.array([draw]), np.array([group]), boundary, basis)
        if not working:
            assert np.isnan([placed.busy_w, placed.idle_w]).all()
            continue
        assert placed.used[0] == working * group
        assert placed.busy_w[0] <= most_w * (1 + 1e-12)


@given(facts(tight=True), st.integers(1, 300), st.floats(0.0, 1.0))
def test_boundaries_nest_under_a_tight_rack_too(fact: PowerFacts, group: int, share: float) -> None:
    draw, size = draws(fact, [share]), np.array([group])
    for basis in ("metered", "provisioned"):
        inner, rack, facility = (fact.placed(draw, size, b, basis).busy_w for b in ("accelerator", "rack", "facility"))  # type: ignore[arg-type]
        assert np.isnan(rack).all() or (rack >= inner * (1 - 1e-12)).all()
        assert np.isnan(facility).all() or (facility >= rack * (1 - 1e-12)).all()


@given(facts(), groups)
def test_placement_wastes_less_than_one_replica_or_one_system(fact: PowerFacts, group: np.ndarray) -> None:
    systems, replicas = fact.placement(group)
    used, held = replicas * group, systems * fact.accelerators
    assert (used <= held).all()
    assert (used >= group).all()
    spare = held - used
    assert (np.where(group <= fact.accelerators, spare < group, spare < fact.accelerators)).all()
    assert (np.where(group <= fact.accelerators, systems == 1, replicas == 1)).all()


@given(facts(), groups, st.floats(0.0, 1.0))
def test_a_group_draws_the_sum_of_its_accelerators(fact: PowerFacts, group: np.ndarray, share: float) -> None:
    draw = draws(fact, [share] * group.size)
    placed = fact.placed(draw, group, "accelerator")
    expected = [sum([w] * int(n)) for w, n in zip(draw, placed.used, strict=True)]
    np.testing.assert_allclose(placed.busy_w, expected, rtol=1e-12)


@given(facts(), groups, st.floats(0.0, 1.0), st.integers(1, 1000))
def test_supplies_and_hosts_account_for_all_of_the_rack(
    fact: PowerFacts, group: np.ndarray, share: float, scale: int
) -> None:
    """Wall watts times the efficiency at that load are the DC watts: used, idle, host."""
    draw = draws(fact, [share] * group.size)
    systems, replicas = fact.placement(group)
    rack = fact.placed(draw, group, "rack").busy_w
    used = replicas * group
    direct = used * draw + (systems * fact.accelerators - used) * fact.idle_w + systems * fact.host_w
    efficiency = np.interp(direct / systems / fact.psu_rated_w, fact.psu_load, fact.psu_efficiency)
    np.testing.assert_allclose(rack * efficiency, direct, rtol=1e-12)
    lossless = replace(fact, psu_efficiency=(1.0,) * len(fact.psu_load))
    assert (lossless.placed(draw, group, "rack").busy_w <= rack * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("group", "systems", "replicas"),
    [(1, 1, 8), (2, 1, 4), (3, 1, 2), (5, 1, 1), (8, 1, 1), (9, 2, 1), (16, 2, 1), (17, 3, 1), (64, 8, 1)],
)
def test_placement_below_at_and_above_a_system(group: int, systems: int, replicas: int) -> None:
    placed = BOX.placement(np.array(group))
    assert (int(placed[0]), int(placed[1])) == (systems, replicas)


@pytest.mark.parametrize(("group", "used", "idle", "systems"), [(3, 6, 2, 1), (8, 8, 0, 1), (9, 9, 7, 2), (5, 5, 3, 1)])
def test_idle_accelerators_of_a_system_are_charged(group: int, used: int, idle: int, systems: int) -> None:
    placed = BOX.placed(np.array(500.0), np.array(group), "rack")
    direct = (used * 500.0 + idle * 70.0) / systems + 1000.0
    efficiency = float(np.interp(direct / 10_000.0, BOX.psu_load, BOX.psu_efficiency))
    assert int(placed.used) == used
    assert float(placed.busy_w) == pytest.approx(systems * direct / efficiency, rel=1e-14)
    quiet = systems * (8 * 70.0 + 1000.0)
    assert float(placed.idle_w) == pytest.approx(
        quiet / float(np.interp(quiet / systems / 10_000.0, BOX.psu_load, BOX.psu_efficiency)), rel=1e-14
    )


@pytest.mark.parametrize(
    ("direct", "efficiency"),
    [
        (5000.0, 0.96),  # at a point
        (1000.0, 0.90),
        (10_000.0, 0.94),
        (3000.0, 0.93),  # half way from 0.1 to 0.5
        (7500.0, 0.95),  # half way from 0.5 to 1
        (500.0, 0.90),  # below the first point: flat
        (20_000.0, 0.94),  # beyond the last: flat
    ],
)
def test_supply_efficiency_between_and_beyond_its_points(direct: float, efficiency: float) -> None:
    one = replace(BOX, accelerators=1, idle_w=0.0, host_w=0.0)
    placed = one.placed(np.array(direct), np.array(1), "rack")
    assert float(placed.busy_w) == pytest.approx(direct / efficiency, rel=1e-14)


def test_duty_by_hand() -> None:
    """Half of the time at 500 W and half at 100 W, 10 tokens/s on each of 4 while busy."""
    placed = Placed(np.array(4), np.array(500.0), np.array(100.0))
    rate = np.array(10.0)
    assert float(joules_per_token(placed, rate, 1.0)) == 500 / 40
    assert float(joules_per_token(placed, rate, 0.5)) == 300 / 20
    assert float(joules_per_token(placed, rate, 0.25)) == 200 / 10


@given(facts(), st.integers(1, 200), st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.floats(1e-3, 1e6))
def test_idling_never_saves_energy_per_token(fact: PowerFacts, group: int, u: float, v: float, rate: float) -> None:
    for boundary in ("accelerator", "rack", "facility"):
        placed = fact.placed(np.array(fact.tdp_w), np.array(group), boundary)  # type: ignore[arg-type]
        low, high = (joules_per_token(placed, np.array(rate), duty) for duty in (min(u, v), max(u, v)))
        assert low >= high * (1 - 1e-12)
        tokens = u * float(placed.used) * rate * 3600  # in an hour
        watt_hours = u * float(placed.busy_w) + (1 - u) * float(placed.idle_w)
        per_mwh = JOULES_PER_MWH / float(joules_per_token(placed, np.array(rate), u))
        assert per_mwh == pytest.approx(tokens / (watt_hours / 1e6), rel=1e-12)


def test_nameplates_are_reserved_busy_or_idle() -> None:
    def watts(boundary: Any, vintage: str | None = None, group: int = 3) -> float:
        placed = BOX.placed(np.array(123.0), np.array(group), boundary, "provisioned", vintage)
        assert float(placed.busy_w) == float(placed.idle_w)
        return float(placed.busy_w)

    assert watts("accelerator") == 6 * 700.0
    assert watts("rack") == 8000.0
    assert watts("facility") == 8000.0 * 1.25
    assert watts("rack", group=9) == 2 * 8000.0
    assert watts("facility", "v1") == 8 * 1500.0
    assert watts("facility", "v1", group=9) == 16 * 1500.0
    for boundary in ("accelerator", "rack"):
        with pytest.raises(InputError, match=f"vintage 'v1' is an all-in figure .* not of the {boundary}"):
            watts(boundary, "v1")
    with pytest.raises(InputError, match="vintage 'v9': none of this system; these systems have v1"):
        watts("facility", "v9")


def test_what_cannot_run_stays_nan() -> None:
    for basis in ("metered", "provisioned"):
        for boundary in ("accelerator", "rack", "facility"):
            placed = BOX.placed(np.array([np.nan, 100.0]), np.array([8, 8]), boundary, basis)  # type: ignore[arg-type]
            assert np.isnan(placed.busy_w).tolist() == [True, False]


@pytest.mark.parametrize("name", [name for name in list_specs("system") if not rl.System.load(name).power_unknown])
def test_shipped_systems_are_rated_for_what_they_hold(name: str) -> None:
    """At TDP everywhere the wall draw stays within the rating, so that metered is within provisioned."""
    fact = PowerFacts.of(rl.System.load(name))
    full, size = np.array(fact.tdp_w), np.array(fact.accelerators)
    metered = fact.placed(full, size, "rack").busy_w
    assert fact.accelerators * fact.tdp_w + fact.host_w < metered <= fact.max_w
    assert 0 < fact.idle_w < fact.tdp_w
    assert fact.pue >= 1
