"""Axioms of the Shapley value on random games, and the mean over all orders as its plain definition."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roofline.errors import InputError
from roofline.insight.attribution import Attribution, attribute, coalitions
from roofline.insight.shapley import alone, grouped, last, players_of, shapley

Floats = Any


@st.composite
def games(draw: st.DrawFn, least: int = 1, most: int = 6) -> Floats:
    """Values of all coalitions of a few players."""
    count = draw(st.integers(least, most))
    values = st.floats(-20.0, 20.0, allow_nan=False)
    return np.array(draw(st.lists(values, min_size=1 << count, max_size=1 << count)))


def by_orders(values: Floats) -> list[float]:
    """The mean gain of each player over all orders of joining: the definition, order by order."""
    count = int(math.log2(len(values)))
    total = [0.0] * count
    for order in permutations(range(count)):
        inside = 0
        for player in order:
            total[player] += float(values[inside | 1 << player]) - float(values[inside])
            inside |= 1 << player
    return [gain / math.factorial(count) for gain in total]


def swapped(coalition: int, i: int, j: int) -> int:
    """A coalition with two players exchanged."""
    bits = (coalition >> i & 1) ^ (coalition >> j & 1)
    return coalition ^ (bits << i | bits << j)


@given(games())
def test_it_is_the_mean_over_all_orders(values: Floats) -> None:
    np.testing.assert_allclose(shapley(values), by_orders(values), rtol=1e-10, atol=1e-10)


@given(games())
def test_efficiency_the_values_add_up_to_all_that_is_gained(values: Floats) -> None:
    assert math.isclose(shapley(values).sum(), values[-1] - values[0], rel_tol=1e-12, abs_tol=1e-11)


@given(games(least=2), st.data())
def test_symmetry_players_that_do_the_same_have_the_same(values: Floats, data: st.DataObject) -> None:
    count = players_of(values)
    i, j = data.draw(st.permutations(range(count)))[:2]
    same = np.array([values[min(c, swapped(c, i, j))] for c in range(1 << count)])
    found = shapley(same)
    assert math.isclose(found[i], found[j], rel_tol=1e-12, abs_tol=1e-11)


@given(games(), st.data())
def test_a_null_player_has_nothing_and_changes_nobody(values: Floats, data: st.DataObject) -> None:
    count = players_of(values)
    place = data.draw(st.integers(0, count))
    low = (1 << place) - 1
    wider = np.array([values[(c & low) | (c >> 1 & ~low)] for c in range(2 << count)])
    found = shapley(wider)
    assert found[place] == 0.0
    np.testing.assert_allclose(np.delete(found, place), shapley(values), rtol=1e-11, atol=1e-11)
    assert alone(wider)[place] == 0.0
    assert last(wider)[place] == 0.0


@given(games(least=2, most=5), st.data())
def test_it_adds_up_over_games(values: Floats, data: st.DataObject) -> None:
    other = np.array(data.draw(st.lists(st.floats(-20, 20), min_size=values.size, max_size=values.size)))
    np.testing.assert_allclose(shapley(values + other), shapley(values) + shapley(other), atol=1e-10)


@given(st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=8))
def test_without_interaction_alone_and_last_are_the_value(gains: list[float]) -> None:
    values = np.array([sum(g for n, g in enumerate(gains) if c >> n & 1) for c in range(1 << len(gains))])
    for found in (shapley(values), alone(values), last(values)):
        np.testing.assert_allclose(found, gains, atol=1e-12)


@given(games(least=2), st.data())
def test_groups_are_players_of_a_game_of_their_own(values: Floats, data: st.DataObject) -> None:
    count = players_of(values)
    of = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    groups = [[n for n in range(count) if of[n] == group] for group in sorted(set(of))]
    found = grouped(values, groups)
    for c in range(1 << len(groups)):
        inside = sum(1 << n for g, group in enumerate(groups) if c >> g & 1 for n in group)
        assert found[c] == values[inside]
    assert math.isclose(shapley(found).sum(), shapley(values).sum(), rel_tol=1e-11, abs_tol=1e-10)


@given(games(most=5))
def test_the_product_of_the_factors_is_the_ratio(logs: Floats) -> None:
    players = tuple("abcde"[: players_of(logs)])
    found = Attribution(players, np.exp(logs))
    assert math.isclose(math.prod(found.factors), found.ratio, rel_tol=1e-9)
    groups = {"first": players[:1], "rest": players[1:]} if len(players) > 1 else {"first": players}
    assert math.isclose(math.prod(found.by_group(groups).factors), found.ratio, rel_tol=1e-9)
    np.testing.assert_allclose(found.alone[0], found.values[1] / found.values[0], rtol=1e-12)
    np.testing.assert_allclose(found.last[0], found.values[-1] / found.values[-2], rtol=1e-12)


@given(games(least=2, most=5), st.data())
def test_an_undefined_mixture_leaves_no_factor_and_is_named(logs: Floats, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, logs.size - 1))
    values = np.exp(logs)
    values[lost] = np.nan
    players = tuple("abcde"[: players_of(logs)])
    found = Attribution(players, values)
    assert np.isnan(found.factors).all()
    assert found.undefined == [frozenset(name for n, name in enumerate(players) if lost >> n & 1)]


@given(st.integers(0, 6))
def test_coalitions_come_in_the_order_of_the_values(count: int) -> None:
    names = [f"p{n}" for n in range(count)]
    weights = {name: 1 << n for n, name in enumerate(names)}
    asked = attribute(lambda sets: np.array([1.0 + sum(weights[name] for name in one) for one in sets]), names)
    assert asked.values.tolist() == [1.0 + c for c in range(1 << count)]
    assert len(coalitions(names)) == 1 << count


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: shapley(np.zeros(3)), "2^k coalitions"),
        (lambda: shapley(np.zeros((2, 2))), "2^k coalitions"),
        (lambda: shapley(np.zeros(1 << 17)), "at most 16"),
        (lambda: grouped(np.zeros(4), [[0]]), "each of the 2 players"),
        (lambda: grouped(np.zeros(4), [[0, 1], [1]]), "each of the 2 players"),
        (lambda: Attribution(("a",), np.ones(4)), "2 mixtures, not 4"),
        (lambda: Attribution(("a",), np.array([1.0, 0.0])), "not above 0"),
        (lambda: Attribution(("a",), np.array([1.0, np.inf])), "not above 0"),
        (lambda: Attribution(("a",), np.ones(2)).by_group({"g": ["b"]}), "'b' is no player"),
        (lambda: attribute(lambda sets: np.ones(len(sets)), ["a", "a"]), "named twice"),
    ],
)
def test_bad_games_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("^", r"\^")):
        make()


@given(games(most=4))
def test_one_who_only_joins_the_last_gets_the_mean_of_what_it_meets(values: Floats) -> None:
    """Of two players, half of what each brings alone and half of what it brings last."""
    assume(values.size == 4)
    np.testing.assert_allclose(shapley(values), 0.5 * (alone(values) + last(values)), atol=1e-12)
