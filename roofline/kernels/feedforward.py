"""Feed-forward layers: dense, shared and routed experts, with the collectives that follow them: sections 6 and 7."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import inlined, kernel
from roofline.kernels.collectives import all_gather, all_reduce, exchange_copies, exchange_time
from roofline.kernels.moe import computed_rows, expert_load
from roofline.kernels.ops import (
    EXTRA_MOVED,
    EXTRA_PEAK,
    add_collective,
    add_gated,
    add_gemm,
    add_operation,
    add_traffic,
    ceil_div,
)
from roofline.layout import Operation

_FFN_UP, _SHARED_UP, _REDUCE_FFN = (
    np.int64(Operation.FFN_UP),
    np.int64(Operation.SHARED_UP),
    np.int64(Operation.REDUCE_FFN),
)
_ROUTER, _EXPERTS, _PERMUTE = np.int64(Operation.ROUTER), np.int64(Operation.EXPERTS), np.int64(Operation.PERMUTE)
_LATENT_DOWN, _LATENT_UP = np.int64(Operation.LATENT_DOWN), np.int64(Operation.LATENT_UP)
_DISPATCH, _COMBINE, _REDUCE = (
    np.int64(Operation.DISPATCH),
    np.int64(Operation.COMBINE),
    np.int64(Operation.REDUCE_EXPERTS),
)


@inlined
def add_dense(tally, layer, hidden, rows, machine, kit, deployment):
    """Add a dense feed-forward and the all-reduce after it."""
    tp = deployment.tp
    inner = ceil_div(layer.ffn_inner, tp)
    add_gated(tally, _FFN_UP, hidden, inner, layer.ffn_matrices, rows, kit.ffn, machine.bytes_per_s)
    fixed, sending = all_reduce(machine, tp, rows * hidden * kit.w_reduce)
    add_collective(tally, _REDUCE_FFN, fixed, sending)


@kernel
def add_experts(tally, layer, model, rows, tokens, machine, kit, deployment, prompt):
    """Add router, shared experts, the expert block of the rank waited for, permutation and collectives.

    Latent experts work in a width of their own, with replicated projections into and out of it.

    rows : int     rows on one attention rank.   tokens : int   tokens of the expert group.
    prompt : bool  a prefill pass, whose exchange sends one copy per distinct rank.
    """
    bandwidth, hidden = machine.bytes_per_s, model.hidden
    add_gemm(tally, _ROUTER, hidden, layer.experts, rows, kit.router, bandwidth)
    if layer.shared_inner > 0:
        inner = ceil_div(layer.shared_inner, deployment.tp)
        add_gated(tally, _SHARED_UP, hidden, inner, layer.ffn_matrices, rows, kit.shared, bandwidth)
    touched, routed = expert_load(
        layer.experts, layer.top_k, deployment.ep, tokens, kit.fullest_rank == 1, kit.expert_skew
    )
    wide, matrices = layer.expert_hidden, layer.ffn_matrices
    if wide != hidden:
        add_gemm(tally, _LATENT_DOWN, hidden, wide, rows, kit.shared, bandwidth)
        add_gemm(tally, _LATENT_UP, wide, hidden, rows, kit.shared, bandwidth)
    inner = ceil_div(layer.expert_inner, deployment.moe_tp)
    part = kit.expert
    weights = matrices * wide * inner
    row = (wide + inner) * part.w_act + ((matrices - 1) * inner + wide) * part.w_out
    moved = touched * matrices * wide * inner * part.w_weight + routed * row
    add_operation(tally, _EXPERTS, 2.0 * weights * routed, moved, part, bandwidth)
    permuted = kit.w_permute * (8.0 * wide + 6.0 * inner)
    add_traffic(tally, _PERMUTE, permuted * routed, 0.0, kit.permute_eta_memory, bandwidth)
    if kit.expert_tile > 1.0 or (kit.fullest_rank == 1 and (deployment.ep > 1 or kit.expert_skew != 1.0)):
        # All ranks draw power, not only the one waited for, and for the rows that fill up tiles too.
        mean_touched, mean_rows = expert_load(layer.experts, layer.top_k, deployment.ep, tokens, False, 1.0)
        computed = computed_rows(mean_touched, mean_rows, kit.expert_tile)
        tally[EXTRA_PEAK] += 2.0 * weights * (computed - routed) / part.flop_per_s
        tally[EXTRA_MOVED] += (mean_touched - touched) * weights * part.w_weight
        tally[EXTRA_MOVED] += (mean_rows - routed) * (row + permuted)
    _add_expert_collectives(tally, layer, model, rows, tokens, machine, kit, deployment, prompt)


@inlined
def _add_expert_collectives(tally, layer, model, rows, tokens, machine, kit, deployment, prompt):
    tp, dp = deployment.tp, deployment.dp
    size = rows * model.hidden * kit.w_reduce
    if dp == 1:
        fixed, sending = all_reduce(machine, tp, size)
        add_collective(tally, _REDUCE, fixed, sending)
        return
    if deployment.ep == 1:
        routed = tokens * layer.expert_hidden
        fixed, sending = all_gather(machine, tp * dp, routed * kit.w_dispatch)
        add_collective(tally, _DISPATCH, fixed, sending)
        fixed, sending = all_gather(machine, tp * dp, routed * kit.w_combine)
        add_collective(tally, _COMBINE, fixed, sending)
        if layer.shared_inner > 0:
            fixed, sending = all_reduce(machine, tp, size)
            add_collective(tally, _REDUCE, fixed, sending)
        return
    bound = kit.bound == 1
    inside, across, spanned = exchange_copies(
        machine, deployment, layer, model.route_groups, not prompt and not bound, bound
    )
    token = rows / tp * layer.expert_hidden
    for operation, width in ((_DISPATCH, kit.w_dispatch), (_COMBINE, kit.w_combine)):
        fixed, sending = exchange_time(machine, tp * dp, token * width * inside, token * width * across, spanned)
        add_collective(tally, operation, fixed, sending)
    if layer.shared_inner > 0:
        fixed, sending = all_reduce(machine, tp, size)
    else:
        fixed, sending = all_gather(machine, tp, size)
    add_collective(tally, _REDUCE, fixed, sending)


@kernel
def feedforward_params(layer, hidden, deployment, kit):
    """Bytes of the feed-forward weights of one layer on one rank: section 9."""
    tp, matrices = deployment.tp, layer.ffn_matrices
    size = kit.ffn.w_weight * matrices * hidden * ceil_div(layer.ffn_inner, tp)
    if layer.experts > 0:
        local = layer.experts // deployment.ep
        inner = ceil_div(layer.expert_inner, deployment.moe_tp)
        size += local * kit.expert.w_weight * matrices * layer.expert_hidden * inner
        size += kit.shared.w_weight * matrices * hidden * ceil_div(layer.shared_inner, tp)
        size += kit.router.w_weight * hidden * layer.experts
        if layer.expert_hidden != hidden:
            size += kit.shared.w_weight * 2 * hidden * layer.expert_hidden
    return size
