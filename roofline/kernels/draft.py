"""Draft passes of a decode step, on its last stage (section 8, Drafts): compiled apart, called where there are any."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.contexts import A_CACHE, summed_rows
from roofline.kernels.ops import COMPUTE, LATENCY, LINK, MEMORY, MOVED, NETWORK, PARTS, PEAK, SLOTS, add_gemm
from roofline.kernels.step import (
    CONSTANTS,
    DECODE,
    K_COMPUTE,
    K_LAST,
    K_LATENCY,
    K_MEMORY,
    K_MOVED,
    K_NETWORK,
    K_PEAK,
    K_SERIAL_LAST,
    ends,
    pipeline_shares,
    roof,
    tally_layers,
)
from roofline.layout import Operation

_JOIN = np.int64(Operation.JOIN_DRAFT)
_ONE = np.int64(1)  # new token of a draft pass


@kernel
def draft_ends(join, head, model, machine, kit, deployment, sequences):
    """Tally what is before and after the layers of a draft pass.

    join : embedding of the token, and the GEMM that joins it with the hidden state.   head : lm_head and gather.
    """
    ends(join, head, model, machine, kit, deployment, sequences, sequences)
    add_gemm(join, _JOIN, 2 * model.hidden, model.hidden, sequences, kit.attn, machine.bytes_per_s)


@kernel
def tally_drafts(k, total, tallies, model, layers, machine, kit, deployment, sequences, together, drafts):
    """Tally a draft pass and add `drafts` of them to what every context of a step shares.

    k : float64[step.CONSTANTS], from `close_pass`, and total : float64[ops.SLOTS], its components   added to.
    tallies : float64[kinds, ops.SLOTS]   written, one row a kind of the draft module.   together : tokens of a pass.
    """
    join, head, stack, bandwidth = np.empty(SLOTS), np.empty(SLOTS), np.empty(SLOTS), machine.bytes_per_s
    tally_layers(
        tallies, stack, model.first_draft, model.last_draft, model, layers, machine, kit, deployment,
        sequences, _ONE, together, DECODE,
    )  # fmt: skip
    draft_ends(join, head, model, machine, kit, deployment, sequences)
    k[K_PEAK] += drafts * (join[PEAK] + head[PEAK])
    k[K_MOVED] += drafts * (join[MOVED] + head[MOVED])
    for slot in range(PARTS, SLOTS):  # components, and what the draw is of beside the work
        total[slot] += drafts * (stack[slot] + join[slot] + head[slot])
    if kit.bound == 1:  # layers are all in the accumulator
        one = np.zeros(CONSTANTS)
        k[K_LAST] += drafts * (roof(join, bandwidth, one) + roof(head, bandwidth, one))
        for slot in (K_COMPUTE, K_MEMORY, K_NETWORK):
            k[slot] += drafts * one[slot]
        for tally in (join, head):
            k[K_SERIAL_LAST] += drafts * (max(tally[PEAK], tally[MOVED] / bandwidth) + tally[LINK])
        return
    for slot, of in ((K_LATENCY, LATENCY), (K_COMPUTE, COMPUTE), (K_MEMORY, MEMORY), (K_NETWORK, NETWORK)):
        seconds = drafts * (stack[of] + join[of] + head[of])
        k[slot] += seconds
        k[K_LAST] += seconds
    k[K_SERIAL_LAST] = k[K_LAST]


@kernel
def drafted_step_times(step, time, late, drafts, base, start, end, hops, flights, model, deployment):
    """As `sweep.step_times`, with `drafts` passes of `late` seconds each after the layers of the last stage."""
    rho, tail = pipeline_shares(model, deployment)
    for c in range(step.size):
        layers, last = base + time[c], end + drafts * late[c]
        slowest = max(start + rho * layers, tail * layers + last)
        whole = start + layers + last
        step[c] = max(whole + hops, flights * slowest) if deployment.pp > 1 else whole


@kernel
def add_rows(acc, late, n, drafts, detail):
    """Add what was summed over one draft pass, `drafts` times, to what was summed over the check."""
    for row in range(summed_rows(detail)):
        if row != A_CACHE:
            for c in range(n):
                acc[row, c] += drafts * late[row, c]
