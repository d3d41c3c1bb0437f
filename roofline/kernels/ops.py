"""One operation: equations (1) and (2) of docs/equations.md, added to a tally.

A *tally* is a float64 vector, one slot for each thing a pass is asked about. Operations add to it.
"""

from __future__ import annotations

from roofline.kernels._jit import kernel
from roofline.layout import Component

LATENCY = 0  # s, fixed times
COMPUTE = 1  # s, where the compute roof binds
MEMORY = 2  # s, where the memory roof binds
NETWORK = 3  # s, bytes on links
PEAK = 4  # s, F/flop_per_s: compute time at dense peak
MOVED = 5  # B, memory traffic
LINK = 6  # s, collectives in whole
PARTS = 7  # s by layout.Component from here on
SLOTS = PARTS + len(Component)


@kernel
def ceil_div(a, b):
    """Smallest integer not below a/b, for positive integers."""
    return -(-a // b)


@kernel
def add_operation(tally, component, flop, moved, part, bandwidth):
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
    tally[PARTS + component] += part.fixed_s + max(compute, memory)


@kernel
def add_gemm(tally, component, inputs, outputs, rows, part, bandwidth):
    """Add a GEMM of `rows` x `inputs` by `inputs` x `outputs`: equation (2)."""
    flop = 2.0 * rows * inputs * outputs
    moved = inputs * outputs * part.w_weight + rows * inputs * part.w_act + rows * outputs * part.w_out
    add_operation(tally, component, flop, moved, part, bandwidth)


@kernel
def add_traffic(tally, component, moved, fixed, eta, bandwidth):
    """Add an operation that only moves bytes (element-wise kernels, permutation, embedding)."""
    memory = moved / (eta * bandwidth)
    tally[LATENCY] += fixed
    tally[MEMORY] += memory
    tally[MOVED] += moved
    tally[PARTS + component] += fixed + memory


@kernel
def add_collective(tally, component, fixed, sending):
    """Add a collective of a fixed time and a time of bytes on links [s]."""
    tally[LATENCY] += fixed
    tally[NETWORK] += sending
    tally[LINK] += fixed + sending
    tally[PARTS + component] += fixed + sending


@kernel
def add_gated(tally, component, hidden, inner, matrices, rows, part, bandwidth):
    """Add a feed-forward of two GEMMs: hidden -> (matrices-1)*inner -> hidden. Three matrices where gated."""
    add_gemm(tally, component, hidden, (matrices - 1) * inner, rows, part, bandwidth)
    add_gemm(tally, component, inner, hidden, rows, part, bandwidth)
