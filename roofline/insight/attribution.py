"""A ratio taken apart: the factor of each player of a game whose values are logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.insight.shapley import alone, grouped, last, players_of, shapley

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

    Value = Callable[[Sequence[frozenset[str]]], Floats]


@dataclass(frozen=True)
class Attribution:
    """What each player contributes to values[-1]/values[0].

    players : names.   values : float64[2^players], of each mixture; NaN where one cannot
    do what is asked. Coalition c holds the players whose bit is set.
    Raises InputError for values that are not one a coalition, or not above 0.
    """

    players: tuple[str, ...]
    values: Floats

    def __post_init__(self) -> None:
        count = players_of(self.values)
        if count != len(self.players):
            raise InputError(f"{len(self.players)} players have {1 << len(self.players)} mixtures, not {1 << count}")
        if (self.values <= 0.0).any() or np.isinf(self.values).any():
            raise InputError("a value that is not above 0 and finite has no logarithm: write NaN for what is undefined")

    @cached_property
    def logs(self) -> Floats:
        """Logarithms of the values."""
        found: Floats = np.log(self.values)
        return found

    @property
    def ratio(self) -> float:
        """The value with all players moved over that with none."""
        return float(self.values[-1] / self.values[0])

    @property
    def factors(self) -> Floats:
        """float64[players]: exp of the Shapley values of the logarithm, (30); their product is `ratio`.

        NaN, all of them, where a mixture is undefined.
        """
        found: Floats = np.exp(shapley(self.logs))
        return found

    @property
    def alone(self) -> Floats:
        """Ratio with one player moved and no other, float64[players]."""
        found: Floats = np.exp(alone(self.logs))
        return found

    @property
    def last(self) -> Floats:
        """Ratio of all moved to all but one, float64[players]: what is lost where a player is taken back."""
        found: Floats = np.exp(last(self.logs))
        return found

    @property
    def undefined(self) -> list[frozenset[str]]:
        """Players moved in each mixture that has no value."""
        return [moved for moved, value in zip(coalitions(self.players), self.values, strict=True) if np.isnan(value)]

    def by_group(self, groups: Mapping[str, Sequence[str]]) -> Attribution:
        """The same with groups as players, each moved as a whole; no mixture is evaluated again.

        groups : players by the name of their group. Raises InputError where a player is in none, in two, or unknown.
        """
        places = {name: n for n, name in enumerate(self.players)}
        unknown = [name for members in groups.values() for name in members if name not in places]
        if unknown:
            raise InputError(f"groups: {unknown[0]!r} is no player; players: {', '.join(self.players)}")
        listed = [[places[name] for name in members] for members in groups.values()]
        return Attribution(tuple(groups), grouped(self.values, listed))


def coalitions(players: Sequence[str]) -> list[frozenset[str]]:
    """All 2^k sets of players in the order of the values of a game."""
    return [frozenset(name for n, name in enumerate(players) if c >> n & 1) for c in range(1 << len(players))]


def attribute(value: Value, players: Sequence[str]) -> Attribution:
    """The attribution of a game given by a function.

    value : of sets of players moved to their values, all asked for at once, float64[sets].
    Raises InputError as `Attribution` and for a player named twice.
    """
    if len(set(players)) < len(players):
        raise InputError(f"players {', '.join(players)}: one is named twice")
    return Attribution(tuple(players), np.asarray(value(coalitions(players)), dtype=np.float64))
