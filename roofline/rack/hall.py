"""The hall of a site: its PUE, one number or by how much the racks draw. Equation (8a) of docs/site.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roofline.errors import InputError
from roofline.serving.service import number

MOST_PUE = 10.0


@dataclass(frozen=True)
class Pue:
    """PUE by load: linear between points, as the nearest one outside them.

    shares : of what the racks of the site draw with every replica at work, rising.   values : PUE at each.
    """

    shares: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, given: Mapping[Any, Any] | Sequence[Any]) -> Pue:
        """PUE of points {share of load: PUE} or [(share, PUE), ...], in any order.

        Raises InputError naming point and value: for fewer than one, a share outside 0 to 1 or twice, a PUE below 1.
        """
        points = list(given.items()) if isinstance(given, Mapping) else list(given)
        if not points or not all(isinstance(point, Sequence) and len(point) == 2 for point in points):
            raise InputError(f"pue = {given!r}: give a number, or points of load and PUE, e.g. {{0.3: 1.6, 1.0: 1.3}}")
        found: dict[float, float] = {}
        for share, value in points:
            load = number("load of pue", share, least=0.0)
            if load > 1.0 or load in found:
                raise InputError(f"pue: load {load:g}: give each share of the load once, from 0 to 1")
            pue = number(f"pue[{load:g}]", value, above=0.0)
            if not 1.0 <= pue <= MOST_PUE:
                raise InputError(f"pue[{load:g}] = {pue:g}: PUE is total over IT power, from 1 to {MOST_PUE:g}")
            found[load] = pue
        shares = tuple(sorted(found))
        return cls(shares, tuple(found[share] for share in shares))

    def at(self, share: float) -> float:
        """PUE where the racks draw a share of what they draw with every replica at work."""
        return float(np.interp(share, self.shares, self.values))

    def __str__(self) -> str:
        """`0.3:1.6,1:1.3`, as the command line takes it."""
        return ",".join(f"{share:.12g}:{value:.12g}" for share, value in zip(self.shares, self.values, strict=True))
