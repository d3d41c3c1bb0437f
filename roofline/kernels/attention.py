"""Attention: equations (3) to (6). Projections are added to a tally; cores run over a vector of contexts.

What depends on the context is linear in `pairs` or `seen`, so that the loops over contexts are branch-free,
contiguous and vectorised.
"""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.ops import LINK, MOVED, PEAK, add_gemm
from roofline.layout import NO_WINDOW, Attention, Operation

GQA = int(Attention.GQA)
MLA = int(Attention.MLA)
_IN, _QUERY, _OUT = np.int64(Operation.PROJECT_IN), np.int64(Operation.PROJECT_QUERY), np.int64(Operation.PROJECT_OUT)

# Rows of the accumulator that a tile of contexts is summed in. Every pass sums the first two; what a pass is not asked
# about is not summed (`detail`): writing to the accumulator is most of the cost of a context.
A_TIME, A_CACHE, A_PEAK, A_MOVED, A_COMPUTE, A_MEMORY, A_NETWORK, A_LATENCY, A_SERIAL = range(9)
ROWS = 9

DETAIL_TIME, DETAIL_WORK, DETAIL_CLASSES = range(3)  # each with what is before it


@kernel
def causal_pairs(new, context, window):
    """Query-key pairs of one sequence under the causal mask and a window: equation (3).

    tri(x) - tri(y) = (x - y) (x + y + 1)/2, exact for whole numbers.
    """
    outside = max(context - window, 0.0)
    before = max(context - new - window, 0.0)
    return new * context - 0.5 * new * (new - 1.0) - 0.5 * (outside - before) * (outside + before + 1.0)


@kernel
def kv_heads_per_rank(layer, tp):
    """KV heads one rank holds; they replicate once tp exceeds them."""
    return max(1, layer.kv_heads // tp)


@kernel
def query_width(layer, tp):
    """Elements of query, and of key where it is rotated with it, that element-wise kernels touch per token."""
    heads = layer.heads // tp
    if layer.attention == GQA:
        return (heads + kv_heads_per_rank(layer, tp)) * layer.head_dim
    if layer.attention == MLA:
        return heads * (layer.qk_nope + layer.qk_rope) + layer.kv_lora + layer.qk_rope
    return 0


@kernel
def cache_bytes_per_token(layer, tp, w_kv):
    """KV cache of one token in one layer on one rank [B]. The latent of MLA is not sharded by tp."""
    if layer.attention == GQA:
        return 2 * kv_heads_per_rank(layer, tp) * layer.head_dim * w_kv
    if layer.attention == MLA:
        return (layer.kv_lora + layer.qk_rope) * w_kv
    return 0.0


@kernel
def first_projection_width(layer, tp):
    """Outputs of the GEMM that reads the residual stream."""
    heads = layer.heads // tp
    if layer.attention == GQA:
        return (heads + 2 * kv_heads_per_rank(layer, tp)) * layer.head_dim
    latent = layer.kv_lora + layer.qk_rope
    if layer.q_lora > 0:
        return layer.q_lora + latent
    return heads * (layer.qk_nope + layer.qk_rope) + latent


@kernel
def attention_params(layer, hidden, tp):
    """Weights of the attention projections of one layer on one rank [elements]."""
    heads = layer.heads // tp
    if layer.attention == GQA:
        return hidden * (first_projection_width(layer, tp) + heads * layer.head_dim)
    if layer.attention == MLA:
        query = layer.q_lora * heads * (layer.qk_nope + layer.qk_rope)
        up = layer.kv_lora * heads * (layer.qk_nope + layer.v_head)
        return hidden * first_projection_width(layer, tp) + query + up + heads * layer.v_head * hidden
    return 0


@kernel
def add_projections(tally, layer, hidden, rows, tp, part, bandwidth):
    """Add the projections into and out of attention (sections 4 and 5)."""
    heads = layer.heads // tp
    add_gemm(tally, _IN, hidden, first_projection_width(layer, tp), rows, part, bandwidth)
    if layer.attention == GQA:
        add_gemm(tally, _OUT, heads * layer.head_dim, hidden, rows, part, bandwidth)
        return
    if layer.q_lora > 0:
        query = heads * (layer.qk_nope + layer.qk_rope)
        add_gemm(tally, _QUERY, layer.q_lora, query, rows, part, bandwidth)
    add_gemm(tally, _OUT, heads * layer.v_head, hidden, rows, part, bandwidth)


@kernel
def gqa_coefficients(layer, sequences, new, tp, core):
    """Core of GQA: FLOP per pair; bytes = fixed + per_seen * seen: equation (4)."""
    heads = layer.heads // tp
    rows = sequences * new
    cached = 2.0 * kv_heads_per_rank(layer, tp) * layer.head_dim * core.w_weight * sequences
    fixed = cached * new + rows * heads * layer.head_dim * (core.w_act + core.w_out)
    return 4.0 * sequences * heads * layer.head_dim, fixed, cached


@kernel
def absorbed_coefficients(layer, sequences, new, tp, core):
    """Core of absorbed MLA: FLOP per pair; bytes = fixed + per_seen * seen: equation (5)."""
    heads = layer.heads // tp
    latent, rope = layer.kv_lora, layer.qk_rope
    rows = sequences * new
    cached = (latent + rope) * core.w_weight * sequences
    fixed = cached * new + rows * heads * ((latent + rope) * core.w_act + latent * core.w_out)
    return 2.0 * sequences * heads * (2 * latent + rope), fixed, cached


@kernel
def expanded_coefficients(layer, sequences, new, tp, core, w_expand):
    """Core of un-absorbed MLA: FLOP per pair; bytes = fixed + per_seen * seen: equation (6)."""
    heads = layer.heads // tp
    rows = sequences * new
    fixed = (layer.kv_lora + layer.qk_rope) * core.w_weight * sequences * new + rows * heads * (
        (layer.qk_nope + layer.qk_rope) * core.w_act + layer.v_head * core.w_out
    )
    per_seen = sequences * heads * (layer.qk_nope + layer.v_head) * w_expand
    return 2.0 * sequences * heads * (layer.qk_nope + layer.qk_rope + layer.v_head), fixed, per_seen


@kernel
def absorb_operation(layer, rows, tp, width, w_latent, w_width, part):
    """FLOP and bytes of multiplying by one half of the up-projection, per head: section 5."""
    heads = layer.heads // tp
    flop = 2.0 * rows * heads * layer.kv_lora * width
    weights = heads * layer.kv_lora * width * part.w_weight
    return flop, weights + rows * heads * (layer.kv_lora * w_latent + width * w_width)


@kernel
def expansion_coefficients(layer, sequences, tp, part, core, w_expand):
    """Expanding cached latents to K and V: FLOP per seen token; bytes = fixed + per_seen * seen: section 5."""
    heads = layer.heads // tp
    both = heads * (layer.qk_nope + layer.v_head)
    per_seen = sequences * ((layer.kv_lora + layer.qk_rope) * core.w_weight + both * w_expand)
    return 2.0 * sequences * layer.kv_lora * both, layer.kv_lora * both * part.w_weight, per_seen


@kernel
def sum_gqa(acc, tally, layer, contexts, sequences, new, tp, core, bandwidth, bound, detail):
    """Add `count` layers of GQA to each context of a tile.

    acc : float64[ROWS, tile]   added to.   tally : what these layers cost apart from the core.
    contexts : float64[n]   tokens, new ones included.   detail : which rows are asked for.
    bound : layers take max(compute, memory, link), with all they do besides the core; else the core is on its own.
    """
    count, window, reach = 1.0 * layer.count, 1.0 * layer.window, layer.window + new - 1.0
    per_pair, fixed, per_seen = gqa_coefficients(layer, sequences, new, tp, core)
    memory_rate = core.eta_memory * bandwidth
    peak, moved = tally[PEAK], tally[MOVED] + fixed
    pair_s, seen_s = per_pair / (core.eta_compute * core.flop_per_s), per_seen / memory_rate
    start_c = peak if bound else 0.0
    start_m = (moved if bound else fixed) / memory_rate
    link = tally[LINK] if bound else 0.0
    time = acc[A_TIME]
    if layer.window >= NO_WINDOW:  # the same bits, in half the instructions
        unseen = 0.5 * new * (new - 1.0)
        for c in range(contexts.size):
            compute = start_c + pair_s * (new * contexts[c] - unseen)
            time[c] += count * max(max(compute, start_m + seen_s * contexts[c]), link)
    else:
        for c in range(contexts.size):
            compute = start_c + pair_s * causal_pairs(new, contexts[c], window)
            time[c] += count * max(max(compute, start_m + seen_s * min(contexts[c], reach)), link)
    if detail >= DETAIL_WORK:
        pair_peak = per_pair / core.flop_per_s
        for c in range(contexts.size):
            work = peak + pair_peak * causal_pairs(new, contexts[c], window)
            add_work(acc, c, count, work, moved + per_seen * min(contexts[c], reach))
    if detail >= DETAIL_CLASSES:
        for c in range(contexts.size):
            compute = start_c + pair_s * causal_pairs(new, contexts[c], window)
            add_classes(acc, c, count, compute, start_m + seen_s * min(contexts[c], reach), link)


@kernel
def add_work(acc, c, count, peak, moved):
    """Add the work of `count` layers to context c: seconds at dense peak and bytes."""
    acc[A_PEAK, c] += count * peak
    acc[A_MOVED, c] += count * moved


@kernel
def add_classes(acc, c, count, compute, memory, link):
    """Add `count` times max(compute, memory, link) to its class, and what it is with the link in series."""
    roof = max(compute, memory)
    acc[A_COMPUTE, c] += count * (compute if compute >= max(memory, link) else 0.0)
    acc[A_MEMORY, c] += count * (memory if (memory > compute) & (memory >= link) else 0.0)
    acc[A_NETWORK, c] += count * (link if link > roof else 0.0)
    acc[A_SERIAL, c] += count * (roof + link)


@kernel
def sum_mla(acc, tally, layer, contexts, sequences, new, tp, part, core, w_expand, bandwidth, detail):
    """Add `count` layers of MLA to each context of a tile, operations in series, in the cheaper of two forms."""
    count, window, reach = 1.0 * layer.count, 1.0 * layer.window, layer.window + new - 1.0
    rows = sequences * new
    compute_rate, memory_rate = core.eta_compute * core.flop_per_s, core.eta_memory * bandwidth
    part_compute, part_memory = part.eta_compute * part.flop_per_s, part.eta_memory * bandwidth
    q_flop, q_size = absorb_operation(layer, rows, tp, layer.qk_nope, part.w_out, part.w_act, part)
    v_flop, v_size = absorb_operation(layer, rows, tp, layer.v_head, part.w_act, part.w_out, part)
    q_c, q_m, v_c, v_m = q_flop / part_compute, q_size / part_memory, v_flop / part_compute, v_size / part_memory
    up_compute = (q_c if q_c >= q_m else 0.0) + (v_c if v_c >= v_m else 0.0)
    up_memory = (0.0 if q_c >= q_m else q_m) + (0.0 if v_c >= v_m else v_m)
    a_pair, a_fixed, a_seen = absorbed_coefficients(layer, sequences, new, tp, core)
    e_pair, e_fixed, e_seen = expanded_coefficients(layer, sequences, new, tp, core, w_expand)
    x_flop, x_fixed, x_seen = expansion_coefficients(layer, sequences, tp, part, core, w_expand)
    a_latency, e_latency = 2.0 * part.fixed_s + core.fixed_s, part.fixed_s + core.fixed_s
    # Seconds: of a pair, of a seen token, of what is fixed.
    a_c, a_m, a_0 = a_pair / compute_rate, a_seen / memory_rate, a_fixed / memory_rate
    e_c, e_m, e_0 = e_pair / compute_rate, e_seen / memory_rate, e_fixed / memory_rate
    x_c, x_m, x_0 = x_flop / part_compute, x_seen / part_memory, x_fixed / part_memory
    a_once = a_latency + up_compute + up_memory
    time, unseen, windowed = acc[A_TIME], 0.5 * new * (new - 1.0), layer.window < NO_WINDOW
    for c in range(contexts.size):
        seen = min(contexts[c], reach) if windowed else contexts[c]
        pairs = causal_pairs(new, contexts[c], window) if windowed else new * contexts[c] - unseen
        absorbed = a_once + max(a_c * pairs, a_0 + a_m * seen)
        expanded = e_latency + max(x_c * seen, x_0 + x_m * seen) + max(e_c * pairs, e_0 + e_m * seen)
        time[c] += count * min(absorbed, expanded)
    if detail == DETAIL_TIME:
        return
    a_peak, e_peak, x_peak = a_pair / core.flop_per_s, e_pair / core.flop_per_s, x_flop / part.flop_per_s
    up_peak, up_size = tally[PEAK] + (q_flop + v_flop) / part.flop_per_s, tally[MOVED] + q_size + v_size
    for c in range(contexts.size):
        pairs, seen = causal_pairs(new, contexts[c], window), min(contexts[c], reach)
        ac, am = a_c * pairs, a_0 + a_m * seen
        ec, em = e_c * pairs, e_0 + e_m * seen
        xc, xm = x_c * seen, x_0 + x_m * seen
        absorbed = a_once + max(ac, am) <= e_latency + max(xc, xm) + max(ec, em)
        e_work = tally[PEAK] + x_peak * seen + e_peak * pairs
        e_size = tally[MOVED] + x_fixed + e_fixed + (x_seen + e_seen) * seen
        a_size = up_size + a_fixed + a_seen * seen
        add_work(acc, c, count, up_peak + a_peak * pairs if absorbed else e_work, a_size if absorbed else e_size)
        a_compute, e_compute = ac if ac >= am else 0.0, (xc if xc >= xm else 0.0) + (ec if ec >= em else 0.0)
        a_memory, e_memory = 0.0 if ac >= am else am, (0.0 if xc >= xm else xm) + (0.0 if ec >= em else em)
        acc[A_LATENCY, c] += count * (a_latency if absorbed else e_latency)
        acc[A_COMPUTE, c] += count * (up_compute + a_compute if absorbed else e_compute)
        acc[A_MEMORY, c] += count * (up_memory + a_memory if absorbed else e_memory)


@kernel
def sum_mla_bound(acc, tally, layer, contexts, sequences, new, tp, part, core, w_expand, bandwidth, detail):
    """Add `count` layers of MLA of which each takes max(compute, memory, link), in the form with the smaller one."""
    count, window, reach = 1.0 * layer.count, 1.0 * layer.window, layer.window + new - 1.0
    rows = sequences * new
    peak, moved, link = tally[PEAK], tally[MOVED], tally[LINK]
    q_flop, q_size = absorb_operation(layer, rows, tp, layer.qk_nope, part.w_out, part.w_act, part)
    v_flop, v_size = absorb_operation(layer, rows, tp, layer.v_head, part.w_act, part.w_out, part)
    a_pair, a_fixed, a_seen = absorbed_coefficients(layer, sequences, new, tp, core)
    e_pair, e_fixed, e_seen = expanded_coefficients(layer, sequences, new, tp, core, w_expand)
    x_flop, x_fixed, x_seen = expansion_coefficients(layer, sequences, tp, part, core, w_expand)
    a_peak, e_peak, x_peak = a_pair / core.flop_per_s, e_pair / core.flop_per_s, x_flop / part.flop_per_s
    a_first, a_size = peak + (q_flop + v_flop) / part.flop_per_s, moved + q_size + v_size + a_fixed
    e_size, e_grows = moved + x_fixed + e_fixed, x_seen + e_seen
    a_0, a_m, e_0, e_m = a_size / bandwidth, a_seen / bandwidth, e_size / bandwidth, e_grows / bandwidth
    time, unseen, windowed = acc[A_TIME], 0.5 * new * (new - 1.0), layer.window < NO_WINDOW
    for c in range(contexts.size):
        seen = min(contexts[c], reach) if windowed else contexts[c]
        pairs = causal_pairs(new, contexts[c], window) if windowed else new * contexts[c] - unseen
        absorbed = max(a_first + a_peak * pairs, a_0 + a_m * seen)
        expanded = max(peak + x_peak * seen + e_peak * pairs, e_0 + e_m * seen)
        time[c] += count * max(min(absorbed, expanded), link)
    if detail == DETAIL_TIME:
        return
    for c in range(contexts.size):
        pairs, seen = causal_pairs(new, contexts[c], window), min(contexts[c], reach)
        ac, am = a_first + a_peak * pairs, a_0 + a_m * seen
        ec, em = peak + x_peak * seen + e_peak * pairs, e_0 + e_m * seen
        absorbed = max(max(ac, am), link) <= max(max(ec, em), link)
        compute, memory = ac if absorbed else ec, am if absorbed else em
        add_work(acc, c, count, compute, a_size + a_seen * seen if absorbed else e_size + e_grows * seen)
        add_classes(acc, c, count, compute, memory, link)


@kernel
def add_cache(acc, layer, contexts, tp, w_kv):
    """Add the KV cache one sequence keeps in `count` layers on one rank [B]."""
    per_token, window, cache = layer.count * cache_bytes_per_token(layer, tp, w_kv), 1.0 * layer.window, acc[A_CACHE]
    for c in range(contexts.size):
        cache[c] += per_token * min(contexts[c], window)
