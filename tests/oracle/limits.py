"""Sections 1 and 9: what cannot run, and the memory of the fullest rank."""

from __future__ import annotations

from typing import Any

from roofline.layout import Attention, Limit
from tests.oracle.attention import local_heads, tokens_kept
from tests.oracle.feedforward import expert_load
from tests.oracle.operations import Shape, ceil_div, shape_of

Plain = dict[str, Any]


def deployment_limit(model: Plain, machine: Plain, kit: Plain | None, deployment: Plain, context: int) -> Limit:
    """Every limit of section 1 but memory, in its order."""
    if kit is None:
        return Limit.MATH_TYPE
    tp, pp, dp, ep, moe_tp = (deployment[name] for name in ("tp", "pp", "dp", "ep", "moe_tp"))
    rows = model["rows"]
    if tp * pp * dp > machine["max_accelerators"]:
        return Limit.ACCELERATORS
    if pp > model["layers"]:
        return Limit.LAYERS
    if any(row["attention"] != Attention.NONE and row["heads"] % tp for row in rows):
        return Limit.HEADS
    for row in rows:
        if row["attention"] == Attention.GQA and row["kv_heads"] % tp and tp % row["kv_heads"]:
            return Limit.KV_HEADS
    expert_rows = [row for row in rows if row["experts"]]
    if (ep > 1 and not expert_rows) or any(row["experts"] % ep for row in expert_rows):
        return Limit.EXPERTS
    if expert_rows and ep * moe_tp != tp * dp:
        return Limit.EXPERT_GROUP
    if context > model["max_context"]:
        return Limit.CONTEXT
    return Limit.NONE


def row_weight_bytes(model: Plain, row: Plain, kit: Plain, shape: Shape) -> float:
    """Weights of one layer on one rank [B]."""
    hidden = model["hidden"]
    total = 2.0 * row["other_params"]
    if row["attention"] == Attention.GQA:
        heads, kv_heads = local_heads(row, shape)
        total += kit["attn"]["w_weight"] * hidden * row["head_dim"] * (2 * heads + 2 * kv_heads)
    elif row["attention"] == Attention.MLA:
        heads = row["heads"] // shape.tp
        c, n, r, v = row["kv_lora"], row["qk_nope"], row["qk_rope"], row["v_head"]
        first = (row["q_lora"] if row["q_lora"] else heads * (n + r)) + c + r
        elements = hidden * first + row["q_lora"] * heads * (n + r) + c * heads * (n + v) + heads * v * hidden
        total += kit["attn"]["w_weight"] * elements
    matrices = row["ffn_matrices"]
    total += kit["ffn"]["w_weight"] * matrices * hidden * ceil_div(row["ffn_inner"], shape.tp)
    total += kit["shared"]["w_weight"] * matrices * hidden * ceil_div(row["shared_inner"], shape.tp)
    if row["experts"]:
        one = matrices * row["expert_hidden"] * ceil_div(row["expert_inner"], shape.moe_tp)
        total += row["experts"] // shape.ep * one * kit["expert"]["w_weight"]
        total += kit["router"]["w_weight"] * hidden * row["experts"]
    return total


def row_cache_bytes(row: Plain, kit: Plain, shape: Shape, context: int) -> float:
    """Cache of one sequence in one layer on one rank [B]."""
    element = kit["decode_core"]["w_weight"]
    if row["attention"] == Attention.GQA:
        _, kv_heads = local_heads(row, shape)
        return float(tokens_kept(context, row["window"]) * 2 * kv_heads * row["head_dim"] * element)
    if row["attention"] == Attention.MLA:
        return float(tokens_kept(context, row["window"]) * (row["kv_lora"] + row["qk_rope"]) * element)
    return 0.0


def work_bytes(model: Plain, kit: Plain, shape: Shape) -> float:
    """Activations of the largest pass [B]."""
    width, expert_elements = 0, 0.0
    for row in model["rows"]:
        matrices = row["ffn_matrices"]
        if row["attention"] == Attention.GQA:
            heads, kv_heads = local_heads(row, shape)
            width = max(width, (heads + 2 * kv_heads) * row["head_dim"])
        elif row["attention"] == Attention.MLA:
            width = max(width, row["heads"] // shape.tp * (row["qk_nope"] + row["qk_rope"]))
        width = max(width, (matrices - 1) * ceil_div(row["ffn_inner"], shape.tp))
        width = max(width, (matrices - 1) * ceil_div(row["shared_inner"], shape.tp))
        if row["experts"]:
            _, rows = expert_load(row, kit, shape.ep, shape.expert_tokens)
            inner = ceil_div(row["expert_inner"], shape.moe_tp)
            expert_elements = max(expert_elements, rows * (row["expert_hidden"] + (matrices - 1) * inner))
    head_rows = shape.rank_batch if shape.prefill else shape.rows
    logits = kit["w_logit"] * head_rows * ceil_div(model["vocab"], shape.tp)
    return float(kit["w_hidden"] * (shape.rows * (4 * model["hidden"] + width) + expert_elements) + logits)


def memory_of(
    model: Plain,
    machine: Plain,
    kit: Plain,
    deployment: Plain,
    batch: int,
    new_tokens: int,
    context: int,
    prefill: bool,
) -> dict[str, float | bool]:
    """Section 9, equation (17): bytes of the fullest rank and whether they fit."""
    shape = shape_of(deployment, batch, new_tokens, context, prefill)
    share = ceil_div(model["layers"], shape.pp) / model["layers"]  # rho
    table = ceil_div(model["vocab"], shape.tp) * model["hidden"]
    embed, head = kit["w_embed"] * table, kit["head"]["w_weight"] * table
    ends = max(embed, head) if shape.pp > 1 or model["tied"] else embed + head
    weights = share * sum(row["count"] * row_weight_bytes(model, row, kit, shape) for row in model["rows"]) + ends
    per_sequence = share * sum(row["count"] * row_cache_bytes(row, kit, shape, context) for row in model["rows"])
    cache = ceil_div(batch, shape.dp) * per_sequence
    work = work_bytes(model, kit, shape)
    total = weights + cache + work
    fits = total + machine["reserve_bytes"] <= machine["memory_bytes"] * machine["memory_fraction"]
    return {"weights": weights, "cache": cache, "work": work, "total": total, "fits": bool(fits)}


def limit_of(
    model: Plain,
    machine: Plain,
    kit: Plain | None,
    deployment: Plain,
    batch: int,
    new_tokens: int,
    context: int,
    prefill: bool,
) -> Limit:
    """Why a cell has no value; Limit.NONE where it runs."""
    limit = deployment_limit(model, machine, kit, deployment, context)
    if limit or kit is None:
        return limit
    if not memory_of(model, machine, kit, deployment, batch, new_tokens, context, prefill)["fits"]:
        return Limit.MEMORY
    return Limit.NONE


def largest_batch(
    model: Plain, machine: Plain, kit: Plain | None, deployment: Plain, new_tokens: int, context: int, at_most: int
) -> int:
    """Largest decode batch that runs, by trying one after another; 0 where none does, never above `at_most`."""
    for batch in range(1, at_most + 1):
        if limit_of(model, machine, kit, deployment, batch, new_tokens, context, False):
            return batch - 1
    return at_most
