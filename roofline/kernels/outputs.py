"""What a grid kernel can write, and the arrays it writes to: shared by `sweep` and `prefill`."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from roofline.kernels._jit import kernel
from roofline.layout import Bound, Component, Limit

TILE = 512  # contexts summed at a time: within the first-level cache, yet enough of them to pay for the calls


class Var(IntEnum):
    """What a sweep can write, one float64 per cell. Variables of a class or component are seconds of one pass."""

    STEP = 0  # s
    SERIAL = 1  # s, collectives after other work; equals STEP outside `ideal`
    USER_RATE = 2  # tokens/s of one sequence
    GPU_RATE = 3  # tokens/s per accelerator
    MEMORY = 4  # B per accelerator
    POWER = 5  # W per accelerator
    ENERGY = 6  # J per token, accelerators only
    MFU = 7  # share of peak compute used
    MBU = 8  # share of memory bandwidth used
    DRAWN_COMPUTE = 9  # share of peak compute that the draw of a mean accelerator is of
    DRAWN_MEMORY = 10  # share of memory bandwidth, alike
    CLASS_COMPUTE = 11
    CLASS_MEMORY = 12
    CLASS_NETWORK = 13
    CLASS_LATENCY = 14
    COMPONENT = 15  # the first of len(layout.Component)


VARIABLES = int(Var.COMPONENT) + len(Component)

# Plain numbers for compiled code: V_ a variable, N_ why there is none.
V_STEP, V_SERIAL, V_USER, V_GPU = int(Var.STEP), int(Var.SERIAL), int(Var.USER_RATE), int(Var.GPU_RATE)
V_MEMORY, V_POWER, V_ENERGY = int(Var.MEMORY), int(Var.POWER), int(Var.ENERGY)
V_MFU, V_MBU, V_CLASS, V_COMPONENT = int(Var.MFU), int(Var.MBU), int(Var.CLASS_COMPUTE), int(Var.COMPONENT)
V_DRAWN_COMPUTE, V_DRAWN_MEMORY = int(Var.DRAWN_COMPUTE), int(Var.DRAWN_MEMORY)
COMPONENTS = len(Component)
CORE, PIPELINE = int(Component.ATTENTION_CORE), int(Component.PIPELINE)
N_MEMORY, N_MATH, N_CONTEXT = np.int64(Limit.MEMORY), np.int64(Limit.MATH_TYPE), np.int64(Limit.CONTEXT)
_B_COMPUTE, _B_MEMORY = int(Bound.COMPUTE), int(Bound.MEMORY)
_B_NETWORK, _B_LATENCY = int(Bound.NETWORK), int(Bound.LATENCY)


@kernel
def fill_missing(out, limit, bound, i, b, start, stop, code):
    """Mark cells that cannot run: NaN everywhere, with the reason."""
    for v in range(out.shape[0]):
        for c in range(start, stop):
            out[v, i, b, c] = np.nan
    for c in range(start, stop):
        limit[i, b, c] = code
    if bound.size > 0:
        for c in range(start, stop):
            bound[i, b, c] = 0


@kernel
def copy(target, source):
    """Copy element by element: assignment of a slice compiles to much more code."""
    for c in range(target.size):
        target[c] = source[c]


@kernel
def binding(compute, memory, network, latency):
    """Class with the largest share; the first on a tie."""
    best, code = compute, _B_COMPUTE
    code = _B_MEMORY if memory > best else code
    best = max(best, memory)
    code = _B_NETWORK if network > best else code
    best = max(best, network)
    return _B_LATENCY if latency > best else code


def allocate(want, shape, with_bound):
    """Output arrays for `want` (an iterable of variable numbers) over `shape` = (config, batch, context)."""
    want = [int(v) for v in want]
    slots = np.full(VARIABLES, -1, dtype=np.int64)
    slots[want] = np.arange(len(want))
    out = np.empty((len(want), *shape), dtype=np.float64)
    limit = np.empty(shape, dtype=np.int8)
    bound = np.empty(shape if with_bound else (0, 0, 0), dtype=np.int8)
    return out, slots, limit, bound


def whole_groups(want):
    """`want` with all four classes, or all components, where one of them is asked for: they are written together."""
    wanted = {int(v) for v in want}
    for group in (range(V_CLASS, V_CLASS + 4), range(V_COMPONENT, VARIABLES)):
        if wanted & set(group):
            wanted |= set(group)
    return sorted(wanted)
