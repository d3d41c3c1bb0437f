"""What a search is asked, as the arrays of `kernels.plan.search_grid`: workloads, limits, stack, chunks and drafts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.drafts import Drafts, drafts_of
from roofline.serving.slo import LIMITS, SLO
from roofline.serving.steps import StepTable, step_table
from roofline.serving.workload import Workload
from roofline.specs.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WorkloadLike = "Workload | Mapping[str, Any] | str | PathLike[str]"

NODES = 4
"""Contexts over which a step is averaged."""

ENDS = 8
"""Contexts over which a chunk is averaged."""

CHUNKS = (512, 2048, 8192)
AT_ONCE = (1, 2, 4, 8)
LOADS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
MOST_BATCH = 2048
LONGEST = 4096
"""Requests of a static batch up to which its longest is known; it grows slowly beyond."""


def batch_grid(most: int) -> Ints:
    """Eight batches an octave, all whole numbers up to 16, and `most`. int64, rising."""
    steps = 16.0 * 2.0 ** (np.arange(8 * 32) / 8.0)
    grid = np.unique(np.concatenate([np.arange(1, 17), np.round(steps[steps < most]), [most]]))
    found: Ints = grid[grid <= most].astype(np.int64)
    return found


@dataclass(frozen=True)
class Question:
    """Everything a search is asked but its models, systems and objective.

    drafts : the numbers of drafts to try, each with its acceptance.   chunks : tokens, rising.
    loaded : whether accelerators are to be counted for the rate of each workload.
    """

    workloads: tuple[Workload, ...]
    slos: tuple[SLO, ...]
    stack: Stack
    chunks: tuple[int, ...] = CHUNKS
    drafts: tuple[Drafts, ...] = (Drafts(),)
    most_batch: int = MOST_BATCH
    loaded: bool = False

    def __post_init__(self) -> None:
        for workload in self.workloads:
            if workload.mean_osl <= 1.0:
                raise InputError("osl = 1: nothing is decoded; `roofline.prefill` prices prompts by themselves")
        if not self.loaded:
            return
        for workload in self.workloads:
            if workload.rate is None:
                raise InputError("min_gpus: the workload has no rate; give requests a second, e.g. Workload(rate=20)")

    @cached_property
    def percentiles(self) -> list[float]:
        """All percentiles that limits are at [%]."""
        return sorted({slo.percentile_of(limit) for slo in self.slos for limit in LIMITS})

    @cached_property
    def steps(self) -> dict[tuple[int, int, int], StepTable]:
        """What a closed loop of each workload, chunk and drafts does, counted in steps; of chunks of its own only."""
        tables = {}
        for w, workload in enumerate(self.workloads):
            longest = workload.requests.to_compute(workload.requests.points()[0]).max()
            for c, chunk in enumerate(self.chunks):
                if c > 0 and self.chunks[c - 1] >= longest:  # a smaller chunk holds any prompt
                    continue
                for g, drafts in enumerate(self.drafts):
                    tables[w, c, g] = step_table(
                        workload, chunk, drafts.tokens_per_step, self.most_batch, self.percentiles
                    )
        return tables

    @cached_property
    def isl(self) -> Ints:
        """Mean prompt of each workload, and of it the tokens to compute; int64[workloads, 2]."""
        found = []
        for workload in self.workloads:
            isl = max(1, round(workload.mean_isl))
            found.append((isl, min(isl, max(1, round(workload.mean_computed)))))
        return np.array(found, dtype=np.int64)

    def arrays(self) -> dict[str, Any]:
        """Arguments of `kernels.plan.search_grid` by name."""
        from roofline.kernels.candidates import TABLE, WORKLOAD

        shape = len(self.workloads), len(self.slos), len(self.chunks), len(self.drafts)
        tables = np.full((*shape, self.most_batch + 1, TABLE), np.nan)
        timing, filling = np.zeros((shape[0], shape[3], 2)), np.zeros((shape[0], shape[2], 2))
        longest = np.zeros((shape[0], shape[3], LONGEST + 1))
        quants, facts = np.zeros((shape[0], shape[1], 2)), np.zeros((shape[0], WORKLOAD))
        for (w, c, g), table in self.steps.items():
            timing[w, g] = table.steps, table.kappa
            filling[w, c] = table.fill, table.chunks
            if c == 0:
                longest[w, g] = table.longest_steps(np.arange(LONGEST + 1))
            for s, slo in enumerate(self.slos):
                ttft, tpot, latency = (slo.percentile_of(limit) for limit in LIMITS)
                quants[w, s] = ttft / 100.0, table.osl_at[latency] - 1.0
                tables[w, s, c, g] = np.stack(
                    [
                        table.n,
                        table.wait_steps_at[ttft],
                        table.wait_fills_at[ttft],
                        table.share_seen_at[tpot],
                        table.wait_steps_at[latency],
                        table.wait_fills_at[latency],
                        table.share_seen_at[latency],
                    ],
                    axis=-1,
                )
        for w, workload in enumerate(self.workloads):
            isl, new = self.isl[w]
            reserved = round(workload.mean_isl + workload.mean_osl)
            rate = workload.rate if self.loaded and workload.rate is not None else 0.0
            spread = self.steps[w, 0, 0].fill_cv2
            longest_context = max(reserved, isl, self.contexts(workload).max())
            facts[w] = new, isl, reserved, workload.mean_osl, spread, workload.duty, rate, longest_context
        padded = [0, *(self.stack.padded(b) for b in range(1, self.most_batch + 1))]
        return {
            "facts": facts,
            "contexts": np.concatenate([self.contexts(workload) for workload in self.workloads]),
            "prompt_ends": np.stack([self.prompt_ends(chunk) for chunk in self.chunks]),
            "chunks": np.array(self.chunks, dtype=np.int64),
            "drafts": np.array([drafts.count for drafts in self.drafts], dtype=np.int64),
            "batches": batch_grid(self.most_batch),
            "padded": np.array(padded, dtype=np.int64),
            "at_once": np.array(AT_ONCE, dtype=np.int64),
            "loads": np.array(LOADS),
            "tables": tables,
            "timing": timing,
            "filling": filling,
            "longest": longest,
            "quants": quants,
            "limits": np.array([[slo.ttft_s, slo.tpot_s, slo.latency_s] for slo in self.slos]),
            "stack": np.array([self.stack.step_s, self.stack.sequence_s, self.stack.ttft_s]),
        }

    def contexts(self, workload: Workload) -> Floats:
        """Contexts that stand for all decoded tokens of a workload, float64[NODES]."""
        least = 1 + max(drafts.count for drafts in self.drafts)
        return np.maximum(np.round(workload.nodes(NODES)[0]), least)

    def prompt_ends(self, chunk: int) -> Floats:
        """Contexts at which chunks of a mean prompt end, evenly taken; float64[workloads * ENDS]."""
        found = []
        for isl, new in self.isl:
            ends = np.minimum(np.arange(isl - new + chunk, isl + chunk, chunk), isl)
            found.append(np.maximum(ends[np.linspace(0, ends.size - 1, ENDS).round().astype(int)], chunk))
        return np.concatenate(found).astype(np.float64)


def question(
    workload: Any,
    slo: Any = None,
    *,
    stack: Any = "default",
    chunks: axes.Counts | None = None,
    acceptance: float | Sequence[float] | None = None,
    rate: float | None = None,
    most_batch: int = MOST_BATCH,
    loaded: bool = False,
) -> Question:
    """A checked question.

    workload, slo : one or a list of each; a workload as `Workload.of` reads it, an `SLO`, a mapping of its fields, or
        None for no limit.   acceptance : chance that the draft at each position is kept: the search then tries every
        number of drafts up to as many, and none.   rate : requests a second of every workload.
    Raises InputError naming field and value.
    """
    workloads = [Workload.of(one) if rate is None else Workload.of(one, rate=rate) for one in _listed(workload)]
    slos = [_slo(one) for one in (_listed(slo) if slo is not None else [SLO()])]
    if not workloads or not slos:
        raise InputError(f"{'workload' if not workloads else 'slo'}: none given; give at least one")
    sizes = np.unique(axes.counts("chunk", CHUNKS if chunks is None else chunks))
    accepted = [] if acceptance is None else _accepted(acceptance)
    drafts = (Drafts(), *(drafts_of(n, accepted[:n]) for n in range(1, len(accepted) + 1)))
    most = axes.count("most_batch", most_batch)
    return Question(
        tuple(workloads), tuple(slos), Stack.load(stack), tuple(int(c) for c in sizes), drafts, most, loaded
    )


def _accepted(acceptance: Any) -> list[Any]:
    """Chances that a draft is kept, one a position; their values are for `drafts_of` to refuse."""
    found = list(acceptance) if isinstance(acceptance, Iterable) else [acceptance]
    if not found:
        raise InputError("acceptance: none given; give the chance that the draft at each position is kept, e.g. 0.8")
    return found


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _slo(given: Any) -> SLO:
    if given is None:
        return SLO()
    if isinstance(given, SLO):
        return given
    if isinstance(given, dict):
        known = ("ttft_s", "tpot_s", "latency_s", "percentile")
        wrong = [name for name in given if name not in known]
        if wrong:
            raise InputError(f"slo: {wrong[0]!r} is none of its fields; give {', '.join(known)}")
        return SLO(**given)
    raise InputError(f"slo = {given!r}: give a roofline.SLO or a mapping of ttft_s, tpot_s, latency_s and percentile")
