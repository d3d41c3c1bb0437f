"""Section 6: dense, shared and routed feed-forwards, and the element-wise kernels of a layer."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

from roofline.layout import Attention, Component
from tests.oracle.attention import gate_width, reworked_width
from tests.oracle.operations import Operation, Shape, ceil_div, gemm, move, operation

Plain = dict[str, Any]


def two_gemms(
    part: str, model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape, inner: int
) -> list[Operation]:
    """A feed-forward of local width `inner`: the up (and gate) projection, the down projection."""
    hidden, rows, matrices = model["hidden"], shape.rows, row["ffn_matrices"]
    return [
        gemm(f"{part} up", part, Component.FFN, kit, machine, rows, hidden, (matrices - 1) * inner),
        gemm(f"{part} down", part, Component.FFN, kit, machine, rows, inner, hidden),
    ]


def expert_load(row: Plain, kit: Plain, ep: int, tokens: int) -> tuple[float, float]:
    """Equation (7): (experts touched, rows) of the rank that sets the pace."""
    experts, top_k = row["experts"], row["top_k"]
    local = experts // ep
    cover = 1.0 - (1.0 - top_k / experts) ** tokens
    mean = tokens * top_k / ep
    if not kit["fullest_rank"]:
        return local * cover, mean
    most = tokens * min(top_k, local)
    z = NormalDist().inv_cdf((ep - 0.375) / (ep + 0.25)) if ep > 1 else 0.0
    touched = min(local, most, local * cover + z * math.sqrt(local * cover * (1.0 - cover)))
    rows = min(most, kit["expert_skew"] * (mean + math.sqrt(2 * mean * math.log(ep))))
    return float(touched), float(rows)


def mean_load(row: Plain, kit: Plain, ep: int, tokens: int) -> tuple[float, float, float]:
    """(experts touched, rows, rows in whole tiles) of a mean rank: equations (7) and (7t)."""
    touched, rows = expert_load(row, kit | {"fullest_rank": 0}, ep, tokens)
    tile = kit["expert_tile"]
    full = touched * max(tile, rows / touched + (tile - 1) / 2) if tile > 1 else rows
    return touched, rows, full


def expert_operations(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Router, expert block (8), permutation; the projections in and out where experts work in a latent width."""
    touched, rows = expert_load(row, kit, shape.ep, shape.expert_tokens)
    width, matrices, part = row["expert_hidden"], row["ffn_matrices"], kit["expert"]
    inner = ceil_div(row["expert_inner"], shape.moe_tp)
    flop = 2 * matrices * width * inner * rows
    weights = matrices * width * inner * part["w_weight"]
    each = (width + inner) * part["w_act"] + ((matrices - 1) * inner + width) * part["w_out"]
    sorted_each = kit["w_permute"] * (8 * width + 6 * inner)
    mean_touched, mean_rows, full_rows = mean_load(row, kit, shape.ep, shape.expert_tokens)
    drawn_s = 2 * matrices * width * inner * full_rows / part["flop_per_s"]
    drawn = drawn_s, mean_touched * weights + mean_rows * each
    block = operation("experts", "expert", Component.EXPERTS, kit, machine, flop, touched * weights + rows * each)
    sorting = move("permute", Component.EXPERTS, machine, rows * sorted_each, kit["permute_eta_memory"], 0.0)
    component, hidden, latent = Component.EXPERTS, model["hidden"], []
    if width != hidden:
        latent = [
            gemm("latent down", "shared", component, kit, machine, shape.rows, hidden, width),
            gemm("latent up", "shared", component, kit, machine, shape.rows, width, hidden),
        ]
    return [
        *latent,
        gemm("router", "router", component, kit, machine, shape.rows, hidden, row["experts"]),
        replace(block, drawn=drawn),
        replace(sorting, drawn=(0.0, mean_rows * sorted_each)),
    ]


def elementwise_operation(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> Operation:
    """Equation (9): norms, rotary or convolution, and gates as one operation with bytes only."""
    dense, shared = ceil_div(row["ffn_inner"], shape.tp), ceil_div(row["shared_inner"], shape.tp)
    kernels = row["norms"]
    if row["attention"] != Attention.NONE:  # rotary; or convolution and gated norm
        kernels += 2 if row["attention"] == Attention.LINEAR else 1
    if dense or shared:
        kernels += 1
    elements = 4 * model["hidden"] * row["norms"] + 2 * reworked_width(row, shape) + 3 * gate_width(row, shape)
    elements += row["ffn_matrices"] * (dense + shared)
    moved = shape.rows * kit["w_hidden"] * elements
    fixed = kernels * kit["elementwise_fixed_s"]
    return move("elementwise", Component.ELEMENTWISE, machine, moved, kit["elementwise_eta_memory"], fixed)


def feedforward_operations(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Everything of a layer that is not attention or communication."""
    out: list[Operation] = []
    if row["ffn_inner"]:
        inner = ceil_div(row["ffn_inner"], shape.tp)
        out += two_gemms("ffn", model, row, kit, machine, shape, inner)
    if row["shared_inner"]:
        inner = ceil_div(row["shared_inner"], shape.tp)
        out += two_gemms("shared", model, row, kit, machine, shape, inner)
    if row["experts"]:
        out += expert_operations(model, row, kit, machine, shape)
    out.append(elementwise_operation(model, row, kit, machine, shape))
    return out
