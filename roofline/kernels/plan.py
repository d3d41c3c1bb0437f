"""Fused search over batch, chunk, drafts and mode of each deployment, for many workloads and limits: section 13."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import borrowed, entry, kernel, run_jobs
from roofline.kernels.bounds import Batches
from roofline.kernels.candidates import (
    AGGREGATED,
    DECODE_POOL,
    MODES,
    PREFILL_POOL,
    STATIC,
    W_ISL,
    W_LONGEST,
    Asked,
    On,
    load_waits,
)
from roofline.kernels.contexts import ROWS
from roofline.kernels.ops import SLOTS
from roofline.kernels.outputs import N_CONTEXT, N_MATH, N_MEMORY, TILE
from roofline.kernels.passes import MIXED, PASS
from roofline.kernels.prefill import SUMS
from roofline.kernels.reduce import F_COST, FIGURES, PLACES, POINT, Kept, around, around_at_least, placed
from roofline.kernels.search import Room, search_decoding, search_prompts
from roofline.kernels.step import CONSTANTS, legality

_NO_DRAFTS = np.int64(0)


@kernel
def lower(bars, number, best, i):
    """Lower the bars of a machine to the cost of what configuration i has found.

    Threads share bars without a lock: one that is lost or seen late prunes less, and nothing else.
    """
    for m in range(bars.shape[1]):
        for w in range(bars.shape[2]):
            for s in range(bars.shape[3]):
                cost = best[i, m, w, s, F_COST]
                if m in (AGGREGATED, STATIC):  # one of them is chosen
                    cost = min(best[i, AGGREGATED, w, s, F_COST], best[i, STATIC, w, s, F_COST])
                bars[number, m, w, s] = min(bars[number, m, w, s], cost)


@kernel
def scratch_for(asked, kinds):
    """`Room` and `Batches` of one thread."""
    n_workloads, n_chunks, octaves = asked.facts.shape[0], asked.chunks.size, 1
    tile = max(TILE, max(asked.contexts.size, asked.prompt_ends.shape[1]))
    while 1 << octaves < asked.padded.size:
        octaves += 1
    room = Room(
        np.empty((n_workloads, PASS)), np.empty((n_workloads, MIXED)), np.empty((n_chunks, n_workloads, 3)),
        np.empty(asked.contexts.size), np.empty((3 + kinds, SLOTS)), np.empty((kinds, SLOTS)),
        np.zeros((kinds, SLOTS)), np.empty(CONSTANTS), np.empty((ROWS, tile)), np.empty((ROWS, tile)), np.empty(SUMS),
        np.empty((2, tile)), np.empty(tile), np.empty((n_workloads, asked.limits.shape[0], asked.loads.size)),
    )  # fmt: skip
    load_waits(room.waits, asked.quants, asked.loads)
    known = Batches(
        np.empty(n_workloads, dtype=np.int64), np.empty(n_workloads), np.empty((n_workloads, n_chunks)),
        np.empty(n_workloads),
        np.empty((octaves + 1, n_workloads, 3)), np.empty((octaves + 1, n_workloads, n_chunks + 1), dtype=np.bool_),
        np.empty(asked.batches.size + n_workloads * (n_chunks + 1), dtype=np.int64),
        np.empty(octaves + 1, dtype=np.bool_),
    )  # fmt: skip
    return room, known


@entry
def _search(
    kept, limit, counts, models, layers, machines, kits, deployments, configs, powers, links, prices, asked, bars,
    order, start, stop,
):  # fmt: skip
    room, known = scratch_for(asked, layers.size)
    search_jobs(
        kept, limit, counts, models, layers, machines, kits, deployments, configs, powers, links, prices, asked, bars,
        order, start, stop, room, known,
    )  # fmt: skip


@kernel
def search_jobs(
    kept, limit, counts, models, layers, machines, kits, deployments, configs, powers, links, prices, asked, bars,
    order, start, stop, room, known,
):  # fmt: skip
    """Search the configurations order[start:stop]; all arrays are the caller's."""
    kept, limit, counts, asked = borrowed(kept), borrowed(limit), borrowed(counts), borrowed(asked)
    models, layers, machines, kits = borrowed(models), borrowed(layers), borrowed(machines), borrowed(kits)
    deployments, bars, room, known = borrowed(deployments), borrowed(bars), borrowed(room), borrowed(known)
    decoding = asked.modes[AGGREGATED] + asked.modes[STATIC] + asked.modes[DECODE_POOL] > 0
    for job in range(start, stop):
        i = order[job]
        config = configs[i]
        if config.kit < 0:
            limit[i] = N_MATH
            continue
        model, machine, number = models[config.model], machines[config.machine], config.machine
        deployment = deployments[config.deployment]
        code = legality(model, layers, machine, deployment, _NO_DRAFTS)
        if code != 0:
            limit[i] = code
            continue
        group = deployment.tp * deployment.pp * deployment.dp
        _, together = placed(powers[number], group)
        idle_w = around(powers[number], machine.idle_w, group, together)
        base_w, slope = around_at_least(powers[number], group)
        on = On(
            model, layers, machine, kits[config.kit], deployment, powers[number], number, group, prices[number, 0],
            prices[number, 1], idle_w, base_w, slope,
        )  # fmt: skip
        fits_any, short = False, False
        for w in range(asked.facts.shape[0]):
            short = short or (decoding and asked.facts[w, W_LONGEST] <= model.max_context)
            short = short or (asked.modes[PREFILL_POOL] == 1 and asked.facts[w, W_ISL] <= model.max_context)
        for g in range(asked.drafts.size if decoding else 0):
            if asked.drafts[g] > 0 and legality(model, layers, machine, deployment, asked.drafts[g]) != 0:
                continue
            fits = search_decoding(kept, i, counts, room, on, asked, bars, known, g)
            fits_any = fits_any or fits
        if asked.modes[PREFILL_POOL] == 1:
            fits = search_prompts(kept, i, counts, room, on, asked, bars, links[number])
            fits_any = fits_any or fits
        if not fits_any:
            limit[i] = N_MEMORY if short else N_CONTEXT
        if asked.prune == 1:
            lower(bars, number, kept.best, i)


def shuffled(count):
    """Order in which configurations are searched: neighbours are alike, and a good one soon spares many others."""
    return np.random.default_rng(0).permutation(count)


def search_grid(
    models, layers, machines, kits, deployments, configs, powers, links, facts, contexts, prompt_ends, chunks, drafts,
    batches, padded, at_once, loads, tables, timing, filling, longest, quants, limits, prices, stack, modes,
    most_points=0, prune=False, parallel=True,
):  # fmt: skip
    """The best candidate of every configuration, mode, workload and set of limits: section 13.

    models to configs : record arrays as `sweep.decode_grid`.   powers : layout.POWER of each machine.
    links : float64[machines]   B/s at which one accelerator hands KV over; 0: it cannot.
    facts : float64[workloads, WORKLOAD].   contexts : float64[workloads * nodes] tokens.
    prompt_ends : float64[chunks, workloads * ends] tokens.   chunks, drafts, batches, at_once : int64[...], rising.
    padded : int64[most + 1]   batch that a step of b on a rank runs as.
    loads : float64[...]   of prefill pools, rising.
    tables : float64[workloads, limits, chunks, drafts, most + 1, TABLE].   timing : float64[workloads, drafts, 2].
    filling : float64[workloads, chunks, 2]; chunks of 0: that chunk is none of the workload's.
    longest : float64[workloads, drafts, n]   steps of the longest of B requests.
    quants : float64[workloads, limits, 2]   percentile of TTFT as a share, O_q - 1.
    limits : float64[limits, 3] s, inf for none.   prices : float64[machines, 2]   alpha, beta of (25).
    stack : float64[3]   step_s, sequence_s, ttft_s.   modes : int64[MODES] of 0 and 1.
    most_points : int   keep so many undominated candidates of each, 0 none.
    prune : leave out what cannot be the best of its machine: only that is then sure to be found, and pools that cost
        up to POOL_SLACK times the cheapest.

    Returns {"best": float64[config, mode, workload, limits, FIGURES], "near": float64[..., 2], "at": int64[...,
    PLACES], "points": float64[..., most_points, POINT], "filled": int64[...] (see `reduce.Kept`), "limit":
    int8[config], "count": int64[config, 2], candidates tried and candidates in all, on the grid and within memory}.
    """
    shape = (configs.size, MODES, facts.shape[0], limits.shape[0])
    kept = Kept(
        np.full((*shape, FIGURES), np.nan), np.full((*shape, 2), np.inf), np.zeros((*shape, PLACES), dtype=np.int64),
        np.empty((*shape, most_points, POINT)), np.zeros(shape, dtype=np.int64),
    )  # fmt: skip
    kept.best[..., F_COST] = np.inf
    limit, counts = np.zeros(configs.size, dtype=np.int8), np.zeros((configs.size, 2), dtype=np.int64)
    asked = Asked(
        facts, contexts, prompt_ends, chunks, drafts, batches, padded, at_once, loads, tables, timing, filling, longest,
        quants, limits, stack, modes, int(prune and most_points == 0),
    )  # fmt: skip
    views = [a.view(np.recarray) for a in (models, layers, machines, kits, deployments, configs, powers)]
    bars = np.full((machines.size, *shape[1:]), np.inf)
    arguments = (kept, limit, counts, *views, links, prices, asked, bars, shuffled(configs.size))
    run_jobs(_search, arguments, configs.size, parallel)
    return kept._asdict() | {"limit": limit, "count": counts}
