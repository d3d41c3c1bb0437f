"""One pass of a model over a tile of contexts: sections 1, 8 and 9 of docs/equations.md."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.attention import GQA, LINEAR, NO_ATTENTION
from roofline.kernels.collectives import all_gather, all_reduce, hand_over
from roofline.kernels.contexts import A_SERIAL, A_TIME
from roofline.kernels.feedforward import add_dense, add_experts
from roofline.kernels.linear import add_scan
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
from roofline.kernels.projections import add_projections, gate_width, query_width
from roofline.kernels.sparse import add_index_constants
from roofline.layout import Component, Limit, Operation

_CORE = PARTS + int(Component.ATTENTION_CORE)
_EMBEDDING, _LM_HEAD, _GATHER = (
    np.int64(Operation.EMBEDDING),
    np.int64(Operation.LM_HEAD),
    np.int64(Operation.GATHER_LOGITS),
)
DECODE, PREFILL = np.bool_(False), np.bool_(True)  # the kind of a pass, `prompt`; not literals, as DETAIL_TIME
_REDUCE, _ELEMENTWISE = np.int64(Operation.REDUCE_ATTENTION), np.int64(Operation.ELEMENTWISE)

_RUNS = np.int64(Limit.NONE)
_HEADS = np.int64(Limit.HEADS)
_KV_HEADS = np.int64(Limit.KV_HEADS)
_EXPERTS = np.int64(Limit.EXPERTS)
_EXPERT_GROUP = np.int64(Limit.EXPERT_GROUP)
_LAYERS = np.int64(Limit.LAYERS)
_ACCELERATORS = np.int64(Limit.ACCELERATORS)
_DRAFT = np.int64(Limit.DRAFT)


@kernel
def legality(model, layers, machine, deployment, drafts):
    """`Limit` of a deployment whatever its batch and context (section 1); 0 where it is legal.

    drafts : int   tokens drafted per step; where any are, the layers that draft must be legal too.
    """
    tp, ep = deployment.tp, deployment.ep
    if tp * deployment.pp * deployment.dp > machine.max_accelerators:
        return _ACCELERATORS
    if deployment.pp > model.layers:
        return _LAYERS
    routed, uneven, heads, kv_heads = False, False, False, False
    own = model.last_layer - model.first_layer
    drafting = model.last_draft - model.first_draft if drafts > 0 else 0
    for n in range(own + drafting):
        layer = layers[model.first_layer + n if n < own else model.first_draft + n - own]
        if layer.attention != NO_ATTENTION and layer.heads % tp != 0:
            heads = True
        grouped = layer.attention == GQA or layer.attention == LINEAR
        if grouped and layer.kv_heads % tp != 0 and tp % layer.kv_heads != 0:
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
    if drafts > 0 and drafting == 0:
        return _DRAFT
    return _RUNS


@kernel
def clear_tally(tally):
    """Zero a tally. A loop: assignment of a slice compiles to much more code."""
    for slot in range(SLOTS):
        tally[slot] = 0.0


@kernel
def layer_tally(tally, layer, model, machine, kit, deployment, sequences, new, tokens, prompt):
    """Tally one layer of a kind, apart from what depends on the context (the attention core)."""
    rows_tally(tally, layer, model, machine, kit, deployment, sequences * new, tokens, prompt)
    if layer.attention == LINEAR:
        add_scan(tally, layer, sequences, new, deployment.tp, kit, prompt, machine.bytes_per_s)


@kernel
def rows_tally(tally, layer, model, machine, kit, deployment, rows, tokens, prompt):
    """Tally what one layer does to its rows, whichever sequences they are of: all but cores, scans and scores.

    tokens : that meet the experts.   prompt : experts are exchanged as in a prefill pass.
    """
    clear_tally(tally)
    tp, hidden, bandwidth = deployment.tp, model.hidden, machine.bytes_per_s
    kernels = 0
    if layer.attention != NO_ATTENTION:
        add_projections(tally, layer, hidden, rows, kit, tp, bandwidth)
        fixed, sending = all_reduce(machine, tp, rows * hidden * kit.w_reduce)
        add_collective(tally, _REDUCE, fixed, sending)
        kernels += layer.norms + (2 if layer.attention == LINEAR else 1)
    else:
        kernels += layer.norms
    if layer.ffn_inner > 0:
        add_dense(tally, layer, hidden, rows, machine, kit, deployment)
    if layer.experts > 0:
        add_experts(tally, layer, model, rows, tokens, machine, kit, deployment, prompt)
    if layer.ffn_inner > 0 or layer.shared_inner > 0:
        kernels += 1
    gated = layer.ffn_matrices * (ceil_div(layer.ffn_inner, tp) + ceil_div(layer.shared_inner, tp))
    touched = 4.0 * hidden * layer.norms + 2.0 * query_width(layer, tp) + 3.0 * gate_width(layer, tp) + gated
    add_traffic(
        tally,
        _ELEMENTWISE,
        rows * kit.w_hidden * touched,
        kernels * kit.elementwise_fixed_s,
        kit.elementwise_eta_memory,
        bandwidth,
    )


@kernel
def tally_layers(
    tallies, total, start, stop, model, layers, machine, kit, deployment, sequences, new, tokens, prompt
):  # fmt: skip
    """Tally the kinds of layer in rows [start, stop) apart from their attention cores, and sum them.

    tallies : float64[kinds, ops.SLOTS]   written, one row a kind.   total : float64[ops.SLOTS]   written.
    sequences : on one attention rank.   new : tokens a sequence.   prompt : a prefill pass.
    """
    core = kit.context_core if prompt else kit.decode_core
    clear_tally(total)
    for i in range(start, stop):
        layer, tally = layers[i], tallies[i - start]
        layer_tally(tally, layer, model, machine, kit, deployment, sequences, new, tokens, prompt)
        if layer.attention == GQA:
            tally[LATENCY] += core.fixed_s
            tally[_CORE] += core.fixed_s
        if layer.index_heads > 0:
            add_index_constants(tally, layer, sequences, new, kit)
        for slot in range(SLOTS):
            total[slot] += layer.count * tally[slot]


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
