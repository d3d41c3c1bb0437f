"""Section 5l: linear attention, a state of constant size in place of a cache."""

from __future__ import annotations

from typing import Any

from roofline.layout import Component
from tests.oracle.operations import Operation, Shape, gemm, local_heads, operation

Plain = dict[str, Any]


def channels(row: Plain, shape: Shape) -> int:
    """X: local channels of the short convolution, those of values, keys and queries."""
    heads, key_heads = local_heads(row, shape)
    return heads * row["v_head"] + 2 * key_heads * row["head_dim"]


def columns(row: Plain, shape: Shape) -> int:
    """I: local columns of the input projection: the channels, the output gate, and the gates of each value head."""
    heads, _ = local_heads(row, shape)
    return channels(row, shape) + heads * row["v_head"] + row["gates"] * heads


def state_bytes(row: Plain, kit: Plain, shape: Shape) -> float:
    """State of one sequence on one rank [B], without the convolution's."""
    heads, _ = local_heads(row, shape)
    return float(heads * row["head_dim"] * row["v_head"] * kit["scan"]["w_weight"])


def conv_state_bytes(row: Plain, kit: Plain, shape: Shape) -> float:
    """The last tokens a short convolution still needs, of one sequence on one rank [B]."""
    return float(channels(row, shape) * (row["conv"] - 1) * kit["w_conv"])


def linear_operations(model: Plain, row: Plain, kit: Plain, machine: Plain, shape: Shape) -> list[Operation]:
    """Projection in, equation (5l), projection out."""
    heads, _ = local_heads(row, shape)
    rows, hidden, part, projection = shape.rows, model["hidden"], kit["scan"], Component.ATTENTION_PROJECTION
    per_head = row["state_flop"] * row["head_dim"] * row["v_head"]
    if shape.prefill:
        per_head += kit["chunk_work"] * row["chunk_flop"]
    # a pass that checks drafts keeps the state after each of them, until it knows how many were right
    writes = shape.new_tokens if not shape.prefill and not kit["bound"] else 1
    state = state_bytes(row, kit, shape) * (1 + writes) + 2 * conv_state_bytes(row, kit, shape)
    values = heads * row["v_head"]
    moved = shape.rank_batch * state + rows * (columns(row, shape) * part["w_act"] + values * part["w_out"])
    return [
        gemm("input projection", "attn", projection, kit, machine, rows, hidden, columns(row, shape)),
        operation("scan", "scan", Component.ATTENTION_CORE, kit, machine, rows * heads * per_head, moved),
        gemm("output projection", "attn", projection, kit, machine, rows, values, hidden),
    ]
