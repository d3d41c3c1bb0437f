"""Section 7: collectives of a layer and the hand-over between stages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from roofline.layout import Attention, Component, Topology
from tests.oracle.operations import Shape, Transfer, ceil_div, tied
from tests.oracle.torus import torus_exchange_rate, torus_hops, torus_up_rate

Plain = dict[str, Any]


def up_rate(machine: Plain, n: int) -> float:
    """Scale-up bytes/s one accelerator can use towards n - 1 others."""
    if machine["mesh"] == Topology.TORUS:
        return torus_up_rate(machine, n)
    if machine["mesh"] == Topology.FULL_MESH and machine["domain"] > 1:
        return float(machine["up_bytes_per_s"] * (n - 1) / (machine["domain"] - 1))
    return float(machine["up_bytes_per_s"])


def hops(machine: Plain, n: int) -> int:
    """D(n): links one after another between two of n accelerators."""
    return torus_hops(machine, n) if machine["mesh"] == Topology.TORUS else 1


def exchange_rate(machine: Plain, n: int) -> float:
    """xup(n): scale-up bytes/s one accelerator can send where each sends to all others alike."""
    return torus_exchange_rate(machine, n) if machine["mesh"] == Topology.TORUS else up_rate(machine, n)


def out_rate(machine: Plain) -> float:
    return float(machine["eta_out"] * machine["out_bytes_per_s"])


def join(name: str, *parts: Transfer) -> Transfer:
    return Transfer(name, sum(p.fixed_s for p in parts), sum(p.bytes_s for p in parts))


def gather_inside(machine: Plain, size: float, n: int) -> Transfer:
    """Equation (11), all-gather or reduce-scatter within a domain."""
    if n == 1:
        return Transfer("gather", 0.0, 0.0)
    rate = machine["eta_gather"] * up_rate(machine, n)
    fixed = machine["gather_s"] + hops(machine, n) * machine["up_hop_s"]
    return Transfer("gather", fixed, (n - 1) / n * size / rate)


def gather(name: str, machine: Plain, size: float, n: int) -> Transfer:
    """All-gather to `size`, or reduce-scatter of `size`, over n ranks; equations (11), (12)."""
    domain = machine["domain"]
    if n <= domain:
        return join(name, gather_inside(machine, size, n))
    groups = ceil_div(n, domain)
    across_s = (groups - 1) / groups * size / domain / out_rate(machine)
    across = Transfer("across", machine["out_s"] + machine["out_hop_s"], across_s)
    return join(name, across, gather_inside(machine, size, domain))


def all_reduce(name: str, machine: Plain, size: float, n: int) -> Transfer:
    """Equations (10), (12)."""
    if n == 1:
        return Transfer(name, 0.0, 0.0)
    domain = machine["domain"]
    if n > domain:
        groups = ceil_div(n, domain)
        across_s = 2 * (groups - 1) / groups * size / domain / out_rate(machine)
        across = Transfer("across", machine["out_s"] + 2 * machine["out_hop_s"], across_s)
        return join(name, gather_inside(machine, size, domain), across, gather_inside(machine, size, domain))
    rate, hop = machine["eta_reduce"] * up_rate(machine, n), hops(machine, n) * machine["up_hop_s"]
    ways = [
        Transfer(name, machine["one_shot_s"] + hop, (n - 1) * size / rate),
        Transfer(name, machine["two_shot_s"] + 2 * hop, 2 * (n - 1) / n * size / rate),
    ]
    if machine["in_switch"] and n >= 3:
        ways.append(Transfer(name, machine["two_shot_s"] + 2 * hop, (n + 1) / n * size / rate))
    best = min(ways, key=lambda way: way.time)  # min keeps the earliest of equals
    ties = sum(tied(way.time, best.time) and way.fixed_s != best.fixed_s for way in ways)
    return replace(best, ties=ties)


def distinct_remote(ranks: float, experts: int, top_k: int) -> float:
    """distinct(n): expected number of other ranks among n that hold at least one of a token's k experts."""
    nothing_there = 1.0
    for j in range(top_k):
        nothing_there *= max(0.0, experts - experts / ranks - j) / (experts - j)
    return (ranks - 1) * (1.0 - nothing_there)


def exchange(name: str, model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape, width: float) -> Transfer:
    """Equation (13): dispatch or combine between expert ranks."""
    experts, top_k, ep = row["experts"], row["top_k"], shape.ep
    domain, group = machine["domain"], shape.stage_group
    leaving = shape.rows / shape.tp * row["expert_hidden"] * width  # bytes of the rows that leave a rank, once
    domains = min(ceil_div(group, domain), ep)
    if shape.prefill or kit["bound"]:
        n_all = distinct_remote(ep, experts, top_k)
        n_out = distinct_remote(domains, experts, top_k)
        if model["route_groups"] > 0:
            n_out = min(n_out, model["route_groups"])
        out_bytes = leaving * n_out * ceil_div(shape.moe_tp, domain)
        own_domain = (ep / domains - 1) * (n_all / (ep - 1)) if ep > 1 else 0.0
        n_in = own_domain if kit["bound"] else n_all
    else:
        n_out = top_k * (domains - 1) / domains
        n_in = top_k * (ep - 1) / ep - n_out
        out_bytes = leaving * n_out * shape.moe_tp
    in_bytes = leaving * n_in * shape.moe_tp if domain > 1 else 0.0
    inside = min(group, domain)
    fixed, bytes_s = machine["exchange_s"] + hops(machine, inside) * machine["up_hop_s"], 0.0
    if in_bytes > 0:
        bytes_s = in_bytes / (machine["eta_exchange"] * exchange_rate(machine, inside))
    if domains > 1:
        fixed += machine["out_s"] + machine["out_hop_s"]
        bytes_s = max(bytes_s, out_bytes / out_rate(machine))
    return Transfer(name, fixed, bytes_s)


def layer_collectives(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Transfer]:
    """Every collective of one layer."""
    tp, group = shape.tp, shape.stage_group
    hidden_bytes = shape.rows * model["hidden"] * kit["w_reduce"]
    out: list[Transfer] = []
    if row["attention"] != Attention.NONE and tp > 1:
        out.append(all_reduce("all-reduce after attention", machine, hidden_bytes, tp))
    if row["ffn_inner"] and tp > 1:
        out.append(all_reduce("all-reduce after ffn", machine, hidden_bytes, tp))
    if not row["experts"]:
        return out
    if shape.dp == 1:
        if tp > 1:
            out.append(all_reduce("all-reduce after experts", machine, hidden_bytes, tp))
        return out
    if shape.ep == 1:
        token_elements = shape.expert_tokens * row["expert_hidden"]
        out.append(gather("all-gather to experts", machine, token_elements * kit["w_dispatch"], group))
        out.append(gather("reduce-scatter from experts", machine, token_elements * kit["w_combine"], group))
    else:
        out.append(exchange("dispatch", model, row, kit, machine, shape, kit["w_dispatch"]))
        out.append(exchange("combine", model, row, kit, machine, shape, kit["w_combine"]))
    if tp > 1:
        if row["shared_inner"]:
            out.append(all_reduce("all-reduce after shared experts", machine, hidden_bytes, tp))
        elif shape.ep > 1:
            out.append(gather("all-gather after experts", machine, hidden_bytes, tp))
    return out


def hand_over(model: Plain, kit: Plain, machine: Plain, shape: Shape) -> Transfer:
    """Equation (14): the residual stream from one stage to the next."""
    size = shape.rows * model["hidden"] * kit["w_reduce"]
    if shape.group <= machine["domain"]:
        fixed, rate = machine["p2p_s"] + machine["up_hop_s"], machine["eta_p2p"] * up_rate(machine, 2)
    else:
        fixed, rate = machine["out_s"] + machine["out_hop_s"], out_rate(machine)
    return Transfer("hand-over", fixed, size / rate, Component.PIPELINE)
