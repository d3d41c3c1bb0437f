"""Two pools, rates matched: how many replicas that compute prompts to how many that decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.rack.energy import PowerFacts

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MOST_REPLICAS = 32
"""Of one pool, that are matched as a unit."""

BLOCK = 8
"""Pairs of pools that are looked at together."""


@dataclass(frozen=True)
class Half:
    """The accelerators of one system in a replica of each pool.

    group : int64[n]   accelerators.   watts : float64[n]   draw of one while the pool works [W].
    facts, idle_w : of the system.   price : alpha of (25) of the system over that of `Terms`.
    """

    facts: PowerFacts
    group: Ints
    watts: Floats
    idle_w: float
    price: float = 1.0


@dataclass(frozen=True)
class Pools:
    """Pools of one kind that meet the limits, each the best of its deployment.

    cost : float64[n], by itself (25).   rate : float64[n] requests/s of a replica.
    first_s : float64[n] TTFT, or TPOT for decoding [s].   kept : int64[n], which of the search they are.
    halves : the system of a replica; two where attention and feed-forward are apart.
    """

    cost: Floats
    rate: Floats
    first_s: Floats
    kept: Ints
    halves: tuple[Half, ...]

    @property
    def group(self) -> Ints:
        """Accelerators of a replica, int64[n]."""
        total: Ints = np.sum([half.group for half in self.halves], axis=0)
        return total

    @property
    def priced(self) -> Floats:
        """Accelerators of a replica, each times the price of its system, float64[n]."""
        total: Floats = np.sum([half.price * half.group for half in self.halves], axis=0)
        return total


@dataclass(frozen=True)
class Pair:
    """A prefill and a decode pool joined: indices in `Pools`, replicas of each, and what they do together."""

    prefill: int
    decode: int
    prefill_replicas: int
    decode_replicas: int
    rate: float
    cost: float


@dataclass(frozen=True)
class Terms:
    """How pairs are judged: weights of (25) with boundary and duty, the load of min_gpus, the limit of latency."""

    alpha: float
    beta: float
    osl: float
    duty: float
    boundary: str
    basis: str
    vintage: str | None
    load: float = 0.0
    latency_s: float = np.inf
    tokens_after: float = 0.0
    most_accelerators: int | None = None


def match(prefill: Pools, decode: Pools, terms: Terms) -> Pair | None:
    """The pair and the whole numbers of replicas with the least cost of an output token; None where no pair will do.

    Pairs are taken in order of what they would cost at exactly matched rates, which is a bound: none can cost less,
    so that the first whose bound is above the best found ends the search.
    """
    bound = prefill.cost[:, None] + decode.cost[None, :]
    latency = prefill.first_s[:, None] + terms.tokens_after * decode.first_s[None, :]
    bound = np.where(latency <= terms.latency_s, bound, np.inf).ravel()
    order = np.argsort(bound, kind="stable")
    order = order[: int(np.isfinite(bound).sum())]
    best: Pair | None = None
    for start in range(0, order.size, BLOCK):
        block = order[start : start + BLOCK]
        if best is not None and bound[block[0]] >= best.cost:
            break
        p, d = np.divmod(block, decode.cost.size)
        x, y = _replicas(prefill.rate[p], decode.rate[d], terms.load)
        size = x * prefill.group[p, None] + y * decode.group[d, None]
        rate = np.minimum(x * prefill.rate[p, None], y * decode.rate[d, None])
        cost = _cost(prefill, decode, p[:, None], d[:, None], x, y, rate, size, terms)
        if terms.most_accelerators is not None:
            cost = np.where(size <= terms.most_accelerators, cost, np.inf)
        at = np.unravel_index(int(np.argmin(np.where(np.isnan(cost), np.inf, cost))), cost.shape)
        if np.isfinite(cost[at]) and (best is None or cost[at] < best.cost):
            one = int(at[0])
            best = Pair(int(p[one]), int(d[one]), int(x[at]), int(y[at]), float(rate[at]), float(cost[at]))
    return best


def _replicas(prefill_rate: Floats, decode_rate: Floats, load: float) -> tuple[Ints, Ints]:
    """Whole numbers of replicas worth trying for each pair, int64[pairs, tries] each: those about the exact ratio."""
    if load > 0.0:
        x, y = np.ceil(load / prefill_rate)[:, None], np.ceil(load / decode_rate)[:, None]
        return x.astype(np.int64), y.astype(np.int64)
    counts = np.arange(1, MOST_REPLICAS + 1)
    ratio = (decode_rate / prefill_rate)[:, None]
    below, behind = np.floor(counts * ratio), np.floor(counts / ratio)
    many = np.broadcast_to(counts, below.shape)
    x = np.concatenate([below, below + 1, many, many], axis=1)
    y = np.concatenate([many, many, behind, behind + 1], axis=1)
    clip = np.clip(np.stack([x, y]), 1, MOST_REPLICAS).astype(np.int64)
    return clip[0], clip[1]


def _cost(
    prefill: Pools, decode: Pools, p: Ints, d: Ints, x: Ints, y: Ints, rate: Floats, size: Ints, terms: Terms
) -> Floats:
    if terms.load > 0.0:  # one unit of as many replicas as the load takes
        from roofline.kernels.reduce import TIE_SHARE

        return size * (1.0 + TIE_SHARE * terms.load / rate)
    cost: Floats = terms.alpha * (x * prefill.priced[p] + y * decode.priced[d]) / (rate * terms.osl)
    if terms.beta:
        for pools, at, replicas in ((prefill, p, x), (decode, d, y)):
            cost = cost + terms.beta * _watts(pools, at, replicas, rate, terms) / (terms.duty * rate * terms.osl)
    return cost


def _watts(pools: Pools, at: Ints, replicas: Ints, rate: Floats, terms: Terms) -> Floats:
    """Mean watts at the boundary of the replicas of a pool, which idle for what the other pool cannot take."""
    total = np.zeros(rate.shape)
    for half in pools.halves:
        group = np.broadcast_to(half.group[at], rate.shape)
        draw = half_draw(pools, half, at, replicas, rate)
        placed = half.facts.placed(draw, group, terms.boundary, terms.basis, terms.vintage)  # type: ignore[arg-type]
        mean = terms.duty * placed.busy_w + (1.0 - terms.duty) * placed.idle_w
        total = total + replicas * mean * group / placed.used
    return total


def half_draw(pools: Pools, half: Half, at: Ints | int, replicas: Ints | int, rate: Floats | float) -> Floats:
    """Mean draw of one accelerator of a half [W] that works for the share of its rate that is asked."""
    share = rate / (replicas * pools.rate[at])
    found: Floats = share * half.watts[at] + (1.0 - share) * half.idle_w
    return found
