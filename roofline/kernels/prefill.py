"""Prefill over a grid: chunked prompts with a cached prefix: equation (15p)."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from roofline.kernels._jit import entry, inlined, kernel, run_jobs
from roofline.kernels.attention import (
    A_CACHE,
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
    sum_caches,
    sum_cores,
    tally_layers,
)
from roofline.kernels.sweep import TILE, Var, allocate, binding, fill_missing, whole_groups
from roofline.layout import Component, Limit

_STEP, _SERIAL, _USER, _GPU = int(Var.STEP), int(Var.SERIAL), int(Var.USER_RATE), int(Var.GPU_RATE)
_MEMORY_VAR, _POWER, _ENERGY = int(Var.MEMORY), int(Var.POWER), int(Var.ENERGY)
_MFU, _MBU, _COMPONENT, _CLASS = int(Var.MFU), int(Var.MBU), int(Var.COMPONENT), int(Var.CLASS_COMPUTE)
_COMPONENTS = len(Component)
_CORE, _PIPELINE = int(Component.ATTENTION_CORE), int(Component.PIPELINE)
_NO_MEMORY, _NO_MATH, _NO_CONTEXT = np.int64(Limit.MEMORY), np.int64(Limit.MATH_TYPE), np.int64(Limit.CONTEXT)


class Sum(IntEnum):
    """What a prompt's chunks are summed in."""

    TIME = 0  # s, all micro-batches of all chunks one after another through the slowest stage
    SERIAL = 1
    DRAIN = 2  # s, largest over chunks: all stages and hops beyond the slowest stage
    SERIAL_DRAIN = 3
    PEAK = 4  # s
    MOVED = 5  # B
    COMPUTE = 6
    MEMORY = 7
    NETWORK = 8
    LATENCY = 9
    WHOLE = 10  # s, sums of stages
    CACHE = 11  # B of one sequence at the end
    COMPONENT = 12


_SUMS = int(Sum.COMPONENT) + _COMPONENTS
_TIME, _SERIAL_TIME, _DRAIN, _SERIAL_DRAIN = int(Sum.TIME), int(Sum.SERIAL), int(Sum.DRAIN), int(Sum.SERIAL_DRAIN)
_PEAK, _MOVED, _WHOLE, _CACHE, _PART = int(Sum.PEAK), int(Sum.MOVED), int(Sum.WHOLE), int(Sum.CACHE), int(Sum.COMPONENT)
_COMPUTE, _MEMORY, _NETWORK, _LATENCY = int(Sum.COMPUTE), int(Sum.MEMORY), int(Sum.NETWORK), int(Sum.LATENCY)


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
    """Add the passes of chunks of `new` tokens that end at `contexts` to `sums` : float64[Sum + components].

    final : bool   the prompt's last chunk, after which one row a sequence meets the lm_head.
    scratch : float64[3 + kinds, SLOTS]; acc, times : a tile, as in `sweep`.
    """
    total, first, last, tallies = scratch[0], scratch[1], scratch[2], scratch[3:]
    n = contexts.size
    k = np.empty(CONSTANTS)
    rows = sequences * new
    ends(first, last, model, machine, kit, deployment, rows, sequences if final else 0)
    tally_layers(tallies, total, model, layers, machine, kit, deployment, sequences, new, together * new, True)
    sum_cores(acc, tallies, model, layers, machine, kit, deployment, contexts, sequences, new, True, DETAIL_CLASSES)
    close_pass(k, total, first, last, model, machine, kit, deployment, rows)
    whole = times[0, :n]
    slow = times[1, :n] if deployment.pp > 1 else whole
    stage_times(whole, slow, acc, k, model, deployment)
    for c in range(n):
        sums[_TIME] += flights * slow[c]
        sums[_DRAIN] = max(sums[_DRAIN], whole[c] + k[K_HOPS] - slow[c])
        sums[_WHOLE] += whole[c]
        sums[_PEAK] += k[K_PEAK] + acc[A_PEAK, c]
        sums[_MOVED] += k[K_MOVED] + acc[A_MOVED, c]
        sums[_COMPUTE] += k[K_COMPUTE] + acc[A_COMPUTE, c]
        sums[_MEMORY] += k[K_MEMORY] + acc[A_MEMORY, c]
        sums[_NETWORK] += k[K_NETWORK] + acc[A_NETWORK, c]
        sums[_LATENCY] += k[K_LATENCY] + acc[A_LATENCY, c]
        if kit.bound == 0:
            sums[_PART + _CORE] += acc[A_TIME, c]
    for part in range(_COMPONENTS):
        sums[_PART + part] += n * (total[PARTS + part] + first[PARTS + part] + last[PARTS + part])
    if final:
        sum_caches(acc, model, layers, kit, deployment, contexts)
        sums[_CACHE] = acc[A_CACHE, n - 1]
    if kit.bound == 1:
        serial_times(whole, slow, acc, k, model, deployment)
        for c in range(n):
            sums[_SERIAL_TIME] += flights * slow[c]
            sums[_SERIAL_DRAIN] = max(sums[_SERIAL_DRAIN], whole[c] + k[K_SERIAL_HOPS] - slow[c])


@inlined
def prompt_sums(sums, scratch, acc, times, tile, model, layers, machine, kit, deployment, batch, isl, cached, chunk):
    """Sum all chunks of a prompt; sums : float64[Sum + components], written."""
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    for s in range(_SUMS):
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
            flights, sequences, together, chunk, False,
        )  # fmt: skip
        done += n
    tile[0] = isl
    add_chunks(
        sums, scratch, acc, times, tile[:1], model, layers, machine, kit, deployment,
        flights, sequences, together, rest - full * chunk, True,
    )  # fmt: skip


@inlined
def prefill_cells(
    out, slots, limit, bound, i, b, models, layers, machines, kits, deployments, configs, batch, lengths, cached, chunk
):
    """All prompt lengths of one configuration at one batch."""
    config = configs[i]
    if config.kit < 0:
        fill_missing(out, limit, bound, i, b, 0, lengths.size, _NO_MATH)
        return
    model, machine = models[config.model], machines[config.machine]
    kit, deployment = kits[config.kit], deployments[config.deployment]
    code = legality(model, layers, machine, deployment)
    if code != 0:
        fill_missing(out, limit, bound, i, b, 0, lengths.size, code)
        return
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    group = deployment.tp * deployment.pp * deployment.dp
    per_stage = flights / deployment.pp
    weights = weight_bytes(model, layers, kit, deployment)
    kept = stage_share(model, deployment) * ceil_div(batch, deployment.dp)
    sums, scratch, tile = np.empty(_SUMS), np.empty((3 + layers.size, SLOTS)), np.empty(TILE)
    acc, times = np.empty((ROWS, TILE)), np.empty((2, TILE))
    for c in range(lengths.size):
        isl = lengths[c]
        prompt_sums(sums, scratch, acc, times, tile, model, layers, machine, kit, deployment, batch, isl, cached, chunk)
        new = min(chunk, isl - cached)
        work = work_bytes(model, layers, kit, deployment, sequences * new, together * new, sequences)
        memory = weights + kept * sums[_CACHE] + work
        code = _NO_MEMORY if memory > capacity_bytes(machine) else 0
        code = _NO_CONTEXT if isl > model.max_context else code
        if code != 0:
            fill_missing(out, limit, bound, i, b, c, c + 1, code)
            if slots[_MEMORY_VAR] >= 0:
                out[slots[_MEMORY_VAR], i, b, c] = memory
            continue
        limit[i, b, c] = 0
        time = sums[_TIME] + sums[_DRAIN]
        serial = sums[_SERIAL_TIME] + sums[_SERIAL_DRAIN] if kit.bound == 1 else time
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
    compute_share = sums[_PEAK] * per_stage / time
    memory_share = sums[_MOVED] / machine.bytes_per_s * per_stage / time
    power = draw(machine, compute_share, memory_share)
    values = (
        time, serial, new / time, batch * new / (group * time), memory, power, group * power * time / (batch * new),
        compute_share, memory_share, sums[_COMPUTE], sums[_MEMORY], sums[_NETWORK], sums[_LATENCY],
    )  # fmt: skip
    for v in range(len(values)):
        if slots[v] >= 0:
            out[slots[v], i, b, c] = values[v]
    if slots[_COMPONENT] >= 0:
        for part in range(_COMPONENTS):
            value = time - sums[_WHOLE] if part == _PIPELINE else sums[_PART + part]
            out[slots[_COMPONENT + part], i, b, c] = np.nan if ideal else value
    if bound.size > 0:
        bound[i, b, c] = binding(sums[_COMPUTE], sums[_MEMORY], sums[_NETWORK], sums[_LATENCY])


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
