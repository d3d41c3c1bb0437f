"""Fused search over batch, chunk, drafts and mode of each deployment, for many workloads and limits: section 13."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from roofline.kernels._jit import entry, inlined, kernel, run_jobs
from roofline.kernels.bounds import (
    BALANCE,
    POOL_SLACK,
    Batches,
    between,
    decode_work,
    least_chunk,
    least_cost,
    least_prompts,
    least_static,
    may_win,
    most_decoding,
    worth,
)
from roofline.kernels.candidates import (
    AGGREGATED,
    C_CHUNKS,
    C_FILL,
    D_KAPPA,
    D_STEPS,
    DECODE_POOL,
    MODES,
    PREFILL_POOL,
    STATIC,
    T_SEQUENCES,
    W_ISL,
    W_LONGEST,
    W_NEW,
    W_RESERVED,
    Asked,
    On,
    decode_draw,
    pass_shape,
    try_aggregated,
    try_decode_pool,
    try_prefill_pool,
    try_static,
)
from roofline.kernels.contexts import ROWS
from roofline.kernels.memory import cache_bytes_per_sequence, capacity_bytes, weight_bytes, work_bytes
from roofline.kernels.ops import SLOTS
from roofline.kernels.outputs import N_CONTEXT, N_MATH, N_MEMORY, TILE
from roofline.kernels.passes import (
    M_MORE,
    MIXED,
    P_STAGE,
    P_STEP,
    PASS,
    chunk_cores,
    decode_pass,
    mixed_pass,
    prompt_pass,
)
from roofline.kernels.prefill import SUMS
from roofline.kernels.reduce import F_COST, FIGURES, PLACES, POINT, Kept, around, around_at_least
from roofline.kernels.step import CONSTANTS, legality

_NO_DRAFTS = np.int64(0)


class Room(NamedTuple):
    """Scratch of one thread; names as in `passes`, `sweep` and `prefill`."""

    passed: np.ndarray
    mixed: np.ndarray
    chunked: np.ndarray
    steps: np.ndarray
    scratch: np.ndarray
    drafted: np.ndarray
    idle: np.ndarray
    k: np.ndarray
    acc: np.ndarray
    late: np.ndarray
    sums: np.ndarray
    times: np.ndarray
    tile: np.ndarray


@kernel
def prompt_on(room, on, batch, isl, new, chunk):
    """(time, work at dense peak, bytes) of `batch` prompts of which `new` tokens are computed, in chunks."""
    return prompt_pass(
        room.sums, room.scratch, room.acc, room.times, room.tile, on.model, on.layers, on.machine, on.kit,
        on.deployment, batch, isl, isl - new, chunk,
    )  # fmt: skip


@inlined
def try_batch(kept, i, counts, room, on, asked, bars, known, free, g, e, b):
    """All candidates with b sequences decoding on a rank, of octave e. Returns whether any TPOT is within its limit."""
    passed, mixed, chunked = room.passed, room.mixed, room.chunked
    model, layers, machine, kit, deployment = on.model, on.layers, on.machine, on.kit, on.deployment
    n_workloads, n_limits, own, limits = asked.facts.shape[0], asked.limits.shape[0], asked.drafts[g], asked.limits
    batch = asked.padded[b] * deployment.dp
    flights = min(batch, deployment.pp)
    own_s = asked.stack[0] + asked.stack[1] * b
    opening = b == 1 << e
    decode_pass(
        passed, room.steps, room.scratch, room.drafted, room.idle, room.k, room.acc, room.late, model, layers, machine,
        kit, deployment, asked.contexts, asked.contexts.size // n_workloads, batch, own,
    )  # fmt: skip
    in_reach = False
    for w in range(n_workloads):
        step_s = own_s + passed[w, P_STEP]
        step_w = decode_draw(passed, machine, w, step_s, flights, deployment.pp)
        row = e if opening else known.at_first.shape[0] - 1
        known.at_first[row, w, 0], known.at_first[row, w, 1] = step_s, step_w
        if b > known.most[w]:
            continue
        token_s = asked.timing[w, g, D_KAPPA] * step_s
        for s in range(n_limits):
            in_reach = in_reach or token_s <= limits[s, 1]
        if asked.modes[DECODE_POOL] == 1:
            counts[i, 0] += n_limits
            try_decode_pool(kept, i, on, asked, w, b, g, step_s, step_w)
        if asked.modes[STATIC] == 1 and not known.closed[e, w, asked.chunks.size]:
            share = least_static(asked, w, g, deployment.dp * b)
            each_s = asked.timing[w, g, D_STEPS] * step_s / (deployment.dp * b)
            bound = least_cost(on, asked, w, each_s * share, step_w, known.prompt[w])
            if b > 1 and not may_win(bars, limits, on.number, STATIC, w, bound, token_s, 1.0):
                continue
            new, isl = np.int64(asked.facts[w, W_NEW]), np.int64(asked.facts[w, W_ISL])
            _, together, sequences = pass_shape(b * deployment.dp, deployment)
            work = work_bytes(model, layers, kit, deployment, sequences * new, together * new, sequences)
            if known.reserved[w] * b + work > free:
                continue
            counts[i, 0] += n_limits
            prompt = prompt_on(room, on, b * deployment.dp, isl, new, new)
            if b == 1:
                known.prompt[w] = (
                    BALANCE * prompt[1] * min(deployment.dp, deployment.pp) / (deployment.pp * deployment.dp)
                )
            in_time = try_static(kept, i, on, asked, w, b, g, step_s, step_w, prompt, own_s)
            known.closed[e, w, asked.chunks.size] = asked.prune == 1 and not in_time
    for c in range(asked.chunks.size if asked.modes[AGGREGATED] == 1 else 0):
        ready, work = False, -1.0
        for w in range(n_workloads):
            held = asked.tables[w, 0, c, g, b, T_SEQUENCES]
            if b > known.most[w] or known.closed[e, w, c] or np.isnan(held):
                continue
            step_s = own_s + passed[w, P_STEP]
            step_w = decode_draw(passed, machine, w, step_s, flights, deployment.pp)
            if b > 1:
                more_s = least_chunk(known.first[w, c], passed[w, P_STAGE], asked.filling[w, c, C_FILL])
                each_s = asked.timing[w, g, D_STEPS] * step_s / (deployment.dp * b)
                bound = least_cost(on, asked, w, each_s, step_w, more_s / deployment.dp)
                token_s = asked.timing[w, g, D_KAPPA] * step_s
                if not may_win(bars, limits, on.number, AGGREGATED, w, bound, token_s, 1.0):
                    continue
            if work < 0.0:
                work = decode_work(on, batch, own, asked.chunks[c])
            if held * known.reserved[w] + work > free:
                continue
            if np.isnan(chunked[c, 0, 0]):
                chunk_cores(
                    chunked[c], room.acc, room.idle, model, layers, machine, kit, deployment, asked.prompt_ends[c],
                    asked.prompt_ends.shape[1] // n_workloads, asked.chunks[c],
                )  # fmt: skip
            if not ready:
                mixed_pass(
                    mixed, passed, chunked[c], room.scratch, room.k, model, layers, machine, kit, deployment, batch,
                    own, asked.chunks[c],
                )  # fmt: skip
                ready = True
            if b == 1:
                known.first[w, c] = passed[w, P_STAGE] + mixed[w, M_MORE]
            counts[i, 0] += n_limits
            in_time = try_aggregated(kept, i, on, asked, w, b, c, g, step_s, step_w, passed, mixed, flights)
            known.closed[e, w, c] = asked.prune == 1 and not in_time
    return in_reach


@inlined
def begin(counts, i, on, asked, known, free, g):
    """What memory holds of each workload; nothing is closed yet. Counts the candidates there are."""
    own, modes, n_chunks = asked.drafts[g], asked.modes, asked.chunks.size
    for w in range(asked.facts.shape[0]):
        cache = cache_bytes_per_sequence(on.model, on.layers, on.kit, on.deployment, asked.facts[w, W_RESERVED], own)
        known.reserved[w], known.most[w], known.prompt[w] = cache, 0, 0.0
        if asked.facts[w, W_LONGEST] <= on.model.max_context:
            known.most[w] = most_decoding(on, asked.padded, free, cache, own)
        ways = modes[STATIC] + modes[DECODE_POOL]
        for c in range(n_chunks):
            known.first[w, c] = 0.0
            none = asked.filling[w, c, C_CHUNKS] == 0.0  # it is no chunk of the workload's
            ways += 0 if none else modes[AGGREGATED]
            for e in range(known.closed.shape[0]):
                known.closed[e, w, c] = none
        for e in range(known.closed.shape[0]):
            known.closed[e, w, n_chunks] = False
        counts[i, 1] += asked.limits.shape[0] * ways * np.searchsorted(asked.batches, known.most[w] + 1)


@kernel
def search_decoding(kept, i, counts, room, on, asked, bars, known, g):
    """All batches of one deployment with drafts[g] drafts, in the modes that decode. Returns whether a sequence fits.

    First the largest octave of batches whose first is within a limit of TPOT, by bisection. From it down each octave is
    opened where it may win by its first batch, and all below are left where they may not by the step of one sequence.
    """
    free = capacity_bytes(on.machine)
    free -= weight_bytes(on.model, on.layers, on.kit, on.deployment, asked.drafts[g])
    begin(counts, i, on, asked, known, free, g)
    largest = known.most.max()
    if largest < 1:
        return False
    for c in range(asked.chunks.size):
        room.chunked[c, 0, 0] = np.nan  # attention of the chunk is not known yet
    low, high, e = np.int64(-1), np.int64(1), np.int64(0)
    while 1 << high <= largest:
        high += 1
    tried, scratch = np.zeros(high, dtype=np.bool_), known.at_first.shape[0] - 1
    b, count, turn, seeking, fresh = np.int64(1), 0, 0, True, True  # fresh: b is the first of its octave
    while True:
        in_reach = True
        if b > 0:
            in_reach = try_batch(kept, i, counts, room, on, asked, bars, known, free, g, e, b)
        if seeking:
            tried[e] = True
            if in_reach:
                low = e
            else:
                high = e
            if high - low > 1:
                e = (low + high) // 2
                b = np.int64(1) << e
                continue
            if low < 0:
                return True
            seeking, e = False, low
        if fresh:
            count = between(on, asked, bars, known, free, g, e) if in_reach or b == 0 or tried[e] else 0
            b, turn, row, fresh = np.int64(1) << e, 0, e, False
        elif in_reach:
            row = scratch
        else:  # a larger batch is slower still
            turn = count
        while turn < count and not worth(on, asked, bars, known, g, e, row, b, known.listed[turn]):
            turn += 1
        if turn < count:
            b = known.listed[turn]
            turn += 1
            continue
        if not worth(on, asked, bars, known, g, 0, 0, 1, (np.int64(1) << e) - 1):
            return True
        e -= 1
        b, fresh = np.int64(0) if tried[e] else np.int64(1) << e, True


@kernel
def search_prompts(kept, i, counts, room, on, asked, bars, link):
    """All pools of one deployment that compute prompts. Returns whether a prompt fits.

    Where it prunes: chunks smaller than one that ran, which only a pipeline gains from, and more prompts at once where
    already fewer wait too long or more of them cannot be the best.
    """
    free = capacity_bytes(on.machine) - weight_bytes(on.model, on.layers, on.kit, on.deployment, _NO_DRAFTS)
    dp, pp, fits_any = on.deployment.dp, on.deployment.pp, False
    for w in range(asked.facts.shape[0]):
        isl, new = np.int64(asked.facts[w, W_ISL]), np.int64(asked.facts[w, W_NEW])
        if isl > on.model.max_context:
            continue
        cache = cache_bytes_per_sequence(on.model, on.layers, on.kit, on.deployment, 1.0 * isl, _NO_DRAFTS)
        done = 0  # bits of those at once that ran in a larger chunk
        for c in range(asked.chunks.size - 1, -1, -1):
            if asked.filling[w, c, C_CHUNKS] == 0.0:
                continue
            rows = min(asked.chunks[c], new)
            for n in range(asked.at_once.size):
                if asked.prune == 1 and pp == 1 and done >> n & 1 == 1:
                    continue
                b = asked.at_once[n]
                flights, together, sequences = pass_shape(b * dp, on.deployment)
                work = work_bytes(
                    on.model, on.layers, on.kit, on.deployment, sequences * rows, together * rows, sequences
                )
                if b * cache + work > free:
                    break
                fits_any = True
                counts[i, 1] += asked.limits.shape[0] * asked.loads.size
                prompt = prompt_on(room, on, b * dp, isl, new, asked.chunks[c])
                own_s = asked.stack[0] + asked.stack[1] * b
                first_s = own_s + prompt[0]
                if not b * cache / link <= first_s:  # the link would be the bound; or there is none
                    continue
                counts[i, 0] += asked.limits.shape[0] * asked.loads.size
                try_prefill_pool(kept, i, on, asked, w, b, c, prompt, own_s, cache / link, flights)
                done |= 1 << n
                if asked.prune == 1:
                    bound = least_prompts(on, asked, w, b, first_s, prompt[1] * flights / pp)
                    number, wins = on.number, False
                    wins = may_win(bars, asked.limits, number, PREFILL_POOL, w, bound, 0.0, POOL_SLACK)
                    if first_s > asked.limits[:, 0].max() or not wins:
                        break
    return fits_any


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
        np.empty((2, tile)), np.empty(tile),
    )  # fmt: skip
    known = Batches(
        np.empty(n_workloads, dtype=np.int64), np.empty(n_workloads), np.empty((n_workloads, n_chunks)),
        np.empty(n_workloads),
        np.empty((octaves + 1, n_workloads, 2)), np.empty((octaves + 1, n_workloads, n_chunks + 1), dtype=np.bool_),
        np.empty(asked.batches.size + n_workloads * (n_chunks + 1), dtype=np.int64),
    )  # fmt: skip
    return room, known


@entry
def _search(
    kept, limit, counts, models, layers, machines, kits, deployments, configs, powers, links, prices, asked, bars,
    order, start, stop,
):  # fmt: skip
    room, known = scratch_for(asked, layers.size)
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
        idle_w, (base_w, slope) = around(powers[number], machine.idle_w, group), around_at_least(powers[number], group)
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
