"""Every candidate of a small plan, one deployment after another: section 13 over grids that stand by themselves.

Times and work are those of `decode_grid`, `mixed_grid` and `prefill_grid`, what waits is of `step_table`, memory of the
oracle: nothing of the fused search is used.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import roofline as rl
from roofline.grid import axes
from roofline.grid.evaluate import Grid
from roofline.kernels.mixed import mixed_grid
from roofline.kernels.outputs import Var
from roofline.kernels.prefill import prefill_grid
from roofline.kernels.sweep import decode_grid
from roofline.planning.question import AT_ONCE, LOADS, Question
from roofline.rack.energy import PowerFacts
from roofline.serving import step_table
from roofline.serving.deployed import draw_w
from tests.oracle import memory_of, plain_case
from tests.oracle.mixed import mixed_memory
from tests.oracle.plans_power import cost, min_gpus_cost

Plain = dict[str, Any]
Floats = np.ndarray

AGGREGATED, STATIC, PREFILL, DECODE = "aggregated", "static", "prefill", "decode"
BY_ENERGY = ("tokens_per_mwh", "joules_per_token")


@dataclass
class Candidate:
    """One way to serve, or one pool of replicas.   b, chunk, load : its place.   The rest as in section 13."""

    mode: str
    row: Plain
    b: int
    chunk: int
    rate: float
    watts: float
    sequences: float  # of the replica
    ttft: float = 0.0
    tpot: float = 0.0
    latency: float = 0.0
    load: float = math.nan

    def factors(self, limits: rl.SLO) -> dict[str, float]:
        """How far over each limit, in the order in which ties are settled."""
        values = {"ttft": self.ttft, "tpot": self.tpot, "latency": self.latency}
        return {name: values[name] / limit for name, limit in limits.limits.items()} or {"ttft": 0.0}

    def meets(self, limits: rl.SLO) -> bool:
        return max(self.factors(limits).values()) <= 1.0


class ByHand:
    """One deployment under one question of one workload and one set of limits, without drafts."""

    def __init__(self, model: str, system: rl.System, recipe: str, row: Plain, asked: Question) -> None:
        self.asked, self.row = asked, row
        self.workload, self.slo, self.stack = asked.workloads[0], asked.slos[0], asked.stack
        grid = Grid(model, system, recipe, axes.deployments(rows=[row]), "kernel")
        self.records = grid.records()
        self.plain, self.machine, self.kit, self.deployment = plain_case(*self.records[:5], self.records[5][0])
        roomy = self.records[2].copy()
        roomy["memory_bytes"] = np.inf
        self.roomy = (*self.records[:2], roomy, *self.records[3:])
        facts = PowerFacts.of(system)
        self.facts = dict(vars(facts))
        self.dp, self.pp = self.deployment["dp"], self.deployment["pp"]
        self.group = self.deployment["tp"] * self.pp * self.dp
        self.batches = np.arange(1, asked.most_batch + 1)
        self.padded = np.array([self.stack.padded(int(b)) for b in self.batches])
        self.isl, self.new = (int(n) for n in asked.isl[0])
        self.reserved = round(self.workload.mean_isl + self.workload.mean_osl)

    # What the replica does.

    @property
    def host_s(self) -> Floats:
        return np.asarray(self.stack.step_s + self.stack.sequence_s * self.batches)

    @cached_property
    def flights(self) -> Floats:
        return np.minimum(self.padded * self.dp, self.pp)

    @cached_property
    def contexts(self) -> Floats:
        return np.array(self.asked.contexts(self.workload), dtype=np.int64)

    @cached_property
    def decoding(self) -> tuple[Floats, Floats, Floats]:
        """t of (20), and work of one micro-batch: seconds at dense peak, and at full bandwidth."""
        want = (Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY)
        found = decode_grid(*self.roomy, self.padded[None] * self.dp, self.contexts, want=want)
        assert not found["limit"].any()
        step, compute, memory = (found["values"][name][0] for name in want)
        per_batch = self.pp / self.flights
        work = [(share * step).mean(axis=1) * per_batch for share in (compute, memory)]
        return self.host_s + step.mean(axis=1), work[0], work[1]

    def with_chunk(self, chunk: int) -> tuple[Floats, Floats, Floats]:
        """d of (21), and work of the micro-batch with the chunks."""
        ends = self.asked.prompt_ends(chunk)
        found = mixed_grid(*self.roomy, self.padded[None] * self.dp, self.contexts, chunk=chunk, chunk_context=ends)
        assert not found["limit"].any()
        more = found["step"][0] - found["decode"][0][..., None]
        moved = found["moved"][0].mean(axis=(1, 2)) / self.machine["bytes_per_s"]
        return more.mean(axis=(1, 2)), found["peak"][0].mean(axis=(1, 2)), moved

    def prompts(self, batches: Floats, chunk: int) -> tuple[Floats, Floats]:
        """T_p [s] and watts over it, of so many prompts of each rank at once."""
        want, replica = (Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY), np.asarray(batches) * self.dp
        given = {"cached": self.isl - self.new, "chunk": chunk, "want": want}
        values = prefill_grid(*self.roomy, replica[None], np.array([self.isl]), **given)["values"]
        step, compute, memory = (values[name][0, :, 0] for name in want)
        time = self.stack.step_s + self.stack.sequence_s * np.asarray(batches) + step
        return time, draw_w(self.records[2][0], np.stack([compute * step, memory * step]) / time)

    def draw(self, compute: Floats, memory: Floats, time: Floats) -> Floats:
        return draw_w(self.records[2][0], np.stack([compute, memory]) / time)

    def fits(self, sequences: int, works: list[float], tokens: int) -> bool:
        """Whether memory holds so many sequences a rank and the largest of such works."""
        parts = memory_of(
            self.plain, self.machine, self.kit, self.deployment, sequences * self.dp, 1, tokens, prefill=False
        )
        needed = parts["weights"] + parts["cache"] + max(works)
        room = self.machine["memory_bytes"] * self.machine["memory_fraction"] - self.machine["reserve_bytes"]
        return bool(needed <= room)

    def held(self, fits: Callable[[int], bool]) -> range:
        """Batches of a rank that memory holds: those up to the largest, since a larger batch takes no less."""
        return range(1, 1 + bisect_left(self.batches.tolist(), True, key=lambda b: not fits(b)))

    def decode_work(self, b: int) -> float:
        args = self.plain, self.machine, self.kit, self.deployment, self.stack.padded(b) * self.dp, 1, self.reserved
        return float(memory_of(*args, prefill=False)["work"])

    def prompt_work(self, b: int, chunk: int) -> float:
        """Of the largest pass of b prompts a rank."""
        new = min(chunk, self.new)
        args = self.plain, self.machine, self.kit, self.deployment, b * self.dp, new, self.isl
        return float(memory_of(*args, prefill=True)["work"])

    def mixed_work(self, b: int, chunk: int) -> float:
        cell = self.stack.padded(b) * self.dp, self.reserved, 1
        return float(mixed_memory(self.plain, self.machine, self.kit, self.deployment, cell, chunk, chunk)["work"])

    # Candidates.

    @property
    def in_context(self) -> bool:
        return bool(max(self.reserved, self.isl, self.contexts.max()) <= self.plain["max_context"])

    def own_chunks(self) -> Iterator[int]:
        """Chunks, but those beyond one that holds any prompt."""
        longest = self.workload.computed(self.workload.requests.points()[0]).max()
        for c, chunk in enumerate(self.asked.chunks):
            if c == 0 or self.asked.chunks[c - 1] < longest:
                yield chunk

    def table(self, chunk: int) -> Any:
        return step_table(self.workload, chunk, 1.0, self.asked.most_batch, self.asked.percentiles)

    def aggregated(self) -> Iterator[Candidate]:
        """(22)."""
        if not self.in_context:
            return
        t, c_peak, c_moved = self.decoding
        at = {name: self.slo.percentile_of(name) for name in ("ttft", "tpot", "latency")}
        for chunk in self.own_chunks():
            table = self.table(chunk)
            d, x_peak, x_moved = self.with_chunk(chunk)
            s, w, k = table.steps, table.fill, table.chunks

            def fits(b: int, chunk: int = chunk, n: Floats = table.n) -> bool:
                return not np.isnan(n[b]) and self.fits(int(n[b]), [self.mixed_work(b, chunk)], self.reserved)

            for b in self.held(fits):
                i, n = b - 1, table.n[b]
                phi, r = w / k, b * k / s
                full = t[i] + phi * d[i]
                y = r * full / (t[i] + r * phi * d[i])
                known = self.stack.ttft_s
                known += ((1 - y) * t[i] + (y - r) * full) / 2 if self.stack.ttft_s > 0 else 0.0
                ttft, late = (
                    known + table.wait_steps_at[at[name]][b] * t[i] + table.wait_fills_at[at[name]][b] * d[i]
                    for name in ("ttft", "latency")
                )
                tpot, token = (
                    table.kappa * (t[i] + table.share_seen_at[at[name]][b] * phi * d[i]) for name in ("tpot", "latency")
                )
                m = self.flights[i]
                both = (c_peak, x_peak), (c_moved, x_moved)
                works = [((m - 1) * one[i] + other[i]) / self.pp for one, other in both]
                busy = self.draw(*works, t[i] + d[i])
                plain = self.draw(m * c_peak[i] / self.pp, m * c_moved[i] / self.pp, t[i])
                yield Candidate(
                    AGGREGATED, self.row, b, chunk, self.dp * b / (s * t[i] + b * w * d[i]), y * busy + (1 - y) * plain,
                    self.dp * n, ttft, tpot, late + (table.osl_at[at["latency"]] - 1) * token,
                )  # fmt: skip

    def decode_watts(self) -> Floats:
        t, peak, moved = self.decoding
        return self.draw(self.flights * peak / self.pp, self.flights * moved / self.pp, t)

    def static(self) -> Iterator[Candidate]:
        """(23)."""
        if not self.in_context:
            return
        table, t, decode_w = self.table(self.asked.chunks[0]), self.decoding[0], self.decode_watts()
        first, prompt_w = self.prompts(self.batches, self.new)
        after = table.osl_at[self.slo.percentile_of("latency")] - 1
        for b in self.held(lambda b: self.fits(b, [self.decode_work(b), self.prompt_work(b, self.new)], self.reserved)):
            i = b - 1
            whole = first[i] + float(table.longest_steps(b * self.dp)) * t[i]
            watts = (first[i] * prompt_w[i] + (whole - first[i]) * decode_w[i]) / whole
            ttft, tpot = self.stack.ttft_s + first[i], table.kappa * t[i]
            batch = self.dp * b
            yield Candidate(STATIC, self.row, b, 0, batch / whole, watts, batch, ttft, tpot, ttft + after * tpot)

    def prefill_pools(self) -> Iterator[Candidate]:
        """(24)."""
        if self.isl > self.plain["max_context"]:
            return
        out = self.machine["out_bytes_per_s"] * self.machine["eta_out"]
        args = self.plain, self.machine, self.kit, self.deployment, self.dp, 1, self.isl
        hand_over = memory_of(*args, prefill=True)["cache"] / out
        q, cv2 = self.slo.percentile_of("ttft") / 100, self.table(self.asked.chunks[0]).fill_cv2
        for chunk in self.own_chunks():
            first, busy_w = self.prompts(np.array(AT_ONCE), chunk)
            for i, b in enumerate(AT_ONCE):
                held = self.fits(b, [self.prompt_work(b, chunk)], self.isl)
                if not held or b * hand_over > first[i]:
                    continue
                batch = self.dp * b
                for u in LOADS:
                    rate = u * batch / first[i]
                    mean_wait = first[i] * u * (1 + cv2 / batch) / (2 * (1 - u))
                    wait = max(0.0, mean_wait / u * math.log(u / (1 - q)))
                    ttft = self.stack.ttft_s + first[i] + (batch - 1) / (2 * rate) + wait + hand_over
                    watts = u * busy_w[i] + (1 - u) * self.machine["idle_w"]
                    yield Candidate(PREFILL, self.row, b, chunk, rate, watts, batch, ttft, 0.0, ttft, load=u)

    def decode_pools(self) -> Iterator[Candidate]:
        if not self.in_context:
            return
        table, t, watts = self.table(self.asked.chunks[0]), self.decoding[0], self.decode_watts()
        after = table.osl_at[self.slo.percentile_of("latency")] - 1
        for b in self.held(lambda b: self.fits(b, [self.decode_work(b)], self.reserved)):
            i, batch = b - 1, self.dp * b
            tpot = table.kappa * t[i]
            rate = batch / (table.steps * t[i])
            yield Candidate(DECODE, self.row, b, 0, rate, watts[i], batch, 0.0, tpot, after * tpot)

    @cached_property
    def candidates(self) -> dict[str, list[Candidate]]:
        """All of every mode and kind of pool, by its name."""
        ways = self.aggregated, self.static, self.prefill_pools, self.decode_pools
        return dict(zip((AGGREGATED, STATIC, PREFILL, DECODE), (list(way()) for way in ways), strict=True))

    def price(self, one: Candidate, objective: str, boundary: str) -> float:
        """(25), or the accelerators for the load."""
        plain = {"rate": one.rate, "watts": one.watts}
        if objective == "min_gpus":
            assert self.workload.rate is not None
            return min_gpus_cost(plain, self.group, self.workload.rate)
        alpha, beta = (0.0, 1.0) if objective in BY_ENERGY else (1.0, 0.0)
        return cost(plain, self.workload.mean_osl, self.group, self.facts, boundary, self.workload.duty, alpha, beta)


def nearest(candidates: list[Candidate], limits: rl.SLO) -> tuple[float, str] | None:
    """Smallest largest factor over the limits, and of which limit."""
    found: tuple[float, str] | None = None
    for one in candidates:
        factors = one.factors(limits)
        worst = max(factors, key=lambda name: factors[name])
        if found is None or factors[worst] < found[0]:
            found = factors[worst], worst
    return found


def as_pools(replicas: list[ByHand], pools: list[Candidate]) -> Plain:
    """Pools as `test_match` takes them, of the replica of each."""
    half = {
        "facts": replicas[0].facts,
        "watts": [one.watts for one in pools],
        "group": [replica.group for replica in replicas],
    }
    times = [one.ttft if one.mode == PREFILL else one.tpot for one in pools]
    return {"rate": [one.rate for one in pools], "first_s": times, "halves": [half]}
