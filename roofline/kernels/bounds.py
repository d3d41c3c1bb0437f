"""Which batches of a deployment are worth a step: what memory holds, and what cannot be the best."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from roofline.kernels._jit import folded, kernel
from roofline.kernels.candidates import (
    AGGREGATED,
    C_FILL,
    D_KAPPA,
    D_STEPS,
    DECODE_POOL,
    STATIC,
    T_SEQUENCES,
    W_DUTY,
    W_LOAD,
    W_OSL,
    pass_shape,
)
from roofline.kernels.memory import work_bytes
from roofline.kernels.passes import P_CORE, P_DRAFTS, P_STAGE
from roofline.kernels.power import draw
from roofline.kernels.reduce import TIE_SHARE

_NO_CHUNK = np.int64(0)

ALMOST = 1.0 - 1e-9
"""So much of a bound: what is equal but for rounding is looked at."""

BALANCE = 0.7
"""Of the work of the fullest expert rank, what its share of a larger pass may come down to."""

POOL_SLACK = 1.25
"""Pools up to so much dearer than the best are found too: whole numbers of replicas may suit them better."""


class Batches(NamedTuple):
    """What is known of the batches of one configuration with some drafts, by workload.

    most : int64[workloads]   that memory holds.   reserved : float64[workloads]   bytes of a sequence on a rank.
    first : float64[workloads, chunks]   pass of one sequence with a chunk [s], 0 where unknown; as `apart`.
    prompt : float64[workloads]   of a replica that a prompt of a static batch takes at least [s], 0 where unknown.
    at_first : float64[octaves + 1, workloads, 3]   time and draw of the step of each octave's first batch, and its pass
        as `apart`; the last row is scratch.
    closed : bool[octaves + 1, workloads, chunks + 1]   whether every TTFT is over its limit there, and so above; in the
        last column without chunks.   listed : int64[...]   batches to try.
    tried : bool[octaves + 1]   whether the first batch of an octave was.
    """

    most: np.ndarray
    reserved: np.ndarray
    first: np.ndarray
    prompt: np.ndarray
    at_first: np.ndarray
    closed: np.ndarray
    listed: np.ndarray
    tried: np.ndarray


@kernel
def decode_work(on, batch, drafts, chunk):
    """Activations of a decode pass of a replica, with a chunk on each rank where there is one [B]."""
    _, together, sequences = pass_shape(batch, on.deployment)
    rows, tokens, heads = sequences * (1 + drafts), together * (1 + drafts), sequences * (1 + drafts)
    if chunk > 0:
        rows, tokens, heads = rows + chunk, tokens + on.deployment.dp * chunk, rows + 1
    return work_bytes(on.model, on.layers, on.kit, on.deployment, rows, tokens, heads)


@kernel
def most_decoding(on, padded, free, cache, drafts):
    """Largest batch of a rank that decodes within `free` bytes, of those padded; 0 if none.

    The most without any work, and the most with the work of that many, hold it between them.
    """
    dp, high, low = on.deployment.dp, padded.size - 1, np.int64(1)
    if cache > 0.0:
        high = min(high, np.int64(max(free, 0.0) / cache))
    if high < 1 or cache + decode_work(on, padded[1] * dp, drafts, _NO_CHUNK) > free:
        return np.int64(0)
    work = decode_work(on, padded[high] * dp, drafts, _NO_CHUNK)
    if high * cache + work <= free:
        return high
    if cache > 0.0:
        low = max(low, np.int64((free - work) / cache))
    while low > 1 and low * cache + decode_work(on, padded[low] * dp, drafts, _NO_CHUNK) > free:
        low -= 1
    while high - low > 1:
        middle = (low + high) // 2
        if middle * cache + decode_work(on, padded[middle] * dp, drafts, _NO_CHUNK) <= free:
            low = middle
        else:
            high = middle
    return low


@kernel
def most_with_chunk(on, asked, free, cache, w, c, g, low, high):
    """Largest batch of a rank in [low, high) with its prompts and a chunk within `free` bytes; low is, high is not."""
    middle = high - 1  # mostly all are
    while high - low > 1:
        work = decode_work(on, asked.padded[middle] * on.deployment.dp, asked.drafts[g], asked.chunks[c])
        if asked.tables[w, 0, c, g, middle, T_SEQUENCES] * cache + work <= free:
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return low


@kernel
def insert(listed, count, b):
    """Put b in its place among the first `count` of a rising list, once. Returns how many there are."""
    place = count
    while place > 0 and listed[place - 1] >= b:
        place -= 1
    if place < count and listed[place] == b:
        return count
    for i in range(count, place, -1):
        listed[i] = listed[i - 1]
    listed[place] = b
    return count + 1


@folded
def may_win(bars, limits, number, mode, w, bound, token_s, slack):
    """Whether a candidate that costs `bound` at least may be the best under any limits.

    bars : float64[machines, modes, workloads, limits], cost of the best so far, inf for none.
    token_s : TPOT that it has at least.   slack : >= 1, how much dearer than the best is kept too.
    """
    for s in range(limits.shape[0]):
        if token_s <= limits[s, 1] and bound <= slack * bars[number, mode, w, s]:
            return True
    return False


@folded
def least_cost(on, asked, w, each_s, draw_w, more_s):
    """Cost of an output token from below, of requests that take at least each_s + more_s seconds of a replica.

    draw_w : over the first of them, at least; what draws watts is not known of the other, but that it does not idle
    below idle. A step of more sequences takes no less time and no less energy.
    """
    osl, duty, load = asked.facts[w, W_OSL], asked.facts[w, W_DUTY], asked.facts[w, W_LOAD]
    if load > 0.0:
        return on.group * (math.ceil(ALMOST * load * (each_s + more_s)) + TIE_SHARE * load * (each_s + more_s))
    cost = on.alpha * on.group * (each_s + more_s)
    if on.beta != 0.0:
        busy_w = on.base_w + (on.slope * draw_w if on.slope > 0.0 else 0.0)  # a draw that is undisclosed may not matter
        energy = duty * each_s * busy_w + (1.0 - duty) * each_s * on.idle_w
        cost += on.beta * (energy / duty + min(on.idle_w, on.base_w + on.slope * on.machine.idle_w) * more_s)
    return ALMOST * cost / osl


@kernel
def least_static(asked, w, g, batch):
    """Steps of the longest of `batch` requests or more over those of a mean one: of a few it may be less, 1 at most."""
    longest = asked.longest[w, g, min(batch, asked.longest.shape[2] - 1)]
    return min(1.0, longest / asked.timing[w, g, D_STEPS])


@folded
def apart(passed, w, deployment):
    """A pass [s] without the attention of what decodes, which a chunk leaves as it is; whole in a pipeline."""
    if deployment.pp > 1:
        return passed[w, P_STAGE]
    return passed[w, P_STAGE] - passed[w, P_CORE] - passed[w, P_DRAFTS]


@folded
def least_chunk(first_s, stage_s, fill):
    """What chunks of a request add to steps, at least [s]: a pass with one is no shorter than that of one sequence.

    first_s : that pass [s].   stage_s : the pass without the chunk, at most, or at least where all bounds rise with it
    (a step with a chunk is one of all steps).   Both as `apart`.   fill : chunks of a request.
    """
    return fill * max(0.0, first_s - stage_s)


@kernel
def least_prompts(on, asked, w, first_s, prompt, flights, places):
    """Cost of an output token from below, with fewer prompts at once than those that take first_s.

    prompt : of `passes.prompt_pass`.   places : prompts of a rank that its micro-batches have room for. Neither time
    nor energy of a prompt falls with fewer of them, as of a step.
    """
    share = flights / on.deployment.pp / first_s
    busy_w = draw(on.machine, prompt[1] * share, prompt[2] / on.machine.bytes_per_s * share)
    load, each_s = asked.loads[-1], ALMOST * first_s / (on.deployment.dp * places)
    return least_cost(on, asked, w, each_s / load, load * busy_w + (1.0 - load) * on.machine.idle_w, 0.0)


@folded
def wins_between(on, asked, bars, known, w, g, e, row, lo, end, above):
    """Whether batches of octave e above `lo` and below `end` may win: (with chunks, in another mode).

    row : of known.at_first, the step at lo.   above : octave whose first batch is none of theirs smaller, and had its
    step; -1 without. A step takes at least what one of lo sequences does, and of each sequence what a larger one does:
    all times of a step are sums, maxima and minima of what grows no faster than the batch, and so is its energy, as
    draw is concave in work per second. (Of a larger batch that fills its ranks and micro-batches: those it pays for.)
    """
    if known.most[w] <= lo or end - lo < 2:
        return False, False
    limits, modes, steps, dp = asked.limits, asked.modes, asked.timing[w, g, D_STEPS], on.deployment.dp
    step_s, step_w, most = known.at_first[row, w, 0], known.at_first[row, w, 1], min(end - 1, known.most[w])
    token_s, each_s = asked.timing[w, g, D_KAPPA] * step_s, steps * step_s / (dp * most)
    stage_s = known.at_first[row, w, 2]
    high_s, high_w, high_each_s, high_stage_s = step_s, step_w, each_s, stage_s
    if above >= 0:
        high_stage_s = known.at_first[above, w, 2]
        high_s, high_w = known.at_first[above, w, 0], known.at_first[above, w, 1]
        flights, _, sequences = pass_shape(asked.padded[1 << above] * dp, on.deployment)
        high_each_s = ALMOST * steps * high_s / (dp * flights * sequences)
    first_s, more_s, high_more_s = np.inf, np.inf, np.inf
    for c in range(asked.chunks.size):
        if not known.closed[e, w, c]:
            first_s, fill = known.first[w, c], asked.filling[w, c, C_FILL]
            more_s = min(more_s, least_chunk(first_s, stage_s, fill) / dp)
            high_more_s = min(high_more_s, least_chunk(first_s, high_stage_s, fill) / dp)
    mixed, other = False, False
    if modes[AGGREGATED] == 1 and more_s < np.inf:
        least = least_cost(on, asked, w, each_s, step_w, more_s)
        mixed = may_win(bars, limits, on.number, AGGREGATED, w, least, token_s, 1.0)
        if mixed and above >= 0:
            least = least_cost(on, asked, w, high_each_s, high_w, high_more_s)
            mixed = may_win(bars, limits, on.number, AGGREGATED, w, least, token_s, 1.0)
    if modes[STATIC] == 1 and not known.closed[e, w, asked.chunks.size]:
        share, prompt = least_static(asked, w, g, lo * dp), known.prompt[w]
        least = least_cost(on, asked, w, each_s * share, step_w, prompt)
        other = may_win(bars, limits, on.number, STATIC, w, least, token_s, 1.0)
        if other and above >= 0:
            least = least_cost(on, asked, w, high_each_s * share, high_w, prompt)
            other = may_win(bars, limits, on.number, STATIC, w, least, token_s, 1.0)
    if modes[DECODE_POOL] == 1 and not other:
        least = least_cost(on, asked, w, each_s, step_w, 0.0)
        other = may_win(bars, limits, on.number, DECODE_POOL, w, least, token_s, POOL_SLACK)
        if other and above >= 0:
            least = least_cost(on, asked, w, high_each_s, high_w, 0.0)
            other = may_win(bars, limits, on.number, DECODE_POOL, w, least, token_s, POOL_SLACK)
    return mixed, other


@kernel
def worth(on, asked, bars, known, g, e, row, lo, end, above):
    """Whether batches of octave e above `lo`, whose step is in `row` of known.at_first, and up to `end` may win."""
    for w in range(asked.facts.shape[0]):
        mixed, other = wins_between(on, asked, bars, known, w, g, e, row, lo, end + 1, above)
        if mixed or other:
            return True
    return False


@kernel
def between(on, asked, bars, known, free, g, e):
    """List the batches inside octave e that may win, and those exactly at a limit of memory. Returns how many."""
    lo = np.int64(1) << e
    opened, mixed, count = False, False, 0
    for w in range(asked.facts.shape[0]):
        wins = wins_between(on, asked, bars, known, w, g, e, e, lo, 2 * lo, e + 1 if known.tried[e + 1] else -1)
        opened, mixed = opened or wins[0] or wins[1], mixed or wins[0]
    if not opened:
        return count
    last = min(2 * lo - 1, known.most.max())
    for n in range(np.searchsorted(asked.batches, lo + 1), np.searchsorted(asked.batches, last + 1)):
        count = insert(known.listed, count, asked.batches[n])
    for w in range(asked.facts.shape[0]):
        end, cache = min(last, known.most[w]), known.reserved[w]
        if end <= lo:
            continue
        if known.most[w] == end:
            count = insert(known.listed, count, end)
        for c in range(asked.chunks.size if mixed else 0):
            held = asked.tables[w, 0, c, g, lo, T_SEQUENCES]
            if known.closed[e, w, c] or np.isnan(held):
                continue
            work = decode_work(on, asked.padded[lo] * on.deployment.dp, asked.drafts[g], asked.chunks[c])
            if held * cache + work <= free:
                exact = most_with_chunk(on, asked, free, cache, w, c, g, lo, end + 1)
                count = insert(known.listed, count, exact) if exact > lo else count
    return count
