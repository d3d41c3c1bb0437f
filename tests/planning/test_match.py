"""Two pools matched: against brute force over all pairs and all whole numbers of replicas."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.planning.match import MOST_REPLICAS, Half, Pair, Pools, Terms, half_draw, match
from roofline.rack.energy import PowerFacts
from tests.oracle.plans_power import min_gpus_cost, rate_match, watts_at

Plain = dict[str, Any]
Reach = Callable[[str], None]
Try = tuple[float, int, int, int, int]  # cost, pools, replicas

TIGHT = 1e-12
IDLE_SHARE = 0.05
"""Least of idle over full draw: with less, and supplies at their best at half load, half a load is the cheaper one."""


def facts_of(plain: Plain) -> PowerFacts:
    """What a roll-up knows of a system, from what the oracle takes."""
    return PowerFacts(
        plain["accelerators"], math.nan, plain["idle_w"], plain["host_w"], math.nan, plain["psu_rated_w"],
        tuple(plain["psu_load"]), tuple(plain["psu_efficiency"]), plain["pue"],
    )  # fmt: skip


def size_of(pools: Plain, i: int) -> int:
    return sum(half["group"][i] for half in pools["halves"])


def energy(pools: Plain, i: int, share: float, terms: Terms) -> float:
    """v*W_busy + (1 - v)*W_idle of one replica that works for a share of the time [W], section 11."""
    total = 0.0
    for half in pools["halves"]:
        facts, group, idle = half["facts"], half["group"][i], half["facts"]["idle_w"]
        drawn = share * half["watts"][i] + (1.0 - share) * idle
        busy, quiet = (watts_at(terms.boundary, facts, group, watts) for watts in (drawn, idle))
        total += terms.duty * busy + (1.0 - terms.duty) * quiet
    return total


def alone(pools: Plain, i: int, terms: Terms) -> float:
    """What one pool costs by itself, at its full rate: (25), or its share of the accelerators for a load."""
    group, rate = size_of(pools, i), pools["rate"][i]
    if terms.load:
        return min_gpus_cost({"rate": rate}, group, terms.load)
    tokens = rate * terms.osl
    watts = energy(pools, i, 1.0, terms) if terms.beta else 0.0
    return terms.alpha * group / tokens + terms.beta * watts / (terms.duty * tokens)


def packed(pools: Plain, terms: Terms) -> Pools:
    count = len(pools["rate"])
    halves = tuple(
        Half(
            facts_of(half["facts"]), np.array(half["group"], dtype=np.int64), np.array(half["watts"]),
            half["facts"]["idle_w"],
        )
        for half in pools["halves"]
    )  # fmt: skip
    return Pools(
        cost=np.array([alone(pools, i, terms) for i in range(count)]),
        rate=np.array(pools["rate"]),
        first_s=np.array(pools["first_s"]),
        kept=np.arange(count),
        halves=halves,
    )


def together(prefill: Plain, p: int, decode: Plain, d: int, x: int, y: int, terms: Terms) -> tuple[float, float]:
    """(cost of an output token, requests/s) of x replicas of pool p and y of pool d; inf where a limit forbids them."""
    rate = min(x * prefill["rate"][p], y * decode["rate"][d])
    size = x * size_of(prefill, p) + y * size_of(decode, d)
    late = prefill["first_s"][p] + terms.tokens_after * decode["first_s"][d] > terms.latency_s
    if late or (terms.most_accelerators is not None and size > terms.most_accelerators):
        return math.inf, rate
    if terms.load:
        return size * (1 + 1e-6 * terms.load / rate), rate  # one unit does the load, however rounded
    cost = terms.alpha * size / (rate * terms.osl)
    if terms.beta:
        for pools, at, count in ((prefill, p, x), (decode, d, y)):
            watts = energy(pools, at, rate / (count * pools["rate"][at]), terms)
            cost += terms.beta * count * watts / (terms.duty * rate * terms.osl)
    return cost, rate


def every_try(prefill: Plain, decode: Plain, terms: Terms) -> list[Try]:
    """All pairs and all replicas, 1 to 32 of each; for a load as many as it takes of each."""
    found = []
    for p, d in np.ndindex(len(prefill["rate"]), len(decode["rate"])):
        if terms.load:
            counts = [[math.ceil(terms.load / pools["rate"][at])] for pools, at in ((prefill, p), (decode, d))]
        else:
            counts = [list(range(1, MOST_REPLICAS + 1))] * 2
        for x in counts[0]:
            for y in counts[1]:
                found.append((together(prefill, p, decode, d, x, y, terms)[0], p, d, x, y))
    return found


@st.composite
def surroundings(draw: st.DrawFn) -> Plain:
    """What stands around accelerators that draw up to 1 kW, with supplies like those that are sold."""
    accelerators = draw(st.sampled_from([1, 4, 8, 72]))
    return {
        "accelerators": accelerators,
        "idle_w": draw(st.floats(1000.0 * IDLE_SHARE, 200.0)),
        "host_w": draw(st.floats(0.0, 400.0)) * accelerators,
        "psu_rated_w": 1500.0 * accelerators,
        "psu_load": [0.1, 0.5, 1.0],
        "psu_efficiency": [draw(st.floats(0.8, 0.9)), 0.96, draw(st.floats(0.94, 0.96))],
        "pue": draw(st.sampled_from([1.0, 1.1, 1.4])),
    }


@st.composite
def pools(draw: st.DrawFn, size: int = 3) -> Plain:
    count = draw(st.integers(1, size))

    def each(of: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(of, min_size=count, max_size=count))

    def half() -> Plain:
        groups, watts = st.sampled_from([1, 2, 4, 8, 16, 72]), st.floats(200.0, 1000.0)
        return {"facts": draw(surroundings()), "watts": each(watts), "group": each(groups)}

    return {
        "rate": each(st.floats(0.1, 30.0)),
        "first_s": each(st.floats(0.01, 3.0)),
        "halves": [half() for _ in range(draw(st.sampled_from([1, 1, 2])))],
    }


@st.composite
def judged(draw: st.DrawFn) -> Terms:
    price = draw(st.sampled_from([(1.0, 0.0), (0.0, 1.0), (1.0, 1e-3)]))
    limited = draw(st.booleans())
    return Terms(
        *price,
        osl=draw(st.floats(2.0, 3000.0)),
        duty=draw(st.sampled_from([1.0, 0.6, 0.1])),
        boundary=draw(st.sampled_from(["accelerator", "rack", "facility"])),
        basis="metered",
        vintage=None,
        load=draw(st.sampled_from([0.0, 0.0, 0.0, 0.7, 35.0, 4000.0])),
        latency_s=draw(st.floats(0.5, 40.0)) if limited else math.inf,
        tokens_after=draw(st.floats(0.0, 50.0)),
        most_accelerators=draw(st.sampled_from([None, None, 4, 24, 200])),
    )


def check(prefill: Plain, decode: Plain, terms: Terms) -> Pair | None:
    """The pair found costs what it should, and nothing costs less."""
    found = match(packed(prefill, terms), packed(decode, terms), terms)
    best = min(every_try(prefill, decode, terms))
    if found is None:
        assert best[0] == math.inf
        return None
    at = found.prefill, decode, found.decode, found.prefill_replicas, found.decode_replicas
    cost, rate = together(prefill, *at, terms)
    assert found.rate == pytest.approx(rate, rel=TIGHT)
    assert found.cost == pytest.approx(cost, rel=TIGHT)
    assert cost <= best[0] * (1 + TIGHT)
    return found


@pytest.mark.reaches("none", "a pair", "several replicas", "load", "energy", "idling", "two systems")
@given(pools(), pools(), judged())
def test_it_is_the_least_of_all_pairs_and_replicas(reach: Reach, prefill: Plain, decode: Plain, terms: Terms) -> None:
    found = check(prefill, decode, terms)
    reach("none" if found is None else "a pair")
    if found is None:
        return
    if max(found.prefill_replicas, found.decode_replicas) > 1:
        reach("several replicas")
    if len(decode["halves"]) > 1:
        reach("two systems")
    if terms.load:
        reach("load")
        assert found.rate >= terms.load * (1 - TIGHT)
    elif terms.beta:
        reach("energy")
        if found.rate < found.decode_replicas * decode["rate"][found.decode] * (1 - 1e-6):
            reach("idling")


@given(pools(size=1), pools(size=1))
def test_one_pair_has_the_replicas_of_exact_arithmetic(prefill: Plain, decode: Plain) -> None:
    """In accelerator-seconds, to the tie that rounding makes."""
    terms = Terms(1.0, 0.0, 1.0, 1.0, "accelerator", "metered", None)
    found = match(packed(prefill, terms), packed(decode, terms), terms)
    assert found is not None
    rates, groups = (prefill["rate"][0], decode["rate"][0]), (size_of(prefill, 0), size_of(decode, 0))
    exact = rate_match(rates[0], groups[0], rates[1], groups[1], MOST_REPLICAS)

    def seconds(x: int, y: int) -> Fraction:
        return (x * groups[0] + y * groups[1]) / min(x * Fraction(rates[0]), y * Fraction(rates[1]))

    ours = seconds(found.prefill_replicas, found.decode_replicas)
    assert float(ours / seconds(*exact) - 1) <= TIGHT


AROUND = {
    "accelerators": 8, "idle_w": 100.0, "host_w": 2000.0, "psu_rated_w": 12e3, "psu_load": [0.2, 1.0],
    "psu_efficiency": [0.9, 0.95], "pue": 1.2,
}  # fmt: skip


def some(*rates: float, group: int = 1, first_s: tuple[float, ...] = ()) -> Plain:
    """Pools of such rates on one system."""
    n = len(rates)
    half = {"facts": AROUND, "watts": [700.0] * n, "group": [group] * n}
    return {"rate": list(rates), "first_s": list(first_s or [0.1] * n), "halves": [half]}


def terms_of(**changes: Any) -> Terms:
    given_terms: Plain = {"alpha": 1.0, "beta": 0.0, "osl": 100.0, "duty": 1.0, "boundary": "facility"}
    return Terms(**(given_terms | {"basis": "metered", "vintage": None} | changes))


def matched(prefill: Plain, decode: Plain, **changes: Any) -> Pair | None:
    terms = terms_of(**changes)
    return match(packed(prefill, terms), packed(decode, terms), terms)


def test_equal_rates_take_one_of_each() -> None:
    found = matched(some(2.0), some(2.0))
    assert found is not None
    assert (found.prefill_replicas, found.decode_replicas, found.rate) == (1, 1, 2.0)
    assert found.cost == pytest.approx(2 / (2.0 * 100.0))


def test_thirds_and_halves_meet_at_whole_numbers() -> None:
    found = matched(some(3.0), some(2.0))
    assert found is not None
    assert (found.prefill_replicas, found.decode_replicas, found.rate) == (2, 3, 6.0)


def test_no_more_accelerators_than_asked_for() -> None:
    found = matched(some(3.0), some(2.0), most_accelerators=4)
    assert found is not None
    assert (found.prefill_replicas, found.decode_replicas) == (1, 1)  # 2/2, as 3/3; 5/6 would take five
    assert matched(some(3.0, group=4), some(2.0), most_accelerators=4) is None


def test_the_dearer_pool_where_the_cheaper_one_is_late() -> None:
    late = {"latency_s": 3.0, "tokens_after": 99.0}
    found = matched(some(4.0), some(4.0, 1.0, first_s=(0.2, 0.01)), **late)
    assert found is not None
    assert found.decode == 1
    assert matched(some(4.0), some(4.0, first_s=(0.2,)), **late) is None


def test_of_equal_fleets_for_a_load_the_emptier_one() -> None:
    """Both pairs take 8 + 8 accelerators for 10 requests/s; one could do 12, the other 16."""
    found = matched(some(20.0, group=8), some(12.0, 16.0, group=8), load=10.0)
    assert found is not None
    assert found.decode == 1
    assert found.cost == pytest.approx(16 * (1 + 1e-6 * 10 / 16), rel=1e-15)


def test_what_a_pool_could_do_more_it_idles() -> None:
    pool = packed(some(2.0), terms_of())
    assert half_draw(pool, pool.halves[0], 0, 3, 6.0) == pytest.approx(700.0)
    assert half_draw(pool, pool.halves[0], 0, 3, 1.5) == pytest.approx(0.25 * 700.0 + 0.75 * 100.0)
