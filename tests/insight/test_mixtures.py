"""Mixtures are real systems: whole at both ends, and each part from the side its lever says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl
from roofline.errors import InputError
from roofline.insight.attribution import attribute
from roofline.insight.mixtures import BY_NAME, GROUPS, LEVERS, Side, differing, mixed_system, mixture, players
from roofline.rack.energy import PowerFacts
from roofline.specs.load import list_specs
from roofline.specs.pack import pack_kit, pack_machine

SYSTEMS = list_specs("system")
ALL = frozenset(BY_NAME)
INTERCONNECT = frozenset(lever.name for lever in LEVERS if lever.group == "interconnect")
PAIRS = st.tuples(st.sampled_from(SYSTEMS), st.sampled_from(SYSTEMS))
MOVED = st.frozensets(st.sampled_from(sorted(ALL)))


def same_physics(a: rl.System, b: rl.System) -> None:
    """What kernels and roll-ups see of two systems is the same to the bit."""
    assert pack_machine(a, "kernel").tobytes() == pack_machine(b, "kernel").tobytes()
    for recipe in ("bf16", "fp8-block", "nvfp4-experts"):
        one, other = (pack_kit(rl.Recipe.load(recipe), x.accelerator, "kernel") for x in (a, b))
        assert (one.record is None) == (other.record is None)
        if one.record is not None and other.record is not None:
            assert one.record.tobytes() == other.record.tobytes()
            assert one.plans == other.plans
    assert str(PowerFacts.of(a)) == str(PowerFacts.of(b))
    assert a.max_systems == b.max_systems
    assert a.power_unknown.partition(" of ")[0] == b.power_unknown.partition(" of ")[0]


def mixed(old: rl.System, new: rl.System, moved: frozenset[str]) -> rl.System | str:
    """A mixture, or why there is none."""
    try:
        return mixed_system(old, new, moved)
    except InputError as error:
        return str(error)


@given(PAIRS)
def test_moving_nothing_is_the_old_side_and_moving_all_the_new_one(pair: tuple[str, str]) -> None:
    old, new = (rl.System.load(name) for name in pair)
    same_physics(mixed_system(old, new, frozenset()), old)
    same_physics(mixed_system(old, new, ALL), new)


@given(pair=PAIRS, moved=MOVED)
def test_each_part_comes_from_the_side_its_lever_says(pair: tuple[str, str], moved: frozenset[str]) -> None:
    old, new = (rl.System.load(name) for name in pair)
    found = mixed(old, new, moved)
    if isinstance(found, str):  # a part without scale-up beside a box that has a domain
        assert "name interconnect as one lever" in found
        assert not moved >= INTERCONNECT
        assert moved & INTERCONNECT
        return

    def of(lever: str) -> rl.System:
        return new if lever in moved else old

    part = found.accelerator
    assert isinstance(found, rl.System)
    assert part.memory.bytes_per_s == of("bandwidth").accelerator.memory.bytes_per_s
    assert part.memory.bytes == of("capacity").accelerator.memory.bytes
    assert part.power == of("watts").accelerator.power
    assert part.efficiency.operations == of("kernels").accelerator.efficiency.operations
    assert set(part.dense_flop_per_s) == set(of("formats").accelerator.dense_flop_per_s)
    assert found.scale_up.domain == of("domain").scale_up.domain
    assert found.accelerators == of("domain").accelerators
    assert found.scale_up_bytes_per_s == of("scale_up").scale_up_bytes_per_s
    assert found.scale_out == of("scale_out").scale_out
    assert found.facility == of("pue").facility
    hosts = of("hosts")
    if not math.isnan(hosts.power.host_w):
        mine, theirs = found.power.host_w / found.accelerators, hosts.power.host_w / hosts.accelerators
        assert math.isclose(mine, theirs, rel_tol=1e-12)


@given(PAIRS)
def test_flops_scale_all_rates_and_formats_keep_their_ratios(pair: tuple[str, str]) -> None:
    old, new = (rl.System.load(name) for name in pair)
    formats, flops = (
        mixed_system(old, new, frozenset({lever})).accelerator.dense_flop_per_s for lever in ("formats", "flops")
    )
    before, after = old.accelerator.dense_flop_per_s, new.accelerator.dense_flop_per_s
    assert len({round(formats[name] / after[name], 12) for name in after}) == 1
    assert len({round(flops[name] / before[name], 12) for name in before}) == 1
    scales = [formats[name] / after[name] * flops[other] / before[other] for name in after for other in before]
    np.testing.assert_allclose(scales, 1.0, rtol=1e-12)  # one goes up by as much as the other goes down


def test_provisioned_watts_are_split_into_tdp_and_the_rest() -> None:
    old, new = rl.System.load("dgx-h200"), rl.System.load("gb300-nvl72")
    watts = mixed_system(old, new, frozenset({"watts"}))
    hosts = mixed_system(old, new, frozenset({"hosts"}))
    vintage = "semianalysis-v1"
    assert watts.power.provisioned_w_per_accelerator[vintage] == 1730 - 700 + 1400
    assert hosts.power.provisioned_w_per_accelerator[vintage] == 2100 - 1400 + 700
    assert watts.power.max_w == pytest.approx(10200 - 8 * 700 + 8 * 1400)


def test_levers_that_cannot_be_told_apart_say_which_to_join() -> None:
    whole = rl.System.load("dgx-h100").replace(name="no NICs", scale_out=None, max_systems=1)
    halves = rl.System.load("dgx-h100").replace(name="two domains", scale_up__domain=4)
    with pytest.raises(InputError, match="name interconnect as one lever"):
        mixed_system(halves, whole, frozenset({"scale_out"}))
    same_physics(mixed_system(halves, whole, frozenset({"domain", "scale_up", "scale_out"})), whole)
    assert differing(Side(halves), Side(whole)) == ["domain", "scale_out"]
    int8 = rl.System.load("dgx-h100").replace(name="int8", accelerator__dense_flop_per_s={"int8": 1e15})
    with pytest.raises(InputError, match="no arithmetic in common"):
        mixed_system(
            rl.System.load("dgx-h100").replace(name="bf16", accelerator__dense_flop_per_s={"bf16": 1e15}),
            int8,
            frozenset({"flops"}),
        )


@given(st.sampled_from(SYSTEMS))
def test_a_system_differs_in_nothing_from_itself(name: str) -> None:
    assert differing(Side(rl.System.load(name)), Side(rl.System.load(name))) == []


def test_what_runs_on_it_is_moved_with_its_levers() -> None:
    old = Side(rl.System.load("dgx-h100"), modes=("aggregated",), load=0.5, usd_per_hour=1.3)
    new = Side(rl.System.load("dgx-h100"), acceptance=(0.8,), cached_share=0.4, stack="vllm", usd_per_hour=2.0)
    assert differing(old, new) == ["disaggregation", "drafts", "prefix", "duty", "stack", "price"]
    assert mixture(old, new, ALL).replace(system=new.system) == new
    one = mixture(old, new, frozenset({"drafts", "price"}))
    assert (one.acceptance, one.usd_per_hour, one.modes, one.load) == ((0.8,), 2.0, ("aggregated",), 0.5)


@given(PAIRS, st.sampled_from([None, "all", ["silicon", "interconnect"], ["flops", "facility"]]))
def test_players_hold_each_lever_that_differs_once(pair: tuple[str, str], levers: Any) -> None:
    differ = differing(*(Side(rl.System.load(name)) for name in pair))
    found = players(differ, levers)
    assert sorted(lever for held in found.values() for lever in held) == sorted(differ)
    assert all(found.values())


def merit(side: Side) -> float:
    """A quick stand-in for a search: a roof over watts, with all that levers move in it."""
    part, system = side.system.accelerator, side.system
    roof = 1.0 / (1e15 / max(part.dense_flop_per_s.values()) + 4e12 / part.memory.bytes_per_s)
    link = 1.0 / (1.0 + 8.0 / system.scale_up.domain + 450e9 / max(system.scale_up_bytes_per_s, 1e9))
    watts = part.power.tdp_w + system.power.host_w / system.accelerators
    kept = 1.0 + sum(side.acceptance or ())
    return float(roof * link * kept * math.log(part.memory.bytes) / (watts * system.facility.pue))


KNOWN = [name for name in SYSTEMS if not rl.System.load(name).power_unknown]


@given(
    st.tuples(st.sampled_from(KNOWN), st.sampled_from(KNOWN)),
    st.lists(st.floats(0.1, 0.9), max_size=2),
    st.sampled_from([None, ["silicon", "interconnect", "orchestration", "facility"]]),
)
def test_axioms_hold_on_real_mixtures(pair: tuple[str, str], acceptance: list[float], levers: Any) -> None:
    old, new = Side(rl.System.load(pair[0])), Side(rl.System.load(pair[1]), acceptance=tuple(acceptance))
    moved = players(differing(old, new), levers)
    whole = {**moved, "null": ("price",)}  # a lever in which they do not differ

    def values(sets: Any) -> Any:
        return np.array([merit(mixture(old, new, frozenset(x for p in one for x in whole[p]))) for one in sets])

    found = attribute(values, list(whole))
    factors = dict(zip(whole, found.factors, strict=True))
    assert math.isclose(found.ratio, merit(new) / merit(old), rel_tol=1e-9)
    assert math.isclose(math.prod(factors.values()), merit(new) / merit(old), rel_tol=1e-9)
    assert factors["null"] == 1.0
    if "orchestration" in moved:  # nothing else changes what drafts keep
        assert math.isclose(factors["orchestration"], 1.0 + sum(acceptance), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Side("dgx-h100", modes=("sideways",)), "no mode named 'sideways'"),
        (lambda: Side("dgx-h100", modes=()), "modes: none given"),
        (lambda: Side("dgx-h100", usd_per_hour=-1.0), "usd_per_hour = -1.0"),
        (lambda: Side("dgx-h100", usd_per_hour=0.0), "above 0"),
        (lambda: Side("dgx-h100", cached_share=float("nan")), "cached_share"),
        (lambda: Side("no-such"), "no-such"),
        (lambda: Side.of({"system": "dgx-h100", "mode": "static"}), "no field of a side named 'mode'"),
        (lambda: Side.of("dgx-h100", colour="red"), "no field of a side named 'colour'"),
        (lambda: mixture(Side("dgx-h100"), Side("dgx-h200"), frozenset({"flop"})), "no lever named 'flop'"),
        (lambda: players(["flops"], ["flops", "silicon"]), "name one of them"),
        (lambda: players(["flops"], "magic"), "no lever or group of levers named 'magic'"),
    ],
)
def test_bad_input_says_what_is_wrong(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_every_lever_belongs_to_a_group() -> None:
    assert GROUPS == ("silicon", "interconnect", "orchestration", "facility", "price")
    assert len({lever.name for lever in LEVERS}) == len(LEVERS)
    assert not {lever.name for lever in LEVERS} & (set(GROUPS) - {"price"})
