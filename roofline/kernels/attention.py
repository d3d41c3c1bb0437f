"""Attention: equations (3) to (6). Projections are added to a tally; cores run over a vector of contexts.

What depends on the context is linear in `pairs` or `seen`, so that the loops over contexts are branch-free,
contiguous and vectorised.
"""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.ops import LINK, MOVED, PEAK, add_gemm
from roofline.layout import Attention, Operation

GQA = int(Attention.GQA)
MLA = int(Attention.MLA)
_IN, _QUERY, _OUT = np.int64(Operation.PROJECT_IN), np.int64(Operation.PROJECT_QUERY), np.int64(Operation.PROJECT_OUT)

# Rows of the accumulator that a tile of contexts is summed in.
A_LATENCY, A_COMPUTE, A_MEMORY, A_NETWORK, A_CORE, A_PEAK, A_MOVED, A_CACHE, A_SERIAL = range(9)
ROWS = 9


@kernel
def triangle(n):
    """1 + 2 + ... + n for n > 0, else 0."""
    return 0.5 * max(n, 0.0) * (max(n, 0.0) + 1.0)


@kernel
def causal_pairs(new, context, window):
    """Query-key pairs of one sequence under the causal mask and a window: equation (3)."""
    whole = new * context - 0.5 * new * (new - 1.0)
    return whole - (triangle(context - window) - triangle(context - new - window))


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
def sum_gqa(acc, tally, layer, contexts, sequences, new, tp, core, bandwidth, bound):
    """Add `count` layers of GQA to each context of a tile.

    acc : float64[ROWS, tile]   added to.   tally : what these layers cost apart from the core.
    contexts : float64[n]   tokens, new ones included.   bound : layers take max(compute, memory, link).
    """
    count, window = 1.0 * layer.count, 1.0 * layer.window
    per_pair, fixed, per_seen = gqa_coefficients(layer, sequences, new, tp, core)
    compute_rate = core.eta_compute * core.flop_per_s
    memory_rate = core.eta_memory * bandwidth
    peak, moved, link = tally[PEAK], tally[MOVED], tally[LINK]
    if not bound:
        for c in range(contexts.size):
            flop = per_pair * causal_pairs(new, contexts[c], window)
            size = fixed + per_seen * min(contexts[c], window + new - 1.0)
            compute = flop / compute_rate
            memory = size / memory_rate
            acc[A_COMPUTE, c] += count * (compute if compute >= memory else 0.0)
            acc[A_MEMORY, c] += count * (0.0 if compute >= memory else memory)
            acc[A_CORE, c] += count * max(compute, memory)
            acc[A_PEAK, c] += count * (peak + flop / core.flop_per_s)
            acc[A_MOVED, c] += count * (moved + size)
        return
    for c in range(contexts.size):
        flop = per_pair * causal_pairs(new, contexts[c], window)
        size = moved + fixed + per_seen * min(contexts[c], window + new - 1.0)
        compute = peak + flop / core.flop_per_s
        add_bound(acc, c, count, compute, size, size / bandwidth, link)


@kernel
def add_bound(acc, c, count, compute, size, memory, link):
    """Add `count` layers of which each takes max(compute, memory, link), to context c: section 8, `ideal`."""
    roof = max(compute, memory)
    acc[A_COMPUTE, c] += count * (compute if compute >= max(memory, link) else 0.0)
    acc[A_MEMORY, c] += count * (memory if (memory > compute) & (memory >= link) else 0.0)
    acc[A_NETWORK, c] += count * (link if link > roof else 0.0)
    acc[A_PEAK, c] += count * compute
    acc[A_MOVED, c] += count * size
    acc[A_SERIAL, c] += count * (roof + link)


@kernel
def sum_mla(acc, tally, layer, contexts, sequences, new, tp, part, core, w_expand, bandwidth):
    """Add `count` layers of MLA to each context of a tile, operations in series, in the cheaper of two forms."""
    count, window = 1.0 * layer.count, 1.0 * layer.window
    rows = sequences * new
    fixed_s = core.fixed_s
    compute_rate, memory_rate = core.eta_compute * core.flop_per_s, core.eta_memory * bandwidth
    part_compute, part_memory = part.eta_compute * part.flop_per_s, part.eta_memory * bandwidth
    q_flop, q_size = absorb_operation(layer, rows, tp, layer.qk_nope, part.w_out, part.w_act, part)
    v_flop, v_size = absorb_operation(layer, rows, tp, layer.v_head, part.w_act, part.w_out, part)
    q_c, q_m, v_c, v_m = q_flop / part_compute, q_size / part_memory, v_flop / part_compute, v_size / part_memory
    up_compute = (q_c if q_c >= q_m else 0.0) + (v_c if v_c >= v_m else 0.0)
    up_memory = (0.0 if q_c >= q_m else q_m) + (0.0 if v_c >= v_m else v_m)
    up_peak = (q_flop + v_flop) / part.flop_per_s
    a_pair, a_fixed, a_seen = absorbed_coefficients(layer, sequences, new, tp, core)
    e_pair, e_fixed, e_seen = expanded_coefficients(layer, sequences, new, tp, core, w_expand)
    x_flop, x_fixed, x_seen = expansion_coefficients(layer, sequences, tp, part, core, w_expand)
    for c in range(contexts.size):
        pairs = causal_pairs(new, contexts[c], window)
        seen = min(contexts[c], window + new - 1.0)
        a_c, a_size = a_pair * pairs / compute_rate, a_fixed + a_seen * seen
        a_m = a_size / memory_rate
        e_c, e_size = e_pair * pairs / compute_rate, e_fixed + e_seen * seen
        e_m = e_size / memory_rate
        x_c, x_size = x_flop * seen / part_compute, x_fixed + x_seen * seen
        x_m = x_size / part_memory
        a_latency, e_latency = 2.0 * part.fixed_s + fixed_s, part.fixed_s + fixed_s
        a_compute = up_compute + (a_c if a_c >= a_m else 0.0)
        a_memory = up_memory + (0.0 if a_c >= a_m else a_m)
        e_compute = (x_c if x_c >= x_m else 0.0) + (e_c if e_c >= e_m else 0.0)
        e_memory = (0.0 if x_c >= x_m else x_m) + (0.0 if e_c >= e_m else e_m)
        absorbed = a_latency + (a_compute + a_memory) <= e_latency + (e_compute + e_memory)
        acc[A_LATENCY, c] += count * (a_latency if absorbed else e_latency)
        acc[A_COMPUTE, c] += count * (a_compute if absorbed else e_compute)
        acc[A_MEMORY, c] += count * (a_memory if absorbed else e_memory)
        acc[A_CORE, c] += count * (
            a_latency + (a_compute + a_memory) if absorbed else e_latency + (e_compute + e_memory)
        )
        a_peak = up_peak + a_pair * pairs / core.flop_per_s
        e_peak = x_flop * seen / part.flop_per_s + e_pair * pairs / core.flop_per_s
        acc[A_PEAK, c] += count * (tally[PEAK] + (a_peak if absorbed else e_peak))
        acc[A_MOVED, c] += count * (tally[MOVED] + (q_size + v_size + a_size if absorbed else x_size + e_size))


@kernel
def sum_mla_bound(acc, tally, layer, contexts, sequences, new, tp, part, core, w_expand, bandwidth):
    """Add `count` layers of MLA of which each takes max(compute, memory, link), in the form with the smaller one."""
    count, window = 1.0 * layer.count, 1.0 * layer.window
    rows = sequences * new
    peak, moved, link = tally[PEAK], tally[MOVED], tally[LINK]
    q_flop, q_size = absorb_operation(layer, rows, tp, layer.qk_nope, part.w_out, part.w_act, part)
    v_flop, v_size = absorb_operation(layer, rows, tp, layer.v_head, part.w_act, part.w_out, part)
    a_pair, a_fixed, a_seen = absorbed_coefficients(layer, sequences, new, tp, core)
    e_pair, e_fixed, e_seen = expanded_coefficients(layer, sequences, new, tp, core, w_expand)
    x_flop, x_fixed, x_seen = expansion_coefficients(layer, sequences, tp, part, core, w_expand)
    up_peak = (q_flop + v_flop) / part.flop_per_s
    for c in range(contexts.size):
        pairs = causal_pairs(new, contexts[c], window)
        seen = min(contexts[c], window + new - 1.0)
        a_compute = peak + up_peak + a_pair * pairs / core.flop_per_s
        a_size = moved + q_size + v_size + a_fixed + a_seen * seen
        e_compute = peak + x_flop * seen / part.flop_per_s + e_pair * pairs / core.flop_per_s
        e_size = moved + x_fixed + x_seen * seen + e_fixed + e_seen * seen
        a_roof = max(max(a_compute, a_size / bandwidth), link)
        e_roof = max(max(e_compute, e_size / bandwidth), link)
        absorbed = a_roof <= e_roof
        compute = a_compute if absorbed else e_compute
        size = a_size if absorbed else e_size
        add_bound(acc, c, count, compute, size, size / bandwidth, link)


@kernel
def add_cache(acc, layer, contexts, tp, w_kv):
    """Add the KV cache one sequence keeps in `count` layers on one rank [B]."""
    per_token = layer.count * cache_bytes_per_token(layer, tp, w_kv)
    window = 1.0 * layer.window
    for c in range(contexts.size):
        acc[A_CACHE, c] += per_token * min(contexts[c], window)
