"""All candidates of a plan, one after another by the oracle: what a fused search must find the best of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roofline.kernels.candidates import (
    AGGREGATED,
    C_CHUNKS,
    C_FILL,
    D_KAPPA,
    D_STEPS,
    DECODE_POOL,
    PREFILL_POOL,
    STATIC,
    T_FILLS,
    T_FILLS_LATENCY,
    T_SEEN_LATENCY,
    T_SEEN_TPOT,
    T_SEQUENCES,
    T_WAIT,
    T_WAIT_LATENCY,
    W_CV2,
    W_DUTY,
    W_ISL,
    W_LOAD,
    W_LONGEST,
    W_NEW,
    W_OSL,
    W_RESERVED,
)
from roofline.layout import Limit
from roofline.testing.records import Array, Plain, Setup
from roofline.testing.searches import Question
from tests.oracle.limits import deployment_limit
from tests.oracle.mixed import mixed_memory
from tests.oracle.plans import Case, candidate, decode_work, fits, held
from tests.oracle.plans_power import at_work, cost, min_gpus_cost

MODE_NAMES = {AGGREGATED: "aggregated", STATIC: "static", PREFILL_POOL: "prefill", DECODE_POOL: "decode"}
Place = tuple[int, int, int, int]  # of kernels.reduce: batch of a rank, chunk, drafts, load


@dataclass(frozen=True)
class Candidate:
    """One that runs.   figures : as kernels.reduce keeps them, its cost the last."""

    place: Place
    figures: Array

    @property
    def cost(self) -> float:
        return float(self.figures[-1])

    @property
    def tpot(self) -> float:
        return float(self.figures[1])

    def factors(self, limits: Array) -> Array:
        """TTFT, TPOT and latency over their limits."""
        return np.asarray(self.figures[:3] / limits)


class Oracle:
    """What the oracle makes of a question on one setup, for one workload and set of limits."""

    def __init__(self, setup: Setup, question: Question, workload: int, slo: int) -> None:
        self.setup, self.question, self.w, self.s = setup, question, workload, slo
        step_s, sequence_s, ttft_s = (float(seconds) for seconds in question["stack"])
        self.stack = {"step_s": step_s, "sequence_s": sequence_s, "ttft_s": ttft_s, "captured": question.captured}
        self.facts = [float(fact) for fact in question["facts"][workload]]
        self.known: dict[tuple[int, Place], Candidate | None] = {}

    def asked(self, b: int, c: int, g: int, load: int) -> Plain:
        """As `tests.oracle.plans.candidate` takes it."""
        question, facts, w = self.question, self.facts, self.w
        replica = b * int(self.setup.deployment["dp"])
        longest = question["longest"][w, g]
        row = [float(number) for number in question["tables"][w, self.s, c, g, b if b <= question.most else 0]]
        return {
            "N": int(facts[W_NEW]),
            "I": int(facts[W_ISL]),
            "V": int(facts[W_RESERVED]),
            "O": facts[W_OSL],
            "contexts": [int(tokens) for tokens in question["contexts"][w]],
            "ends": [int(tokens) for tokens in question["prompt_ends"][c, w]],
            "steps": float(question["timing"][w, g, D_STEPS]),
            "kappa": float(question["timing"][w, g, D_KAPPA]),
            "fill": float(question["filling"][w, c, C_FILL]),
            "chunks": float(question["filling"][w, c, C_CHUNKS]),
            "cv2": facts[W_CV2],
            "load": float(question["loads"][load]),
            "q": float(question["quants"][w, self.s, 0]),
            "osl_q": float(question["quants"][w, self.s, 1]) + 1.0,
            "longest": float(longest[min(replica, longest.size - 1)]),
            "table": {
                "n": None if math.isnan(row[T_SEQUENCES]) else int(row[T_SEQUENCES]),
                "seen_tpot": row[T_SEEN_TPOT],
                "seen_latency": row[T_SEEN_LATENCY],
                "wait_ttft": row[T_WAIT],
                "fills_ttft": row[T_FILLS],
                "wait_latency": row[T_WAIT_LATENCY],
                "fills_latency": row[T_FILLS_LATENCY],
            },
        }

    def case(self, b: int, c: int, g: int) -> Case:
        setup, question = self.setup, self.question
        assert setup.kit is not None
        sizes = b, int(question["chunks"][c]), int(question["drafts"][g])
        return Case(setup.model, setup.machine, setup.kit, setup.deployment, self.asked(b, c, g, 0), self.stack, *sizes)

    def price(self, found: Plain) -> float:
        """Equation (25)."""
        power, facts = self.question.power, self.facts
        group = self.setup.accelerators
        points = int(power["psu_points"])
        around = power | {name: power[name][:points] for name in ("psu_load", "psu_efficiency")}
        around["idle_w"] = self.setup.machine["idle_w"]
        if facts[W_LOAD] > 0.0:
            return min_gpus_cost(found, group, facts[W_LOAD]) if at_work(around, group, found["watts"]) else math.nan
        boundary = "facility" if power["boundary"] else "accelerator"
        alpha, beta = self.question.price
        return cost(found, facts[W_OSL], group, around, boundary, facts[W_DUTY], alpha, beta)

    def at(self, mode: int, place: Place) -> Candidate | None:
        """One candidate, None where it does not run."""
        if (mode, place) not in self.known:
            self.known[mode, place] = self.computed(mode, place)
        return self.known[mode, place]

    def computed(self, mode: int, place: Place) -> Candidate | None:
        setup, (b, c, g, load) = self.setup, place
        asked = self.asked(b, c, g, load)
        drafts = 0 if mode == PREFILL_POOL else int(self.question["drafts"][g])
        chunk = int(self.question["chunks"][c])
        arguments = setup.model, setup.machine, setup.kit, setup.deployment, asked, self.stack
        found = candidate(*arguments, MODE_NAMES[mode], b, chunk, drafts)
        if not found["runs"]:
            return None
        ttft, tpot, latency = found["ttft"], found["tpot"], found["latency"]
        if mode == PREFILL_POOL:  # no part of a request but its prompt
            tpot, latency = 0.0, ttft
        elif mode == DECODE_POOL:
            ttft, latency = 0.0, (asked["osl_q"] - 1.0) * tpot
        sequences = found["n"] * setup.deployment["dp"]
        figures = [ttft, tpot, latency, found["rate"], found["watts"], sequences, self.price(found)]
        return Candidate(place, np.array(figures, dtype=np.float64))

    def own_chunks(self) -> list[int]:
        """Chunks that are the workload's."""
        return [c for c in range(self.question["chunks"].size) if self.question["filling"][self.w, c, C_CHUNKS] > 0]

    def places(self, mode: int, batches: Sequence[Sequence[int]]) -> Iterator[Place]:
        """Every candidate of a mode.   batches : of a rank, to be tried with each number of drafts."""
        question, chunks = self.question, self.own_chunks()
        if mode == PREFILL_POOL:
            loads = range(question["loads"].size)
            yield from ((int(b), c, 0, u) for c in chunks for b in question["at_once"] for u in loads)
            return
        for g, listed in enumerate(batches):
            yield from ((b, c, g, 0) for b in listed for c in (chunks if mode == AGGREGATED else [0]))

    def candidates(self, mode: int, batches: Sequence[Sequence[int]]) -> list[Candidate]:
        """Those that run and whose cost is known."""
        found = (self.at(mode, place) for place in self.places(mode, batches))
        return [one for one in found if one is not None and not math.isnan(one.cost)]


def room_left(case: Case, memory: float) -> float:
    """Share of memory that is left, below 0 where it does not fit; within 1e-12 of 0 rounding decides."""
    machine = case.machine
    return float(1.0 - (memory + machine["reserve_bytes"]) / (machine["memory_bytes"] * machine["memory_fraction"]))


@dataclass
class Memory:
    """What a setup holds of a question.   batches : to be tried with each number of drafts.   fits : of any workload.

    on_the_edge : whether rounding may decide what fits.
    """

    batches: list[list[int]]
    fits: bool
    on_the_edge: bool


def whole_pass(case: Case) -> float:
    """Bytes of a rank with the sequences that decode b of them, and a chunk beside. NaN where no number does."""
    table = case.asked["table"]
    if table["n"] is None:
        return math.nan
    cell = case.padded_batch, case.asked["V"], case.new_tokens
    parts = mixed_memory(case.model, case.machine, case.kit, case.deployment, cell, case.chunk, case.chunk)
    return held(case, table["n"], parts["work"])


def memory_of_batches(setup: Setup, question: Question) -> Memory:
    """The grid of batches, and exactly the largest that fits of each workload, and with each chunk beside."""
    listed, any_fits, edge = [], False, False
    for g, drafts in enumerate(question["drafts"]):
        exact = set()
        if not deployment_limit(setup.model, setup.machine, setup.kit, setup.deployment, 1, int(drafts)):
            for w in range(question["facts"].shape[0]):
                oracle, most = Oracle(setup, question, w, 0), 0
                if question["facts"][w, W_LONGEST] > setup.model["max_context"]:
                    continue
                last: dict[int, int] = {}
                for b in range(1, question.most + 1):
                    case = oracle.case(b, 0, g)
                    memory = held(case, b, decode_work(case))
                    edge = edge or abs(room_left(case, memory)) < 1e-12
                    most = b if fits(case, memory) else most
                    for c in oracle.own_chunks():
                        case = oracle.case(b, c, g)
                        memory = whole_pass(case)
                        edge = edge or abs(room_left(case, memory)) < 1e-12
                        if fits(case, memory):
                            last[c] = b
                exact |= {most, *last.values()} - {0}
                any_fits = any_fits or most > 0
        listed.append(sorted({int(b) for b in question["batches"]} | exact))
    return Memory(listed, any_fits, edge)


def legality_of(setup: Setup) -> Limit:
    """Why a deployment runs nothing, whatever the batch and context."""
    return deployment_limit(setup.model, setup.machine, setup.kit, setup.deployment, 1)
