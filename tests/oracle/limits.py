"""Sections 1 and 9: what cannot run, and the memory of the fullest rank."""

from __future__ import annotations

from typing import Any

from roofline.layout import Attention, Limit
from tests.oracle.attention import input_width
from tests.oracle.feedforward import expert_load
from tests.oracle.linear import columns, conv_state_bytes, state_bytes
from tests.oracle.operations import Shape, ceil_div, local_heads, shape_of
from tests.oracle.visible import kept

Plain = dict[str, Any]


def deployment_limit(
    model: Plain, machine: Plain, kit: Plain | None, deployment: Plain, context: int, drafts: int = 0
) -> Limit:
    """Every limit of section 1 but memory, in its order."""
    if kit is None:
        return Limit.MATH_TYPE
    tp, pp, dp, ep, moe_tp = (deployment[name] for name in ("tp", "pp", "dp", "ep", "moe_tp"))
    rows = model["rows"] + (model["draft_rows"] if drafts else [])
    if tp * pp * dp > machine["max_accelerators"]:
        return Limit.ACCELERATORS
    if pp > model["layers"]:
        return Limit.LAYERS
    if any(row["attention"] != Attention.NONE and row["heads"] % tp for row in rows):
        return Limit.HEADS
    for row in rows:
        grouped = row["attention"] in (Attention.GQA, Attention.LINEAR)
        if grouped and row["kv_heads"] % tp and tp % row["kv_heads"]:
            return Limit.KV_HEADS
    expert_rows = [row for row in rows if row["experts"]]
    if (ep > 1 and not expert_rows) or any(row["experts"] % ep for row in expert_rows):
        return Limit.EXPERTS
    if expert_rows and ep * moe_tp != tp * dp:
        return Limit.EXPERT_GROUP
    if drafts and not model["draft_rows"]:
        return Limit.DRAFT
    if context > model["max_context"]:
        return Limit.CONTEXT
    return Limit.NONE


def attention_elements(model: Plain, row: Plain, shape: Shape) -> int:
    """Weights of a layer's attention on one rank, its indexer apart."""
    hidden = model["hidden"]
    heads, _ = local_heads(row, shape)
    if row["attention"] == Attention.GQA:
        return int(hidden * (input_width(row, shape) + heads * row["v_head"]))
    if row["attention"] == Attention.LINEAR:
        return int(hidden * (columns(row, shape) + heads * row["v_head"]))
    if row["attention"] == Attention.MLA:
        c, n, r, v = row["kv_lora"], row["qk_nope"], row["qk_rope"], row["v_head"]
        first = (row["q_lora"] if row["q_lora"] else heads * (n + r)) + c + r
        return int(hidden * first + row["q_lora"] * heads * (n + r) + c * heads * (n + v) + heads * v * hidden)
    return 0


def indexer_elements(model: Plain, row: Plain) -> int:
    """Weights of a layer's indexer; every rank holds all of it."""
    heads, width = row["index_heads"], row["index_dim"]
    if heads == 0:
        return 0
    from_width = row["q_lora"] if row["q_lora"] else model["hidden"]
    return int(from_width * heads * width + model["hidden"] * (width + heads))


def row_weight_bytes(model: Plain, row: Plain, kit: Plain, shape: Shape) -> float:
    """Weights of one layer on one rank [B]."""
    hidden = model["hidden"]
    total = 2.0 * row["other_params"]
    total += kit["attn"]["w_weight"] * (attention_elements(model, row, shape) + indexer_elements(model, row))
    matrices = row["ffn_matrices"]
    total += kit["ffn"]["w_weight"] * matrices * hidden * ceil_div(row["ffn_inner"], shape.tp)
    total += kit["shared"]["w_weight"] * matrices * hidden * ceil_div(row["shared_inner"], shape.tp)
    if row["experts"]:
        one = matrices * row["expert_hidden"] * ceil_div(row["expert_inner"], shape.moe_tp)
        total += row["experts"] // shape.ep * one * kit["expert"]["w_weight"]
        total += kit["router"]["w_weight"] * hidden * row["experts"]
        if row["expert_hidden"] != hidden:
            total += kit["shared"]["w_weight"] * 2 * hidden * row["expert_hidden"]
    return total


def row_cache_bytes(row: Plain, kit: Plain, shape: Shape, context: int) -> float:
    """What one layer holds of one sequence on one rank [B]: a cache, an index cache, or a state."""
    if row["attention"] == Attention.NONE:
        return 0.0
    if row["attention"] == Attention.LINEAR:
        return state_bytes(row, kit, shape) + conv_state_bytes(row, kit, shape)
    if row["attention"] == Attention.GQA:
        per_token = local_heads(row, shape)[1] * (row["head_dim"] + row["v_head"])
    else:
        per_token = row["kv_lora"] + row["qk_rope"]
    cache = kept(row, context) * per_token * kit["decode_core"]["w_weight"]
    index = context * row["index_dim"] * kit["index"]["w_weight"] if row["index_heads"] else 0.0
    return float(cache + index)


def work_bytes(model: Plain, kit: Plain, shape: Shape) -> float:
    """Activations of the largest pass [B]."""
    width, expert_elements = 0, 0.0
    for row in model["rows"]:
        matrices = row["ffn_matrices"]
        if row["attention"] == Attention.GQA:
            width = max(width, input_width(row, shape))
        elif row["attention"] == Attention.LINEAR:
            width = max(width, columns(row, shape))
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
    drafts: int = 0,
) -> dict[str, float | bool]:
    """Section 9, equation (17): bytes of the fullest rank and whether they fit."""
    shape = shape_of(deployment, batch, new_tokens, context, prefill)
    share = ceil_div(model["layers"], shape.pp) / model["layers"]  # rho
    table = ceil_div(model["vocab"], shape.tp) * model["hidden"]
    embed, head = kit["w_embed"] * table, kit["head"]["w_weight"] * table
    ends = max(embed, head) if shape.pp > 1 or model["tied"] else embed + head
    weights = share * sum(row["count"] * row_weight_bytes(model, row, kit, shape) for row in model["rows"]) + ends
    per_sequence = share * sum(row["count"] * row_cache_bytes(row, kit, shape, context) for row in model["rows"])
    if drafts:
        module = 2 * model["hidden"] ** 2 * kit["attn"]["w_weight"]
        for row in model["draft_rows"]:
            module += row["count"] * row_weight_bytes(model, row, kit, shape)
            held = row["count"] * row_cache_bytes(row, kit, shape, context)
            per_sequence += model["draft_modules"] * held
        weights += model["draft_modules"] * module
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
    drafts: int = 0,
) -> Limit:
    """Why a cell has no value; Limit.NONE where it runs."""
    limit = deployment_limit(model, machine, kit, deployment, context, drafts)
    if limit or kit is None:
        return limit
    if not memory_of(model, machine, kit, deployment, batch, new_tokens, context, prefill, drafts)["fits"]:
        return Limit.MEMORY
    return Limit.NONE


def largest_batch(
    model: Plain,
    machine: Plain,
    kit: Plain | None,
    deployment: Plain,
    new_tokens: int,
    context: int,
    at_most: int,
    drafts: int = 0,
) -> int:
    """Largest decode batch that runs, by trying one after another; 0 where none does, never above `at_most`."""
    for batch in range(1, at_most + 1):
        if limit_of(model, machine, kit, deployment, batch, new_tokens, context, False, drafts):
            return batch - 1
    return at_most
