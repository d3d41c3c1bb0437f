"""Memory of the fullest rank: equation (17)."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.attention import LINEAR, MLA, NO_ATTENTION
from roofline.kernels.contexts import A_CACHE
from roofline.kernels.feedforward import feedforward_params
from roofline.kernels.linear import state_bytes
from roofline.kernels.moe import expert_load
from roofline.kernels.ops import ceil_div
from roofline.kernels.projections import attention_params, cache_bytes_per_token, first_projection_width
from roofline.kernels.sparse import index_bytes_per_token

_ONE = np.int64(1)


@kernel
def layer_bytes(layer, hidden, kit, deployment):
    """Weights of one layer of a kind on one rank [B]."""
    size = kit.attn.w_weight * attention_params(layer, hidden, deployment.tp)
    return size + feedforward_params(layer, hidden, deployment, kit) + 2.0 * layer.other_params


@kernel
def weight_bytes(model, layers, kit, deployment, drafts):
    """Weights on the rank of the fullest pipeline stage [B], with what is replicated.

    drafts : int   tokens drafted per step; where any are, the modules that draft are held too.
    """
    hidden, stack = model.hidden, 0.0
    for i in range(model.first_layer, model.last_layer):
        stack += layers[i].count * layer_bytes(layers[i], hidden, kit, deployment)
    vocab = ceil_div(model.vocab, deployment.tp)
    embed = kit.w_embed * vocab * hidden
    head = kit.head.w_weight * vocab * hidden
    if deployment.pp > 1 or model.tied == 1:
        ends = max(embed, head)
    else:
        ends = embed + head
    total = stage_share(model, deployment) * stack + ends
    if drafts > 0:
        module = 2.0 * hidden * hidden * kit.attn.w_weight
        for i in range(model.first_draft, model.last_draft):
            module += layers[i].count * layer_bytes(layers[i], hidden, kit, deployment)
        total += model.draft_modules * module
    return total


@kernel
def stage_share(model, deployment):
    """Share of all layers that the fullest stage holds (rho)."""
    return ceil_div(model.layers, deployment.pp) / model.layers


@kernel
def work_bytes(model, layers, kit, deployment, rows, tokens, head_rows):
    """Activations of the largest pass [B]."""
    tp = deployment.tp
    width, routed = 0.0, 0.0
    for i in range(model.first_layer, model.last_layer):
        layer = layers[i]
        if layer.attention == MLA:
            attention = (layer.heads // tp) * (layer.qk_nope + layer.qk_rope)
        else:
            attention = first_projection_width(layer, tp) if layer.attention != NO_ATTENTION else 0
        inner = max(ceil_div(layer.ffn_inner, tp), ceil_div(layer.shared_inner, tp))
        width = max(width, max(1.0 * attention, 1.0 * (layer.ffn_matrices - 1) * inner))
        if layer.experts > 0:
            _, load = expert_load(
                layer.experts, layer.top_k, deployment.ep, tokens, kit.fullest_rank == 1, kit.expert_skew
            )
            each = layer.expert_hidden + (layer.ffn_matrices - 1) * ceil_div(layer.expert_inner, deployment.moe_tp)
            routed = max(routed, load * each)
    logits = head_rows * ceil_div(model.vocab, tp)
    return kit.w_hidden * (rows * (4.0 * model.hidden + width) + routed) + kit.w_logit * logits


@kernel
def capacity_bytes(machine):
    """Memory a serving process may fill [B]."""
    return machine.memory_bytes * machine.memory_fraction - machine.reserve_bytes


@kernel
def add_cache(acc, layer, copies, contexts, tp, kit):
    """Add what one sequence keeps in `copies` layers of a kind on one rank to each context of a tile [B]."""
    if layer.attention == NO_ATTENTION:
        return
    if layer.attention == LINEAR:
        state = copies * state_bytes(layer, tp, kit)
        for c in range(contexts.size):
            acc[A_CACHE, c] += state
        return
    window, per_token = 1.0 * layer.window, copies * cache_bytes_per_token(layer, tp, kit.decode_core.w_weight)
    for c in range(contexts.size):
        acc[A_CACHE, c] += per_token * min(contexts[c], window)
    if layer.index_heads > 0:
        index = copies * index_bytes_per_token(layer, kit)
        for c in range(contexts.size):
            acc[A_CACHE, c] += index * contexts[c]


@kernel
def sum_caches(acc, model, layers, kit, deployment, contexts, drafts):
    """Sum what one sequence keeps over all layers into a tile of contexts [B]: cache = `stage_share` times this.

    acc : float64[> A_CACHE, >= n]   row A_CACHE written.   contexts : float64[n] tokens.
    """
    for c in range(contexts.size):
        acc[A_CACHE, c] = 0.0
    for i in range(model.first_layer, model.last_layer):
        add_cache(acc, layers[i], 1.0 * layers[i].count, contexts, deployment.tp, kit)
    if drafts > 0:  # whole on the last stage
        modules = model.draft_modules / stage_share(model, deployment)
        for i in range(model.first_draft, model.last_draft):
            add_cache(acc, layers[i], modules * layers[i].count, contexts, deployment.tp, kit)


@kernel
def cache_bytes_per_sequence(model, layers, kit, deployment, context, drafts):
    """KV cache of one sequence of `context` tokens on the fullest rank [B]."""
    acc, contexts = np.empty((A_CACHE + 1, 1)), np.empty(1)
    contexts[0] = context
    sum_caches(acc, model, layers, kit, deployment, contexts, drafts)
    return stage_share(model, deployment) * acc[A_CACHE, 0]


@kernel
def largest_batch(model, layers, machine, kit, deployment, context, new, drafts):
    """Largest number of sequences in one replica whose decode pass fits: equation (17) solved for B; 0 if none fits."""
    free = capacity_bytes(machine) - weight_bytes(model, layers, kit, deployment, drafts)
    cache = cache_bytes_per_sequence(model, layers, kit, deployment, context, drafts)
    low, high = _ONE, 2 * _ONE
    if not _fits(model, layers, kit, deployment, free, cache, low, new):
        return 0
    while high < 1 << 40 and _fits(model, layers, kit, deployment, free, cache, high, new):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(model, layers, kit, deployment, free, cache, middle, new):
            low = middle
        else:
            high = middle
    return low


@kernel
def _fits(model, layers, kit, deployment, free, cache, batch, new):
    sequences = ceil_div(batch, min(batch, deployment.pp))
    rows = ceil_div(sequences, deployment.dp) * new
    work = work_bytes(model, layers, kit, deployment, rows, sequences * new, rows)
    return cache * ceil_div(batch, deployment.dp) + work <= free
