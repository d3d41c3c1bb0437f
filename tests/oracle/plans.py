"""Section 13: what a candidate of a plan gives. What it costs and which one wins: `plans_power`.

Queueing is not computed here: what docs/queueing.md gives for a batch comes in as numbers, under `table`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tests.oracle.collectives import out_rate
from tests.oracle.limits import deployment_limit, memory_of, row_cache_bytes
from tests.oracle.mixed import mixed_memory, mixed_pass
from tests.oracle.operations import Shape, Tally, ceil_div, shape_of
from tests.oracle.steps import Pass, decode, draft_pass, draw, one_pass, prefill

Plain = dict[str, Any]

FIGURES = ("memory", "n", "t", "d", "ttft", "tpot", "latency", "rate", "watts", "tokens_per_s")


@dataclass(frozen=True)
class Case:
    """One candidate before anything is computed."""

    model: Plain
    machine: Plain
    kit: Plain
    deployment: Plain
    asked: Plain
    stack: Plain
    b: int
    chunk: int
    drafts: int

    @property
    def batch(self) -> int:  # B
        return self.b * int(self.deployment["dp"])

    @property
    def padded_batch(self) -> int:  # B'
        return min((size for size in self.stack["captured"] if size >= self.b), default=self.b) * int(
            self.deployment["dp"]
        )

    @property
    def new_tokens(self) -> int:  # Q of a decode step
        return 1 + self.drafts

    @property
    def host_s(self) -> float:
        """What the stack adds to a step or a prompt: of the sequences there are, not of those padded."""
        return float(self.stack["step_s"] + self.stack["sequence_s"] * self.b)

    @property
    def roomy(self) -> Plain:
        """The machine with any memory: a plan tests memory for itself, at other contexts than those of its steps."""
        return self.machine | {"memory_bytes": math.inf}

    def shape(self, context: int) -> Shape:
        """A decode step at B'."""
        return shape_of(self.deployment, self.padded_batch, self.new_tokens, context, False)


def mean_of(passes: Sequence[Pass]) -> Pass:
    """X at the mean of contexts. Nothing but cores depends on a context, so the mean of times is of them alone."""
    ends = {name: Tally() for name in ("embed", "layers", "head")}
    for one in passes:
        for name, tally in ends.items():
            tally.add(getattr(one, name), 1 / len(passes))
    return Pass(ends["embed"], ends["layers"], ends["head"], passes[0].hop, [])


def without_chunk(case: Case) -> Pass:
    """X of a micro-batch that only decodes, at the mean over L_i, its drafts with the lm_head."""
    return mean_of(
        [
            one_pass(case.model, case.kit, case.machine, case.shape(at), with_head=True, drafts=case.drafts)
            for at in case.asked["contexts"]
        ]
    )


def with_chunk(case: Case) -> Pass:
    """X of the micro-batch with a chunk on each attention rank, at the means over L_i and over l_j."""
    passes = []
    for context in case.asked["contexts"]:
        cell = case.padded_batch, context, case.new_tokens
        for end in case.asked["ends"]:
            one = mixed_pass(case.model, case.kit, case.machine, case.deployment, cell, case.chunk, end)
            if case.drafts:  # of the sequences that decode
                draft, _ = draft_pass(case.model, case.kit, case.machine, case.shape(context), case.drafts)
                one.head.add(draft, case.drafts)
            passes.append(one)
    return mean_of(passes)


def step_time(case: Case) -> float:
    """t, equation (20)."""
    steps = [
        decode(
            case.model,
            case.roomy,
            case.kit,
            case.deployment,
            case.padded_batch,
            context,
            case.new_tokens,
            case.drafts,
        )["step"]
        for context in case.asked["contexts"]
    ]
    return case.host_s + fmean(steps)


def chunk_time(case: Case, alone: Pass, carrying: Pass) -> float:
    """d, equation (21)."""
    layers, pp = case.model["layers"], case.deployment["pp"]
    return max(0.0, carrying.slowest(layers, pp, "time") - alone.slowest(layers, pp, "time"))


def decode_draw(case: Case, alone: Pass, time: float) -> float:
    """Watts of an accelerator in a decode step, the last term of (22)."""
    whole, pp = alone.whole(), case.deployment["pp"]
    return draw(case.machine, whole.drawn_compute, whole.drawn_moved, case.shape(1).micro_batches / pp, time)[0]


def held(case: Case, sequences: int, work: float) -> float:
    """Bytes of the fullest rank with `sequences` of V tokens on each attention rank, and `work` of activations."""
    batch = sequences * case.deployment["dp"]
    args = (case.model, case.machine, case.kit, case.deployment, batch, case.new_tokens, case.asked["V"])
    parts = memory_of(*args, False, case.drafts)
    return float(parts["weights"] + parts["cache"] + work)


def decode_work(case: Case) -> float:
    """Activations of a decode step at B'."""
    args = (case.model, case.machine, case.kit, case.deployment, case.padded_batch, case.new_tokens, case.asked["V"])
    return float(memory_of(*args, False, case.drafts)["work"])


def fits(case: Case, memory: float) -> bool:
    """Equation (17)."""
    machine = case.machine
    return bool(memory + machine["reserve_bytes"] <= machine["memory_bytes"] * machine["memory_fraction"])


def refused(memory: float = math.nan) -> Plain:
    return {"runs": False} | dict.fromkeys(FIGURES, math.nan) | {"memory": memory}


def figures(case: Case, rate: float, **others: float) -> Plain:
    """All keys of a candidate that runs; NaN for what a mode does not have."""
    return (
        {"runs": True}
        | dict.fromkeys(FIGURES, math.nan)
        | {
            "rate": rate,
            "tokens_per_s": rate * case.asked["O"],
            **others,
        }
    )


def aggregated(case: Case) -> Plain:
    """Continuous batching, equation (22)."""
    asked, table = case.asked, case.asked["table"]
    s, w, k = asked["steps"], asked["fill"], asked["chunks"]
    if table["n"] is None or case.b > s / k:
        return refused()
    cell = case.padded_batch, asked["V"], case.new_tokens
    parts = mixed_memory(case.model, case.machine, case.kit, case.deployment, cell, case.chunk, case.chunk)
    memory = held(case, table["n"], parts["work"])
    if not fits(case, memory):
        return refused(memory)
    alone, carrying = without_chunk(case), with_chunk(case)
    t, d, phi = step_time(case), chunk_time(case, alone, carrying), w / k
    # shares of steps and of time with a chunk
    r = case.b * k / s
    y = r * (t + phi * d) / (t + r * phi * d)
    constant = case.stack["ttft_s"]
    if constant > 0:  # half of the step that runs when a request arrives
        constant += ((1 - y) * t + (y - r) * (t + phi * d)) / 2
    ttft, late_ttft = (constant + table[f"wait_{at}"] * t + table[f"fills_{at}"] * d for at in ("ttft", "latency"))
    rest = ((1 - y) * t + (y - r) * (t + phi * d)) / 2 if case.stack["ttft_s"] > 0 else 0.0
    constant = case.stack["ttft_s"] + rest
    tpot, late_tpot = (asked["kappa"] * (t + table[at] * phi * d) for at in ("seen_tpot", "seen_latency"))
    m, pp, one, other = case.shape(1).micro_batches, case.deployment["pp"], alone.whole(), carrying.whole()
    compute = (m - 1) * one.drawn_compute + other.drawn_compute
    moved = (m - 1) * one.drawn_moved + other.drawn_moved
    busier = draw(case.machine, compute, moved, 1 / pp, t + d)[0]
    return figures(
        case,
        case.deployment["dp"] * case.b / (s * t + case.b * w * d),
        memory=memory,
        n=table["n"],
        t=t,
        d=d,
        ttft=ttft,
        tpot=tpot,
        latency=late_ttft + (asked["osl_q"] - 1) * late_tpot,
        watts=y * busier + (1 - y) * decode_draw(case, alone, t),
    )


def prompts(case: Case, chunk: int) -> tuple[float, float, float]:
    """(T_p, watts over it, bytes of activations) of B prompts of which N tokens are computed, in chunks of `chunk`."""
    i, cached = case.asked["I"], case.asked["I"] - case.asked["N"]
    found = prefill(case.model, case.roomy, case.kit, case.deployment, case.batch, i, cached, chunk)
    time = case.host_s + found["time"]
    pp = case.deployment["pp"]
    watts = draw(case.machine, found["C"], found["D"], min(case.batch, pp) / pp, time)[0]
    return time, watts, found["memory"]["work"]


def static(case: Case) -> Plain:
    """A batch from its first prompt to its longest answer, equation (23)."""
    asked = case.asked
    prompt_s, prompt_w, prompt_work = prompts(case, asked["N"])
    memory = held(case, case.b, max(prompt_work, decode_work(case)))
    if not fits(case, memory):
        return refused(memory)
    t = step_time(case)
    time = prompt_s + asked["longest"] * t
    ttft, tpot = case.stack["ttft_s"] + prompt_s, asked["kappa"] * t
    drawn = prompt_s * prompt_w + (time - prompt_s) * decode_draw(case, without_chunk(case), t)
    return figures(
        case,
        case.batch / time,
        memory=memory,
        n=case.b,
        t=t,
        ttft=ttft,
        tpot=tpot,
        latency=ttft + (asked["osl_q"] - 1) * tpot,
        watts=drawn / time,
    )


def hand_over_time(case: Case) -> float:
    """h of (24): one sequence of I tokens off a rank. `link` of `asked`: the other side's B/s, where there is one."""
    shape = shape_of(case.deployment, case.batch, 1, case.asked["I"], True)
    stage = ceil_div(case.model["layers"], shape.pp) / case.model["layers"]  # rho
    cache = sum(row["count"] * row_cache_bytes(row, case.kit, shape, case.asked["I"]) for row in case.model["rows"])
    return float(stage * cache / min(out_rate(case.machine), case.asked.get("link", math.inf)))


def prefill_pool(case: Case) -> Plain:
    """Prompts alone, equation (24). n : the prompts of a rank.   t : T_p."""
    asked, u, q = case.asked, case.asked["load"], case.asked["q"]
    time, watts, work = prompts(case, case.chunk)
    args = (case.model, case.machine, case.kit, case.deployment, case.batch, 1, asked["I"], True)
    parts = memory_of(*args)
    memory = parts["weights"] + parts["cache"] + work
    hand_over = hand_over_time(case)
    if not fits(case, memory) or case.b * hand_over > time:
        return refused(memory)
    rate = u * case.batch / time
    mean_wait = time * u * (1 + asked["cv2"] / case.batch) / (2 * (1 - u))
    wait = max(0.0, mean_wait / u * math.log(u / (1 - q)))
    return figures(
        case,
        rate,
        memory=memory,
        n=case.b,
        t=time,
        ttft=case.stack["ttft_s"] + time + (case.batch - 1) / (2 * rate) + wait + hand_over,
        watts=u * watts + (1 - u) * case.machine["idle_w"],
    )


def decode_pool(case: Case) -> Plain:
    """Steps without a chunk."""
    memory = held(case, case.b, decode_work(case))
    if not fits(case, memory):
        return refused(memory)
    t = step_time(case)
    return figures(
        case,
        case.batch / (case.asked["steps"] * t),
        memory=memory,
        n=case.b,
        t=t,
        tpot=case.asked["kappa"] * t,
        watts=decode_draw(case, without_chunk(case), t),
    )


MODES: dict[str, Callable[[Case], Plain]] = {
    "aggregated": aggregated,
    "static": static,
    "prefill": prefill_pool,
    "decode": decode_pool,
}


def candidate(
    model: Plain,
    machine: Plain,
    kit: Plain | None,
    deployment: Plain,
    asked: Plain,
    stack: Plain,
    mode: str,
    b: int,
    chunk: int,
    drafts: int,
) -> Plain:
    """Figures of one candidate; NaN where it does not run, but for the memory that it lacks.

    asked : I, N, V [tokens]; contexts L_i, ends l_j; O as `O`; steps s, fill w, chunks k, kappa; cv2 of N; load u;
        q, the percentile of TTFT as a share; osl_q; longest S(B); table, of this b: n (None where there is none),
        seen_tpot and seen_latency r'_q, wait_ttft and wait_latency Y_q, fills_ttft and fills_latency F_q.
        A mode reads what it needs.
    stack : step_s, sequence_s, ttft_s [s]; captured, batch sizes.
    Returns runs; memory [B]; n; t, d [s]; ttft, tpot, latency [s]; rate [requests/s of a replica]; watts of an
    accelerator; tokens_per_s, output tokens of those requests.
    ValueError where the kit is of fidelity `ideal`, or where a prefill pool is given drafts.
    """
    if mode == "prefill" and drafts:
        raise ValueError("a prefill pool has no drafts")
    if kit is not None and kit["bound"]:
        raise ValueError("a plan is defined where operations are in series")
    longest = max(asked["I"], asked["V"], *asked["contexts"]) if mode != "prefill" else asked["I"]
    if kit is None or deployment_limit(model, machine, kit, deployment, longest, drafts):
        return refused()
    return MODES[mode](Case(model, machine, kit, deployment, asked, stack, b, chunk, drafts))
