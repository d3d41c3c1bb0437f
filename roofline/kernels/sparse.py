"""The indexer of sparse attention (section 5s): projections in the tally, scores and selection over contexts."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.contexts import A_COMPUTE, A_MEMORY, A_TIME, DETAIL_CLASSES, DETAIL_WORK, add_work
from roofline.kernels.ops import LATENCY, MOVED, PARTS, PEAK, add_gemm, add_operation, add_traffic
from roofline.layout import Component, Operation

_INDEX_QUERY, _INDEX_KEY = np.int64(Operation.INDEX_QUERY), np.int64(Operation.INDEX_KEY)
_INDEX, _TOP_K = np.int64(Operation.INDEX), np.int64(Operation.TOP_K)
_CORE = PARTS + int(Component.ATTENTION_CORE)


@kernel
def index_query_inputs(layer, hidden):
    """Width that the queries of the indexer are projected from: the compressed queries where there are any."""
    return layer.q_lora if layer.q_lora > 0 else hidden


@kernel
def index_params(layer, hidden):
    """Weights of the indexer of one layer, replicated under tp [elements]; 0 where it has none."""
    query = index_query_inputs(layer, hidden) * layer.index_heads * layer.index_dim
    return query + hidden * (layer.index_dim + layer.index_heads) if layer.index_heads > 0 else 0


@kernel
def index_bytes_per_token(layer, kit):
    """Cache of index keys of one token in one layer [B]; 0 where it has no indexer."""
    return layer.index_dim * kit.index.w_weight if layer.index_heads > 0 else 0.0


@kernel
def add_index_projections(tally, layer, hidden, rows, part, bandwidth):
    """Add the projections to index queries, and to index keys with the weights of the heads."""
    queries = layer.index_heads * layer.index_dim
    add_gemm(tally, _INDEX_QUERY, index_query_inputs(layer, hidden), queries, rows, part, bandwidth)
    add_gemm(tally, _INDEX_KEY, hidden, layer.index_dim + layer.index_heads, rows, part, bandwidth)


@kernel
def index_coefficients(layer, sequences, new, kit):
    """Scores: FLOP per pair; bytes = fixed + per_token * context + per_score * pairs: equation (5i).

    The selection reads per_score bytes a pair again.
    """
    part = kit.index
    cached = 1.0 * layer.index_dim * part.w_weight * sequences
    fixed = cached * new + 1.0 * sequences * new * layer.index_heads * layer.index_dim * part.w_act
    return 2.0 * sequences * layer.index_heads * layer.index_dim, fixed, cached, sequences * kit.w_score


@kernel
def add_index(tally, layer, context, sequences, new, kit, bandwidth):
    """Add scores and selection at one context."""
    per_pair, fixed, per_token, per_score = index_coefficients(layer, sequences, new, kit)
    pairs = new * context - 0.5 * new * (new - 1.0)
    moved = fixed + per_token * context + per_score * pairs
    add_operation(tally, _INDEX, per_pair * pairs, moved, kit.index, bandwidth)
    add_traffic(tally, _TOP_K, per_score * pairs, kit.top_k_fixed_s, kit.top_k_eta_memory, bandwidth)


@kernel
def index_slopes(layer, sequences, new, kit):
    """What one more token of context adds to the work of the indexer of a layer: seconds at dense peak, and bytes."""
    if layer.index_heads == 0:
        return 0.0, 0.0
    per_pair, _, per_token, per_score = index_coefficients(layer, sequences, new, kit)
    return per_pair * new / kit.index.flop_per_s, per_token + 2.0 * per_score * new


@kernel
def add_index_constants(tally, layer, sequences, new, kit):
    """Add what the scores and the selection cost whatever the context: fixed times; in `bound` the rest of the work.

    There the work of a layer is one sum, C and D, linear in the context: `index_slopes` has what grows.
    """
    if kit.bound == 0:
        tally[LATENCY] += kit.index.fixed_s + kit.top_k_fixed_s
        tally[_CORE] += kit.index.fixed_s + kit.top_k_fixed_s
        return
    per_pair, fixed, _, per_score = index_coefficients(layer, sequences, new, kit)
    unseen = 0.5 * new * (new - 1.0)
    tally[PEAK] -= per_pair * unseen / kit.index.flop_per_s
    tally[MOVED] += fixed - 2.0 * per_score * unseen


@kernel
def sum_index(acc, layer, contexts, sequences, new, kit, bandwidth, detail):
    """Add scores and selection of `count` layers, in series with the rest, to each context of a tile.

    acc : float64[contexts.ROWS, tile]   added to.   contexts : float64[n]   tokens, new ones included.
    """
    part, count, unseen = kit.index, 1.0 * layer.count, 0.5 * new * (new - 1.0)
    per_pair, fixed, per_token, per_score = index_coefficients(layer, sequences, new, kit)
    memory_rate = part.eta_memory * bandwidth
    pair_s, start = per_pair / (part.eta_compute * part.flop_per_s), fixed / memory_rate
    token_s, score_s = per_token / memory_rate, per_score / memory_rate
    select_s = per_score / (kit.top_k_eta_memory * bandwidth)
    for c in range(contexts.size):
        pairs = new * contexts[c] - unseen
        memory = start + token_s * contexts[c] + score_s * pairs
        acc[A_TIME, c] += count * (max(pair_s * pairs, memory) + select_s * pairs)
    if detail >= DETAIL_WORK:
        peak, scores = per_pair / part.flop_per_s, 2.0 * per_score
        for c in range(contexts.size):
            pairs = new * contexts[c] - unseen
            add_work(acc, c, count, peak * pairs, fixed + per_token * contexts[c] + scores * pairs)
    if detail >= DETAIL_CLASSES:
        for c in range(contexts.size):
            pairs = new * contexts[c] - unseen
            compute, memory = pair_s * pairs, start + token_s * contexts[c] + score_s * pairs
            acc[A_COMPUTE, c] += count * (compute if compute >= memory else 0.0)
            acc[A_MEMORY, c] += count * ((0.0 if compute >= memory else memory) + select_s * pairs)
