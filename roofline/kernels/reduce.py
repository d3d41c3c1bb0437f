"""What is kept of the candidates of one deployment: the best, the nearest where none is good enough, the undominated.

Nothing of the size of the candidate set is stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from roofline.kernels._jit import folded, kernel

# Figures kept of a candidate.
F_TTFT, F_TPOT, F_LATENCY, F_RATE, F_WATTS, F_SEQUENCES, F_COST = range(7)
FIGURES = 7
# Its place: sequences decoding (or in a prompt) on a rank, chunk, drafts and load, the last three as indices.
I_BATCH, I_CHUNK, I_DRAFTS, I_LOAD = range(4)
PLACES = 4
POINT = FIGURES + PLACES

TIE_SHARE = 1e-6  # of a replica: how candidates that take as many accelerators for a load are told apart


@kernel
def placed(power, group):
    """(systems, replicas) placed together for replicas of `group` accelerators."""
    if group <= power.accelerators:
        return 1, power.accelerators // group
    return -(-group // power.accelerators), 1


@kernel
def at_work(power, draw, group):
    """Of the replicas placed together, those that may work at once within what their systems may draw; 0 for none."""
    systems, replicas = placed(power, group)
    if power.most_w == np.inf:
        return replicas
    while replicas > 0:
        used = replicas * group
        direct = (used * draw + (systems * power.accelerators - used) * power.idle_w) / systems + power.host_w
        if not direct / supplied(power, direct) > power.most_w:
            break
        replicas -= 1
    return replicas


@kernel
def around(power, draw, group, replicas):
    """Watts at the boundary for one of `replicas` of `group` accelerators that draw `draw` each: section 11.

    power : layout.POWER.   replicas : placed together that work, of `at_work`.
    """
    systems, _ = placed(power, group)
    used = replicas * group
    if power.reserved == 1:
        return (used * power.reserved_part_w + systems * power.reserved_system_w) / replicas
    if power.boundary == 0:
        return group * draw
    direct = (used * draw + (systems * power.accelerators - used) * power.idle_w) / systems + power.host_w
    rack = systems * power.pue / replicas * direct / supplied(power, direct)
    return rack + systems * power.fixed_w / replicas


@kernel
def around_at_least(power, group):
    """(base, slope) with base + slope*draw watts at most what `around` says: of supplies at their best."""
    systems, replicas = placed(power, group)
    used = replicas * group
    if power.reserved == 1:
        return (used * power.reserved_part_w + systems * power.reserved_system_w) / replicas, 0.0
    if power.boundary == 0:
        return 0.0, 1.0 * group
    efficiency = power.psu_efficiency[0]
    for i in range(1, power.psu_points):
        efficiency = max(efficiency, power.psu_efficiency[i])
    share = power.pue / (replicas * efficiency)
    left = systems * power.accelerators - used
    base = share * (left * power.idle_w + systems * power.host_w)
    return base + systems * power.fixed_w / replicas, share * used


@kernel
def supplied(power, direct):
    """Efficiency of the power supplies of a system that delivers `direct` watts; linear between points, flat beyond."""
    load = direct / power.psu_rated_w
    if not load > power.psu_load[0]:
        return power.psu_efficiency[0]
    for i in range(1, power.psu_points):
        high = power.psu_load[i]
        if load <= high:
            low, below = power.psu_load[i - 1], power.psu_efficiency[i - 1]
            return below + (load - low) / (high - low) * (power.psu_efficiency[i] - below)
    return power.psu_efficiency[power.psu_points - 1]


class Kept(NamedTuple):
    """What is kept of each configuration, mode, workload and set of limits; all arrays have those four dims first.

    best : float64[..., FIGURES]   of the cheapest that meets the limits; F_COST inf where none does, then of the
    nearest.   near : float64[..., 2]   smallest largest factor over the limits, and of which; 1 where one meets all.
    at : int64[..., PLACES]   the place of `best`.   points : float64[..., most, POINT], the undominated in TPOT and
    cost, by rising TPOT; most may be 0.   filled : int64[...]   how many.
    """

    best: np.ndarray
    near: np.ndarray
    at: np.ndarray
    points: np.ndarray
    filled: np.ndarray


@folded
def offer(kept, i, m, w, s, limits, ttft, tpot, latency, rate, watts, sequences, cost, b, c, g, u):
    """Judge a candidate of configuration i, mode m and workload w under limits s.

    limits : float64[limits, 3] of TTFT, TPOT and latency [s].   b, c, g, u : its place.
    A cost of NaN, undisclosed watts, is no candidate.
    """
    if np.isnan(cost):
        return
    factor, which = ttft / limits[s, 0], 0.0
    other = tpot / limits[s, 1]
    which = 1.0 if other > factor else which
    factor = max(factor, other)
    other = latency / limits[s, 2]
    which = 2.0 if other > factor else which
    factor = max(factor, other)
    if factor > 1.0:
        if kept.near[i, m, w, s, 0] > factor:
            kept.near[i, m, w, s, 0], kept.near[i, m, w, s, 1] = factor, which
            keep(kept.best, kept.at, i, m, w, s, ttft, tpot, latency, rate, watts, sequences, np.inf, b, c, g, u)
        return
    kept.near[i, m, w, s, 0] = 1.0
    if cost < kept.best[i, m, w, s, F_COST]:
        keep(kept.best, kept.at, i, m, w, s, ttft, tpot, latency, rate, watts, sequences, cost, b, c, g, u)
    if kept.points.shape[4] > 0:
        add_point(
            kept.points[i, m, w, s],
            kept.filled,
            i,
            m,
            w,
            s,
            ttft,
            tpot,
            latency,
            rate,
            watts,
            sequences,
            cost,
            b,
            c,
            g,
            u,
        )


@folded
def keep(best, at, i, m, w, s, ttft, tpot, latency, rate, watts, sequences, cost, b, c, g, u):
    """Write a candidate."""
    best[i, m, w, s, F_TTFT], best[i, m, w, s, F_TPOT], best[i, m, w, s, F_LATENCY] = ttft, tpot, latency
    best[i, m, w, s, F_RATE], best[i, m, w, s, F_WATTS] = rate, watts
    best[i, m, w, s, F_SEQUENCES], best[i, m, w, s, F_COST] = sequences, cost
    at[i, m, w, s, I_BATCH], at[i, m, w, s, I_CHUNK] = b, c
    at[i, m, w, s, I_DRAFTS], at[i, m, w, s, I_LOAD] = g, u


@kernel
def add_point(points, filled, i, m, w, s, ttft, tpot, latency, rate, watts, sequences, cost, b, c, g, u):
    """Put a candidate among the undominated unless one of them is no worse in TPOT and in cost; drop those it beats.

    points : float64[most, POINT], by rising TPOT and falling cost. Where there is no room, the one with the closest
    neighbours gives way, so that the quickest and the cheapest stay.
    """
    n, at = filled[i, m, w, s], 0
    while at < n and points[at, F_TPOT] <= tpot:
        at += 1
    if at > 0 and points[at - 1, F_COST] <= cost:
        return
    end = at
    while end < n and points[end, F_COST] >= cost:
        end += 1
    if at > 0 and points[at - 1, F_TPOT] == tpot:
        at -= 1
    if at == end and n == points.shape[0]:
        drop = closest(points)
        if drop < 0:  # ends only
            if 0 < at < n or (at == 0 and n == 1):
                return
            drop = 0 if at == 0 else n - 1
        move_points(points, drop + 1, n, -1)
        n -= 1
        at = at - 1 if drop < at else at
        end = at
    move_points(points, end, n, at + 1 - end)
    values = (ttft, tpot, latency, rate, watts, sequences, cost, 1.0 * b, 1.0 * c, 1.0 * g, 1.0 * u)
    for f in range(POINT):
        points[at, f] = values[f]
    filled[i, m, w, s] = n + at + 1 - end


@kernel
def closest(points):
    """Of all points the one, not at an end, whose neighbours are the nearest to each other in TPOT; -1 if none is."""
    found, least = -1, np.inf
    for p in range(1, points.shape[0] - 1):
        gap = 1.0 - points[p - 1, F_TPOT] / points[p + 1, F_TPOT]
        if gap < least:
            found, least = p, gap
    return found


@kernel
def move_points(points, start, stop, by):
    """Move points [start, stop) by so many places, downwards where that is below 0."""
    for p in range(stop - start):
        source = stop - 1 - p if by > 0 else start + p
        for f in range(POINT):
            points[source + by, f] = points[source, f]
