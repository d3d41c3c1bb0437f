"""An attention of any kind beside its core: projections, weights, widths, cache (sections 4 to 6 and 9)."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import inlined, kernel
from roofline.kernels.attention import GQA, LINEAR, MLA, NO_ATTENTION, kv_heads_per_rank
from roofline.kernels.linear import convolved_channels, linear_columns
from roofline.kernels.ops import add_gemm
from roofline.kernels.sparse import add_index_projections, index_params
from roofline.layout import Operation

_IN, _QUERY, _OUT = np.int64(Operation.PROJECT_IN), np.int64(Operation.PROJECT_QUERY), np.int64(Operation.PROJECT_OUT)


@inlined
def query_width(layer, tp):
    """Elements per token that are rotated (query and key) or, in linear attention, convolved."""
    heads = layer.heads // tp
    if layer.attention == GQA:
        return (heads + kv_heads_per_rank(layer, tp)) * layer.head_dim
    if layer.attention == MLA:
        return heads * (layer.qk_nope + layer.qk_rope) + layer.kv_lora + layer.qk_rope
    if layer.attention == LINEAR:
        return convolved_channels(layer, tp)
    return 0


@inlined
def gate_width(layer, tp):
    """Elements per token of the output gate of an attention."""
    if layer.attention == LINEAR or (layer.attention == GQA and layer.gated == 1):
        return (layer.heads // tp) * layer.v_head
    return 0


@kernel
def cache_bytes_per_token(layer, tp, w_kv):
    """KV cache of one token in one layer on one rank [B]. The latent of MLA is not sharded by tp."""
    if layer.attention == GQA:
        return kv_heads_per_rank(layer, tp) * (layer.head_dim + layer.v_head) * w_kv
    if layer.attention == MLA:
        return (layer.kv_lora + layer.qk_rope) * w_kv
    return 0.0


@kernel
def first_projection_width(layer, tp):
    """Outputs of the GEMM that reads the residual stream."""
    heads = layer.heads // tp
    if layer.attention == GQA:
        keys = heads * layer.head_dim + kv_heads_per_rank(layer, tp) * (layer.head_dim + layer.v_head)
        return keys + gate_width(layer, tp)
    if layer.attention == LINEAR:
        return linear_columns(layer, tp)
    latent = layer.kv_lora + layer.qk_rope
    if layer.q_lora > 0:
        return layer.q_lora + latent
    return heads * (layer.qk_nope + layer.qk_rope) + latent


@kernel
def attention_params(layer, hidden, tp):
    """Weights of the attention projections and the indexer of one layer on one rank [elements]."""
    if layer.attention == NO_ATTENTION:
        return 0
    heads = layer.heads // tp
    size = hidden * (first_projection_width(layer, tp) + heads * layer.v_head) + index_params(layer, hidden)
    if layer.attention == MLA:
        size += layer.q_lora * heads * (layer.qk_nope + layer.qk_rope)
        size += layer.kv_lora * heads * (layer.qk_nope + layer.v_head)
    return size


@inlined
def add_projections(tally, layer, hidden, rows, kit, tp, bandwidth):
    """Add the projections into and out of attention, and those of its indexer."""
    heads, part = layer.heads // tp, kit.attn
    add_gemm(tally, _IN, hidden, first_projection_width(layer, tp), rows, part, bandwidth)
    if layer.attention == MLA and layer.q_lora > 0:
        query = heads * (layer.qk_nope + layer.qk_rope)
        add_gemm(tally, _QUERY, layer.q_lora, query, rows, part, bandwidth)
    if layer.index_heads > 0:
        add_index_projections(tally, layer, hidden, rows, part, bandwidth)
    add_gemm(tally, _OUT, heads * layer.v_head, hidden, rows, part, bandwidth)
