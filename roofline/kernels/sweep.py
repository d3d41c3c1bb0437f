"""Decode over a grid: the compiled entry behind `roofline.decode`.

Configurations x batches run in parallel; within one of them the contexts run in tiles that stay in the first-level
cache. Every cell is computed by one thread in one order, so serial and parallel runs give the same bits.
"""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import entry, inlined, kernel, run_jobs
from roofline.kernels.contexts import (
    A_CACHE,
    A_COMPUTE,
    A_LATENCY,
    A_MEMORY,
    A_MOVED,
    A_NETWORK,
    A_PEAK,
    A_SERIAL,
    A_TIME,
    DETAIL_CLASSES,
    DETAIL_TIME,
    DETAIL_WORK,
    ROWS,
)
from roofline.kernels.cores import sum_cores
from roofline.kernels.draft import add_rows, drafted_step_times, tally_drafts
from roofline.kernels.memory import capacity_bytes, stage_share, sum_caches, weight_bytes, work_bytes
from roofline.kernels.ops import EXTRA_MOVED, EXTRA_PEAK, PARTS, SLOTS, ceil_div
from roofline.kernels.outputs import (
    COMPONENTS,
    CORE,
    N_CONTEXT,
    N_MATH,
    N_MEMORY,
    PIPELINE,
    TILE,
    V_CLASS,
    V_COMPONENT,
    V_DRAWN_COMPUTE,
    V_DRAWN_MEMORY,
    V_ENERGY,
    V_GPU,
    V_MBU,
    V_MEMORY,
    V_MFU,
    V_POWER,
    V_SERIAL,
    V_STEP,
    V_USER,
    Var,
    allocate,
    binding,
    copy,
    fill_missing,
    whole_groups,
)
from roofline.kernels.power import draw
from roofline.kernels.step import (
    CONSTANTS,
    DECODE,
    K_COMPUTE,
    K_FIRST,
    K_HOPS,
    K_LAST,
    K_LATENCY,
    K_LAYERS,
    K_MEMORY,
    K_MOVED,
    K_NETWORK,
    K_PEAK,
    K_SERIAL_FIRST,
    K_SERIAL_HOPS,
    K_SERIAL_LAST,
    close_pass,
    ends,
    legality,
    pipeline_shares,
    tally_layers,
)

_FIRST = np.int64(0)
_TIME, _SERIAL = np.int64(A_TIME), np.int64(A_SERIAL)
_ONE = np.int64(1)  # new token of a draft pass


@inlined
def detail_of(slots, bound, bounded):
    """Which rows of the accumulator the wanted variables need."""
    if bound.size > 0 or slots[V_CLASS] >= 0 or (bounded and slots[V_SERIAL] >= 0):
        return DETAIL_CLASSES
    if slots[V_MFU] >= 0 or slots[V_MBU] >= 0 or slots[V_POWER] >= 0 or slots[V_ENERGY] >= 0:
        return DETAIL_WORK
    if slots[V_DRAWN_COMPUTE] >= 0 or slots[V_DRAWN_MEMORY] >= 0:
        return DETAIL_WORK
    return DETAIL_TIME


@inlined
def decode_cells(
    out, slots, limit, bound, i, b, model, layers, machine, kit, deployment, batch, context, new, drafts, per_step,
    weights, detail, tallies, drafted, ends_of, k, acc, late, times, edges, fullest,
):  # fmt: skip
    """All contexts of one configuration at one batch.

    weights : B, of `memory.weight_bytes`.
    edges : float64[tiles]   the longest context of each tile, with the KV cache there in row A_CACHE of `fullest` [B].
    tallies, drafted, ends_of, k, acc, late, times : scratch.
    """
    n = context.size
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    rows, tokens = sequences * new, together * new
    total, first, last = ends_of[0], ends_of[1], ends_of[2]
    kept = stage_share(model, deployment) * ceil_div(batch, deployment.dp)
    held = weights + work_bytes(model, layers, kit, deployment, rows, tokens, rows)
    capacity = capacity_bytes(machine)
    group = deployment.tp * deployment.pp * deployment.dp
    ready = False
    longest = 1.0 * model.max_context
    top, end, draft_top, draft_end = model.first_layer, model.last_layer, model.first_draft, model.last_draft
    for start in range(0, n, TILE):
        stop = min(start + TILE, n)
        size = stop - start
        tile, reasons, edge = context[start:stop], limit[i, b, start:stop], start // TILE
        # Memory grows with the context: where the longest of a tile runs, all do.
        hidden = 0
        if slots[V_MEMORY] >= 0 or held + kept * fullest[A_CACHE, edge] > capacity or edges[edge] > longest:
            memory = times[2, :size]
            sum_caches(acc, model, layers, kit, deployment, tile, drafts)
            hidden = check_limits(memory, reasons, acc, tile, held, kept, capacity, longest)
            if slots[V_MEMORY] >= 0:
                copy(out[slots[V_MEMORY], i, b, start:stop], memory)
        else:
            for c in range(size):
                reasons[c] = 0
        if hidden == size:
            hide_limited(out, slots, reasons, bound, i, b, start)
            continue
        if not ready:
            tally_layers(
                tallies, total, top, end, model, layers, machine, kit, deployment, sequences, new, tokens, DECODE
            )
            ends(first, last, model, machine, kit, deployment, rows, rows)
            close_pass(k, total, first, last, model, machine, kit, deployment, rows)
            if drafts > 0:
                tally_drafts(k, total, drafted, model, layers, machine, kit, deployment, sequences, together, drafts)
            ready = True
        sum_cores(acc, tallies, top, end, layers, machine, kit, deployment, tile, sequences, new, DECODE, detail)
        if drafts > 0:
            sum_cores(
                late, drafted, draft_top, draft_end, layers, machine, kit, deployment, tile, sequences, _ONE, DECODE,
                detail,
            )  # fmt: skip
        step = out[slots[V_STEP], i, b, start:stop] if slots[V_STEP] >= 0 else times[0, :size]
        step_times(
            step, acc, late, _TIME, drafts, k[K_LAYERS], k[K_FIRST], k[K_LAST], k[K_HOPS], flights, model, deployment
        )  # fmt: skip
        if slots[V_SERIAL] >= 0:
            serial = out[slots[V_SERIAL], i, b, start:stop]
            if kit.bound == 1:
                step_times(
                    serial, acc, late, _SERIAL, drafts, 0.0, k[K_SERIAL_FIRST], k[K_SERIAL_LAST], k[K_SERIAL_HOPS],
                    flights, model, deployment,
                )  # fmt: skip
            else:
                copy(serial, step)
        if drafts > 0:
            add_rows(acc, late, size, drafts, detail)
        _write_cells(
            out, slots, bound, i, b, start, acc, k, total, first, last, step, times[1, :size],
            machine, kit, deployment, batch, flights, group, per_step,
        )  # fmt: skip
        if hidden > 0:
            hide_limited(out, slots, reasons, bound, i, b, start)


@kernel
def step_times(step, acc, late, of, drafts, base, start, end, hops, flights, model, deployment):
    """Time of a decode step at each context of a tile: one pass, or the slowest stage `flights` times over: (15).

    step : float64[n]   written [s].   acc : accumulator whose row `of` has the layers, beside `base` [s].
    late : the same of one draft pass, read where there are `drafts`.
    start, end, hops : before and after the layers, and between stages [s].
    """
    if drafts > 0:
        drafted_step_times(step, acc[of], late[of], drafts, base, start, end, hops, flights, model, deployment)
        return
    time = acc[of]
    if deployment.pp == 1:
        for c in range(step.size):
            step[c] = start + (base + time[c]) + end
        return
    rho, tail = pipeline_shares(model, deployment)
    for c in range(step.size):
        layers = base + time[c]
        slowest = max(start + rho * layers, tail * layers + end)
        step[c] = max(start + layers + end + hops, flights * slowest)


@kernel
def check_limits(memory, reasons, acc, tile, held, kept, capacity, most):
    """Memory of each context of a tile and its `Limit`; returns how many have one."""
    cache = acc[A_CACHE]
    hidden = 0
    for c in range(tile.size):
        memory[c] = held + kept * cache[c]
        hidden += 1 if (memory[c] > capacity) | (tile[c] > most) else 0
    if hidden == 0:
        for c in range(tile.size):
            reasons[c] = 0
        return hidden
    for c in range(tile.size):
        reason = N_MEMORY if memory[c] > capacity else 0
        reasons[c] = N_CONTEXT if tile[c] > most else reason
    return hidden


@inlined
def _write_cells(
    out, slots, bound, i, b, start, acc, k, total, first, last, step, power,
    machine, kit, deployment, batch, flights, group, per_step,
):  # fmt: skip
    """Write the wanted variables of a tile, one contiguous loop each."""
    size = step.size
    per_stage = flights / deployment.pp
    stop = start + size
    if slots[V_USER] >= 0:
        row = out[slots[V_USER], i, b, start:stop]
        for c in range(size):
            row[c] = per_step / step[c]
    if slots[V_GPU] >= 0:
        row = out[slots[V_GPU], i, b, start:stop]
        rate = batch * per_step / group
        for c in range(size):
            row[c] = rate / step[c]
    if slots[V_MFU] >= 0:
        row = out[slots[V_MFU], i, b, start:stop]
        for c in range(size):
            row[c] = (k[K_PEAK] + acc[A_PEAK, c]) * per_stage / step[c]
    if slots[V_MBU] >= 0:
        row = out[slots[V_MBU], i, b, start:stop]
        per_byte = per_stage / machine.bytes_per_s
        for c in range(size):
            row[c] = (k[K_MOVED] + acc[A_MOVED, c]) * per_byte / step[c]
    _write_draw(out, slots, i, b, start, power, acc, k, total, step, machine, per_stage, group / (batch * per_step))
    if slots[V_CLASS] >= 0:
        for c in range(size):
            out[slots[V_CLASS], i, b, start + c] = k[K_COMPUTE] + acc[A_COMPUTE, c]
            out[slots[V_CLASS + 1], i, b, start + c] = k[K_MEMORY] + acc[A_MEMORY, c]
            out[slots[V_CLASS + 2], i, b, start + c] = k[K_NETWORK] + acc[A_NETWORK, c]
            out[slots[V_CLASS + 3], i, b, start + c] = k[K_LATENCY] + acc[A_LATENCY, c]
    if slots[V_COMPONENT] >= 0:
        for part in range(COMPONENTS):
            row = out[slots[V_COMPONENT + part], i, b, start:stop]
            fixed = total[PARTS + part] + first[PARTS + part] + last[PARTS + part]
            for c in range(size):
                row[c] = fixed
                if part == CORE:
                    row[c] = fixed + acc[A_TIME, c]
                elif part == PIPELINE:
                    row[c] = step[c] - (k[K_FIRST] + (k[K_LAYERS] + acc[A_TIME, c]) + k[K_LAST])
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
def _write_draw(out, slots, i, b, start, power, acc, k, total, step, machine, per_stage, per_token):
    """Metered draw and J per token, and what they are of: equation (16)."""
    peak, moved = k[K_PEAK] + total[EXTRA_PEAK], k[K_MOVED] + total[EXTRA_MOVED]
    per_byte, stop = per_stage / machine.bytes_per_s, start + step.size
    if slots[V_DRAWN_COMPUTE] >= 0:
        row = out[slots[V_DRAWN_COMPUTE], i, b, start:stop]
        for c in range(step.size):
            row[c] = (peak + acc[A_PEAK, c]) * per_stage / step[c]
    if slots[V_DRAWN_MEMORY] >= 0:
        row = out[slots[V_DRAWN_MEMORY], i, b, start:stop]
        for c in range(step.size):
            row[c] = (moved + acc[A_MOVED, c]) * per_byte / step[c]
    if slots[V_POWER] < 0 and slots[V_ENERGY] < 0:
        return
    for c in range(step.size):
        compute_share = (peak + acc[A_PEAK, c]) * per_stage / step[c]
        memory_share = (moved + acc[A_MOVED, c]) * per_byte / step[c]
        power[c] = draw(machine, compute_share, memory_share)
    if slots[V_POWER] >= 0:
        copy(out[slots[V_POWER], i, b, start:stop], power)
    if slots[V_ENERGY] >= 0:
        row = out[slots[V_ENERGY], i, b, start:stop]
        for c in range(step.size):
            row[c] = power[c] * step[c] * per_token


@inlined
def hide_limited(out, slots, reasons, bound, i, b, start):
    """NaN where a cell cannot run; what memory it would need stays."""
    for v in range(out.shape[0]):
        if v == slots[V_MEMORY]:
            continue
        row = out[v, i, b, start : start + reasons.size]
        for c in range(reasons.size):
            row[c] = np.nan if reasons[c] != 0 else row[c]
    if bound.size > 0:
        row8 = bound[i, b, start : start + reasons.size]
        for c in range(reasons.size):
            row8[c] = 0 if reasons[c] != 0 else row8[c]


@entry
def _decode(
    out, slots, limit, bound, models, layers, machines, kits, deployments, configs, batch, context, new, drafts,
    per_step, start, stop,
):  # fmt: skip
    tallies, ends_of = np.empty((layers.size, SLOTS)), np.empty((3, SLOTS))
    k, acc, times = np.empty(CONSTANTS), np.empty((ROWS, TILE)), np.empty((3, TILE))
    drafted, late = np.empty((layers.size, SLOTS)), np.empty((ROWS, TILE))
    edges = np.empty(ceil_div(context.size, TILE))
    fullest = np.empty((A_CACHE + 1, edges.size))
    for tile in range(edges.size):
        edges[tile] = context[tile * TILE : (tile + 1) * TILE].max()
    n_batch = batch.shape[1]
    known, code, weights, detail = -1, 0, 0.0, 0
    for job in range(start, stop):
        i, b = job // n_batch, job % n_batch
        config = configs[i]
        if config.kit < 0:
            fill_missing(out, limit, bound, i, b, _FIRST, context.size, N_MATH)
            continue
        model, machine = models[config.model], machines[config.machine]
        kit, deployment = kits[config.kit], deployments[config.deployment]
        if i != known:
            known, code = i, legality(model, layers, machine, deployment, drafts)
            detail = detail_of(slots, bound, kit.bound == 1)
            if code == 0:
                weights = weight_bytes(model, layers, kit, deployment, drafts)
                sum_caches(fullest, model, layers, kit, deployment, edges, drafts)
        if code != 0:
            fill_missing(out, limit, bound, i, b, _FIRST, context.size, code)
            continue
        decode_cells(
            out, slots, limit, bound, i, b, model, layers, machine, kit, deployment, batch[i, b], context, new, drafts,
            per_step, weights, detail, tallies, drafted, ends_of, k, acc, late, times, edges, fullest,
        )  # fmt: skip


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
    drafts=0,
    tokens_per_step=None,
    want=(Var.STEP,),
    with_bound=True,
    parallel=True,
):
    """Decode passes over configurations x batches x contexts.

    models, layers, machines, kits, deployments, configs : record arrays of the dtypes of `roofline.layout`.
    batch : int64[config, n_batch]   sequences in one replica.
    context : int64[n_context]   tokens, the new ones included.
    new_tokens : int   new tokens per sequence in the pass (1, or 1 + draft length).
    drafts : int   of them drafted by the model's own modules, in as many passes on the last stage in the same step.
    tokens_per_step : float   tokens per sequence and step that rates and energy count; default `new_tokens`.
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
        np.array(batch, dtype=np.int64, order="C"), np.array(context, dtype=np.float64), int(new_tokens), int(drafts),
        float(new_tokens if tokens_per_step is None else tokens_per_step),
    )  # fmt: skip
    run_jobs(_decode, arguments, configs.size * batch.shape[1], parallel)
    return {"values": {v: out[slots[v]] for v in want}, "limit": limit, "bound": bound}
