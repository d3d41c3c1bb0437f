"""Decode over a grid: the compiled entry behind `roofline.decode`.

Configurations x batches run in parallel; within one of them the contexts run in tiles that stay in the first-level
cache. Every cell is computed by one thread in one order, so serial and parallel runs give the same bits.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from roofline.kernels._jit import entry, inlined, kernel, run_jobs
from roofline.kernels.attention import (
    A_CACHE,
    A_COMPUTE,
    A_CORE,
    A_LATENCY,
    A_MEMORY,
    A_MOVED,
    A_NETWORK,
    A_PEAK,
    ROWS,
)
from roofline.kernels.memory import capacity_bytes, stage_share, weight_bytes, work_bytes
from roofline.kernels.ops import PARTS, SLOTS, ceil_div
from roofline.kernels.power import draw
from roofline.kernels.step import (
    CONSTANTS,
    K_COMPUTE,
    K_HOPS,
    K_LATENCY,
    K_MEMORY,
    K_MOVED,
    K_NETWORK,
    K_PEAK,
    K_SERIAL_HOPS,
    close_pass,
    ends,
    legality,
    serial_times,
    stage_times,
    sum_layers,
)
from roofline.layout import Bound, Component, Limit

TILE = 256  # contexts summed at a time: an accumulator of 18 KB


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
    CLASS_COMPUTE = 9
    CLASS_MEMORY = 10
    CLASS_NETWORK = 11
    CLASS_LATENCY = 12
    COMPONENT = 13  # the first of len(layout.Component)


VARIABLES = int(Var.COMPONENT) + len(Component)
_STEP, _SERIAL, _USER, _GPU = int(Var.STEP), int(Var.SERIAL), int(Var.USER_RATE), int(Var.GPU_RATE)
_MEMORY_VAR, _POWER, _ENERGY = int(Var.MEMORY), int(Var.POWER), int(Var.ENERGY)
_MFU, _MBU, _COMPONENT = int(Var.MFU), int(Var.MBU), int(Var.COMPONENT)
_CLASS = int(Var.CLASS_COMPUTE)
_COMPONENTS = len(Component)
_CORE, _PIPELINE = int(Component.ATTENTION_CORE), int(Component.PIPELINE)

_NO_MEMORY, _NO_MATH, _NO_CONTEXT = int(Limit.MEMORY), int(Limit.MATH_TYPE), int(Limit.CONTEXT)
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
def clear(acc, total, size):
    """Zero an accumulator's first `size` contexts and a tally."""
    for row in range(ROWS):
        for c in range(size):
            acc[row, c] = 0.0
    for slot in range(SLOTS):
        total[slot] = 0.0


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


@inlined
def decode_cells(
    out, slots, limit, bound, i, b, models, layers, machines, kits, deployments, configs, batch, context, new
):
    """All contexts of one configuration at one batch."""
    config = configs[i]
    n = context.size
    if config.kit < 0:
        fill_missing(out, limit, bound, i, b, 0, n, _NO_MATH)
        return
    model, machine = models[config.model], machines[config.machine]
    kit, deployment = kits[config.kit], deployments[config.deployment]
    code = legality(model, layers, machine, deployment)
    if code != 0:
        fill_missing(out, limit, bound, i, b, 0, n, code)
        return
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    rows, tokens = sequences * new, together * new

    total, tally = np.empty(SLOTS), np.empty(SLOTS)
    first, last, k = np.empty(SLOTS), np.empty(SLOTS), np.empty(CONSTANTS)
    acc, times = np.empty((ROWS, TILE)), np.empty((4, TILE))
    ends(first, last, model, machine, kit, deployment, rows, rows)

    kept = stage_share(model, deployment) * ceil_div(batch, deployment.dp)
    held = weight_bytes(model, layers, kit, deployment)
    held += work_bytes(model, layers, kit, deployment, rows, tokens, rows)
    capacity = capacity_bytes(machine)
    group = deployment.tp * deployment.pp * deployment.dp

    for start in range(0, n, TILE):
        stop = min(start + TILE, n)
        size = stop - start
        tile = context[start:stop]
        clear(acc, total, size)
        sum_layers(acc, total, tally, model, layers, machine, kit, deployment, tile, sequences, new, tokens, False)
        close_pass(k, total, first, last, model, machine, kit, deployment, rows)
        whole, step, slow, memory = times[0, :size], times[1, :size], times[2, :size], times[3, :size]
        stage_times(whole, slow, acc, k, model, deployment)
        hops = k[K_HOPS]
        for c in range(size):
            step[c] = max(whole[c] + hops, flights * slow[c])
            memory[c] = held + kept * acc[A_CACHE, c]
        _write_cells(
            out, slots, bound, i, b, start, acc, k, total, first, last, whole, step, memory,
            machine, kit, deployment, batch, flights, group, new,
        )  # fmt: skip
        if slots[_SERIAL] >= 0:
            if kit.bound == 1:
                serial_times(whole, slow, acc, k, model, deployment)
                for c in range(size):
                    out[slots[_SERIAL], i, b, start + c] = max(whole[c] + k[K_SERIAL_HOPS], flights * slow[c])
            else:
                copy(out[slots[_SERIAL], i, b, start:stop], step)
        for c in range(size):
            reason = 0
            reason = _NO_MEMORY if memory[c] > capacity else reason
            reason = _NO_CONTEXT if tile[c] > model.max_context else reason
            limit[i, b, start + c] = reason
        _hide_limited(out, slots, limit, bound, i, b, start, stop)


@inlined
def _write_cells(
    out, slots, bound, i, b, start, acc, k, total, first, last, whole, step, memory,
    machine, kit, deployment, batch, flights, group, new,
):  # fmt: skip
    """Write the wanted variables of a tile, one contiguous loop each."""
    size = step.size
    per_stage = flights / deployment.pp
    stop = start + size
    if slots[_STEP] >= 0:
        copy(out[slots[_STEP], i, b, start:stop], step)
    if slots[_USER] >= 0:
        row = out[slots[_USER], i, b, start:stop]
        for c in range(size):
            row[c] = new / step[c]
    if slots[_GPU] >= 0:
        row = out[slots[_GPU], i, b, start:stop]
        rate = batch * new / group
        for c in range(size):
            row[c] = rate / step[c]
    if slots[_MEMORY_VAR] >= 0:
        copy(out[slots[_MEMORY_VAR], i, b, start:stop], memory)
    if slots[_MFU] >= 0:
        row = out[slots[_MFU], i, b, start:stop]
        for c in range(size):
            row[c] = (k[K_PEAK] + acc[A_PEAK, c]) * per_stage / step[c]
    if slots[_MBU] >= 0:
        row = out[slots[_MBU], i, b, start:stop]
        for c in range(size):
            row[c] = (k[K_MOVED] + acc[A_MOVED, c]) / machine.bytes_per_s * per_stage / step[c]
    if slots[_POWER] >= 0 or slots[_ENERGY] >= 0:
        _write_energy(out, slots, i, b, start, acc, k, step, machine, per_stage, group / (batch * new))
    if slots[_CLASS] >= 0:
        for c in range(size):
            out[slots[_CLASS], i, b, start + c] = k[K_COMPUTE] + acc[A_COMPUTE, c]
            out[slots[_CLASS + 1], i, b, start + c] = k[K_MEMORY] + acc[A_MEMORY, c]
            out[slots[_CLASS + 2], i, b, start + c] = k[K_NETWORK] + acc[A_NETWORK, c]
            out[slots[_CLASS + 3], i, b, start + c] = k[K_LATENCY] + acc[A_LATENCY, c]
    if slots[_COMPONENT] >= 0:
        for part in range(_COMPONENTS):
            row = out[slots[_COMPONENT + part], i, b, start:stop]
            fixed = total[PARTS + part] + first[PARTS + part] + last[PARTS + part]
            for c in range(size):
                row[c] = fixed
                if part == _CORE:
                    row[c] = fixed + acc[A_CORE, c]
                elif part == _PIPELINE:
                    row[c] = step[c] - whole[c]
                if kit.bound == 1:  # a layer has one time there, not one for each component
                    row[c] = np.nan
    if bound.size > 0:
        for c in range(size):
            bound[i, b, start + c] = binding(
                k[K_COMPUTE] + acc[A_COMPUTE, c],
                k[K_MEMORY] + acc[A_MEMORY, c],
                k[K_NETWORK] + acc[A_NETWORK, c],
                k[K_LATENCY] + acc[A_LATENCY, c],
            )


@inlined
def _write_energy(out, slots, i, b, start, acc, k, step, machine, per_stage, per_token):
    """Metered draw and J per token: equation (16)."""
    for c in range(step.size):
        compute_share = (k[K_PEAK] + acc[A_PEAK, c]) * per_stage / step[c]
        memory_share = (k[K_MOVED] + acc[A_MOVED, c]) / machine.bytes_per_s * per_stage / step[c]
        power = draw(machine, compute_share, memory_share)
        if slots[_POWER] >= 0:
            out[slots[_POWER], i, b, start + c] = power
        if slots[_ENERGY] >= 0:
            out[slots[_ENERGY], i, b, start + c] = power * step[c] * per_token


@inlined
def _hide_limited(out, slots, limit, bound, i, b, start, stop):
    """NaN where a cell cannot run; what memory it would need stays."""
    some = False
    for c in range(start, stop):
        some = some | (limit[i, b, c] != 0)
    if not some:
        return
    for v in range(out.shape[0]):
        if v == slots[_MEMORY_VAR]:
            continue
        for c in range(start, stop):
            if limit[i, b, c] != 0:
                out[v, i, b, c] = np.nan
    if bound.size > 0:
        for c in range(start, stop):
            if limit[i, b, c] != 0:
                bound[i, b, c] = 0


@entry
def _decode(
    out, slots, limit, bound, models, layers, machines, kits, deployments, configs, batch, context, new, start, stop
):
    for job in range(start, stop):
        i, b = job // batch.shape[1], job % batch.shape[1]
        decode_cells(
            out, slots, limit, bound, i, b, models, layers, machines, kits, deployments, configs,
            batch[i, b], context, new,
        )  # fmt: skip


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
    for group in (range(_CLASS, _CLASS + 4), range(_COMPONENT, VARIABLES)):
        if wanted & set(group):
            wanted |= set(group)
    return sorted(wanted)


def decode_grid(
    models,
    layers,
    machines,
    kits,
    deployments,
    configs,
    batch,
    context,
    new_tokens=1,
    want=(Var.STEP,),
    with_bound=True,
    parallel=True,
):
    """Decode passes over configurations x batches x contexts.

    models, layers, machines, kits, deployments, configs : record arrays of the dtypes of `roofline.layout`.
    batch : int64[config, n_batch]   sequences in one replica.
    context : int64[n_context]   tokens, the new ones included.
    new_tokens : int   new tokens per sequence in the pass (1, or 1 + draft length).
    want : Var numbers to write.
    parallel : bool   use as many threads as numba is set to (NUMBA_NUM_THREADS).

    Returns {"values": {Var number: float64[config, n_batch, n_context]}, "limit": int8[...], "bound": int8[...]}.
    """
    want = whole_groups(want)
    shape = (configs.size, batch.shape[1], context.size)
    out, slots, limit, bound = allocate(want, shape, with_bound)
    views = [a.view(np.recarray) for a in (models, layers, machines, kits, deployments, configs)]
    arguments = (
        out, slots, limit, bound, *views,
        np.ascontiguousarray(batch, dtype=np.int64), np.ascontiguousarray(context, dtype=np.float64), int(new_tokens),
    )  # fmt: skip
    run_jobs(_decode, arguments, configs.size * batch.shape[1], parallel)
    return {"values": {v: out[slots[v]] for v in want}, "limit": limit, "bound": bound}
