"""Cells a second: the compiled kernels beside memory fill and beside plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba.core import config as numba_config

from bench.record import Row, Task, rates
from bench.shapes import BLOCK_BYTES, Block, Fidelity, Shape, blocks
from roofline.kernels._jit import run_jobs
from roofline.kernels.outputs import Var, allocate
from roofline.kernels.prefill import prefill_grid
from roofline.kernels.sweep import _decode, decode_grid

EIGHT = (Var.STEP, Var.USER_RATE, Var.GPU_RATE, Var.MEMORY, Var.POWER, Var.ENERGY, Var.MFU, Var.MBU)
LABELLED = (*EIGHT, Var.SERIAL)  # what roofline.decode asks for, with `bound`
WANTS = {"step": ((Var.STEP,), False), "eight": (EIGHT, False), "as labelled": (LABELLED, True)}
"""Name of a choice of variables -> (variables, whether `bound` is written too)."""

FIDELITIES: tuple[Fidelity, ...] = ("kernel", "ideal")


@numba.njit(nogil=True)
def _fill(values: Any, start: int, stop: int) -> None:
    part = values[start:stop]
    for i in range(part.size):
        part[i] = 1.5


def threads(parallel: bool) -> str:
    """How many threads a kernel uses, in words."""
    return f"{numba_config.NUMBA_NUM_THREADS} threads" if parallel else "1 thread"


def fill_tasks() -> list[Task]:
    """The yardstick: one float64 after another into memory of the size of a block, used again and fresh."""
    values = np.empty(BLOCK_BYTES // 8)

    def again(parallel: bool) -> int:
        if parallel:
            run_jobs(_fill, (values,), values.size, True)
        else:
            values.fill(1.5)
        return values.size

    def fresh() -> int:
        np.empty(BLOCK_BYTES // 8).fill(1.5)
        return BLOCK_BYTES // 8

    parameters = {"bytes": BLOCK_BYTES}
    rows = [
        Row("memory fill", threads(parallel), "float64/s", parameters=parameters | {"memory": "used again"})
        for parallel in (False, True)
    ]
    tasks = [Task(rows[0], lambda: again(False)), Task(rows[1], lambda: again(True))]
    return [*tasks, Task(Row("memory fill, fresh", threads(False), "float64/s", parameters=parameters), fresh)]


class Decode:
    """The decode kernel over blocks, into output arrays that are made once."""

    def __init__(self, pieces: Sequence[Block], want: Sequence[Var], with_bound: bool) -> None:
        self.want, self.with_bound = want, with_bound
        self.pieces = [part for piece in pieces for part in piece.split(len(want))]
        self.cells = sum(piece.cells for piece in self.pieces)
        most = max(piece.cells for piece in self.pieces)
        self.slots = allocate(want, (1, 1, 1), with_bound)[1]
        self.values = np.empty(most * len(want))
        self.codes = np.empty((2, most), dtype=np.int8)

    def run(self, parallel: bool) -> int:
        """Every cell once, into memory used again."""
        for piece in self.pieces:
            shape = (*piece.batch.shape, piece.context.size)
            out = self.values[: piece.cells * len(self.want)].reshape(-1, *shape)
            limit, bound = (codes[: piece.cells].reshape(shape) for codes in self.codes)
            bound = bound if self.with_bound else bound[:0, :0, :0]
            arguments = (
                out,
                self.slots,
                limit,
                np.ascontiguousarray(bound),
                *piece.records,
                piece.batch,
                piece.context,
            )
            one_token, no_drafts, tokens_per_step = 1, 0, 1.0
            run_jobs(_decode, (*arguments, one_token, no_drafts, tokens_per_step), piece.batch.size, parallel)
        return self.cells

    def run_fresh(self, parallel: bool) -> int:
        """Every cell once through the public function, which makes its output arrays in every block."""
        for piece in self.pieces:
            decode_grid(
                *piece.records,
                piece.batch,
                piece.context,
                want=self.want,
                with_bound=self.with_bound,
                parallel=parallel,
            )
        return self.cells

    def have_value(self) -> float:
        """Share of cells that have a value."""
        ran = 0
        for piece in self.pieces:
            found = decode_grid(*piece.records, piece.batch, piece.context, want=(Var.STEP,), with_bound=False)
            ran += int((found["limit"] == 0).sum())
        return ran / self.cells


def decode_rows(shape: Shape, repeats: int, python: Row) -> list[Row]:
    """The decode kernel: fidelity x variables x threads, with memory fill taken in the same rounds."""
    fills = fill_tasks()
    tasks: list[tuple[Task, str]] = []
    for fidelity in FIDELITIES:
        pieces = blocks(shape, fidelity)
        for name, (want, with_bound) in WANTS.items():
            sweep = Decode(pieces, want, with_bound)
            facts = shape.parameters(fidelity) | {
                "variables": [v.name for v in want],
                "bound": with_bound,
                "cells": sweep.cells,
                "have a value": sweep.have_value(),
            }
            for parallel in (False, True):
                row = Row(f"decode, {fidelity}, {name}", threads(parallel), "cells/s", parameters=facts)
                tasks.append((_task(row, sweep, parallel), name))
            if name == "step":
                row = Row(f"decode, {fidelity}, step, fresh memory", threads(True), "cells/s", parameters=facts)
                tasks.append((Task(row, lambda sweep=sweep: sweep.run_fresh(True)), name))  # type: ignore[misc]
                tasks += [(task, name) for task in _by_attention(pieces, fidelity, facts)]
    rates([*fills, *(task for task, _ in tasks)], repeats)
    yardsticks = {task.row.phase: task.row for task in fills[:2]}
    for task, name in tasks:
        task.row.over(yardsticks[task.row.phase], "of memory fill", len(WANTS[name][0]))
        task.row.over(python, "times plain Python")
    return [*(task.row for task in fills), *(task.row for task, _ in tasks)]


def _task(row: Row, sweep: Decode, parallel: bool) -> Task:
    return Task(row, lambda: sweep.run(parallel))


def _by_attention(pieces: Sequence[Block], fidelity: Fidelity, facts: dict[str, Any]) -> list[Task]:
    """The one-variable sweep of the models of each kind of attention on its own."""
    tasks = []
    for kind in sorted({piece.attention for piece in pieces}):
        sweep = Decode([piece for piece in pieces if piece.attention == kind], (Var.STEP,), False)
        models = sorted({piece.model for piece in pieces if piece.attention == kind})
        about = facts | {"models": models, "cells": sweep.cells}
        row = Row(f"decode, {fidelity}, step, {kind} only", threads(True), "cells/s", parameters=about)
        tasks.append(_task(row, sweep, True))
    return tasks


def labelled_rows(batches: int, contexts: int, repeats: int, python: Row) -> list[Row]:
    """`roofline.decode` from sheets to a labelled Dataset."""
    import roofline as rl

    axes: dict[str, Any] = {"models": ["llama-3.1-70b"], "systems": ["dgx-b200"], "recipes": ["fp8"], "tp": [2, 4, 8]}
    lengths = np.linspace(128, 131072, contexts).astype(np.int64)

    def run() -> int:
        return int(rl.decode(**axes, batch=range(1, 1 + batches), context=lengths).limit.size)

    about = axes | {"batches": batches, "contexts": contexts, "variables": [*(v.name for v in LABELLED), "bound"]}
    row = Row("rl.decode, end to end", threads(True), "cells/s", parameters=about)
    rates([Task(row, run)], repeats)
    row.over(python, "times plain Python")
    return [row]


def prefill_rows(shape: Shape, repeats: int, python: Row) -> list[Row]:
    """The prefill kernel, whole prompts and 32k prompts in chunks of 2048; a cell is one prompt length at one batch."""
    pieces = blocks(shape, "kernel")
    batches = np.arange(1, 1 + min(8, shape.batches), dtype=np.int64)
    lengths = np.linspace(128, 32768, max(2, shape.contexts // 8)).astype(np.int64)
    cases = {"whole prompts": (lengths, 1 << 40), "32k in chunks of 2048": (np.array([32768]), 2048)}
    tasks = []
    for name, (isl, chunk) in cases.items():
        cells = sum(piece.records[-1].size for piece in pieces) * batches.size * isl.size

        def run(isl: Any = isl, chunk: int = chunk, cells: int = cells, parallel: bool = True) -> int:
            for piece in pieces:
                each = np.broadcast_to(batches, (piece.records[-1].size, batches.size))
                prefill_grid(*piece.records, each, isl, chunk=chunk, with_bound=False, parallel=parallel)
            return cells

        facts = shape.parameters("kernel") | {"batches": batches.tolist(), "cells": cells, "contexts": None}
        facts |= {"isl": f"{isl.size}, from {isl[0]} to {isl[-1]}", "chunk": "whole" if chunk > 32768 else chunk}
        for parallel in (False, True):
            row = Row(f"prefill, {name}", threads(parallel), "cells/s", parameters=facts)
            tasks.append(Task(row, lambda run=run, parallel=parallel: run(parallel=parallel)))  # type: ignore[misc]
    rows = rates(tasks, repeats)
    for row in rows:
        row.over(python, "times plain Python decode cells")
    return rows
