"""Attention cores over a tile of contexts: one function for each kind of layer, equations (4) to (6) and section 8."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.attention import (
    GQA,
    MLA,
    absorb_operation,
    absorbed_coefficients,
    expanded_coefficients,
    expansion_coefficients,
    gqa_coefficients,
)
from roofline.kernels.contexts import (
    A_ALL_PAIRS,
    A_CACHE,
    A_COMPUTE,
    A_LATENCY,
    A_MEMORY,
    A_PAIRS,
    A_SEEN,
    A_TIME,
    DETAIL_CLASSES,
    DETAIL_TIME,
    DETAIL_WORK,
    add_classes,
    add_work,
    causal_pairs,
    see,
    sees_all,
    span,
    summed_rows,
)
from roofline.kernels.ops import LINK, MOVED, PEAK
from roofline.kernels.sparse import index_slopes, sum_index

_PAIRS, _ALL_PAIRS = np.int64(A_PAIRS), np.int64(A_ALL_PAIRS)
_ALL = np.int64(0)  # no selection
_APART, _TOGETHER = np.bool_(False), np.bool_(True)  # `bound` of `see`


@kernel
def sum_cores(acc, tallies, start, stop, layers, machine, kit, deployment, contexts, sequences, new, prompt, detail):
    """Sum what depends on the context over the layers in rows [start, stop) into a tile of contexts.

    acc : float64[contexts.ROWS, tile]   written but for the cache.   tallies : from `step.tally_layers`.
    contexts : float64[n]   tokens, new ones included.   detail : which rows are asked for.
    """
    core = kit.context_core if prompt else kit.decode_core
    tp, bandwidth, bound = deployment.tp, machine.bytes_per_s, kit.bound == 1
    for row in range(summed_rows(detail)):
        if row != A_CACHE:
            for c in range(contexts.size):
                acc[row, c] = 0.0
    for i in range(start, stop):
        layer, tally = layers[i], tallies[i - start]
        if layer.index_heads > 0 and not bound:
            sum_index(acc, layer, contexts, sequences, new, kit, bandwidth, detail)
        if layer.attention == GQA:
            sum_gqa(acc, tally, layer, contexts, sequences, new, tp, core, kit, bandwidth, bound, detail)
        elif layer.attention != MLA:
            sum_without(acc, tally, 1.0 * layer.count, contexts.size, bandwidth, bound, detail)
        elif bound:
            sum_mla_bound(acc, tally, layer, contexts, sequences, new, tp, core, kit, bandwidth, detail)
        else:
            sum_mla(acc, tally, layer, contexts, sequences, new, tp, core, kit, bandwidth, detail)


@kernel
def sum_without(acc, tally, count, n, bandwidth, bound, detail):
    """Add `count` layers that the context does not matter to; in series their times are in the tally alone."""
    memory = tally[MOVED] / bandwidth
    for c in range(n):
        if bound:
            acc[A_TIME, c] += count * max(max(tally[PEAK], memory), tally[LINK])
        if detail >= DETAIL_WORK:
            add_work(acc, c, count, tally[PEAK], tally[MOVED])
        if bound and detail >= DETAIL_CLASSES:
            add_classes(acc, c, count, tally[PEAK], memory, tally[LINK])


@kernel
def sum_gqa(acc, tally, layer, contexts, sequences, new, tp, core, kit, bandwidth, bound, detail):
    """Add `count` layers of GQA to each context of a tile.

    bound : layers take max(compute, memory, link), with all they do besides the core; else the core is on its own.
    """
    count = 1.0 * layer.count
    per_pair, fixed, per_seen = gqa_coefficients(layer, sequences, new, tp, core)
    memory_rate = core.eta_memory * bandwidth
    peak, moved = tally[PEAK], tally[MOVED] + fixed
    pair_s, seen_s = per_pair / (core.eta_compute * core.flop_per_s), per_seen / memory_rate
    start_c = peak if bound else 0.0
    start_m = (moved if bound else fixed) / memory_rate
    link = tally[LINK] if bound else 0.0
    if sees_all(layer) and layer.index_heads == 0 and detail == DETAIL_TIME:  # the same bits, in half the instructions
        unseen = 0.5 * new * (new - 1.0)
        for c in range(contexts.size):
            compute = start_c + pair_s * (new * contexts[c] - unseen)
            acc[A_TIME, c] += count * max(max(compute, start_m + seen_s * contexts[c]), link)
        return
    if layer.chunked == 0 and layer.index_heads == 0 and detail == DETAIL_TIME:
        window, reach = span(layer, layer.selected, new, bound)
        for c in range(contexts.size):
            compute = start_c + pair_s * causal_pairs(new, contexts[c], window)
            acc[A_TIME, c] += count * max(max(compute, start_m + seen_s * min(contexts[c], reach)), link)
        return
    see(acc, _PAIRS, contexts, layer, layer.selected, new, bound)
    index_c, index_moved = index_slopes(layer, sequences, new, kit) if bound else (0.0, 0.0)
    index_m = index_moved / memory_rate
    for c in range(contexts.size):
        pairs, seen = acc[A_PAIRS, c], acc[A_SEEN, c]
        compute = start_c + pair_s * pairs + index_c * contexts[c]
        acc[A_TIME, c] += count * max(max(compute, start_m + seen_s * seen + index_m * contexts[c]), link)
    if detail >= DETAIL_WORK:
        pair_peak = per_pair / core.flop_per_s
        for c in range(contexts.size):
            pairs, seen = acc[A_PAIRS, c], acc[A_SEEN, c]
            work = peak + pair_peak * pairs + index_c * contexts[c]
            add_work(acc, c, count, work, moved + per_seen * seen + index_moved * contexts[c])
    if detail >= DETAIL_CLASSES:
        for c in range(contexts.size):
            pairs, seen = acc[A_PAIRS, c], acc[A_SEEN, c]
            compute = start_c + pair_s * pairs + index_c * contexts[c]
            add_classes(acc, c, count, compute, start_m + seen_s * seen + index_m * contexts[c], link)


@kernel
def sum_mla(acc, tally, layer, contexts, sequences, new, tp, core, kit, bandwidth, detail):
    """Add `count` layers of MLA to each context of a tile, operations in series, in the cheaper of two forms.

    The absorbed form reads the selected tokens; the expanded one works on all of them under a mask.
    """
    count, part, rows = 1.0 * layer.count, kit.attn, sequences * new
    compute_rate, memory_rate = core.eta_compute * core.flop_per_s, core.eta_memory * bandwidth
    part_compute, part_memory = part.eta_compute * part.flop_per_s, part.eta_memory * bandwidth
    q_flop, q_size = absorb_operation(layer, rows, tp, layer.qk_nope, part.w_out, part.w_act, part)
    v_flop, v_size = absorb_operation(layer, rows, tp, layer.v_head, part.w_act, part.w_out, part)
    q_c, q_m, v_c, v_m = q_flop / part_compute, q_size / part_memory, v_flop / part_compute, v_size / part_memory
    up_compute = (q_c if q_c >= q_m else 0.0) + (v_c if v_c >= v_m else 0.0)
    up_memory = (0.0 if q_c >= q_m else q_m) + (0.0 if v_c >= v_m else v_m)
    a_pair, a_fixed, a_seen = absorbed_coefficients(layer, sequences, new, tp, core)
    e_pair, e_fixed, e_seen = expanded_coefficients(layer, sequences, new, tp, core, kit.w_expand)
    x_flop, x_fixed, x_seen = expansion_coefficients(layer, sequences, tp, part, core, kit.w_expand)
    a_latency, e_latency = 2.0 * part.fixed_s + core.fixed_s, part.fixed_s + core.fixed_s
    # Seconds: of a pair, of a seen token, of what is fixed.
    a_c, a_m, a_0 = a_pair / compute_rate, a_seen / memory_rate, a_fixed / memory_rate
    e_c, e_m, e_0 = e_pair / compute_rate, e_seen / memory_rate, e_fixed / memory_rate
    x_c, x_m, x_0 = x_flop / part_compute, x_seen / part_memory, x_fixed / part_memory
    a_once = a_latency + up_compute + up_memory
    if sees_all(layer) and detail == DETAIL_TIME:
        unseen = 0.5 * new * (new - 1.0)
        for c in range(contexts.size):
            all_pairs = new * contexts[c] - unseen
            absorbed = a_once + max(a_c * all_pairs, a_0 + a_m * contexts[c])
            expanded = e_latency + max(x_c * contexts[c], x_0 + x_m * contexts[c])
            acc[A_TIME, c] += count * min(absorbed, expanded + max(e_c * all_pairs, e_0 + e_m * contexts[c]))
        return
    see(acc, _PAIRS, contexts, layer, layer.selected, new, _APART)
    masked = _PAIRS  # row of what the expanded form works on
    if layer.selected > 0:
        masked = _ALL_PAIRS
        see(acc, masked, contexts, layer, _ALL, new, _APART)
    for c in range(contexts.size):
        pairs, seen = acc[A_PAIRS, c], acc[A_SEEN, c]
        every, whole = acc[masked, c], acc[masked + 1, c]
        absorbed = a_once + max(a_c * pairs, a_0 + a_m * seen)
        expanded = e_latency + max(x_c * whole, x_0 + x_m * whole) + max(e_c * every, e_0 + e_m * whole)
        acc[A_TIME, c] += count * min(absorbed, expanded)
    if detail == DETAIL_TIME:
        return
    a_peak, e_peak, x_peak = a_pair / core.flop_per_s, e_pair / core.flop_per_s, x_flop / part.flop_per_s
    up_peak, up_size = tally[PEAK] + (q_flop + v_flop) / part.flop_per_s, tally[MOVED] + q_size + v_size
    for c in range(contexts.size):
        pairs, seen = acc[A_PAIRS, c], acc[A_SEEN, c]
        every, whole = acc[masked, c], acc[masked + 1, c]
        ac, am = a_c * pairs, a_0 + a_m * seen
        ec, em = e_c * every, e_0 + e_m * whole
        xc, xm = x_c * whole, x_0 + x_m * whole
        absorbed = a_once + max(ac, am) <= e_latency + max(xc, xm) + max(ec, em)
        e_work = tally[PEAK] + x_peak * whole + e_peak * every
        e_size = tally[MOVED] + x_fixed + e_fixed + (x_seen + e_seen) * whole
        a_size = up_size + a_fixed + a_seen * seen
        add_work(acc, c, count, up_peak + a_peak * pairs if absorbed else e_work, a_size if absorbed else e_size)
        a_compute, e_compute = ac if ac >= am else 0.0, (xc if xc >= xm else 0.0) + (ec if ec >= em else 0.0)
        a_memory, e_memory = 0.0 if ac >= am else am, (0.0 if xc >= xm else xm) + (0.0 if ec >= em else em)
        acc[A_LATENCY, c] += count * (a_latency if absorbed else e_latency)
        acc[A_COMPUTE, c] += count * (up_compute + a_compute if absorbed else e_compute)
        acc[A_MEMORY, c] += count * (up_memory + a_memory if absorbed else e_memory)


@kernel
def sum_mla_bound(acc, tally, layer, contexts, sequences, new, tp, core, kit, bandwidth, detail):
    """Add `count` layers of MLA of which each takes max(compute, memory, link), in the form with the smaller one."""
    count, part, rows = 1.0 * layer.count, kit.attn, sequences * new
    peak, moved, link = tally[PEAK], tally[MOVED], tally[LINK]
    q_flop, q_size = absorb_operation(layer, rows, tp, layer.qk_nope, part.w_out, part.w_act, part)
    v_flop, v_size = absorb_operation(layer, rows, tp, layer.v_head, part.w_act, part.w_out, part)
    a_pair, a_fixed, a_seen = absorbed_coefficients(layer, sequences, new, tp, core)
    e_pair, e_fixed, e_seen = expanded_coefficients(layer, sequences, new, tp, core, kit.w_expand)
    x_flop, x_fixed, x_seen = expansion_coefficients(layer, sequences, tp, part, core, kit.w_expand)
    a_peak, e_peak, x_peak = a_pair / core.flop_per_s, e_pair / core.flop_per_s, x_flop / part.flop_per_s
    a_first, a_size = peak + (q_flop + v_flop) / part.flop_per_s, moved + q_size + v_size + a_fixed
    e_size, e_grows = moved + x_fixed + e_fixed, x_seen + e_seen
    a_0, a_m, e_0, e_m = a_size / bandwidth, a_seen / bandwidth, e_size / bandwidth, e_grows / bandwidth
    if sees_all(layer) and layer.index_heads == 0 and detail == DETAIL_TIME:
        unseen = 0.5 * new * (new - 1.0)
        for c in range(contexts.size):
            all_pairs = new * contexts[c] - unseen
            absorbed = max(a_first + a_peak * all_pairs, a_0 + a_m * contexts[c])
            expanded = max(peak + x_peak * contexts[c] + e_peak * all_pairs, e_0 + e_m * contexts[c])
            acc[A_TIME, c] += count * max(min(absorbed, expanded), link)
        return
    see(acc, _PAIRS, contexts, layer, layer.selected, new, _TOGETHER)
    index_c, index_moved = index_slopes(layer, sequences, new, kit)
    index_m = index_moved / bandwidth
    for c in range(contexts.size):
        pairs, seen = acc[A_PAIRS, c], acc[A_SEEN, c]
        absorbed = max(a_first + a_peak * pairs + index_c * contexts[c], a_0 + a_m * seen + index_m * contexts[c])
        e_compute = peak + x_peak * seen + e_peak * pairs + index_c * contexts[c]
        expanded = max(e_compute, e_0 + e_m * seen + index_m * contexts[c])
        acc[A_TIME, c] += count * max(min(absorbed, expanded), link)
    if detail == DETAIL_TIME:
        return
    for c in range(contexts.size):
        pairs, seen = acc[A_PAIRS, c], acc[A_SEEN, c]
        ic, im = index_c * contexts[c], index_m * contexts[c]
        ac, am = a_first + a_peak * pairs + ic, a_0 + a_m * seen + im
        ec, em = peak + x_peak * seen + e_peak * pairs + ic, e_0 + e_m * seen + im
        absorbed = max(max(ac, am), link) <= max(max(ec, em), link)
        compute, memory = ac if absorbed else ec, am if absorbed else em
        size = a_size + a_seen * seen if absorbed else e_size + e_grows * seen
        add_work(acc, c, count, compute, size + index_moved * contexts[c])
        add_classes(acc, c, count, compute, memory, link)
