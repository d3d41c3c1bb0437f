"""Search of one deployment: its batches in the modes that decode, and its pools that compute prompts: section 13."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from roofline.kernels._jit import inlined, kernel
from roofline.kernels.bounds import (
    BALANCE,
    POOL_SLACK,
    apart,
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
    PREFILL_POOL,
    STATIC,
    T_SEQUENCES,
    W_ISL,
    W_LONGEST,
    W_NEW,
    W_RESERVED,
    decode_draw,
    pass_shape,
    try_aggregated,
    try_decode_pool,
    try_prefill_pool,
    try_static,
)
from roofline.kernels.memory import cache_bytes_per_sequence, capacity_bytes, weight_bytes, work_bytes
from roofline.kernels.passes import M_MORE, P_STEP, chunk_cores, decode_pass, mixed_pass, prompt_pass

_NO_DRAFTS = np.int64(0)


class Room(NamedTuple):
    """Scratch of one thread; names as in `passes`, `sweep` and `prefill`.   waits : as `candidates.load_waits`."""

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
    waits: np.ndarray


@kernel
def prompt_on(room, on, batch, isl, new, chunk):
    """As `passes.prompt_pass`, of `batch` prompts of which `new` tokens are computed, in chunks."""
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
        known.at_first[row, w, 2] = apart(passed, w, deployment)
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
                    BALANCE * prompt[3] * min(deployment.dp, deployment.pp) / (deployment.pp * deployment.dp)
                )
            in_time = try_static(kept, i, on, asked, w, b, g, step_s, step_w, prompt, own_s)
            known.closed[e, w, asked.chunks.size] = asked.prune == 1 and not in_time
    for c in range(asked.chunks.size if asked.modes[AGGREGATED] == 1 else 0):
        ready, work = False, -1.0
        for w in range(n_workloads):
            if b > known.most[w] or known.closed[e, w, c]:
                continue
            step_s = own_s + passed[w, P_STEP]
            step_w = decode_draw(passed, machine, w, step_s, flights, deployment.pp)
            if b > 1:
                more_s = least_chunk(known.first[w, c], apart(passed, w, deployment), asked.filling[w, c, C_FILL])
                each_s = asked.timing[w, g, D_STEPS] * step_s / (deployment.dp * b)
                bound = least_cost(on, asked, w, each_s, step_w, more_s / deployment.dp)
                token_s = asked.timing[w, g, D_KAPPA] * step_s
                if not may_win(bars, limits, on.number, AGGREGATED, w, bound, token_s, 1.0):
                    continue
            held = asked.tables[w, 0, c, g, b, T_SEQUENCES]  # far in memory: looked at last
            if work < 0.0:
                work = decode_work(on, batch, own, asked.chunks[c])
            if not held * known.reserved[w] + work <= free:  # NaN: chunks are in more than every step
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
                known.first[w, c] = apart(passed, w, deployment) + mixed[w, M_MORE]
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
    scratch = known.at_first.shape[0] - 1
    known.tried[:] = False
    b, count, turn, seeking, fresh = np.int64(1), 0, 0, True, True  # fresh: b is the first of its octave
    while True:
        in_reach = True
        if b > 0:
            in_reach = try_batch(kept, i, counts, room, on, asked, bars, known, free, g, e, b)
        if seeking:
            known.tried[e] = True
            if in_reach:
                low = e
            else:
                high = e
                if not worth(on, asked, bars, known, g, 0, 0, 1, b - 1, e):
                    return True
            if high - low > 1:
                e = (low + high) // 2
                b = np.int64(1) << e
                continue
            if low < 0:
                return True
            seeking, e = False, low
        if fresh:
            count = between(on, asked, bars, known, free, g, e) if in_reach or b == 0 or known.tried[e] else 0
            b, turn, row, fresh, known.tried[e] = np.int64(1) << e, 0, e, False, True
        elif in_reach:
            row = scratch
        else:  # a larger batch is slower still
            turn = count
        while turn < count and not worth(
            on, asked, bars, known, g, e, row, b, known.listed[turn], e + 1 if known.tried[e + 1] else -1
        ):
            turn += 1
        if turn < count:
            b = known.listed[turn]
            turn += 1
            continue
        if not worth(on, asked, bars, known, g, 0, 0, 1, (np.int64(1) << e) - 1, e):
            return True
        e -= 1
        b, fresh = np.int64(0) if known.tried[e] else np.int64(1) << e, True


@kernel
def search_prompts(kept, i, counts, room, on, asked, bars, link):
    """All pools of one deployment that compute prompts. Returns whether a prompt fits.

    Where it prunes: chunks smaller than one that ran, which only a pipeline gains from, and fewer prompts at once where
    more of them, which cost each no more, are in time anyway or already cost too much.
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
            fits = False
            for n in range(asked.at_once.size - 1, -1, -1):
                b = asked.at_once[n]
                flights, together, sequences = pass_shape(b * dp, on.deployment)
                work = work_bytes(
                    on.model, on.layers, on.kit, on.deployment, sequences * rows, together * rows, sequences
                )
                if b * cache + work > free:
                    continue
                if not fits:  # then fewer do
                    counts[i, 1] += asked.limits.shape[0] * asked.loads.size * (n + 1)
                fits = fits_any = True
                if asked.prune == 1 and pp == 1 and done >> n & 1 == 1:
                    continue
                prompt = prompt_on(room, on, b * dp, isl, new, asked.chunks[c])
                own_s = asked.stack[0] + asked.stack[1] * b
                first_s = own_s + prompt[0]
                if not b * cache / link <= first_s:  # the link would be the bound; or there is none
                    continue
                counts[i, 0] += asked.limits.shape[0] * asked.loads.size
                enough = try_prefill_pool(
                    kept, i, on, asked, room.waits, w, b, c, prompt, own_s, cache / link, flights
                )  # fmt: skip
                enough = enough and flights * sequences == b  # each place is taken
                done |= 1 << n
                if asked.prune == 1 and not enough:
                    bound = least_prompts(on, asked, w, first_s, prompt, flights, flights * sequences)
                    enough = not may_win(bars, asked.limits, on.number, PREFILL_POOL, w, bound, 0.0, POOL_SLACK)
                if asked.prune == 1 and enough:
                    done |= (1 << n) - 1
                    break
    return fits_any
