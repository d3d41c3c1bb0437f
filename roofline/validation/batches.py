"""Batches whose size is known or set by memory: steady decoding, and queues of requests that are worked off.

Steps count prompts as they are packed: a step with prompt tokens of several requests costs its share of a full chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.validation.cells import Cells, Pass, between, nodes_of
from roofline.validation.closed_loop import Figures, draw
from roofline.validation.lengths import Lengths, of_case
from roofline.validation.slots import slots_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.validation.cells import Records, Work
    from roofline.validation.conditions import Case

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

PACKED = 2048
"""Prompt tokens, of several short prompts, whose pass stands for a packed one: enough to saturate GEMMs."""


def packed_lengths(case: Case) -> Lengths:
    """Lengths of a case with chunks of at least `PACKED` tokens, or of the whole prompt where that is longer."""
    found = of_case(case)
    size = min(case.chunk, max(PACKED, found.chunk))
    step = Pass(found.step.context, size, (max(size, round(found.isl)),), found.step.drafts)
    return Lengths(found.requests, found.counted, step, found.reserved, found.isl, found.osl, size)


@dataclass(frozen=True, eq=False)
class Batches:
    """Cases of a known batch: what each attention rank decodes, and the prompts that keep it so.

    batch : float64[n]   sequences of a rank; NaN where it cannot run.   chunks : full chunks in each step beside them.
    """

    cases: Sequence[Case]
    lengths: Sequence[Lengths | None]
    config: Ints
    ranks: Ints
    limit: Ints
    batch: Floats
    chunks: Floats
    cells: Cells

    def figures(self, records: Records, stack: Mapping[str, Floats], work: Work | None = None) -> Figures:
        """Figures of each case; a queue that is worked off has no TTFT of its own."""
        work = self.cells.run(records) if work is None else work
        nodes, batch = self.cells.nodes, self.batch

        def at(values: Floats) -> Floats:
            return between(nodes, values, batch)

        queued = np.array([case.kind == "offline" for case in self.cases])
        own_s = stack["step_s"] + stack["sequence_s"] * batch
        alone_s, more_s = own_s + at(work.step_s), at(work.more_s)
        step_s = alone_s + self.chunks * more_s
        kappa, tau_steps = self._each("steps_per_token", 1.0), self._each("mean_steps", 1.0)
        median = np.array([case.tpot == "median" for case in self.cases])
        tpot_s = kappa * np.where(median, alone_s, step_s)
        rate = self.ranks * batch / (tau_steps * step_s)
        rate = np.where(queued, rate * self._drained(rate, tau_steps, alone_s), rate)
        rate *= np.array([case.pool.replicas for case in self.cases])
        part = self.chunks
        compute = at(work.compute_s) + part * (at(work.chunk_compute_s) - at(work.compute_s))
        memory = at(work.memory_s) + part * (at(work.chunk_memory_s) - at(work.memory_s))
        machine = records.machines[records.configs["machine"][self.config]]
        power = draw(machine, compute / step_s, memory / step_s)
        return Figures(np.full(batch.size, np.nan), tpot_s, rate, power, kappa * compute, kappa * memory, power)

    def _each(self, name: str, default: float) -> Floats:
        return np.array([default if one is None else getattr(one.counted, name) for one in self.lengths])

    def _drained(self, rate: Floats, steps: Floats, step_s: Floats) -> Floats:
        """Rate of the whole run over that of its middle: at the end nothing refills the batch."""
        requests = np.array([case.requests or np.inf for case in self.cases])
        waves = np.maximum(requests / np.maximum(self.batch * self.ranks, 1.0), 1.0)
        tail_s = 0.5 * steps * step_s * (1.0 - 1.0 / waves)
        run_s = np.where(np.isfinite(requests), requests, 1.0) / rate
        return np.where(np.isfinite(requests), run_s / (run_s + tail_s), 1.0)


def batches_of(cases: Sequence[Case], records: Records, config: Ints) -> Batches:
    """Steady batches and queues, ready to be computed.   config : of each case among `records`."""
    lengths = [packed_lengths(case) if case.isl > 0.0 else None for case in cases]
    passes = [
        Pass(round(case.osl), drafts=case.drafts) if one is None else one.step
        for case, one in zip(cases, lengths, strict=True)
    ]
    ranks, limit = records.group("dp")[config], np.zeros(len(cases), dtype=np.int64)
    batch, chunks = np.full(len(cases), np.nan), np.zeros(len(cases))
    queued = np.array([i for i, case in enumerate(cases) if case.kind == "offline"], dtype=np.int64)
    slots = np.zeros(len(cases), dtype=np.int64)
    if queued.size:
        reserved = [lengths[i].reserved for i in queued]
        slots[queued], limit[queued] = slots_of(records, config[queued], reserved, [passes[i] for i in queued])
    for i, (case, one) in enumerate(zip(cases, lengths, strict=True)):
        if limit[i]:
            continue
        asked = case.load / case.pool.replicas / ranks[i]
        batch[i] = asked if case.kind == "steady" else min(asked, slots[i], (case.requests or np.inf) / ranks[i])
        if one is not None:
            per_step = one.isl / max(one.counted.mean_steps, 1.0)  # prompt tokens beside each sequence in a step
            batch[i] = min(batch[i], case.chunk / per_step)
            chunks[i] = batch[i] * per_step / one.chunk
    nodes = nodes_of([sorted({max(1.0, np.floor(b)), np.ceil(b)}) if b == b else [1.0] for b in batch])
    most = np.where(slots > 0, slots, np.iinfo(np.int64).max)
    run_at = np.array(
        [[min(case.padded_to(int(b)), m) for b in row] for case, row, m in zip(cases, nodes, most, strict=True)]
    )
    cells = Cells(config, passes, nodes, run_at.reshape(nodes.shape).astype(np.int64))
    limit = np.where(limit == 0, cells.run(records).limit.max(axis=1), limit)
    return Batches(cases, lengths, config, ranks, limit, batch, chunks, cells)
