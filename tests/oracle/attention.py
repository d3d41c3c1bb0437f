"""Sections 3 to 5: what attention sees, GQA and MLA."""

from __future__ import annotations

from typing import Any

from roofline.layout import Attention, Component
from tests.oracle.operations import Operation, Shape, gemm, operation

Plain = dict[str, Any]


def pairs_seen(new_tokens: int, context: int, window: int) -> int:
    """Equation (3) by what it means: new token i stands at position L - Q + i and sees min(position, w) tokens.

    Counted in closed form per side of the window, not with the document's triangular numbers.
    """
    first = context - new_tokens + 1  # position of the first new token
    if first >= window:
        return new_tokens * window
    last_growing = min(context, window)  # positions first .. last_growing see themselves and all before
    growing = (first + last_growing) * (last_growing - first + 1) // 2
    return growing + (context - last_growing) * window


def tokens_read(new_tokens: int, context: int, window: int) -> int:
    """seen(Q, L, w): the first new token looks back w - 1 tokens, the last stands at L."""
    oldest = max(1, context - new_tokens + 1 - (window - 1))
    return context - oldest + 1


def tokens_kept(context: int, window: int) -> int:
    return min(context, window)


def local_heads(row: Plain, shape: Shape) -> tuple[int, int]:
    """(Ht, Kt): query and KV heads of one rank; KV heads replicate past kv_heads."""
    return row["heads"] // shape.tp, max(1, row["kv_heads"] // shape.tp)


def core_part(shape: Shape) -> str:
    return "context_core" if shape.prefill else "decode_core"


def gqa_operations(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Section 4."""
    heads, kv_heads = local_heads(row, shape)
    d, hidden, rows, name = row["head_dim"], model["hidden"], shape.rows, core_part(shape)
    core = kit[name]
    pairs = pairs_seen(shape.new_tokens, shape.context, row["window"])
    seen = tokens_read(shape.new_tokens, shape.context, row["window"])
    flop = 4 * shape.rank_batch * heads * d * pairs
    cache_bytes = 2 * kv_heads * d * core["w_weight"] * shape.rank_batch * (seen + shape.new_tokens)
    query_bytes = rows * heads * d * core["w_act"]
    output_bytes = rows * heads * d * core["w_out"]
    projection = Component.ATTENTION_PROJECTION
    return [
        gemm("qkv projection", "attn", projection, kit, machine, rows, hidden, (heads + 2 * kv_heads) * d),
        operation("core", name, Component.ATTENTION_CORE, kit, machine, flop, cache_bytes + query_bytes + output_bytes),
        gemm("output projection", "attn", projection, kit, machine, rows, heads * d, hidden),
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
    pairs = pairs_seen(shape.new_tokens, shape.context, row["window"])
    seen = tokens_read(shape.new_tokens, shape.context, row["window"])
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
    pairs = pairs_seen(shape.new_tokens, shape.context, row["window"])
    read = shape.rank_batch * tokens_read(shape.new_tokens, shape.context, row["window"])
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


def attention_forms(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[list[Operation]]:
    """The ways a layer's attention can run; the first wins a tie."""
    if row["attention"] == Attention.GQA:
        return [gqa_operations(model, row, kit, machine, shape)]
    if row["attention"] == Attention.MLA:
        shared = mla_projections(model, row, kit, machine, shape)
        forms = [mla_absorbed(row, kit, machine, shape), mla_unabsorbed(row, kit, machine, shape)]
        return [shared + form for form in forms]
    return [[]]


def query_key_width(row: Plain, shape: Shape) -> int:
    """qk of equation (9): what rotary embedding touches."""
    if row["attention"] == Attention.GQA:
        heads, kv_heads = local_heads(row, shape)
        return (heads + kv_heads) * row["head_dim"]
    if row["attention"] == Attention.MLA:
        heads = row["heads"] // shape.tp
        return heads * (row["qk_nope"] + row["qk_rope"]) + row["kv_lora"] + row["qk_rope"]
    return 0
