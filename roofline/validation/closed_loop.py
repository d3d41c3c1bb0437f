"""Closed loops of many cases together: equations (6)-(8) and (22)-(25) of docs/queueing.md on arrays.

A replica with dp attention ranks is dp equal ones in lockstep; where dp does not divide the clients, figures lie
linearly between those of the whole numbers of a rank, as `roofline.serve` has it. What does not depend on the time of
steps (the batch, the share of steps with a chunk, how many steps are waited for) is counted once, at several lengths
of the constant in steps; what does is algebra on arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.serving.steps import TABLED, whole_steps
from roofline.specs.stack import Stack
from roofline.validation.cells import Cells, Work, between, nodes_of
from roofline.validation.lengths import of_case
from roofline.validation.slots import slots_of
from roofline.validation.together import PAIR, share_seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.validation.cells import Records
    from roofline.validation.conditions import Case
    from roofline.validation.lengths import Lengths

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

PLACES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Lengths of the constant at which loops are counted, over what it is with untuned constants."""

SETTLE = 3
"""Times that a loop is counted anew to find that length."""

TURNS = 12
"""Rounds of the fixed point between the length of a step and the clients that are away for the constant."""


DRAIN = 1.5
"""Standard deviations by which the last of some tens of clients ends after their mean."""


class Loop(NamedTuple):
    """`clients` of one attention rank of a case.   slots : it holds.   weight : of this loop in the case's figures.

    share : of others' prompts that a request decodes beside, the rest it waits for.   alike : all lengths are equal,
    from a common start on.   first : prompts run before sequences decode on, not mixed into their steps.
    """

    case: int
    clients: int
    slots: int
    weight: float
    share: float
    alike: bool
    first: bool


class Figures(NamedTuple):
    """Of each case. float64[n]; compute_s and memory_s are the work of a mean step [s at peak rates].

    power_w : mean of all accelerators; decode_w of those that decode.
    """

    ttft_s: Floats
    tpot_s: Floats
    requests_s: Floats
    power_w: Floats
    compute_s: Floats
    memory_s: Floats
    decode_w: Floats


@dataclass(frozen=True, eq=False)
class Loops:
    """Closed loops of aggregated cases, ready to be computed.

    outside : float64[loops, places]   steps of the constant; counted : float64[5, loops, places]   at them: decoding
    sequences, those that another finds, share of steps with a chunk, that share as another sees it, steps to the first
    token.   full : bool[loops]   more clients than slots.   middle : float64[3, loops]   waited steps, waited
    chunks and chunks a step of the median request.
    """

    cases: Sequence[Case]
    lengths: Sequence[Lengths]
    loops: Sequence[Loop]
    busy: Floats
    limit: Ints
    cells: Cells
    outside: Floats
    counted: Floats
    full: NDArray[np.bool_]
    middle: Floats

    def figures(self, records: Records, stack: Mapping[str, Floats], work: Work | None = None) -> Figures:
        """Figures of each case with these records and these constants of its stack."""
        n = len(self.cases)
        found = Figures(*(np.full(n, np.nan) for _ in Figures._fields))
        if not self.loops:
            return found
        values, _ = self._compute(records, stack, self.cells.run(records) if work is None else work)
        case, weight = self._column("case").astype(np.int64), self._column("weight")
        for target, value in zip(found, values, strict=True):
            target[case] = 0.0
            np.add.at(target, case, weight * value)
        found.requests_s[:] *= self.busy * self._drained()
        return found

    def _drained(self) -> Floats:
        """Rate of a whole run over that of its middle: clients that have sent their last request leave others alone.

        Each has sent `waves` requests, so that their ends scatter by the square root of that in request times, and the
        last one ends about DRAIN standard deviations after the mean.
        """
        waves = np.array([(case.requests or np.inf) / case.load for case in self.cases])
        cv = np.array([np.sqrt(one.counted.steps_cv2) for one in self.lengths])
        return np.where(np.isfinite(waves), 1.0 / (1.0 + DRAIN * cv / np.sqrt(np.maximum(waves, 1.0))), 1.0)

    def _column(self, name: str) -> Floats:
        return np.array([getattr(loop, name) for loop in self.loops], dtype=np.float64)

    def _steps(self, name: str) -> Floats:
        found = np.array([getattr(one.counted, name) for one in self.lengths], dtype=np.float64)
        return np.asarray(found[self._column("case").astype(np.int64)], dtype=np.float64)

    def _compute(self, records: Records, stack: Mapping[str, Floats], work: Work) -> tuple[tuple[Floats, ...], Floats]:
        """Figures of each loop, and the batches that it was computed at, float64[loops, 3]."""
        case = self._column("case").astype(np.int64)
        clients, slots, full = self._column("clients"), self._column("slots"), self.full
        own = {name: values[case] for name, values in stack.items()}
        constant, beside_share = own["ttft_s"], self._column("share")
        first, alike = self._column("first") > 0.0, self._column("alike") > 0.0
        clients_in = np.minimum(clients, slots)
        steps, fills, chunks = self._steps("mean_steps"), self._steps("mean_fill"), self._steps("mean_chunks")
        kappa, fill = self._steps("steps_per_token"), fills / chunks
        nodes = self.cells.nodes

        def step_s(batch: Floats) -> Floats:
            return own["step_s"] + own["sequence_s"] * batch + between(nodes, work.step_s, batch)

        alone_s = own["step_s"] + work.more_s[:, 0]

        def more_s(batch: Floats) -> Floats:
            # Of the prompts that share a step only one hides the weights that decoding reads.
            mixed = between(nodes, work.more_s, batch)
            mixed = np.where(alike, (mixed + (PAIR - 1) * work.more_s[:, 0]) / PAIR, mixed)
            return np.where(first, alone_s, mixed)

        def rate_at(batch: Floats) -> Floats:
            return batch / (steps * step_s(batch) + batch * fills * more_s(batch))

        outside = self.outside[:, 2].copy()
        for _ in range(TURNS):
            batch = between(self.outside, self.counted[0], outside)
            rate = rate_at(batch)
            spare = np.maximum(1.0 - rate * fills * more_s(batch), 1e-3)
            outside = np.where(full, 0.0, constant / (step_s(batch) / spare))
        batch, others, share, seen, sojourn = (between(self.outside, values, outside) for values in self.counted)
        rate = rate_at(batch)
        beside, with_it = np.minimum(others, batch), others + 1.0
        wait_s, wait_more_s = step_s(beside), more_s(beside)
        own_s, own_more_s = step_s(with_it), more_s(with_it)
        mixed_s = wait_s + fill * wait_more_s
        of_time = share * mixed_s / (share * mixed_s + (1.0 - share) * wait_s)
        rest_s = np.where(constant > 0.0, ((1.0 - of_time) * wait_s + (of_time - share) * mixed_s) / 2.0, 0.0)
        slot_s = np.where(full, (clients - slots - rate * constant) / rate, 0.0)
        mean_step_s = own_s + seen * fill * own_more_s
        # Prompts that a request does not decode beside it has waited for; a start that is not all counts them below.
        unseen_s = np.where(alike, (1.0 - beside_share) * (clients_in - 1.0) * fills * own_more_s, 0.0)
        tpot_s = kappa * (mean_step_s - (1.0 - beside_share) * seen * fill * own_more_s)
        known_s = constant + rest_s + unseen_s + own["wait_steps"] * (wait_s + share * fill * wait_more_s)
        ttft_s = known_s + slot_s + np.where(alike, wait_s + chunks * (own_s + fill * own_more_s), sojourn * mixed_s)
        ttft_s = np.where(alike, ttft_s, self._with_start(ttft_s, constant, own["step_s"], fills, chunks, work))
        median = np.array([self.cases[i].ttft == "median" for i in case])
        counted_s = self.middle[0] * wait_s + self.middle[1] * wait_more_s
        ttft_s = np.where(median, known_s + counted_s, ttft_s)
        median = np.array([self.cases[i].tpot == "median" for i in case])
        tpot_s = np.where(median, kappa * (own_s + beside_share * self.middle[2] * own_more_s), tpot_s)
        decoding = rate * steps * mean_step_s
        power = self._power(records, own, work, decoding, share)
        seen_fill = seen * fill
        compute = between(nodes, work.compute_s, with_it)
        compute = compute + seen_fill * (between(nodes, work.chunk_compute_s, with_it) - compute)
        memory = between(nodes, work.memory_s, with_it)
        memory = memory + seen_fill * (between(nodes, work.chunk_memory_s, with_it) - memory)
        batches = np.stack([batch, with_it, beside, decoding], axis=1)
        return (ttft_s, tpot_s, rate, power, kappa * compute, kappa * memory, power), np.column_stack(
            [outside, batches]
        )

    def _with_start(
        self, steady_s: Floats, constant: Floats, own_s: Floats, fills: Floats, chunks: Floats, work: Work
    ) -> Floats:
        """Mean TTFT of a run in which all clients start together: one request of each waits for all others' prompts.

        Prompts are packed into chunks there: n of them are n*w chunks.
        """
        case = self._column("case").astype(np.int64)
        waves = np.array([(self.cases[i].requests or np.inf) / self.cases[i].load for i in case])
        n = np.minimum(self._column("clients"), self._column("slots"))
        step_s, more_s = own_s + work.step_s[:, -1], work.more_s[:, -1]
        start_s = constant + np.maximum(chunks, (n * fills + 1.0) / 2.0) * step_s
        start_s = start_s + np.maximum(np.minimum(n * fills, 1.0), (n + 1.0) / 2.0 * fills) * more_s
        part = np.where(np.isfinite(waves), 1.0 / np.maximum(waves, 1.0), 0.0)
        found: Floats = steady_s + part * np.maximum(start_s - steady_s, 0.0)
        return found

    def _power(self, records: Records, own: Mapping[str, Floats], work: Work, batch: Floats, share: Floats) -> Floats:
        """Mean draw of one accelerator [W], as `roofline.serve` has it."""
        nodes = self.cells.nodes
        base = own["step_s"][:, None] + own["sequence_s"][:, None] * nodes
        alone_s = base + work.step_s
        mixed_s = alone_s + work.more_s
        machine = records.machines[records.configs["machine"][self.cells.config]]
        machine = {name: machine[name][:, None] for name in ("power_a", "power_b", "idle_w", "tdp_w")}
        alone_w = draw(machine, work.compute_s / alone_s, work.memory_s / alone_s)
        mixed_w = draw(machine, work.chunk_compute_s / mixed_s, work.chunk_memory_s / mixed_s)
        mixed, alone = share * between(nodes, mixed_s, batch), (1.0 - share) * between(nodes, alone_s, batch)
        part = mixed / (mixed + alone)
        found: Floats = part * between(nodes, mixed_w, batch) + (1.0 - part) * between(nodes, alone_w, batch)
        return found


def draw(machine: Mapping[str, Floats], compute: Floats, memory: Floats) -> Floats:
    """Draw of accelerators [W] from shares of peak compute and bandwidth: equation (16) on arrays."""
    x = machine["power_a"] * np.sqrt(compute) + machine["power_b"] * memory
    found: Floats = machine["idle_w"] + (machine["tdp_w"] - machine["idle_w"]) * (1.0 - 1.0 / (1.0 + x + 0.5 * x * x))
    return found


def loops_of(cases: Sequence[Case], records: Records, config: Ints, stack: Mapping[str, Floats]) -> Loops:
    """Closed loops of aggregated cases, counted.

    config : of each case among `records`.   stack : constants of each case, untuned.
    """
    lengths = [of_case(case) for case in cases]
    slots, limit = slots_of(records, config, [one.reserved for one in lengths], [one.step for one in lengths])
    ranks = records.group("dp")[config]
    loops: list[Loop] = []
    busy = np.zeros(len(cases))
    for i, case in enumerate(cases):
        if limit[i]:
            continue
        clients = max(1, round(case.load / case.pool.replicas))
        busy[i] = min(clients, ranks[i]) * case.pool.replicas
        each, left = divmod(clients, int(ranks[i]))
        parts = [(1, 1.0)] if each == 0 else [(each, 1.0 - left / ranks[i]), (each + 1, left / ranks[i])]
        loops += [_loop(i, case, n, int(slots[i]), part) for n, part in parts if part > 0.0]
    return _counted(cases, lengths, loops, busy, limit, records, config, stack)


def _loop(place: int, case: Case, clients: int, slots: int, weight: float) -> Loop:
    stack = Stack.load(case.stack)
    first, alike = stack.prompts == "first", case.spread == 0.0 and case.requests is not None
    waves = (case.requests or math.inf) / case.load
    per_batch = max(1, int(stack.prompt_tokens / case.isl))
    share = share_seen(min(clients, slots), waves, per_batch, alike=alike, prompts_first=first)
    return Loop(place, clients, slots, weight, share, alike, first)


def _counted(
    cases: Sequence[Case],
    lengths: Sequence[Lengths],
    loops: Sequence[Loop],
    busy: Floats,
    limit: Ints,
    records: Records,
    config: Ints,
    stack: Mapping[str, Floats],
) -> Loops:
    full = np.array([loop.clients > loop.slots for loop in loops], dtype=bool)
    outside, middle = np.zeros(len(loops)), np.zeros((3, len(loops)))
    batches = np.zeros((len(loops), 0))
    for _ in range(SETTLE if loops else 0):
        places, counted = _tables(lengths, loops, full, outside)
        wanted = batches if batches.size else np.stack([counted[0, :, 2], counted[1, :, 2], counted[1, :, 2] + 1.0], 1)
        cells = _cells(cases, lengths, loops, config, wanted)
        found = Loops(cases, lengths, loops, busy, limit, cells, places, counted, full, middle)
        values, at = found._compute(records, stack, cells.run(records))
        outside, batches = at[:, 0], at[:, 1:]
        constant = np.array([stack["ttft_s"][loop.case] for loop in loops])
        extra = np.array([loop.clients - loop.slots for loop in loops]) - values[2] * constant
        full = np.where(full, extra >= 0.0, full)
    if not loops:
        empty = Cells(np.zeros(0, dtype=np.int64), [], np.zeros((0, 1)), np.zeros((0, 1), dtype=np.int64))
        return Loops(cases, lengths, loops, busy, limit, empty, np.zeros((0, 5)), np.zeros((5, 0, 5)), full, middle)
    places, counted = _tables(lengths, loops, full, outside)
    cells = _cells(cases, lengths, loops, config, batches)
    _medians(cases, lengths, loops, full, outside, middle)
    return Loops(cases, lengths, loops, busy, limit, cells, places, counted, full, middle)


def _tables(
    lengths: Sequence[Lengths], loops: Sequence[Loop], full: NDArray[np.bool_], outside: Floats
) -> tuple[Floats, Floats]:
    """Loops counted at `PLACES` times `outside`: float64[loops, places] and float64[5, loops, places]."""
    places = outside[:, None] * np.array(PLACES)
    counted = np.empty((5, len(loops), len(PLACES)))
    for i, loop in enumerate(loops):
        steps = lengths[loop.case].counted
        for j, away in enumerate(places[i]):
            if j > 0 and away == places[i, j - 1]:
                counted[:, i, j] = counted[:, i, j - 1]
                continue
            decoding = 1.0 + away / steps.mean_steps
            round = steps.round(loop.slots if full[i] else loop.clients, outside=0.0 if full[i] else float(away))
            batch, others = round.batch[-1] / decoding, round.batch[-2] / decoding
            counted[:, i, j] = batch, others, round.share[-1], round.share[-2], round.sojourn[-1]
    return places, counted


def _cells(
    cases: Sequence[Case], lengths: Sequence[Lengths], loops: Sequence[Loop], config: Ints, wanted: Floats
) -> Cells:
    """Whole batches below and above those wanted of each loop, padded as its server pads."""
    rows = [
        [0.0] * (loop.first or loop.alike)
        + [float(b) for value in row for b in (np.floor(value), np.floor(value) + 1.0) if b <= loop.slots]
        for row, loop in zip(wanted, loops, strict=True)
    ]
    nodes = nodes_of([row or [float(loop.slots)] for row, loop in zip(rows, loops, strict=True)])
    run_at = np.array(
        [
            [min(cases[loop.case].padded_to(int(b)), loop.slots) if b else 0 for b in row]
            for row, loop in zip(nodes, loops, strict=True)
        ]
    )
    places = np.array([loop.case for loop in loops], dtype=np.int64)
    return Cells(config[places], [lengths[i].step for i in places], nodes, run_at)


def _medians(
    cases: Sequence[Case],
    lengths: Sequence[Lengths],
    loops: Sequence[Loop],
    full: NDArray[np.bool_],
    outside: Floats,
    middle: Floats,
) -> None:
    """Steps and chunks of the median request, written to `middle`, of cases that were measured so.

    Requests of the start are the slowest: the median of all is a little above that of the others.
    """
    for i, loop in enumerate(loops):
        case, steps = cases[loop.case], lengths[loop.case].counted
        if "median" not in (case.ttft, case.tpot):
            continue
        waves = (case.requests or np.inf) / case.load
        at = np.array([0.5 / (1.0 - 1.0 / waves) if waves > 2.0 else 0.5])
        n = np.array([loop.slots if full[i] else loop.clients])
        round = steps.round(int(n[0]), outside=float(outside[i]))
        slot = (loop.clients - loop.slots) * (round.sojourn[-1] + steps.mean_steps) / loop.slots if full[i] else 0.0
        waits, fills = steps.waits_at(round, n, at, slot, float(outside[i]), TABLED)
        waited = waits[0, 0] if outside[i] > 0.0 else float(whole_steps(waits)[0, 0])
        middle[:, i] = waited, fills[0, 0], steps.fills_at(round, n, np.array([0.5]), TABLED)[0, 0]
