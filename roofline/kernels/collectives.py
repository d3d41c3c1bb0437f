"""Collectives, equations (10) to (14): each returns (fixed time [s], time of bytes on links [s])."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.ops import ceil_div
from roofline.kernels.torus import TORUS, torus_exchange_share, torus_span
from roofline.layout import Topology

_FULL_MESH = int(Topology.FULL_MESH)
_TWO = np.int64(2)


@kernel
def scale_up(machine, n):
    """Bandwidth that one accelerator can use among n of its domain [B/s, one direction], and the time of hops [s].

    In a full mesh of `domain` accelerators n of them use n-1 of each one's links; in a torus those of their box.
    """
    rate, hop_s = machine.up_bytes_per_s, machine.up_hop_s
    if machine.mesh == TORUS:
        share, hops = torus_span(machine, n)
        return rate * share, hop_s * hops
    if machine.mesh == _FULL_MESH and machine.domain > 1:
        rate = rate * (n - 1) / (machine.domain - 1)
    return rate, hop_s


@kernel
def all_reduce(machine, n, size):
    """All-reduce of `size` bytes over n: the cheapest algorithm inside a domain (10), hierarchical beyond (12)."""
    if n <= 1:
        return 0.0, 0.0
    if n > machine.domain:
        inner_fixed, inner = _gather_inside(machine, machine.domain, size)
        fixed, across = _across(machine, n, size, 2.0)
        return 2.0 * inner_fixed + fixed, 2.0 * inner + across
    rate, hop_s = scale_up(machine, n)
    wire = size / (machine.eta_reduce * rate)
    fixed, sending = machine.one_shot_s + hop_s, (n - 1) * wire
    two_shot_fixed = machine.two_shot_s + 2.0 * hop_s
    factor = 2.0 * (n - 1) / n
    if two_shot_fixed + factor * wire < fixed + sending:
        fixed, sending = two_shot_fixed, factor * wire
    factor = (n + 1) / n
    if machine.in_switch == 1 and n >= 3 and two_shot_fixed + factor * wire < fixed + sending:
        fixed, sending = two_shot_fixed, factor * wire
    return fixed, sending


@kernel
def all_gather(machine, n, size):
    """All-gather to, or reduce-scatter from, `size` bytes over n: (11), hierarchical beyond a domain (12)."""
    if n <= 1:
        return 0.0, 0.0
    if n <= machine.domain:
        return _gather_inside(machine, n, size)
    inner_fixed, inner = _gather_inside(machine, machine.domain, size)
    fixed, across = _across(machine, n, size, 1.0)
    return inner_fixed + fixed, inner + across


@kernel
def _gather_inside(machine, n, size):
    if n <= 1:
        return 0.0, 0.0
    rate, hop_s = scale_up(machine, n)
    return machine.gather_s + hop_s, (n - 1) / n * size / (machine.eta_gather * rate)


@kernel
def _across(machine, n, size, trips):
    """The part of a hierarchical collective that crosses scale-out: a domain's share of `size`, `trips` times."""
    domains = ceil_div(n, machine.domain)
    share = size / machine.domain / (machine.eta_out * machine.out_bytes_per_s)
    return machine.out_s + trips * machine.out_hop_s, trips * (domains - 1) / domains * share


@kernel
def distinct_remote(places, experts, top_k):
    """Expected number of other places, out of `places`, that hold one of a token's experts (uniform routing).

    (n-1) (1 - C(E - E/n, k) / C(E, k))
    """
    none = 1.0
    for j in range(top_k):
        none *= max(0.0, experts - experts / places - j) / (experts - j)
    return (places - 1) * (1.0 - none)


@kernel
def exchange_copies(machine, deployment, layer, route_groups, per_choice, bound):
    """Copies of one token that cross scale-up and scale-out in one direction of the expert all-to-all: (13).

    per_choice : bool   a copy per chosen expert (low-latency kernels), else one per distinct rank or node.
    bound : bool        what crosses scale-out need not cross scale-up too: inside, only the copies of the own domain.
    Returns (copies inside, copies across, domains spanned).
    """
    ep, moe_tp, top_k = deployment.ep, deployment.moe_tp, layer.top_k
    spanned = min(ceil_div(deployment.tp * deployment.dp, machine.domain), ep)
    if per_choice:
        across = top_k * (spanned - 1) / spanned
        inside = top_k * (ep - 1) / ep - across
        return inside * moe_tp, across * moe_tp, spanned
    inside = distinct_remote(ep, layer.experts, top_k)
    if bound:
        inside *= (ep / spanned - 1) / max(1, ep - 1)
    across = distinct_remote(spanned, layer.experts, top_k)
    if route_groups > 0:
        across = min(across, 1.0 * route_groups)
    return inside * moe_tp, across * ceil_div(moe_tp, machine.domain), spanned


@kernel
def exchange_time(machine, group, bytes_in, bytes_out, spanned):
    """Time of an all-to-all whose slower network decides: equation (13)."""
    inside = min(group, machine.domain)
    rate, hop_s = scale_up(machine, inside)
    fixed, sending = machine.exchange_s + hop_s, 0.0
    if inside > 1:
        if machine.mesh == TORUS:
            rate = machine.up_bytes_per_s * torus_exchange_share(machine, inside)
        sending = bytes_in / (machine.eta_exchange * rate)
    if spanned > 1:
        fixed += machine.out_s + machine.out_hop_s
        sending = max(sending, bytes_out / (machine.eta_out * machine.out_bytes_per_s))
    return fixed, sending


@kernel
def hand_over(machine, accelerators, size):
    """Pipeline hand-over of `size` bytes to the next stage, a neighbour in any topology: equation (14)."""
    if accelerators <= machine.domain:
        rate, _ = scale_up(machine, _TWO)
        return machine.p2p_s + machine.up_hop_s, size / (machine.eta_p2p * rate)
    return machine.out_s + machine.out_hop_s, size / (machine.eta_out * machine.out_bytes_per_s)
