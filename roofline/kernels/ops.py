"""One operation: equations (1) and (2) of docs/equations.md, added to a tally.

A *tally* is a float64 vector, one slot for each thing a pass is asked about. Operations add to it. A longer vector
also keeps a trace: the number of operations, then a row of `TRACE` figures for each (see `explain.py`).
"""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.layout import OPERATION_COMPONENT, Component, Operation

LATENCY = 0  # s, fixed times
COMPUTE = 1  # s, where the compute roof binds
MEMORY = 2  # s, where the memory roof binds
NETWORK = 3  # s, bytes on links
PEAK = 4  # s, F/flop_per_s: compute time at dense peak
MOVED = 5  # B, memory traffic
LINK = 6  # s, collectives in whole
PARTS = 7  # s by layout.Component from here on
EXTRA_PEAK = PARTS + len(Component)  # s, what the draw of a mean accelerator is of beside PEAK
EXTRA_MOVED = EXTRA_PEAK + 1  # B, beside MOVED
SLOTS = EXTRA_MOVED + 1

TRACE = 7
"""Figures of a traced operation: Operation, FLOP, B, and s fixed, of compute, of memory and of links."""

_COMPONENT = np.array([OPERATION_COMPONENT[operation] for operation in Operation])


@kernel
def trace(tally, operation, flop, moved, fixed, compute, memory, sending):
    """Keep the figures of one operation where the tally has room for a trace."""
    if tally.size <= SLOTS:
        return
    at = SLOTS + 1 + TRACE * int(tally[SLOTS])
    tally[SLOTS] += 1.0
    tally[at] = operation
    tally[at + 1] = flop
    tally[at + 2] = moved
    tally[at + 3] = fixed
    tally[at + 4] = compute
    tally[at + 5] = memory
    tally[at + 6] = sending


@kernel
def ceil_div(a, b):
    """Smallest integer not below a/b, for positive integers."""
    return -(-a // b)


@kernel
def add_operation(tally, operation, flop, moved, part, bandwidth):
    """Add one operation bound by compute or by memory.

    t = fixed_s + max( F/(eta_c P), bytes/(eta_m W) )                                                     (1)

    tally : float64[SLOTS]   added to.
    flop, moved : float      work [FLOP, dense] and memory traffic [B].
    part : layout.PART record.   bandwidth : memory bandwidth [B/s].
    Williams, Waterman, Patterson, CACM 52(4), 2009, with a fixed cost per operation.
    """
    compute = flop / (part.eta_compute * part.flop_per_s)
    memory = moved / (part.eta_memory * bandwidth)
    tally[LATENCY] += part.fixed_s
    if compute >= memory:
        tally[COMPUTE] += compute
    else:
        tally[MEMORY] += memory
    tally[PEAK] += flop / part.flop_per_s
    tally[MOVED] += moved
    tally[PARTS + _COMPONENT[operation]] += part.fixed_s + max(compute, memory)
    trace(tally, operation, flop, moved, part.fixed_s, compute, memory, 0.0)


@kernel
def add_gemm(tally, operation, inputs, outputs, rows, part, bandwidth):
    """Add a GEMM of `rows` x `inputs` by `inputs` x `outputs`: equation (2)."""
    flop = 2.0 * rows * inputs * outputs
    moved = inputs * outputs * part.w_weight + rows * inputs * part.w_act + rows * outputs * part.w_out
    add_operation(tally, operation, flop, moved, part, bandwidth)


@kernel
def add_traffic(tally, operation, moved, fixed, eta, bandwidth):
    """Add an operation that only moves bytes (element-wise kernels, permutation, embedding)."""
    memory = moved / (eta * bandwidth)
    tally[LATENCY] += fixed
    tally[MEMORY] += memory
    tally[MOVED] += moved
    tally[PARTS + _COMPONENT[operation]] += fixed + memory
    trace(tally, operation, 0.0, moved, fixed, 0.0, memory, 0.0)


@kernel
def add_collective(tally, operation, fixed, sending):
    """Add a collective of a fixed time and a time of bytes on links [s]."""
    tally[LATENCY] += fixed
    tally[NETWORK] += sending
    tally[LINK] += fixed + sending
    if fixed + sending > 0.0:
        tally[PARTS + _COMPONENT[operation]] += fixed + sending
        trace(tally, operation, 0.0, 0.0, fixed, 0.0, 0.0, sending)


@kernel
def add_gated(tally, up, hidden, inner, matrices, rows, part, bandwidth):
    """Add a feed-forward of two GEMMs: hidden -> (matrices-1)*inner -> hidden. Three matrices where gated.

    up : int   the Operation of the first GEMM; the second is the one after it.
    """
    add_gemm(tally, up, hidden, (matrices - 1) * inner, rows, part, bandwidth)
    add_gemm(tally, up + 1, inner, hidden, rows, part, bandwidth)
