"""One candidate of a plan in each mode: equations (22) to (24) of section 13, and what it costs."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from roofline.kernels._jit import folded, kernel
from roofline.kernels.ops import ceil_div
from roofline.kernels.passes import M_MORE, M_MOVED, M_PEAK, P_MOVED, P_PEAK
from roofline.kernels.power import draw
from roofline.kernels.reduce import TIE_SHARE, around, at_work, offer

AGGREGATED, STATIC, PREFILL_POOL, DECODE_POOL = range(4)
MODES = 4

LATE = 1.05
"""Over its limit by so much, TTFT is over it with more sequences too: each of its terms rises but for half a step."""

# Columns of `tables` over the batch of a rank, for each workload, limits, chunk and drafts.
T_SEQUENCES, T_WAIT, T_FILLS, T_SEEN_TPOT, T_WAIT_LATENCY, T_FILLS_LATENCY, T_SEEN_LATENCY = range(7)
TABLE = 7
# Columns of `facts` of a workload: whole tokens to compute, of the prompt, reserved; mean OSL, cv^2 of a prompt, duty,
# the load in requests/s that accelerators are counted for (0: another cost), the longest context looked at.
W_NEW, W_ISL, W_RESERVED, W_OSL, W_CV2, W_DUTY, W_LOAD, W_LONGEST = range(8)
WORKLOAD = 8
# Of a workload with some drafts: decode steps, kappa.
D_STEPS, D_KAPPA = range(2)
# Of a workload with a chunk: w, k.
C_FILL, C_CHUNKS = range(2)


class Asked(NamedTuple):
    """What a search is asked, as `plan.search_grid` takes it."""

    facts: np.ndarray
    contexts: np.ndarray
    prompt_ends: np.ndarray
    chunks: np.ndarray
    drafts: np.ndarray
    batches: np.ndarray
    padded: np.ndarray
    at_once: np.ndarray
    loads: np.ndarray
    tables: np.ndarray
    timing: np.ndarray
    filling: np.ndarray
    longest: np.ndarray
    quants: np.ndarray
    limits: np.ndarray
    stack: np.ndarray
    modes: np.ndarray
    prune: int


class On(NamedTuple):
    """One configuration.

    number : of its machine.   group : accelerators of a replica.   alpha, beta : of (25).   idle_w : watts at the
    boundary while a replica idles, one of all that there is room for.   base_w, slope : while it runs, base_w +
    slope*draw at least.
    """

    model: np.record
    layers: np.ndarray
    machine: np.record
    kit: np.record
    deployment: np.record
    power: np.record
    number: int
    group: int
    alpha: float
    beta: float
    idle_w: float
    base_w: float
    slope: float


@kernel
def pass_shape(batch, deployment):
    """(micro-batches, sequences of one of them, sequences of it on a rank)."""
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    return flights, together, ceil_div(together, deployment.dp)


@folded
def token_cost(on, asked, w, rate, draw_w):
    """Cost of an output token (25) of workload w, at `rate` requests/s of a replica; of a load its accelerators."""
    replicas = at_work(on.power, draw_w, on.group)
    if replicas == 0:
        return np.nan
    load = asked.facts[w, W_LOAD]
    if load > 0.0:
        return on.group * (math.ceil(load / rate) + TIE_SHARE * load / rate)
    tokens, duty = rate * asked.facts[w, W_OSL], asked.facts[w, W_DUTY]
    cost = on.alpha * on.group / tokens
    if on.beta != 0.0:
        busy_w, idle_w = around(on.power, draw_w, on.group, replicas), on.idle_w
        if on.power.most_w < np.inf:
            idle_w = around(on.power, on.machine.idle_w, on.group, replicas)
        cost += on.beta * (duty * busy_w + (1.0 - duty) * idle_w) / (duty * tokens)
    return cost


@folded
def decode_draw(found, machine, w, step, flights, pp):
    """Draw of one accelerator over a decode step [W]."""
    share = flights / pp / step
    return draw(machine, found[w, P_PEAK] * share, found[w, P_MOVED] / machine.bytes_per_s * share)


@kernel
def try_aggregated(kept, i, on, asked, w, b, c, g, t, step_w, passed, mixed, flights):
    """Continuous batching with b sequences decoding on a rank: equation (22). The caller has seen to memory.

    t, step_w : time and draw of the decode step.   passed, mixed : of `passes`.
    Returns whether any TTFT is within LATE times its limit.
    """
    steps, kappa = asked.timing[w, g, D_STEPS], asked.timing[w, g, D_KAPPA]
    fill, chunks = asked.filling[w, c, C_FILL], asked.filling[w, c, C_CHUNKS]
    ttft_s, phi, pp, dp = asked.stack[2], fill / chunks, on.deployment.pp, on.deployment.dp
    d = mixed[w, M_MORE]
    with_chunk = t + phi * d
    rate = dp * b / (steps * t + b * fill * d)
    share = b * chunks / steps
    time_share = share * with_chunk / (t + share * phi * d)
    others, whole = (flights - 1) / pp, t + d
    peak = others * passed[w, P_PEAK] + mixed[w, M_PEAK] / pp
    moved = (others * passed[w, P_MOVED] + mixed[w, M_MOVED] / pp) / on.machine.bytes_per_s
    watts = time_share * draw(on.machine, peak / whole, moved / whole)
    watts += (1.0 - time_share) * step_w
    cost = token_cost(on, asked, w, rate, watts)
    rest = ((1.0 - time_share) * t + (time_share - share) * with_chunk) / 2.0 if ttft_s > 0.0 else 0.0
    known_s = ttft_s + rest
    in_time = False
    for s in range(asked.limits.shape[0]):
        tables = asked.tables
        ttft = known_s + tables[w, s, c, g, b, T_WAIT] * t + tables[w, s, c, g, b, T_FILLS] * d
        tpot = kappa * (t + tables[w, s, c, g, b, T_SEEN_TPOT] * phi * d)
        token_s = kappa * (t + tables[w, s, c, g, b, T_SEEN_LATENCY] * phi * d)
        late = known_s + tables[w, s, c, g, b, T_WAIT_LATENCY] * t + tables[w, s, c, g, b, T_FILLS_LATENCY] * d
        in_time = in_time or ttft <= LATE * asked.limits[s, 0]
        offer(
            kept, i, AGGREGATED, w, s, asked.limits, ttft, tpot, late + asked.quants[w, s, 1] * token_s, rate, watts,
            dp * tables[w, s, c, g, b, T_SEQUENCES], cost, b, c, g, 0,
        )  # fmt: skip
    return in_time


@folded
def try_decode_pool(kept, i, on, asked, w, b, g, step_s, step_w):
    """A pool that only decodes, b sequences on a rank, in steps of step_s that draw step_w."""
    batch = on.deployment.dp * b
    rate = batch / (asked.timing[w, g, D_STEPS] * step_s)
    tpot = asked.timing[w, g, D_KAPPA] * step_s
    cost = token_cost(on, asked, w, rate, step_w)
    for s in range(asked.limits.shape[0]):
        offer(
            kept, i, DECODE_POOL, w, s, asked.limits, 0.0, tpot, asked.quants[w, s, 1] * tpot, rate, step_w,
            1.0 * batch, cost, b, 0, g, 0,
        )  # fmt: skip


@kernel
def try_static(kept, i, on, asked, w, b, g, step_s, step_w, prompt, own_s):
    """A batch computed, decoded and ended together: equation (23).   prompt : of `passes.prompt_pass`.

    Returns whether any TTFT is within LATE times its limit.
    """
    batch, pp = on.deployment.dp * b, on.deployment.pp
    time, peak, moved, _ = prompt
    first_s = own_s + time
    whole = first_s + asked.longest[w, g, min(batch, asked.longest.shape[2] - 1)] * step_s
    rate = batch / whole
    share = min(batch, pp) / pp / first_s  # prompts are not padded as a step is
    watts = first_s * draw(on.machine, peak * share, moved / on.machine.bytes_per_s * share)
    watts = (watts + (whole - first_s) * step_w) / whole
    ttft, tpot = asked.stack[2] + first_s, asked.timing[w, g, D_KAPPA] * step_s
    cost = token_cost(on, asked, w, rate, watts)
    in_time = False
    for s in range(asked.limits.shape[0]):
        in_time = in_time or ttft <= LATE * asked.limits[s, 0]
        offer(
            kept, i, STATIC, w, s, asked.limits, ttft, tpot, ttft + asked.quants[w, s, 1] * tpot, rate, watts,
            1.0 * batch, cost, b, 0, g, 0,
        )  # fmt: skip
    return in_time


@kernel
def load_waits(waits, quants, loads):
    """Wait for a pool that computes prompts, over its time for some and 1 + cv^2/n: of (24), by load.

    waits : float64[workloads, limits, loads]   written.
    """
    for w in range(waits.shape[0]):
        for s in range(waits.shape[1]):
            for u in range(loads.size):
                tail = math.log(loads[u] / (1.0 - quants[w, s, 0]))
                waits[w, s, u] = max(0.0, tail) / (2.0 * (1.0 - loads[u]))


@kernel
def try_prefill_pool(kept, i, on, asked, waits, w, b, c, prompt, own_s, hand_over_s, flights):
    """A pool that only computes prompts, b at once on a rank, at the highest load that is in time: equation (24).

    A higher load costs less. Requests wait longer at it, but less long for those that they are computed with.
    Returns whether it is in time at the highest load, whatever the limits.
    """
    batch = on.deployment.dp * b
    time, peak, moved, _ = prompt
    first_s = own_s + time
    share = flights / on.deployment.pp / first_s
    busy_w = draw(on.machine, peak * share, moved / on.machine.bytes_per_s * share)
    spread = 1.0 + asked.facts[w, W_CV2] / batch
    known_s, at_most = asked.stack[2] + first_s + hand_over_s, True
    for s in range(asked.limits.shape[0]):
        longest, ttft, chosen = min(asked.limits[s, 0], asked.limits[s, 2]), np.inf, 0
        for u in range(asked.loads.size - 1, -1, -1):
            load = asked.loads[u]
            late = known_s + (batch - 1.0) / (2.0 * (load * batch / first_s)) + first_s * spread * waits[w, s, u]
            if late < ttft:
                ttft, chosen = late, u
            if late <= longest:
                ttft, chosen = late, u
                break
        at_most = at_most and chosen == asked.loads.size - 1 and ttft <= longest
        load = asked.loads[chosen]
        rate, watts = load * batch / first_s, load * busy_w + (1.0 - load) * on.machine.idle_w
        cost = token_cost(on, asked, w, rate, watts)
        offer(
            kept, i, PREFILL_POOL, w, s, asked.limits, ttft, 0.0, ttft, rate, watts, 1.0 * batch, cost, b, c, 0, chosen
        )  # fmt: skip
    return at_most
