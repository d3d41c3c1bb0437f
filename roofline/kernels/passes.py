"""Passes of one deployment for several workloads at once: equations (20), (21) and T_p of section 13.

What depends on the batch is tallied once, attention over the contexts of all workloads in one tile, and a chunk's
attention once for all batches.
"""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.kernels.contexts import A_MOVED, A_PEAK, A_TIME, DETAIL_WORK
from roofline.kernels.cores import sum_cores
from roofline.kernels.draft import add_rows, tally_drafts
from roofline.kernels.mixed import tally_mixed
from roofline.kernels.ops import EXTRA_MOVED, EXTRA_PEAK, MOVED, PEAK, ceil_div
from roofline.kernels.prefill import S_DRAIN, S_DRAWN_MOVED, S_DRAWN_PEAK, S_PEAK, S_TIME, prompt_sums
from roofline.kernels.step import (
    DECODE,
    K_FIRST,
    K_HOPS,
    K_LAST,
    K_LAYERS,
    K_MOVED,
    K_PEAK,
    PREFILL,
    close_pass,
    ends,
    pipeline_shares,
    tally_layers,
)
from roofline.kernels.sweep import step_times

_TIME = np.int64(A_TIME)
_ONE = np.int64(1)  # sequence whose prompt a chunk is of, on each rank

# Columns of what is kept of a pass for each workload. Work is that of one micro-batch, what the draw of a mean
# accelerator is of.
P_STEP, P_STAGE, P_PEAK, P_MOVED = range(4)  # s, s, s at dense peak, B
P_CORE, P_CORE_PEAK, P_CORE_MOVED, P_PLAIN_PEAK, P_PLAIN_MOVED = range(4, 9)  # attention alone; the pass without drafts
P_DRAFTS = 9  # s, of all drafts
PASS = 10
M_MORE, M_PEAK, M_MOVED = range(3)  # d of (21) [s], and the work of the micro-batch with the chunk
MIXED = 3


@kernel
def stage(layers_time, k, more, model, deployment):
    """X of (19): the sum of the stages of a pass, or its slowest, with `more` seconds on the last one."""
    if deployment.pp == 1:
        return k[K_FIRST] + layers_time + k[K_LAST] + more
    rho, tail = pipeline_shares(model, deployment)
    return max(k[K_FIRST] + rho * layers_time, tail * layers_time + k[K_LAST] + more)


@kernel
def drawn(k, total):
    """(s at dense peak, B) that draw is of, of a pass without its attention cores."""
    return k[K_PEAK] + total[PEAK] + total[EXTRA_PEAK], k[K_MOVED] + total[MOVED] + total[EXTRA_MOVED]


@kernel
def mean_cores(found, acc, each):
    """Means over the `each` contexts of every workload: time, work at dense peak, bytes.

    found : float64[workloads, >= 3]   written.   acc : float64[ROWS, workloads * each].
    """
    for w in range(found.shape[0]):
        time, peak, moved = 0.0, 0.0, 0.0
        for c in range(w * each, (w + 1) * each):
            time += acc[A_TIME, c]
            peak += acc[A_PEAK, c]
            moved += acc[A_MOVED, c]
        found[w, 0], found[w, 1], found[w, 2] = time / each, peak / each, moved / each


@kernel
def chunk_cores(found, acc, idle, model, layers, machine, kit, deployment, ends_at, each, chunk):
    """Attention of a chunk of one prompt, the mean over where chunks end.

    found : float64[workloads, 3]   written.   ends_at : float64[workloads * each] tokens.   idle : tallies of zeros.
    """
    start, stop = model.first_layer, model.last_layer
    sum_cores(acc, idle, start, stop, layers, machine, kit, deployment, ends_at, _ONE, chunk, PREFILL, DETAIL_WORK)
    mean_cores(found, acc, each)


@kernel
def decode_pass(
    found, steps, scratch, drafted, idle, k, acc, late, model, layers, machine, kit, deployment, contexts, each,
    batch, drafts,
):  # fmt: skip
    """A decode step at the contexts of all workloads; per workload the columns P_ of `found`.

    found : float64[workloads, PASS]   written.   contexts : float64[workloads * each] tokens.
    scratch : float64[3 + kinds, SLOTS];   drafted, idle : float64[kinds, SLOTS];   acc, late, steps, k : as in `sweep`.
    """
    flights = min(batch, deployment.pp)
    together = ceil_div(batch, flights)
    sequences = ceil_div(together, deployment.dp)
    new = 1 + drafts
    rows = sequences * new
    total, first, last, tallies = scratch[0], scratch[1], scratch[2], scratch[3:]
    start, stop = model.first_layer, model.last_layer
    tally_layers(
        tallies, total, start, stop, model, layers, machine, kit, deployment, sequences, new, together * new, DECODE
    )
    ends(first, last, model, machine, kit, deployment, rows, rows)
    close_pass(k, total, first, last, model, machine, kit, deployment, rows)
    sum_cores(acc, idle, start, stop, layers, machine, kit, deployment, contexts, sequences, new, DECODE, DETAIL_WORK)
    mean_cores(found[:, P_CORE:], acc, each)
    peak, moved = drawn(k, total)
    for w in range(found.shape[0]):
        found[w, P_DRAFTS] = 0.0
        found[w, P_PLAIN_PEAK] = peak + found[w, P_CORE_PEAK]
        found[w, P_PLAIN_MOVED] = moved + found[w, P_CORE_MOVED]
    last_s = k[K_LAST]
    if drafts > 0:
        tally_drafts(k, total, drafted, model, layers, machine, kit, deployment, sequences, together, drafts)
        sum_cores(
            late, drafted, model.first_draft, model.last_draft, layers, machine, kit, deployment, contexts, sequences,
            _ONE, DECODE, DETAIL_WORK,
        )  # fmt: skip
        peak, moved = drawn(k, total)
        for w in range(found.shape[0]):
            for c in range(w * each, (w + 1) * each):
                found[w, P_DRAFTS] += drafts * late[A_TIME, c] / each
            found[w, P_DRAFTS] += k[K_LAST] - last_s
    step_times(
        steps, acc, late, _TIME, drafts, k[K_LAYERS], k[K_FIRST], k[K_LAST], k[K_HOPS], flights, model, deployment
    )
    k[K_LAST] = last_s
    if drafts > 0:
        add_rows(acc, late, contexts.size, drafts, DETAIL_WORK)
    for w in range(found.shape[0]):
        step, more_peak, more_moved = 0.0, 0.0, 0.0
        for c in range(w * each, (w + 1) * each):
            step += steps[c]
            more_peak += acc[A_PEAK, c]
            more_moved += acc[A_MOVED, c]
        found[w, P_STEP] = step / each
        found[w, P_STAGE] = stage(k[K_LAYERS] + found[w, P_CORE], k, found[w, P_DRAFTS], model, deployment)
        found[w, P_PEAK], found[w, P_MOVED] = peak + more_peak / each, moved + more_moved / each


@kernel
def mixed_pass(found, passed, chunked, scratch, k, model, layers, machine, kit, deployment, batch, drafts, chunk):
    """What a chunk on each attention rank adds to a decode step, for every workload: equation (21).

    found : float64[workloads, MIXED]   written.   passed : of `decode_pass`.   chunked : of `chunk_cores`.
    """
    together = ceil_div(batch, min(batch, deployment.pp))
    sequences = ceil_div(together, deployment.dp)
    new = 1 + drafts
    rows = sequences * new
    tokens = together * new + deployment.dp * chunk
    total, first, last, tallies = scratch[0], scratch[1], scratch[2], scratch[3:]
    tally_mixed(tallies, total, model, layers, machine, kit, deployment, sequences, new, chunk, tokens)
    ends(first, last, model, machine, kit, deployment, rows + chunk, rows + 1)
    close_pass(k, total, first, last, model, machine, kit, deployment, rows + chunk)
    peak, moved = drawn(k, total)
    for w in range(found.shape[0]):
        time = k[K_LAYERS] + (passed[w, P_CORE] + chunked[w, 0])
        found[w, M_MORE] = max(0.0, stage(time, k, passed[w, P_DRAFTS], model, deployment) - passed[w, P_STAGE])
        plain_peak, plain_moved = passed[w, P_PLAIN_PEAK], passed[w, P_PLAIN_MOVED]
        with_peak = peak + passed[w, P_CORE_PEAK] + chunked[w, 1]
        with_moved = moved + passed[w, P_CORE_MOVED] + chunked[w, 2]
        found[w, M_PEAK] = passed[w, P_PEAK] + with_peak - plain_peak  # drafts are made beside a chunk too
        found[w, M_MOVED] = passed[w, P_MOVED] + with_moved - plain_moved


@kernel
def prompt_pass(sums, scratch, acc, times, tile, model, layers, machine, kit, deployment, batch, isl, cached, chunk):
    """(time, work at dense peak, bytes, work) of computing `batch` prompts at once: (15p) with its work.

    Work and bytes are what the draw of a mean accelerator is of; the last is at dense peak too, of the fullest rank.

    sums : float64[prefill.SUMS];   acc, times, tile : of a whole tile of contexts.
    """
    prompt_sums(sums, scratch, acc, times, tile, model, layers, machine, kit, deployment, batch, isl, cached, chunk)
    return sums[S_TIME] + sums[S_DRAIN], sums[S_DRAWN_PEAK], sums[S_DRAWN_MOVED], sums[S_PEAK]
