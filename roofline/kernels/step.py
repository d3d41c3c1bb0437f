"""One pass of a model over a tile of contexts: sections 1, 8 and 9 of docs/equations.md."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import inlined, kernel
from roofline.kernels.attention import (
    A_CACHE,
    A_COMPUTE,
    A_PEAK,
    A_SERIAL,
    A_TIME,
    DETAIL_CLASSES,
    DETAIL_WORK,
    MLA,
    ROWS,
    add_cache,
    add_classes,
    add_projections,
    add_work,
    query_width,
    sum_gqa,
    sum_mla,
    sum_mla_bound,
)
from roofline.kernels.collectives import all_gather, all_reduce, hand_over
from roofline.kernels.feedforward import add_dense, add_experts
from roofline.kernels.ops import (
    COMPUTE,
    LATENCY,
    LINK,
    MEMORY,
    MOVED,
    NETWORK,
    PARTS,
    PEAK,
    SLOTS,
    add_collective,
    add_gemm,
    add_traffic,
    ceil_div,
)
from roofline.layout import Attention, Component, Limit, Operation

_NO_ATTENTION = int(Attention.NONE)
_GQA = int(Attention.GQA)
_CORE = PARTS + int(Component.ATTENTION_CORE)
_EMBEDDING, _LM_HEAD, _GATHER = (
    np.int64(Operation.EMBEDDING),
    np.int64(Operation.LM_HEAD),
    np.int64(Operation.GATHER_LOGITS),
)
_REDUCE, _ELEMENTWISE = np.int64(Operation.REDUCE_ATTENTION), np.int64(Operation.ELEMENTWISE)

_RUNS = np.int64(Limit.NONE)
_HEADS = np.int64(Limit.HEADS)
_KV_HEADS = np.int64(Limit.KV_HEADS)
_EXPERTS = np.int64(Limit.EXPERTS)
_EXPERT_GROUP = np.int64(Limit.EXPERT_GROUP)
_LAYERS = np.int64(Limit.LAYERS)
_ACCELERATORS = np.int64(Limit.ACCELERATORS)


@kernel
def legality(model, layers, machine, deployment):
    """`Limit` of a deployment whatever its batch and context (section 1); 0 where it is legal."""
    tp, ep = deployment.tp, deployment.ep
    if tp * deployment.pp * deployment.dp > machine.max_accelerators:
        return _ACCELERATORS
    if deployment.pp > model.layers:
        return _LAYERS
    routed, uneven, heads, kv_heads = False, False, False, False
    for i in range(model.first_layer, model.last_layer):
        layer = layers[i]
        if layer.attention != _NO_ATTENTION and layer.heads % tp != 0:
            heads = True
        if layer.attention == _GQA and layer.kv_heads % tp != 0 and tp % layer.kv_heads != 0:
            kv_heads = True
        if layer.experts > 0:
            routed = True
            uneven = uneven or layer.experts % ep != 0
    if heads:
        return _HEADS
    if kv_heads:
        return _KV_HEADS
    if uneven or (ep > 1 and not routed):
        return _EXPERTS
    if routed and ep * deployment.moe_tp != tp * deployment.dp:
        return _EXPERT_GROUP
    return _RUNS


@kernel
def clear_tally(tally):
    """Zero a tally. A loop: assignment of a slice compiles to much more code."""
    for slot in range(SLOTS):
        tally[slot] = 0.0


@kernel
def layer_tally(tally, layer, model, machine, kit, deployment, rows, tokens, prompt):
    """Tally one layer of a kind, apart from what depends on the context (the attention core)."""
    clear_tally(tally)
    tp, hidden, bandwidth = deployment.tp, model.hidden, machine.bytes_per_s
    kernels = 0
    if layer.attention != _NO_ATTENTION:
        add_projections(tally, layer, hidden, rows, tp, kit.attn, bandwidth)
        fixed, sending = all_reduce(machine, tp, rows * hidden * kit.w_reduce)
        add_collective(tally, _REDUCE, fixed, sending)
        kernels += layer.norms + 1
    else:
        kernels += layer.norms
    if layer.ffn_inner > 0:
        add_dense(tally, layer, hidden, rows, machine, kit, deployment)
    if layer.experts > 0:
        add_experts(tally, layer, model, rows, tokens, machine, kit, deployment, prompt)
    if layer.ffn_inner > 0 or layer.shared_inner > 0:
        kernels += 1
    gated = layer.ffn_matrices * (ceil_div(layer.ffn_inner, tp) + ceil_div(layer.shared_inner, tp))
    touched = 4.0 * hidden * layer.norms + 2.0 * query_width(layer, tp) + gated
    add_traffic(
        tally,
        _ELEMENTWISE,
        rows * kit.w_hidden * touched,
        kernels * kit.elementwise_fixed_s,
        kit.elementwise_eta_memory,
        bandwidth,
    )


@inlined
def tally_layers(tallies, total, model, layers, machine, kit, deployment, sequences, new, tokens, prompt):
    """Tally every kind of layer apart from its attention core, and sum them.

    tallies : float64[kinds, ops.SLOTS]   written, one row a kind.   total : float64[ops.SLOTS]   written.
    sequences : on one attention rank.   new : tokens a sequence.   prompt : a prefill pass.
    """
    core = kit.context_core if prompt else kit.decode_core
    clear_tally(total)
    for i in range(model.first_layer, model.last_layer):
        layer, tally = layers[i], tallies[i - model.first_layer]
        layer_tally(tally, layer, model, machine, kit, deployment, sequences * new, tokens, prompt)
        if layer.attention == _GQA:
            tally[LATENCY] += core.fixed_s
            tally[_CORE] += core.fixed_s
        for slot in range(SLOTS):
            total[slot] += layer.count * tally[slot]


@kernel
def sum_caches(acc, model, layers, kit, deployment, contexts):
    """Sum the KV cache of one sequence over all layers into a tile of contexts [B]."""
    for c in range(contexts.size):
        acc[A_CACHE, c] = 0.0
    for i in range(model.first_layer, model.last_layer):
        add_cache(acc, layers[i], contexts, deployment.tp, kit.decode_core.w_weight)


@inlined
def sum_cores(acc, tallies, model, layers, machine, kit, deployment, contexts, sequences, new, prompt, detail):
    """Sum what depends on the context over all layers of a pass into a tile of contexts.

    acc : float64[attention.ROWS, n]   written but for the cache.   tallies : from `tally_layers`.
    contexts : float64[n] tokens.   detail : which rows are asked for.
    """
    core = kit.context_core if prompt else kit.decode_core
    bound = kit.bound == 1
    tp, bandwidth = deployment.tp, machine.bytes_per_s
    rows = ROWS if detail >= DETAIL_CLASSES else A_COMPUTE if detail >= DETAIL_WORK else A_PEAK
    for row in range(rows):
        if row != A_CACHE:
            for c in range(contexts.size):
                acc[row, c] = 0.0
    for i in range(model.first_layer, model.last_layer):
        layer, tally = layers[i], tallies[i - model.first_layer]
        if layer.attention == MLA:
            if bound:
                sum_mla_bound(
                    acc, tally, layer, contexts, sequences, new, tp, kit.attn, core, kit.w_expand, bandwidth, detail
                )
            else:
                sum_mla(
                    acc, tally, layer, contexts, sequences, new, tp, kit.attn, core, kit.w_expand, bandwidth, detail
                )
        elif layer.attention == _GQA:
            sum_gqa(acc, tally, layer, contexts, sequences, new, tp, core, bandwidth, bound, detail)
        else:
            sum_without(acc, tally, 1.0 * layer.count, contexts.size, bandwidth, bound, detail)


@kernel
def sum_without(acc, tally, count, n, bandwidth, bound, detail):
    """Add `count` layers without attention to each of n contexts; in series their times are in the tally alone."""
    memory = tally[MOVED] / bandwidth
    for c in range(n):
        if bound:
            acc[A_TIME, c] += count * max(max(tally[PEAK], memory), tally[LINK])
        if detail >= DETAIL_WORK:
            add_work(acc, c, count, tally[PEAK], tally[MOVED])
        if bound and detail >= DETAIL_CLASSES:
            add_classes(acc, c, count, tally[PEAK], memory, tally[LINK])


@kernel
def ends(first, last, model, machine, kit, deployment, rows, head_rows):
    """Tally the embedding into `first` and the lm_head with its gather into `last`."""
    tp, bandwidth = deployment.tp, machine.bytes_per_s
    clear_tally(first)
    clear_tally(last)
    moved = rows * model.hidden * (kit.w_embed + kit.w_hidden)
    add_traffic(first, _EMBEDDING, moved, kit.elementwise_fixed_s, kit.elementwise_eta_memory, bandwidth)
    if head_rows > 0:
        add_gemm(last, _LM_HEAD, model.hidden, ceil_div(model.vocab, tp), head_rows, kit.head, bandwidth)
        fixed, sending = all_gather(machine, tp, head_rows * model.vocab * kit.w_gather_logit)
        add_collective(last, _GATHER, fixed, sending)


@kernel
def roof(tally, bandwidth, classes):
    """Time of a tally on its own as `ideal` counts it: max(compute, memory, link), added to its class in `classes`."""
    memory = tally[MOVED] / bandwidth
    top = max(max(tally[PEAK], memory), tally[LINK])
    if tally[PEAK] >= top:
        classes[K_COMPUTE] += top
    elif memory >= top:
        classes[K_MEMORY] += top
    else:
        classes[K_NETWORK] += top
    return top


@kernel
def hop(machine, kit, deployment, model, rows):
    """(fixed, sending) time of one hand-over between stages; 0 without a pipeline."""
    if deployment.pp == 1:
        return 0.0, 0.0
    return hand_over(machine, deployment.tp * deployment.pp * deployment.dp, rows * model.hidden * kit.w_reduce)


@kernel
def pipeline_shares(model, deployment):
    """(rho, tail): shares of all layers in the fullest and in the last stage: equation (15)."""
    per_stage = ceil_div(model.layers, deployment.pp)
    tail = max(0, model.layers - (deployment.pp - 1) * per_stage)
    return per_stage / model.layers, tail / model.layers


# What a pass costs whatever its context: a vector filled by `close_pass`, one slot each.
(K_LATENCY, K_COMPUTE, K_MEMORY, K_NETWORK, K_LAYERS, K_FIRST, K_LAST, K_HOPS, K_PEAK, K_MOVED,
 K_SERIAL_FIRST, K_SERIAL_LAST, K_SERIAL_HOPS) = range(13)  # fmt: skip
CONSTANTS = 13


@kernel
def close_pass(k, total, first, last, model, machine, kit, deployment, rows):
    """Gather in k : float64[CONSTANTS] what every context of a pass shares: classes, ends, hops [s], work.

    K_LATENCY to K_NETWORK and K_PEAK, K_MOVED cover layers, ends and hops; K_LAYERS is the layers alone.
    """
    bandwidth = machine.bytes_per_s
    hop_fixed, hop_sending = hop(machine, kit, deployment, model, rows)
    hops = deployment.pp - 1
    for slot in range(CONSTANTS):
        k[slot] = 0.0
    k[K_PEAK] = first[PEAK] + last[PEAK]
    k[K_MOVED] = first[MOVED] + last[MOVED]
    k[K_SERIAL_HOPS] = hops * (hop_fixed + hop_sending)
    if kit.bound == 1:  # layers are all in the accumulator; hops hide behind the stages
        k[K_FIRST] = roof(first, bandwidth, k)
        k[K_LAST] = roof(last, bandwidth, k)
        k[K_SERIAL_FIRST] = max(first[PEAK], first[MOVED] / bandwidth) + first[LINK]
        k[K_SERIAL_LAST] = max(last[PEAK], last[MOVED] / bandwidth) + last[LINK]
        return
    k[K_LATENCY] = total[LATENCY] + first[LATENCY] + last[LATENCY] + hops * hop_fixed
    k[K_COMPUTE] = total[COMPUTE] + first[COMPUTE] + last[COMPUTE]
    k[K_MEMORY] = total[MEMORY] + first[MEMORY] + last[MEMORY]
    k[K_NETWORK] = total[NETWORK] + first[NETWORK] + last[NETWORK] + hops * hop_sending
    k[K_LAYERS] = total[LATENCY] + total[COMPUTE] + total[MEMORY] + total[NETWORK]
    k[K_FIRST] = first[LATENCY] + first[COMPUTE] + first[MEMORY] + first[NETWORK]
    k[K_LAST] = last[LATENCY] + last[COMPUTE] + last[MEMORY] + last[NETWORK]
    k[K_HOPS] = k[K_SERIAL_HOPS]
    k[K_SERIAL_FIRST] = k[K_FIRST]
    k[K_SERIAL_LAST] = k[K_LAST]


@kernel
def stage_times(whole, slowest, acc, k, model, deployment):
    """Sum of all stages and the slowest stage of a pass, for each context of a tile: equation (15).

    whole, slowest : float64[n]   written [s]; may be one array without a pipeline, where they are equal.
    """
    base, start, end, time = k[K_LAYERS], k[K_FIRST], k[K_LAST], acc[A_TIME]
    if deployment.pp == 1:
        for c in range(whole.size):
            whole[c] = start + (base + time[c]) + end
        return
    rho, tail = pipeline_shares(model, deployment)
    for c in range(whole.size):
        layers = base + time[c]
        whole[c] = start + layers + end
        slowest[c] = max(start + rho * layers, tail * layers + end)


@kernel
def serial_times(whole, slowest, acc, k, model, deployment):
    """As `stage_times` with each layer's collectives after its other work (meant for `ideal`)."""
    rho, tail = pipeline_shares(model, deployment)
    start, end, time = k[K_SERIAL_FIRST], k[K_SERIAL_LAST], acc[A_SERIAL]
    if deployment.pp == 1:
        for c in range(whole.size):
            whole[c] = start + time[c] + end
        return
    for c in range(whole.size):
        layers = time[c]
        whole[c] = start + layers + end
        slowest[c] = max(start + rho * layers, tail * layers + end)
