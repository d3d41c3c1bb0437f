"""One deployment as a replica to be served from: times and watts of its steps, alone and with a chunk beside them.

A replica with dp attention ranks is dp equal ranks in lockstep, each with sequences of its own and a chunk of its own
prompt in the same steps: what queues is one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.serving.service import Service

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.grid.evaluate import Grid, Records
    from roofline.serving.service import Requests
    from roofline.specs.stack import Stack

    Floats = NDArray[np.float64]

MOST_SLOTS = 2048
"""Most sequences of an attention rank that are looked at: schedulers have such a limit too."""

_CHUNK_CONTEXTS = 8


@dataclass(frozen=True)
class Deployed:
    """A replica as `ranks` equal attention ranks in lockstep, with what it draws.

    service : step times of a rank, serving stack included, with b sequences on each rank: equations (19) and (20).
    ranks : attention ranks, dp; the replica has `ranks` times the sequences and the rates of one.
    decode_w, mixed_w : float64[slots+1]   draw of one accelerator over such a step [W]; NaN where undisclosed.
    context, slots_memory : the mean context its times are at, and sequences of the replica that memory holds.
    """

    service: Service
    ranks: int
    decode_w: Floats
    mixed_w: Floats
    context: int
    slots_memory: int


def mean_context(requests: Requests) -> float:
    """Mean context of a decoded token: E[ O (I + (O + 1)/2) ] / E[O], the new token included."""
    isl, osl = requests.points()
    if isinstance(requests.isl, np.ndarray):  # pairs
        return float((osl * (isl + 0.5 * (osl + 1.0))).mean() / osl.mean())
    return float(isl.mean() + 0.5 * ((osl * osl).mean() / osl.mean() + 1.0))


def chunk_contexts(requests: Requests, chunk: int, prefix: float = 0.0) -> NDArray[np.int64]:
    """Contexts at which chunks of a mean prompt end, at most eight of them evenly spaced; a full chunk at least.

    prefix : tokens before those of `requests`, in the cache too.
    """
    isl, _ = requests.points()
    mean = float(isl.mean()) + prefix
    ends = np.arange(requests.cached + prefix + chunk, mean + chunk, chunk)
    ends = np.minimum(ends, mean) if ends.size else np.array([mean])
    chosen = ends[np.unique(np.linspace(0, ends.size - 1, _CHUNK_CONTEXTS).round().astype(int))]
    found: NDArray[np.int64] = np.maximum(np.round(chosen), chunk).astype(np.int64)
    return found


def deployed(
    grid: Grid,
    records: Records,
    config: int,
    requests: Requests,
    stack: Stack,
    chunk: int,
    slots: int | None,
    prefix: float = 0.0,
) -> Deployed | int:
    """One configuration of a grid as a replica, or the `layout.Limit` why it cannot be one.

    records : of the grid.   config : its number among them.
    slots : most sequences of the replica at once, shared evenly by its attention ranks, whole ones and one at least
        each; None: as many as memory holds at ISL + OSL each (their means), up to MOST_SLOTS a rank.
    prefix : tokens of a mean prompt before those of `requests`, in the prefix cache: read and held, not computed.
    """
    from roofline.kernels.capacity import largest_batches
    from roofline.kernels.mixed import mixed_grid
    from roofline.kernels.outputs import Var
    from roofline.kernels.sweep import decode_grid

    one = records[-1][config : config + 1]
    cell = (records[0], records[1], records[2], records[3], records[4], one)
    isl, osl = requests.points()
    context = max(1, round(mean_context(requests) + prefix))
    reserved = round(float(isl.mean() + osl.mean()) + prefix)
    ahead = chunk_contexts(requests, chunk, prefix)

    _, pp, ranks, *_ = grid.deployments.rows[int(one[0]["deployment"])]
    held = int(largest_batches(*cell, np.array([reserved]))[0, 0])
    if held < ranks:
        alone = decode_grid(*cell, np.full((1, 1), ranks, dtype=np.int64), np.array([reserved]), with_bound=False)
        return int(alone["limit"][0, 0, 0])
    most = min(held // ranks, MOST_SLOTS if slots is None else max(1, slots // ranks))
    batches = ranks * np.arange(1, most + 1)  # of the replica, b sequences on each rank
    found = mixed_grid(*cell, batches[None], [context], chunk=chunk, chunk_context=ahead)
    blocked = found["limit"][0].any(axis=(1, 2))
    if blocked[0]:
        return int(found["limit"][0, 0].max())
    most = int(np.argmax(blocked)) if blocked.any() else most  # the chunk takes room too
    batches = batches[:most]
    padded = np.array([min(stack.padded(b), most) for b in range(1, most + 1)]) - 1  # graphs are captured per rank
    want = Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY
    work = decode_grid(*cell, batches[None], np.array([context]), want=want, with_bound=False)["values"]
    seconds, compute, memory = (work[name][0, padded, 0] for name in want)
    own = stack.step_s + stack.sequence_s * np.arange(most + 1)
    first_s, start = _chunks_alone(cell, chunk, pp, ranks)
    with_chunk = found["step"][0, padded, 0].mean(axis=-1)
    decode_s = own + np.concatenate([[0.0], seconds])
    mixed_s = own + np.concatenate([[first_s], with_chunk])
    # Work of a whole step: of the micro-batches without the chunks, and of the one with them.
    machine = grid.packed.machines[one[0]["machine"]]
    others = (np.minimum(batches, pp) - 1) / np.minimum(batches, pp)
    per_stage = 1.0 / pp
    mixed_compute = others * compute * seconds + per_stage * found["peak"][0, padded, 0].mean(axis=-1)
    moved = found["moved"][0, padded, 0].mean(axis=-1) / float(machine["bytes_per_s"])
    mixed_memory = others * memory * seconds + per_stage * moved
    decode_work = np.stack([compute * seconds, memory * seconds])
    mixed_work = np.stack([mixed_compute, mixed_memory])
    service = Service(decode_s, mixed_s, chunk, most, stack.ttft_s)
    return Deployed(
        service,
        ranks,
        draw_w(machine, np.concatenate([np.zeros((2, 1)), decode_work], axis=1) / decode_s),
        draw_w(machine, np.concatenate([start, mixed_work], axis=1) / mixed_s),
        context,
        held,
    )


def _chunks_alone(cell: Any, chunk: int, pp: int, ranks: int) -> tuple[float, Floats]:
    """A chunk on each attention rank with nothing beside it: time [s], and float64[2, 1] its work as `draw_w` takes it.

    Of so many prompts that a micro-batch has one on each rank. With a pipeline that makes pp micro-batches, which need
    more memory than the one that counts, and a longer time: that of one through all stages is its classes' sum.
    """
    from roofline.kernels.outputs import Var
    from roofline.kernels.prefill import prefill_grid

    prompts = (ranks - 1) * pp + 1
    flights = min(prompts, pp)
    classes = (Var.CLASS_COMPUTE, Var.CLASS_MEMORY, Var.CLASS_NETWORK, Var.CLASS_LATENCY)
    models, layers, machines, kits, deployments, one = cell
    roomy = machines.copy()
    roomy["memory_bytes"] = np.inf
    want, prompt = (Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY, *classes), np.array([chunk])
    found = prefill_grid(models, layers, roomy, kits, deployments, one, np.array([[prompts]]), prompt, want=want)
    values = found["values"]
    step = values[Var.STEP][0, 0]
    work = np.stack([values[Var.DRAWN_COMPUTE][0, 0] * step, values[Var.DRAWN_MEMORY][0, 0] * step]) / flights
    through = step if flights == 1 else sum(values[name][0, 0] for name in classes)
    return float(through[0]), work


def draw_w(machine: Any, shares: Floats) -> Floats:
    """Draw of one accelerator [W] from shares[0] of peak compute and shares[1] of bandwidth: equation (16)."""
    x = float(machine["power_a"]) * np.sqrt(shares[0]) + float(machine["power_b"]) * shares[1]
    idle, tdp = float(machine["idle_w"]), float(machine["tdp_w"])
    found: Floats = idle + (tdp - idle) * (1.0 - 1.0 / (1.0 + x + 0.5 * x * x))
    return found
