"""Sections 11 and 13: watts at a boundary, the cost of a token, and which candidate of a plan wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.oracle.operations import ceil_div

Plain = dict[str, Any]


def supply_efficiency(load: float, at: Sequence[float], efficiency: Sequence[float]) -> float:
    """Linear between the sheet's points, flat beyond."""
    if load <= at[0]:
        return float(efficiency[0])
    for (left, low), (right, high) in pairwise(zip(at, efficiency, strict=True)):
        if load <= right:
            return float(low + (high - low) * (load - left) / (right - left))
    return float(efficiency[-1])


def placed(facts: Plain, group: int) -> tuple[int, int]:
    """(systems, replicas) that stand together."""
    n = facts["accelerators"]
    return (1, n // group) if group <= n else (ceil_div(group, n), 1)


def rack_watts(facts: Plain, group: int, drawn: float, replicas: int) -> float:
    """Watts at the inlets of systems that stand together, so many of their replicas at work."""
    n, (systems, _) = facts["accelerators"], placed(facts, group)
    used = replicas * group
    direct = (used * drawn + (systems * n - used) * facts["idle_w"]) / systems + facts["host_w"]
    load = direct / facts["psu_rated_w"]
    return systems * direct / supply_efficiency(load, facts["psu_load"], facts["psu_efficiency"])


def at_work(facts: Plain, group: int, drawn: float) -> int:
    """The most replicas that may work together under most_w, or max_w, of a system; unknown watts limit nothing."""
    systems, room = placed(facts, group)
    most = facts.get("most_w", facts.get("max_w", math.inf)) * systems
    return next((k for k in range(room, 0, -1) if not rack_watts(facts, group, drawn, k) > most), 0)


def watts_at(boundary: str, facts: Plain, group: int, drawn: float, replicas: int | None = None) -> float:
    """A replica's share of the watts at a boundary, section 11; `drawn` by each of its accelerators.

    What the replicas of a system leave over stands idle and is charged, but at the accelerator.
    replicas : that work together, or could; default all.
    """
    systems, room = placed(facts, group)
    replicas = room if replicas is None else replicas
    if boundary == "accelerator":
        return group * drawn
    rack = rack_watts(facts, group, drawn, replicas)
    if boundary == "rack":
        return float(rack) / replicas
    share = facts.get("fixed_overhead", 0.0)  # of the building's PUE, over the rating of a system
    fixed = share * facts["max_w"] if share else facts.get("fixed_w", 0.0)
    fixed += (facts["pue"] - share) * facts.get("network_w", 0.0)
    return float(rack * (facts["pue"] - share) + systems * fixed) / replicas


def cost(
    candidate: Plain, osl: float, group: int, facts: Plain, boundary: str, duty: float, alpha: float, beta: float
) -> float:
    """Equation (25), of an output token: alpha*a [accelerator-seconds] + beta*e [J].

    facts : accelerators of a system; host_w, idle_w, psu_rated_w; psu_load and psu_efficiency, points of a curve; pue.
    boundary : accelerator, rack, facility.   duty : v.   NaN where one replica is more than its system may draw.
    """
    tokens, together = candidate["rate"] * osl, at_work(facts, group, candidate["watts"])
    if not together:
        return math.nan
    if not beta:  # watts may be undisclosed
        return float(alpha * group / tokens)
    busy, idle = (watts_at(boundary, facts, group, drawn, together) for drawn in (candidate["watts"], facts["idle_w"]))
    energy = (duty * busy + (1 - duty) * idle) / (duty * tokens)
    return float(alpha * group / tokens + beta * energy)


def min_gpus_cost(candidate: Plain, group: int, load: float) -> float:
    """Accelerators for `load` requests a second, the emptier of two equal fleets first."""
    replicas = load / candidate["rate"]
    return float(group * (math.ceil(replicas) + 1e-6 * replicas))


def best(candidates: Sequence[Plain], limits: Plain) -> int | tuple[int, float, str] | None:
    """The cheapest that meets all limits, the first on a tie; else (nearest, its largest factor, of which limit).

    candidates : with `runs`, `cost` and the figures that are limited.   limits : figure to its largest value.
    None where no candidate runs.
    """
    running = [i for i, one in enumerate(candidates) if one["runs"]]
    meeting = [i for i in running if all(candidates[i][name] <= most for name, most in limits.items())]
    if meeting:
        return min(meeting, key=lambda i: (candidates[i]["cost"], i))
    nearest: tuple[int, float, str] | None = None
    for i in running:
        factors = {name: candidates[i][name] / most for name, most in limits.items()}
        which = max(factors, key=lambda name: factors[name])  # the first of equals
        if nearest is None or factors[which] < nearest[1]:
            nearest = i, factors[which], which
    return nearest


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Points that no other is at least as good as in both and better in one; of equal points the first."""

    def stands(i: int) -> bool:
        x, y = points[i]
        beaten = any(a >= x and b >= y and (a > x or b > y) for a, b in points)
        return not beaten and (x, y) not in points[:i]

    return [i for i in range(len(points)) if stands(i)]


def rate_match(rate_p: float, group_p: int, rate_d: float, group_d: int, most: int) -> tuple[int, int]:
    """(x, y) replicas of both pools, each 1..`most`, of the least accelerator-seconds a request; then the fewest.

    In exact arithmetic, so that (2, 2) ties with (1, 1) and loses.
    """
    p, d = Fraction(rate_p), Fraction(rate_d)
    pairs = [(x, y) for x in range(1, most + 1) for y in range(1, most + 1)]
    return min(pairs, key=lambda xy: ((xy[0] * group_p + xy[1] * group_d) / min(xy[0] * p, xy[1] * d), sum(xy), xy))
