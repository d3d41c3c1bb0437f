"""Shapley values of a game on few players, exact: each one's mean gain over all orders in which they can join.

A game is an array of the values of all 2^k coalitions, float64[2^k]: player i is in coalition c where bit i of c is 1.
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MOST_PLAYERS = 16


def players_of(values: Floats) -> int:
    """How many players a game has. Raises InputError where the array is not of 2^k values, k from 0 to MOST_PLAYERS."""
    size = np.size(values)
    count = size.bit_length() - 1
    if np.ndim(values) != 1 or size != 1 << count or count > MOST_PLAYERS:
        raise InputError(
            f"a game of shape {np.shape(values)}: give one value for each of 2^k coalitions, k at most {MOST_PLAYERS}"
        )
    return count


def shapley(values: Floats) -> Floats:
    """Shapley value of each player: equation (30).

    values : float64[2^k].   Returns float64[k]; their sum is values[-1] - values[0]. NaN where any coalition that the
    player joins or leaves is NaN, which is all of them: an undefined coalition leaves no player a value.
    Raises InputError as `players_of`. L. S. Shapley, A value for n-person games, 1953.
    """
    count = players_of(values)
    members = np.bitwise_count(np.arange(1 << count))
    weights = np.array([factorial(s) * factorial(count - 1 - s) / factorial(count) for s in range(count)])
    found = np.empty(count)
    for player in range(count):
        without, joined = _split(count, player)
        found[player] = np.sum(weights[members[without]] * (values[joined] - values[without]))
    return found


def alone(values: Floats) -> Floats:
    """What each player gains by itself, before all others: float64[k]. Raises InputError as `players_of`."""
    singles = 1 << np.arange(players_of(values))
    found: Floats = np.asarray(values)[singles] - values[0]
    return found


def last(values: Floats) -> Floats:
    """What each player adds to all others: float64[k]. Raises InputError as `players_of`."""
    everyone = np.size(values) - 1
    singles = 1 << np.arange(players_of(values))
    found: Floats = values[-1] - np.asarray(values)[everyone - singles]
    return found


def grouped(values: Floats, groups: Sequence[Sequence[int]]) -> Floats:
    """The game whose players are groups of the players of another, each joining as one: float64[2^groups].

    groups : players of each; together all of them, each once. Raises InputError where they are not.
    """
    count = players_of(values)
    if sorted(player for group in groups for player in group) != list(range(count)):
        raise InputError(f"groups {[list(group) for group in groups]}: give each of the {count} players in one group")
    masks = np.array([sum(1 << player for player in group) for group in groups], dtype=np.int64)
    coalitions = np.arange(1 << len(groups))
    inside = (coalitions[:, None] >> np.arange(len(groups))) & 1
    found: Floats = np.asarray(values)[inside @ masks]
    return found


def _split(count: int, player: int) -> tuple[Ints, Ints]:
    """Coalitions without a player, and the same with it."""
    everyone = np.arange(1 << count, dtype=np.int64)
    without = everyone[(everyone >> player) & 1 == 0]
    return without, without | (1 << player)
