"""Prefill over a grid: chunked prompts with a cached prefix: equation (15p)."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import entry, inlined, kernel, run_jobs
from roofline.kernels.contexts import (
    A_COMPUTE,
    A_LATENCY,
    A_MEMORY,
    A_MOVED,
    A_NETWORK,
    A_PEAK,
    A_TIME,
    DETAIL_CLASSES,
    ROWS,
)
from roofline.kernels.cores import sum_cores
from roofline.kernels.memory import cache_bytes_per_sequence, capacity_bytes, weight_bytes, work_bytes
from roofline.kernels.ops import EXTRA_MOVED, EXTRA_PEAK, PARTS, SLOTS, ceil_div
from roofline.kernels.outputs import (
    COMPONENTS,
    CORE,
    N_CONTEXT,
    N_MATH,
    N_MEMORY,
    PIPELINE,
    TILE,
    V_COMPONENT,
    V_MEMORY,
    Var,
    allocate,
    binding,
    fill_missing,
    whole_groups,
)
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
    PREFILL,
    close_pass,
    ends,
    legality,
    serial_times,
    stage_times,
    tally_layers,
)

_NO_DRAFTS = np.int64(0)  # a prompt is not drafted
_NOT_LAST, _LAST = np.bool_(False), np.bool_(True)  # `final` of `add_chunks`
_FIRST = np.int64(0)

# What a prompt's chunks are summed in: one slot each, then one for each component.
S_TIME = 0  # s, all micro-batches of all chunks one after another through the slowest stage
S_SERIAL = 1  # s, the same with collectives after other work
S_DRAIN = 2  # s, largest over chunks: all stages and hops beyond the slowest stage
S_SERIAL_DRAIN = 3
S_PEAK, S_MOVED = 4, 5  # s at dense peak, B
S_COMPUTE, S_MEMORY, S_NETWORK, S_LATENCY = 6, 7, 8, 9  # s by class
S_WHOLE = 10  # s, sums of stages
S_DRAWN_PEAK, S_DRAWN_MOVED = 11, 12  # s at dense peak and B that the draw of a mean accelerator is of
S_PART = 13
SUMS = S_PART + COMPONENTS


@kernel
def add_chunks(
    sums,
    scratch,
    acc,
    times,
    contexts,
    model,
    layers,
    machine,
    kit,
    deployment,
    flights,
    sequences,
    together,
    new,
    final,
):
    """Add the passes of chunks of `new` tokens that end at `contexts` to `sums` : float64[sums].

    final : bool   the prompt's last chunk, after which one row a sequence meets the lm_head.
    scratch : float64[3 + kinds, SLOTS]; acc, times : a tile, as in `sweep`.
    """
    total, first, last, tallies = scratch[0], scratch[1], scratch[2], scratch[3:]
    n = contexts.size
    k = np.empty(CONSTANTS)
    rows = sequences * new
    ends(first, last, model, machine, kit, deployment, rows, sequences if final else 0)
    start, stop = model.first_layer, model.last_layer
    tally_layers(
        tallies, total, start, stop, model, layers, machine, kit, deployment, sequences, new, together * new, PREFILL
    )
    sum_cores(
        acc, tallies, start, stop, layers, machine, kit, deployment, contexts, sequences, new, PREFILL, DETAIL_CLASSES
    )
    close_pass(k, total, first, last, model, machine, kit, deployment, rows)
    whole = times[0, :n]
    slow = times[1, :n] if deployment.pp > 1 else whole
    stage_times(whole, slow, acc, k, model, deployment)
    for c in range(n):
        sums[S_TIME] += flights * slow[c]
        sums[S_DRAIN] = max(sums[S_DRAIN], whole[c] + k[K_HOPS] - slow[c])
        sums[S_WHOLE] += whole[c]
        sums[S_PEAK] += k[K_PEAK] + acc[A_PEAK, c]
        sums[S_MOVED] += k[K_MOVED] + acc[A_MOVED, c]
        sums[S_DRAWN_PEAK] += k[K_PEAK] + acc[A_PEAK, c] + total[EXTRA_PEAK]
        sums[S_DRAWN_MOVED] += k[K_MOVED] + acc[A_MOVED, c] + total[EXTRA_MOVED]
        sums[S_COMPUTE] += k[K_COMPUTE] + acc[A_COMPUTE, c]
        sums[S_MEMORY] += k[K_MEMORY] + acc[A_MEMORY, c]
        sums[S_NETWORK] += k[K_NETWORK] + acc[A_NETWORK, c]
        sums[S_LATENCY] += k[K_LATENCY] + acc[A_LATENCY, c]
        if kit.bound == 0:
            sums[S_PART + CORE] += acc[A_TIME, c]
    for part in range(COMPONENTS):
        sums[S_PART + part] += n * (total[PARTS + part] + first[PARTS + part] + last[PARTS + part])
    if kit.bound == 1:
        serial_times(whole, slow, acc, k, model, deployment)
        for c in range(n):
            sums[S_SERIAL] += flights * slow[c]
            sums[S_SERIAL_DRAIN] = max(sums[S_SERIAL_DRAIN], whole[c] + k[K_SERIAL_HOPS] - slow[c])


@inlined
def prompt_sums(sums, scratch, acc, times, tile, model, layers, machine, kit, deployment, batch, isl, cached, chunk):
    """Sum all chunks of a prompt; sums : float64[sums], written."""
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    for s in range(SUMS):
        sums[s] = 0.0
    rest = isl - cached
    full = (rest - 1) // chunk
    done = 0
    while done < full:
        n = min(TILE, full - done)
        for c in range(n):
            tile[c] = cached + (done + c + 1) * chunk
        add_chunks(
            sums, scratch, acc, times, tile[:n], model, layers, machine, kit, deployment,
            flights, sequences, together, chunk, _NOT_LAST,
        )  # fmt: skip
        done += n
    tile[0] = isl
    add_chunks(
        sums, scratch, acc, times, tile[:1], model, layers, machine, kit, deployment,
        flights, sequences, together, rest - full * chunk, _LAST,
    )  # fmt: skip


@inlined
def prefill_cells(
    out, slots, limit, bound, i, b, models, layers, machines, kits, deployments, configs, batch, lengths, cached, chunk
):
    """All prompt lengths of one configuration at one batch."""
    config = configs[i]
    if config.kit < 0:
        fill_missing(out, limit, bound, i, b, _FIRST, lengths.size, N_MATH)
        return
    model, machine = models[config.model], machines[config.machine]
    kit, deployment = kits[config.kit], deployments[config.deployment]
    code = legality(model, layers, machine, deployment, _NO_DRAFTS)
    if code != 0:
        fill_missing(out, limit, bound, i, b, _FIRST, lengths.size, code)
        return
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    group = deployment.tp * deployment.pp * deployment.dp
    per_stage = flights / deployment.pp
    weights = weight_bytes(model, layers, kit, deployment, _NO_DRAFTS)
    held = ceil_div(batch, deployment.dp)
    sums, scratch, tile = np.empty(SUMS), np.empty((3 + layers.size, SLOTS)), np.empty(TILE)
    acc, times = np.empty((ROWS, TILE)), np.empty((2, TILE))
    for c in range(lengths.size):
        isl = lengths[c]
        new = min(chunk, isl - cached)
        memory = weights + work_bytes(model, layers, kit, deployment, sequences * new, together * new, sequences)
        memory += held * cache_bytes_per_sequence(model, layers, kit, deployment, 1.0 * isl, _NO_DRAFTS)
        code = N_MEMORY if memory > capacity_bytes(machine) else 0
        code = N_CONTEXT if isl > model.max_context else code
        if code != 0:  # before any chunk is summed: a prompt can be long
            fill_missing(out, limit, bound, i, b, c, c + 1, code)
            if slots[V_MEMORY] >= 0:
                out[slots[V_MEMORY], i, b, c] = memory
            continue
        prompt_sums(sums, scratch, acc, times, tile, model, layers, machine, kit, deployment, batch, isl, cached, chunk)
        limit[i, b, c] = 0
        time = sums[S_TIME] + sums[S_DRAIN]
        serial = sums[S_SERIAL] + sums[S_SERIAL_DRAIN] if kit.bound == 1 else time
        _write_prompt(
            out,
            slots,
            bound,
            i,
            b,
            c,
            sums,
            time,
            serial,
            memory,
            machine,
            per_stage,
            group,
            batch,
            isl - cached,
            kit.bound == 1,
        )


@inlined
def _write_prompt(out, slots, bound, i, b, c, sums, time, serial, memory, machine, per_stage, group, batch, new, ideal):
    compute_share = sums[S_PEAK] * per_stage / time
    memory_share = sums[S_MOVED] / machine.bytes_per_s * per_stage / time
    drawn_compute = sums[S_DRAWN_PEAK] * per_stage / time
    drawn_memory = sums[S_DRAWN_MOVED] / machine.bytes_per_s * per_stage / time
    power = draw(machine, drawn_compute, drawn_memory)
    values = (
        time, serial, new / time, batch * new / (group * time), memory, power, group * power * time / (batch * new),
        compute_share, memory_share, drawn_compute, drawn_memory,
        sums[S_COMPUTE], sums[S_MEMORY], sums[S_NETWORK], sums[S_LATENCY],
    )  # fmt: skip
    for v in range(len(values)):
        if slots[v] >= 0:
            out[slots[v], i, b, c] = values[v]
    if slots[V_COMPONENT] >= 0:
        for part in range(COMPONENTS):
            value = time - sums[S_WHOLE] if part == PIPELINE else sums[S_PART + part]
            out[slots[V_COMPONENT + part], i, b, c] = np.nan if ideal else value
    if bound.size > 0:
        bound[i, b, c] = binding(sums[S_COMPUTE], sums[S_MEMORY], sums[S_NETWORK], sums[S_LATENCY])


@entry
def _prefill(
    out,
    slots,
    limit,
    bound,
    models,
    layers,
    machines,
    kits,
    deployments,
    configs,
    batch,
    lengths,
    cached,
    chunk,
    start,
    stop,
):
    for job in range(start, stop):
        i, b = job // batch.shape[1], job % batch.shape[1]
        prefill_cells(
            out, slots, limit, bound, i, b, models, layers, machines, kits, deployments, configs,
            batch[i, b], lengths, cached, chunk,
        )  # fmt: skip


def prefill_grid(
    models,
    layers,
    machines,
    kits,
    deployments,
    configs,
    batch,
    isl,
    cached=0,
    chunk=1 << 40,
    want=(Var.STEP,),
    with_bound=True,
    parallel=True,
):
    """Prefill of prompts over configurations x batches x prompt lengths.

    Record arrays and results as `sweep.decode_grid`; STEP is the time of the whole prompt, rates count the
    isl - cached tokens computed.
    isl : int64[n]   prompt tokens, the cached prefix included.
    cached : int   tokens already in the cache, < min(isl).
    chunk : int   most new tokens of one sequence in a pass.
    """
    want = whole_groups(want)
    shape = (configs.size, batch.shape[1], isl.size)
    out, slots, limit, bound = allocate(want, shape, with_bound)
    views = [a.view(np.recarray) for a in (models, layers, machines, kits, deployments, configs)]
    arguments = (
        out, slots, limit, bound, *views,
        np.array(batch, dtype=np.int64, order="C"), np.array(isl, dtype=np.int64), int(cached), int(chunk),
    )  # fmt: skip
    run_jobs(_prefill, arguments, configs.size * batch.shape[1], parallel)
    return {"values": {v: out[slots[v]] for v in want}, "limit": limit, "bound": bound}
