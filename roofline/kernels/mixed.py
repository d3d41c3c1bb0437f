"""A mixed step: decoding sequences and a chunk of one prompt on each attention rank in one pass, equation (19)."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import entry, kernel, run_jobs
from roofline.kernels.attention import GQA, LINEAR
from roofline.kernels.contexts import A_MOVED, A_PEAK, A_TIME, DETAIL_WORK, ROWS
from roofline.kernels.cores import sum_cores
from roofline.kernels.linear import add_scan
from roofline.kernels.memory import cache_bytes_per_sequence, capacity_bytes, weight_bytes, work_bytes
from roofline.kernels.ops import EXTRA_MOVED, EXTRA_PEAK, LATENCY, SLOTS, ceil_div
from roofline.kernels.outputs import N_CONTEXT, N_MATH, N_MEMORY
from roofline.kernels.sparse import add_index_constants
from roofline.kernels.step import (
    CONSTANTS,
    DECODE,
    K_FIRST,
    K_HOPS,
    K_LAST,
    K_LAYERS,
    K_MOVED,
    K_PEAK,
    PREFILL,
    clear_tally,
    close_pass,
    ends,
    legality,
    pipeline_shares,
    rows_tally,
    tally_layers,
)

_NO_DRAFTS = np.int64(0)
_ONE = np.int64(1)  # sequence whose prompt a chunk is of, on each rank


@kernel
def tally_mixed(tallies, total, model, layers, machine, kit, deployment, sequences, new, chunk, tokens):
    """Tally the kinds of layer of a micro-batch that carries chunks, apart from its cores, and sum them: section 12.

    tallies : float64[kinds, ops.SLOTS], total : float64[ops.SLOTS]   written.
    sequences : decoding on one rank, with `new` tokens each.   chunk : tokens of the prompt beside them on that rank.
    tokens : T, of all ranks, that meet the experts.
    """
    tp, bandwidth = deployment.tp, machine.bytes_per_s
    clear_tally(total)
    for i in range(model.first_layer, model.last_layer):
        layer, tally = layers[i], tallies[i - model.first_layer]
        rows_tally(tally, layer, model, machine, kit, deployment, sequences * new + chunk, tokens, PREFILL)
        if layer.attention == LINEAR:
            add_scan(tally, layer, sequences, new, tp, kit, DECODE, bandwidth)
            add_scan(tally, layer, _ONE, chunk, tp, kit, PREFILL, bandwidth)
        if layer.attention == GQA:
            tally[LATENCY] += kit.decode_core.fixed_s + kit.context_core.fixed_s
        if layer.index_heads > 0:
            add_index_constants(tally, layer, sequences, new, kit)
            add_index_constants(tally, layer, _ONE, chunk, kit)
        for slot in range(SLOTS):
            total[slot] += layer.count * tally[slot]


@kernel
def stage_of(layers_time, k, model, deployment):
    """Sum of the stages of a pass without a pipeline, its slowest stage with one: equation (15)."""
    if deployment.pp == 1:
        return k[K_FIRST] + layers_time + k[K_LAST]
    rho, tail = pipeline_shares(model, deployment)
    return max(k[K_FIRST] + rho * layers_time, tail * layers_time + k[K_LAST])


@kernel
def mixed_cells(
    step, alone, peak, moved, limit, model, layers, machine, kit, deployment, batch, context, new, chunk, ahead,
    scratch, acc, late, idle,
):  # fmt: skip
    """All contexts of one configuration at one batch: decoding alone [context] and mixed [context, chunk context].

    Equation (19): every attention rank of the micro-batch that carries them has a chunk, M and T of section 12.

    scratch : float64[3 + kinds, SLOTS]; acc, late : float64[ROWS, >= n]; idle : float64[kinds, SLOTS] of zeros.
    """
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    rows, tokens = sequences * new, together * new + deployment.dp * chunk
    total, first, last, tallies = scratch[0], scratch[1], scratch[2], scratch[3:]
    k, mixed_k = np.empty(CONSTANTS), np.empty(CONSTANTS)
    n, m = context.size, ahead.size
    start, stop = model.first_layer, model.last_layer
    # Decoding alone.
    tally_layers(
        tallies, total, start, stop, model, layers, machine, kit, deployment, sequences, new, together * new, DECODE
    )
    ends(first, last, model, machine, kit, deployment, rows, rows)
    close_pass(k, total, first, last, model, machine, kit, deployment, rows)
    sum_cores(acc, tallies, start, stop, layers, machine, kit, deployment, context, sequences, new, DECODE, DETAIL_WORK)
    stages = np.empty(n)
    for c in range(n):
        stages[c] = stage_of(k[K_LAYERS] + acc[A_TIME, c], k, model, deployment)
        whole = k[K_FIRST] + k[K_LAYERS] + acc[A_TIME, c] + k[K_LAST]
        alone[c] = max(whole + k[K_HOPS], flights * stages[c]) if deployment.pp > 1 else stages[c]
    # With a chunk on each rank.
    tally_mixed(tallies, total, model, layers, machine, kit, deployment, sequences, new, chunk, tokens)
    ends(first, last, model, machine, kit, deployment, rows + chunk, rows + 1)
    close_pass(mixed_k, total, first, last, model, machine, kit, deployment, rows + chunk)
    sum_cores(acc, tallies, start, stop, layers, machine, kit, deployment, context, sequences, new, DECODE, DETAIL_WORK)
    sum_cores(late, idle, start, stop, layers, machine, kit, deployment, ahead, _ONE, chunk, PREFILL, DETAIL_WORK)
    for c in range(n):
        for a in range(m):
            time = mixed_k[K_LAYERS] + (acc[A_TIME, c] + late[A_TIME, a])
            step[c, a] = alone[c] + max(0.0, stage_of(time, mixed_k, model, deployment) - stages[c])
            peak[c, a] = mixed_k[K_PEAK] + acc[A_PEAK, c] + late[A_PEAK, a] + total[EXTRA_PEAK]
            moved[c, a] = mixed_k[K_MOVED] + acc[A_MOVED, c] + late[A_MOVED, a] + total[EXTRA_MOVED]
    held = weight_bytes(model, layers, kit, deployment, _NO_DRAFTS)
    held += work_bytes(model, layers, kit, deployment, rows + chunk, tokens, rows + 1)
    for c in range(n):
        cache = cache_bytes_per_sequence(model, layers, kit, deployment, context[c], _NO_DRAFTS)
        decoding = held + ceil_div(batch, deployment.dp) * cache
        for a in range(m):
            memory = decoding + cache_bytes_per_sequence(model, layers, kit, deployment, ahead[a], _NO_DRAFTS)
            limit[c, a] = N_MEMORY if memory > capacity_bytes(machine) else 0
            if max(context[c], ahead[a]) > model.max_context:
                limit[c, a] = N_CONTEXT
            if limit[c, a] != 0:
                step[c, a], peak[c, a], moved[c, a] = np.nan, np.nan, np.nan


@kernel
def refuse(step, alone, peak, moved, limit, code):
    """No cell of a configuration runs."""
    for c in range(step.shape[0]):
        alone[c] = np.nan
        for a in range(step.shape[1]):
            step[c, a], peak[c, a], moved[c, a], limit[c, a] = np.nan, np.nan, np.nan, code


@entry
def _mixed(
    step, alone, peak, moved, limit, models, layers, machines, kits, deployments, configs, batch, context, new, chunk,
    ahead, start, stop,
):  # fmt: skip
    scratch, idle = np.empty((3 + layers.size, SLOTS)), np.zeros((layers.size, SLOTS))
    acc, late = np.empty((ROWS, context.size)), np.empty((ROWS, ahead.size))
    for job in range(start, stop):
        i, b = job // batch.shape[1], job % batch.shape[1]
        config = configs[i]
        cells = step[i, b], alone[i, b], peak[i, b], moved[i, b], limit[i, b]
        if config.kit < 0:
            refuse(*cells, N_MATH)
            continue
        model, machine = models[config.model], machines[config.machine]
        deployment = deployments[config.deployment]
        code = legality(model, layers, machine, deployment, _NO_DRAFTS)
        if code != 0:
            refuse(*cells, code)
            continue
        mixed_cells(
            *cells, model, layers, machine, kits[config.kit], deployment, batch[i, b], context, new, chunk, ahead,
            scratch, acc, late, idle,
        )  # fmt: skip


def mixed_grid(
    models,
    layers,
    machines,
    kits,
    deployments,
    configs,
    batch,
    context,
    new_tokens=1,
    chunk=2048,
    chunk_context=(2048,),
    parallel=True,
):
    """Steps of decoding sequences with a chunk of one prompt beside them on each attention rank, operations in series.

    Record arrays as `sweep.decode_grid`.   batch : int64[config, n_batch]   decoding sequences of one replica.
    context : int64[n]   tokens of each of them, new ones included.   new_tokens : int   each adds.
    chunk : int   tokens of each of the dp prompts computed.   chunk_context : int64[m]   of it with them, >= chunk.

    Returns {"step": float64[config, n_batch, n, m] of (19) [s], "decode": float64[config, n_batch, n] without the
    chunks [s], "peak", "moved": as step, what the draw of a mean accelerator is of in the micro-batch with the chunks
    [s at dense peak, B], "limit": int8 as step}.
    """
    context, ahead = np.array(context, dtype=np.float64), np.array(chunk_context, dtype=np.float64)
    shape = (configs.size, batch.shape[1], context.size)
    step, peak, moved = (np.empty((*shape, ahead.size)) for _ in range(3))
    alone, limit = np.empty(shape), np.zeros(step.shape, dtype=np.int8)
    views = [a.view(np.recarray) for a in (models, layers, machines, kits, deployments, configs)]
    batches = np.array(batch, dtype=np.int64, order="C")
    arguments = (
        step, alone, peak, moved, limit, *views, batches, context, int(new_tokens), int(chunk), ahead
    )  # fmt: skip
    run_jobs(_mixed, arguments, configs.size * batch.shape[1], parallel)
    return {"step": step, "decode": alone, "peak": peak, "moved": moved, "limit": limit}
