"""Batches computed as a whole: prompts by themselves, and static batches whose sequences start and end together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.validation.cells import Cells, Pass
from roofline.validation.closed_loop import Figures, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.validation.cells import Records
    from roofline.validation.conditions import Case

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prompts:
    """Whole prompts of batches, by length and chunk.   rows : of the cases in each group."""

    config: Ints
    batch: Ints
    groups: Mapping[tuple[int, int], Ints]

    @classmethod
    def of(cls, config: Ints, batch: Ints, isl: Sequence[int], chunk: Sequence[int]) -> Prompts:
        """Batches of prompts of `isl` tokens on each configuration, in chunks. int64[n] each."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, key in enumerate(zip(isl, chunk, strict=True)):
            groups.setdefault(key, []).append(i)
        return cls(config, batch, {key: np.array(rows, dtype=np.int64) for key, rows in groups.items()})

    def run(self, records: Records) -> tuple[Floats, Floats, Floats, Ints]:
        """Time of each batch, its work at peak compute and at peak bandwidth [s], and the `layout.Limit` where none.

        Memory is not asked for.
        """
        from roofline.kernels.outputs import Var
        from roofline.kernels.prefill import prefill_grid

        found, limit = np.full((3, self.config.size), np.nan), np.zeros(self.config.size, dtype=np.int64)
        for (isl, chunk), rows in self.groups.items():
            models, layers, machines, kits, deployments, one = records.cell(self.config[rows])
            roomy = machines.copy()
            roomy["memory_bytes"] = np.inf
            result = prefill_grid(
                models, layers, roomy, kits, deployments, one, self.batch[rows][:, None], np.array([isl]), 0, chunk,
                want=(Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY), with_bound=False,
              )  # fmt: skip
            values, limit[rows] = result["values"], result["limit"][:, 0, 0]
            step = values[Var.STEP][:, 0, 0]
            found[:, rows] = step, step * values[Var.DRAWN_COMPUTE][:, 0, 0], step * values[Var.DRAWN_MEMORY][:, 0, 0]
        return found[0], found[1], found[2], limit


@dataclass(frozen=True, eq=False)
class Whole:
    """Static batches and batches of prompts, ready to be computed."""

    cases: Sequence[Case]
    config: Ints
    batch: Floats
    limit: Ints
    prompts: Prompts
    cells: Cells

    def figures(self, records: Records, stack: Mapping[str, Floats]) -> Figures:
        """Figures of each case; TTFT is the time of the prompts. Requests/s of prompts alone are prompts a second."""
        work = self.cells.run(records)
        prompt_s, prompt_compute, prompt_memory, _ = self.prompts.run(records)
        own_s = stack["step_s"] + stack["sequence_s"] * self.batch
        ttft_s, step_s = own_s + prompt_s, own_s + work.step_s[:, 0]
        only = np.array([case.kind == "prompts" for case in self.cases])
        decoding = np.array([case.counts == "decode" for case in self.cases])
        osl = np.array([case.osl for case in self.cases])
        run_s = np.where(only, ttft_s, np.where(decoding, 0.0, ttft_s) + osl * step_s)
        load = np.array([case.load for case in self.cases])
        steps = np.where(only, 0.0, osl)
        first = np.where(decoding, 0.0, 1.0)
        compute = first * prompt_compute + steps * work.compute_s[:, 0]
        memory = first * prompt_memory + steps * work.memory_s[:, 0]
        machine = records.machines[records.configs["machine"][self.config]]
        watts = draw(machine, compute / run_s, memory / run_s)
        tpot_s = np.where(only, np.nan, step_s)
        return Figures(ttft_s, tpot_s, load / run_s, watts, work.compute_s[:, 0], work.memory_s[:, 0], watts)


def whole_of(cases: Sequence[Case], records: Records, config: Ints) -> Whole:
    """Static batches and batches of prompts.   config : of each case among `records`."""
    ranks = records.group("dp")[config]
    load = np.array([case.load / case.pool.replicas for case in cases])
    batch = np.ceil(load / ranks)
    isl = [max(1, round(case.isl)) for case in cases]
    passes = [Pass(max(1, round(case.isl + (case.osl + 1.0) / 2.0))) for case in cases]
    prompts = Prompts.of(config, np.ceil(load).astype(np.int64), isl, [max(case.chunk, 1) for case in cases])
    run_at = np.array([[case.padded_to(int(b))] for case, b in zip(cases, batch, strict=True)], dtype=np.int64)
    cells = Cells(config, passes, batch[:, None], run_at)
    limit = np.maximum(cells.run(records).limit[:, 0], prompts.run(records)[3])
    return Whole(cases, config, batch, limit, prompts, cells)
