"""Sections 4, 5 and 5s: GQA, MLA, and the indexer of sparse attention. What a layer's attention can run as."""

from __future__ import annotations

from typing import Any

from roofline.layout import Attention, Component
from tests.oracle.linear import channels, linear_operations
from tests.oracle.operations import Operation, Shape, gemm, local_heads, move, operation
from tests.oracle.visible import pairs_seen, visible, visible_under_a_mask

Plain = dict[str, Any]


def core_part(shape: Shape) -> str:
    return "context_core" if shape.prefill else "decode_core"


def input_width(row: Plain, shape: Shape) -> int:
    """Local columns of the input projection of GQA: Q, K, V and the output gate where there is one."""
    heads, kv_heads = local_heads(row, shape)
    gate = heads * row["v_head"] if row["gated"] else 0
    return heads * row["head_dim"] + kv_heads * (row["head_dim"] + row["v_head"]) + gate


def gqa_operations(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Section 4."""
    heads, kv_heads = local_heads(row, shape)
    hidden, rows, name = model["hidden"], shape.rows, core_part(shape)
    key_width, value_width = row["head_dim"], row["v_head"]
    core = kit[name]
    pairs, seen = visible(row, kit, shape)
    flop = 2 * shape.rank_batch * heads * pairs * key_width  # scores
    flop += 2 * shape.rank_batch * heads * pairs * value_width  # weighted values
    touched = shape.rank_batch * (seen + shape.new_tokens)
    cache_bytes = kv_heads * (key_width + value_width) * core["w_weight"] * touched
    query_bytes = rows * heads * key_width * core["w_act"]
    output_bytes = rows * heads * value_width * core["w_out"]
    projection = Component.ATTENTION_PROJECTION
    return [
        gemm("qkv projection", "attn", projection, kit, machine, rows, hidden, input_width(row, shape)),
        operation("core", name, Component.ATTENTION_CORE, kit, machine, flop, cache_bytes + query_bytes + output_bytes),
        gemm("output projection", "attn", projection, kit, machine, rows, heads * value_width, hidden),
    ]


def mla_projections(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Section 5, what both forms share."""
    heads, rows = row["heads"] // shape.tp, shape.rows
    query_width = heads * (row["qk_nope"] + row["qk_rope"])
    latent = row["kv_lora"] + row["qk_rope"]
    first_width = (row["q_lora"] if row["q_lora"] else query_width) + latent
    projection = Component.ATTENTION_PROJECTION
    out = [gemm("first projection", "attn", projection, kit, machine, rows, model["hidden"], first_width)]
    if row["q_lora"]:
        out.append(gemm("query projection", "attn", projection, kit, machine, rows, row["q_lora"], query_width))
    value_width = heads * row["v_head"]
    out.append(gemm("output projection", "attn", projection, kit, machine, rows, value_width, model["hidden"]))
    return out


def mla_absorbed(row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Section 5, equation (5): attention in the latent space."""
    heads, rows, name = row["heads"] // shape.tp, shape.rows, core_part(shape)
    c, n, r, v = row["kv_lora"], row["qk_nope"], row["qk_rope"], row["v_head"]
    attn, core = kit["attn"], kit[name]
    pairs, seen = visible(row, kit, shape)
    form = Component.ATTENTION_CORE  # what differs between the forms counts as the core

    def absorb(label: str, width: int, w_latent: float, w_width: float) -> Operation:
        flop = 2 * rows * heads * c * width
        moved = heads * c * width * attn["w_weight"] + rows * heads * (c * w_latent + width * w_width)
        return operation(label, "attn", form, kit, machine, flop, moved)

    flop = 2 * shape.rank_batch * heads * pairs * (2 * c + r)
    moved = (c + r) * core["w_weight"] * shape.rank_batch * (seen + shape.new_tokens)
    moved += rows * heads * ((c + r) * core["w_act"] + c * core["w_out"])
    return [
        absorb("absorb query", n, attn["w_out"], attn["w_act"]),
        absorb("absorb value", v, attn["w_act"], attn["w_out"]),
        operation("core", name, form, kit, machine, flop, moved),
    ]


def mla_unabsorbed(row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Section 5, equation (6): expand the latent cache to K and V, then plain attention."""
    heads, rows, name = row["heads"] // shape.tp, shape.rows, core_part(shape)
    c, n, r, v = row["kv_lora"], row["qk_nope"], row["qk_rope"], row["v_head"]
    attn, core = kit["attn"], kit[name]
    pairs, seen = visible_under_a_mask(row, kit, shape)
    read = shape.rank_batch * seen
    expanded_bytes = read * heads * (n + v) * kit["w_expand"]
    expand_bytes = c * heads * (n + v) * attn["w_weight"] + read * (c + r) * core["w_weight"] + expanded_bytes
    flop = 2 * shape.rank_batch * heads * pairs * (n + r + v)
    moved = expanded_bytes + (c + r) * core["w_weight"] * shape.rank_batch * shape.new_tokens
    moved += rows * heads * ((n + r) * core["w_act"] + v * core["w_out"])
    expand_flop = 2 * read * c * heads * (n + v)
    return [
        operation("expand", "attn", Component.ATTENTION_CORE, kit, machine, expand_flop, expand_bytes),
        operation("core", name, Component.ATTENTION_CORE, kit, machine, flop, moved),
    ]


def indexer_operations(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Section 5s: every token of the context scored for every new one; nothing where a layer has no indexer."""
    heads, width, rows = row["index_heads"], row["index_dim"], shape.rows
    if heads == 0:
        return []
    part, projection, core = kit["index"], Component.ATTENTION_PROJECTION, Component.ATTENTION_CORE
    scores = shape.rank_batch * pairs_seen(shape.new_tokens, shape.context, shape.context)
    scored_bytes = shape.rank_batch * (shape.context + shape.new_tokens) * width * part["w_weight"]
    scored_bytes += rows * heads * width * part["w_act"] + scores * kit["w_score"]
    from_width = row["q_lora"] if row["q_lora"] else model["hidden"]
    chosen_bytes = scores * kit["w_score"]
    return [
        gemm("index query", "attn", projection, kit, machine, rows, from_width, heads * width),
        gemm("index key", "attn", projection, kit, machine, rows, model["hidden"], width + heads),
        operation("index", "index", core, kit, machine, 2 * heads * width * scores, scored_bytes),
        move("top k", core, machine, chosen_bytes, kit["top_k_eta_memory"], kit["top_k_fixed_s"]),
    ]


def attention_forms(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[list[Operation]]:
    """The ways a layer's attention can run; the first wins a tie."""
    if row["attention"] == Attention.LINEAR:
        return [linear_operations(model, row, kit, machine, shape)]
    indexer = indexer_operations(model, row, kit, machine, shape)
    if row["attention"] == Attention.GQA:
        return [gqa_operations(model, row, kit, machine, shape) + indexer]
    if row["attention"] == Attention.MLA:
        shared = mla_projections(model, row, kit, machine, shape) + indexer
        forms = [mla_absorbed(row, kit, machine, shape), mla_unabsorbed(row, kit, machine, shape)]
        return [shared + form for form in forms]
    return [[]]


def reworked_width(row: Plain, shape: Shape) -> int:
    """qk of equation (9): what rotary embedding touches, or the short convolution of a linear layer."""
    if row["attention"] == Attention.GQA:
        heads, kv_heads = local_heads(row, shape)
        return (heads + kv_heads) * row["head_dim"]
    if row["attention"] == Attention.MLA:
        heads = row["heads"] // shape.tp
        return heads * (row["qk_nope"] + row["qk_rope"]) + row["kv_lora"] + row["qk_rope"]
    if row["attention"] == Attention.LINEAR:
        return channels(row, shape)
    return 0


def gate_width(row: Plain, shape: Shape) -> int:
    """Gate of equation (9): what multiplies the output of attention, or the gated norm of a linear layer."""
    if row["attention"] == Attention.LINEAR or (row["attention"] == Attention.GQA and row["gated"]):
        return local_heads(row, shape)[0] * row["v_head"]
    return 0
