"""Section 7, equation (10t): the box of a torus that a group of accelerators takes, its links and its length."""

from __future__ import annotations

from math import prod
from typing import Any

Plain = dict[str, Any]


def axes(machine: Plain) -> tuple[int, int, int]:
    return machine["axis_x"], machine["axis_y"], machine["axis_z"]


def box(machine: Plain, n: int) -> list[int]:
    """Extents e of the box that n accelerators form: doubled along the shortest side for as long as one can be."""
    limits = axes(machine)
    if n == machine["domain"]:
        return list(limits)
    sides = [1, 1, 1]
    while prod(sides) < n:
        free = [i for i in range(3) if 2 * sides[i] <= limits[i]]
        if free:
            shortest = min(free, key=lambda i: sides[i])  # min keeps the first of equals
            sides[shortest] *= 2
        else:
            open_ones = [i for i in range(3) if sides[i] < limits[i]]
            shortest = min(open_ones, key=lambda i: sides[i])
            sides[shortest] = limits[shortest]
    return sides


def links(machine: Plain, n: int) -> list[tuple[int, int]]:
    """(e, l) of each axis the box uses: its extent, and the links an accelerator has along it."""
    used = [(side, limit) for side, limit in zip(box(machine, n), axes(machine), strict=True) if side > 1]
    return [(side, 2 if side == limit and limit > 2 else 1) for side, limit in used]


def link_rate(machine: Plain) -> float:
    """Bytes/s of one of the links an accelerator has: two for every axis of the torus."""
    return float(machine["up_bytes_per_s"] / (2 * sum(limit > 1 for limit in axes(machine))))


def torus_up_rate(machine: Plain, n: int) -> float:
    """up(n)."""
    return link_rate(machine) * sum(count for _, count in links(machine, n))


def torus_hops(machine: Plain, n: int) -> int:
    """D(n): links between the two accelerators of the box that are farthest apart."""
    return sum(side // 2 if count == 2 else side - 1 for side, count in links(machine, n))


def torus_exchange_rate(machine: Plain, n: int) -> float:
    """xup(n): the busiest axis sets the rate; to the other places of the box it is farther than to all of them."""
    places = prod(box(machine, n))
    busiest = max(side / 4 / (count * link_rate(machine)) for side, count in links(machine, n))
    return 1.0 / (busiest * places / (places - 1))
