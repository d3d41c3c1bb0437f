"""Cases whose batch follows from a balance: open arrivals, and closed loops over pools of prompts and of decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.validation.cells import Cells, Pass, between
from roofline.validation.closed_loop import Figures, draw
from roofline.validation.lengths import Lengths, of_case
from roofline.validation.slots import slots_of
from roofline.validation.whole_batches import Prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.validation.cells import Records
    from roofline.validation.conditions import Case

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NODES = 8
"""Batches, in equal ratios, between which step times of a rank are linear."""

HALVINGS = 50


def spread_nodes(most: Ints) -> Floats:
    """Whole batches from 1 to `most` of each row, in about equal ratios. float64[rows, NODES]."""
    ends = np.maximum(most, 1).astype(np.float64)[:, None]
    found: Floats = np.rint(ends ** np.linspace(0.0, 1.0, NODES))
    return np.maximum.accumulate(found, axis=1)


def root(falling: Callable[[Floats], Floats], most: Floats) -> Floats:
    """Where a falling function of each row crosses 0 between 0 and `most`; `most` where it does not."""
    low, high = np.zeros_like(most), most.copy()
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        above = falling(middle) > 0.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return high


@dataclass(frozen=True, eq=False)
class Queues:
    """Open arrivals to aggregated replicas, and closed loops over two pools, ready to be computed.

    apart : bool[n]   whether prompts have a pool of their own.   servers : of prompts, ranks of that pool.
    """

    cases: Sequence[Case]
    lengths: Sequence[Lengths]
    config: Ints
    ranks: Floats
    slots: Ints
    limit: Ints
    apart: NDArray[np.bool_]
    servers: Floats
    prompts: Prompts
    cells: Cells
    prompt_config: Ints

    def figures(self, records: Records, stack: Mapping[str, Floats]) -> Figures:
        """Figures of each case."""
        if not self.cases:
            return Figures(*(np.zeros(0) for _ in Figures._fields))
        work, nodes = self.cells.run(records), self.cells.nodes
        prompt_s, prompt_compute, prompt_memory, _ = self.prompts.run(records)
        steps, fills = self._each("mean_steps"), self._each("mean_fill")
        chunks, kappa = self._each("mean_chunks"), self._each("steps_per_token")
        load, apart = np.array([case.load for case in self.cases]), self.apart
        own_prompt_s = stack["step_s"] * chunks + prompt_s

        def step_s(batch: Floats) -> Floats:
            return stack["step_s"] + stack["sequence_s"] * batch + between(nodes, work.step_s, batch)

        def more_s(batch: Floats) -> Floats:
            return np.where(apart, 0.0, between(nodes, work.more_s, batch))

        def rate(batch: Floats) -> Floats:  # of all ranks that decode, equation (4)
            return self.ranks * batch / (steps * step_s(batch) + batch * fills * more_s(batch))

        def wait_s(per_s: Floats, batch: Floats) -> tuple[Floats, Floats]:
            """Of prompts, before and in their server, at that rate: M/G/m by its load, constant services."""
            server_s = np.where(apart, own_prompt_s, chunks * step_s(batch) + fills * more_s(batch))
            many = np.where(apart, self.servers, self.ranks)
            busy = np.minimum(per_s * server_s / many, 0.999)
            queue = server_s * busy ** (np.sqrt(2.0 * (many + 1.0)) - 1.0) / (2.0 * many * (1.0 - busy))
            return queue, server_s

        def missing(batch: Floats) -> Floats:
            """Rate that is asked for less what so many that decode give."""
            per_s = rate(batch)
            queue, server_s = wait_s(per_s, batch)
            inside = per_s * (stack["ttft_s"] + queue + server_s) + self.ranks * batch
            return np.where(apart, load - inside, load - per_s)

        most = np.minimum(self.slots.astype(np.float64), np.where(apart, load / self.ranks, np.inf))
        most = np.where(apart, most, np.minimum(most, steps / chunks))
        batch = root(missing, np.maximum(most, 1e-9))
        batch = np.where(self.limit == 0, batch, np.nan)
        per_s = np.where(apart, rate(batch), np.minimum(load, rate(batch)))
        queue, server_s = wait_s(per_s, batch)
        full = apart & (batch >= most * (1.0 - 1e-9))
        queue = np.where(apart & (load > 0.0), np.maximum(load / per_s - self._decode_s(steps, step_s, batch), 0.0)
                         - server_s - stack["ttft_s"], queue)  # fmt: skip
        queue = np.where(apart & ~full, np.maximum(queue, 0.0), queue)
        mean_step_s = step_s(batch) + np.minimum(batch / steps, 1.0) * fills * more_s(batch)
        ttft_s = stack["ttft_s"] + np.maximum(queue, 0.0) + server_s + np.where(apart, step_s(batch), 0.5 * mean_step_s)
        ttft_s = self._with_start(ttft_s, server_s, stack["ttft_s"])
        ttft_s = ttft_s + stack["wait_steps"] * mean_step_s
        saturated = ~apart & (per_s < 0.999 * load)
        ttft_s = np.where(saturated, np.nan, ttft_s)
        found = self._power(records, work.compute_s, work.memory_s, batch, mean_step_s)
        idle = self._prompt_power(records, prompt_compute, prompt_memory, per_s)
        power = np.where(apart, self._shared(found, idle), found)
        compute, memory = (between(nodes, values, batch) for values in (work.compute_s, work.memory_s))
        return Figures(ttft_s, kappa * mean_step_s, per_s, power, kappa * compute, kappa * memory, found)

    def _each(self, name: str) -> Floats:
        return np.array([getattr(one.counted, name) for one in self.lengths], dtype=np.float64)

    @staticmethod
    def _decode_s(steps: Floats, step_s: Callable[[Floats], Floats], batch: Floats) -> Floats:
        return steps * step_s(batch)

    def _with_start(self, steady_s: Floats, server_s: Floats, constant: Floats) -> Floats:
        """TTFT of a run of a closed loop in which all clients start together, in the statistic that was measured."""
        waves = np.array([(case.requests or np.inf) / max(case.load, 1.0) for case in self.cases])
        load = np.array([case.load for case in self.cases])
        mean = np.array([case.ttft == "mean" for case in self.cases])
        start_s = constant + server_s * np.maximum(1.0, (load / np.maximum(self.servers, 1.0) + 1.0) / 2.0)
        part = np.where(self.apart & mean & np.isfinite(waves), 1.0 / np.maximum(waves, 1.0), 0.0)
        found: Floats = steady_s + part * np.maximum(start_s - steady_s, 0.0)
        return found

    def _power(self, records: Records, compute: Floats, memory: Floats, batch: Floats, step_s: Floats) -> Floats:
        machine = records.machines[records.configs["machine"][self.config]]
        nodes = self.cells.nodes
        return draw(machine, between(nodes, compute, batch) / step_s, between(nodes, memory, batch) / step_s)

    def _prompt_power(self, records: Records, compute: Floats, memory: Floats, per_s: Floats) -> Floats:
        machine = records.machines[records.configs["machine"][self.prompt_config]]
        each = per_s / np.maximum(self.servers, 1.0)
        return draw(machine, np.minimum(each * compute, 1.0), np.minimum(each * memory, 1.0))

    def _shared(self, decoding: Floats, prompts: Floats) -> Floats:
        """Mean over the accelerators of both pools."""
        total = np.array([case.accelerators for case in self.cases])
        own = np.array([case.pool.group * case.pool.replicas for case in self.cases])
        found: Floats = (own * decoding + (total - own) * prompts) / total
        return found


def queues_of(cases: Sequence[Case], records: Records, config: Ints, prompt_config: Ints) -> Queues:
    """Open arrivals and loops over two pools.   config, prompt_config : of the pools of each case."""
    lengths = [of_case(case) for case in cases]
    apart = np.array([case.kind == "apart" for case in cases], dtype=bool)
    passes = [
        Pass(one.step.context, drafts=one.step.drafts) if case.kind == "apart" else one.step
        for case, one in zip(cases, lengths, strict=True)
    ]
    slots, limit = slots_of(records, config, [one.reserved for one in lengths], passes)
    replicas = np.array([case.pool.replicas for case in cases])
    ranks = records.group("dp")[config] * replicas
    own = records.group("dp")[prompt_config]
    pools = [case.prompt_pool or case.pool for case in cases]
    servers = own * np.array([pool.replicas for pool in pools])
    prompts = Prompts.of(
        prompt_config, own, [max(1, round(one.isl)) for one in lengths], [case.chunk for case in cases]
    )
    limit = np.where(limit == 0, prompts.run(records)[3], limit)
    clients = np.array(
        [case.load / rank if case.kind == "apart" else np.inf for case, rank in zip(cases, ranks, strict=True)]
    )
    nodes = (
        spread_nodes(np.ceil(np.minimum(np.maximum(slots, 1), clients)).astype(np.int64)) if cases else np.zeros((0, 1))
    )
    run_at = np.array([[case.padded_to(int(b)) for b in row] for case, row in zip(cases, nodes, strict=True)])
    cells = Cells(config, passes, nodes, run_at.reshape(nodes.shape).astype(np.int64))
    return Queues(cases, lengths, config, ranks, slots, limit, apart, servers, prompts, cells, prompt_config)
