"""The best way to serve a model on each system: over modes, deployments, batches, chunks and drafts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.layout import Limit
from roofline.planning.match import Pair, Pools, Terms, match, pool_draw
from roofline.planning.question import LOADS
from roofline.rack.best import nearest_reason
from roofline.rack.energy import PowerFacts
from roofline.serving.slo import LIMITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.planning.objective import Objective
    from roofline.planning.question import Question
    from roofline.planning.space import Space

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MODES = ("aggregated", "static", "disaggregated")
"""Ways to serve, in the order in which ties are settled."""


@dataclass
class Choice:
    """What was chosen for one system, workload and limits, or why nothing was.

    figures, texts : variables of a plan by name.   limit : layout.Limit.   factor, missed : of the nearest candidate,
    how far over which limit, where all that runs misses one.
    """

    figures: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    cost: float = np.inf
    limit: int = 0
    factor: float = np.nan
    missed: str = ""


class Chooser:
    """Searches of one model on its systems, and on those that only compute prompts for them."""

    def __init__(
        self,
        space: Space,
        question: Question,
        objective: Objective,
        modes: tuple[str, ...],
        prompts: Space | None = None,
        most_accelerators: int | None = None,
        most_points: int = 0,
        parallel: bool = True,
    ) -> None:
        from roofline.kernels import candidates as kind

        self.space, self.question, self.objective, self.modes = space, question, objective, modes
        self.most_accelerators, self.parallel = most_accelerators, parallel
        numbers = {"aggregated": (kind.AGGREGATED,), "static": (kind.STATIC,)}
        wanted = [number for mode in modes for number in numbers.get(mode, (kind.PREFILL_POOL, kind.DECODE_POOL))]
        self.found = space.search(question, objective, wanted, most_points=most_points, parallel=parallel)
        self.facts = [PowerFacts.of(system) for system in space.systems]
        self.prompts = prompts
        self._elsewhere: dict[float, dict[str, Any]] = {}

    @property
    def candidates(self) -> int:
        """Candidates tried, those of pools included, pairs of pools not."""
        others = sum(int(found["count"][:, 1].sum()) for found in self._elsewhere.values())
        return int(self.found["count"][:, 1].sum()) + others

    def choose(self, system: int, workload: int, slo: int) -> Choice:
        """The best of all modes for one system (its number in the space), workload and limits."""
        found = [self.of_mode(mode, system, workload, slo) for mode in self.modes]
        best = min(found, key=lambda one: one.cost)
        if np.isfinite(best.cost):
            return best
        missed = [one for one in found if one.missed]
        return min(missed, key=lambda one: one.factor) if missed else found[0]

    def of_mode(self, mode: str, system: int, workload: int, slo: int) -> Choice:
        """The best of one mode."""
        from roofline.kernels import candidates as kind

        if mode == "disaggregated":
            return self._pools(system, workload, slo)
        return self._single(mode, kind.AGGREGATED if mode == "aggregated" else kind.STATIC, system, workload, slo)

    def _single(self, mode: str, number: int, system: int, workload: int, slo: int) -> Choice:
        from roofline.kernels.reduce import F_COST

        mine = np.flatnonzero(self.space.system == system)
        best = self.found["best"][mine, number, workload, slo]
        at = int(np.argmin(best[:, F_COST])) if mine.size else 0
        if mine.size and np.isfinite(best[at, F_COST]):
            return self._chosen(mode, number, int(mine[at]), workload, slo)
        return self._none(self.found, mine, number, system, workload, slo)

    def _none(self, found: dict[str, Any], mine: Ints, number: int, system: int, workload: int, slo: int) -> Choice:
        """Why no candidate of a mode is one."""
        near = found["near"][mine, number, workload, slo]
        if mine.size and np.isfinite(near[:, 0]).any():
            at = int(np.argmin(near[:, 0]))
            if near[at, 0] > 1.0:
                missed = LIMITS[int(near[at, 1])]
                return Choice(factor=float(near[at, 0]), missed=missed)
        limits = found["limit"][mine]
        if (limits == 0).any():  # something runs, and nothing is known of its cost
            unknown = self.objective.by_energy and self.space.systems[system].power_unknown != ""
            return Choice(limit=int(Limit.POWER if unknown else Limit.MEMORY))
        return Choice(limit=int(nearest_reason(limits[:, None])[0]) if mine.size else int(Limit.ACCELERATORS))

    def _chosen(self, mode: str, number: int, config: int, workload: int, slo: int) -> Choice:

        figures = self.found["best"][config, number, workload, slo]
        place = self.found["at"][config, number, workload, slo]
        return self.described(mode, config, figures, place, workload, slo)

    def described(self, mode: str, config: int, figures: Floats, place: Ints, workload: int, slo: int) -> Choice:
        """A candidate of a mode without pools, in full."""
        from roofline.kernels import reduce as of

        group = int(self.space.group[config])
        system = int(self.space.system[config])
        choice = Choice(cost=float(figures[of.F_COST]))
        replicas = self._replicas(figures[of.F_RATE], workload)
        self._common(
            choice, workload, figures[of.F_TTFT], figures[of.F_TPOT], figures[of.F_LATENCY], figures[of.F_RATE], group,
            replicas,
        )  # fmt: skip
        duty = self.question.workloads[workload].duty
        watts = np.array([figures[of.F_WATTS]])
        self._energy(choice, [(system, watts, group, 1)], figures[of.F_RATE], workload, duty)
        degrees = self.space.degrees(config)
        b, chunk = int(place[of.I_BATCH]), self.question.chunks[int(place[of.I_CHUNK])]
        choice.figures |= {
            "concurrency": float(figures[of.F_SEQUENCES]),
            "batch": float(b * degrees["dp"]),
            "drafts": float(self.question.drafts[int(place[of.I_DRAFTS])].count),
            "chunk": float(chunk) if mode == "aggregated" else np.nan,
            "config": float(config),
            "prefill_replicas": 0.0,
            "decode_replicas": 1.0,
        } | {name: float(value) for name, value in degrees.items()}
        choice.texts = {"mode": mode, **self._names(self.space, config)}
        return choice

    def _replicas(self, rate: float, workload: int) -> float:
        asked = self.question.workloads[workload].rate
        return np.nan if asked is None else float(np.ceil(asked / rate))

    def _common(
        self, choice: Choice, workload: int, ttft: float, tpot: float, latency: float, rate: float, group: int,
        replicas: float,
    ) -> None:  # fmt: skip
        asked = self.question.workloads[workload]
        per_s = rate * asked.mean_osl
        choice.figures |= {
            "ttft": float(ttft),
            "tpot": float(tpot),
            "request_latency": float(latency),
            "request_rate": float(rate),
            "output_tokens_per_s": float(per_s),
            "tokens_per_s_per_gpu": float(per_s / group),
            "input_tokens_per_s_per_gpu": float(rate * asked.mean_isl / group),
            "total_tokens_per_s_per_gpu": float(rate * (asked.mean_isl + asked.mean_osl) / group),
            "tokens_per_s_per_user": float(1.0 / tpot),
            "accelerators": float(group),
            "replicas": replicas,
            "total_accelerators": replicas * group,
        }

    def _energy(
        self,
        choice: Choice,
        pools: list[tuple[int, Floats, int, int]],
        rate: float,
        workload: int,
        duty: float,
        facts: list[PowerFacts] | None = None,
    ) -> None:
        """Energy and power of pools: (system, draw of one accelerator, accelerators of a replica, replicas) each."""
        known = facts or self.facts
        watts, boundary_w, used = 0.0, 0.0, 0
        objective = self.objective
        for n, (system, draw, group, replicas) in enumerate(pools):
            fact = known[n] if facts else known[system]
            size = np.array([group])
            placed = fact.placed(draw, size, objective.boundary, objective.basis, objective.vintage)
            mean = duty * placed.busy_w + (1.0 - duty) * placed.idle_w
            boundary_w += replicas * float((mean * group / placed.used)[0])
            watts += replicas * group * float(draw[0])
            used += replicas * group
        osl = self.question.workloads[workload].mean_osl
        joules = boundary_w / (duty * rate * osl)
        choice.figures |= {
            "power": watts / used,
            "power_at_boundary": boundary_w / used,
            "joules_per_token": watts / (rate * osl),
            "joules_per_token_at_boundary": joules,
            "tokens_per_mwh": 3.6e9 / joules,
        }

    def _names(self, space: Space, config: int, prefix: str = "") -> dict[str, str]:
        from roofline.grid import axes

        recipe = space.recipes[int(space.recipe[config])]
        return {f"{prefix}recipe": axes.label(recipe), f"{prefix}deployment": space.label(config)}

    # Two pools.

    def _prompt_side(self, system: int) -> list[tuple[Space, dict[str, Any], int]]:
        """Spaces with what was found in them, and their systems that compute prompts for a system."""
        sides = [(self.space, self.found, system)]
        if self.prompts is None:
            return sides
        from roofline.kernels.candidates import PREFILL_POOL

        link = float(self.space.links[system])
        if link not in self._elsewhere:
            links = np.minimum(self.prompts.links, link)
            self._elsewhere[link] = self.prompts.search(
                self.question, self.objective, [PREFILL_POOL], links, parallel=self.parallel
            )
        return sides + [(self.prompts, self._elsewhere[link], s) for s in range(len(self.prompts.systems))]

    def _pools(self, system: int, workload: int, slo: int) -> Choice:
        from roofline.kernels.candidates import DECODE_POOL, PREFILL_POOL

        terms = self._terms(workload, slo)
        decode = pools_of(self.space, self.found, DECODE_POOL, system, workload, slo)
        if decode is None:
            mine = np.flatnonzero(self.space.system == system)
            return self._none(self.found, mine, DECODE_POOL, system, workload, slo)
        best: tuple[Pair, Space, dict[str, Any], Pools, int] | None = None
        refused = Choice(limit=int(Limit.ACCELERATORS))
        for space, found, side in self._prompt_side(system):
            prefill = pools_of(space, found, PREFILL_POOL, side, workload, slo)
            if prefill is None:
                one = self._none(found, np.flatnonzero(space.system == side), PREFILL_POOL, system, workload, slo)
                refused = one if one.missed and not one.factor > refused.factor else refused
                continue
            pair = match(prefill, decode, terms)
            if pair is not None and (best is None or pair.cost < best[0].cost):
                best = pair, space, found, prefill, side
        return refused if best is None else self._joined(*best, decode, system, workload, slo)

    def _terms(self, workload: int, slo: int) -> Terms:
        asked, limits = self.question.workloads[workload], self.question.slos[slo]
        table = self.question.steps[workload, 0, 0]
        alpha, beta = self.objective.prices(self.space.systems)[0]
        return Terms(
            alpha=float(alpha),
            beta=float(beta),
            osl=asked.mean_osl,
            duty=asked.duty,
            boundary=self.objective.boundary,
            basis=self.objective.basis,
            vintage=self.objective.vintage,
            load=(asked.rate or 0.0) if self.question.loaded else 0.0,
            latency_s=limits.latency_s,
            tokens_after=table.osl_at[limits.percentile_of("latency")] - 1.0,
            most_accelerators=self.most_accelerators,
        )

    def _joined(
        self, pair: Pair, space: Space, found: dict[str, Any], prefill: Pools, side: int, decode: Pools, system: int,
        workload: int, slo: int,
    ) -> Choice:  # fmt: skip
        from roofline.grid import axes
        from roofline.kernels import reduce as of
        from roofline.kernels.candidates import DECODE_POOL, PREFILL_POOL

        first, then = int(prefill.kept[pair.prefill]), int(decode.kept[pair.decode])
        at_first = found["at"][first, PREFILL_POOL, workload, slo]
        at_then = self.found["at"][then, DECODE_POOL, workload, slo]
        x, y = pair.prefill_replicas, pair.decode_replicas
        groups = int(prefill.group[pair.prefill]), int(decode.group[pair.decode])
        choice = Choice(cost=pair.cost)
        ttft, tpot = float(prefill.first_s[pair.prefill]), float(decode.first_s[pair.decode])
        tokens_after = self._terms(workload, slo).tokens_after
        size = x * groups[0] + y * groups[1]
        asked = self.question.workloads[workload].rate
        replicas = np.nan if asked is None else 1.0 if self.question.loaded else float(np.ceil(asked / pair.rate))
        self._common(choice, workload, ttft, tpot, ttft + tokens_after * tpot, pair.rate, size, replicas)
        draws = [
            np.array([pool_draw(pools, at, count, pair.rate)])
            for pools, at, count in ((prefill, pair.prefill, x), (decode, pair.decode, y))
        ]
        self._energy(
            choice,
            [(side, draws[0], groups[0], x), (system, draws[1], groups[1], y)],
            pair.rate,
            workload,
            self.question.workloads[workload].duty,
            [prefill.facts, decode.facts],
        )
        degrees, prefill_degrees = self.space.degrees(then), space.degrees(first)
        sequences = self.found["best"][then, DECODE_POOL, workload, slo, of.F_SEQUENCES]
        choice.figures |= {
            "concurrency": float(y * sequences),
            "batch": float(at_then[of.I_BATCH] * degrees["dp"]),
            "drafts": float(self.question.drafts[int(at_then[of.I_DRAFTS])].count),
            "chunk": float(self.question.chunks[int(at_first[of.I_CHUNK])]),
            "config": float(then),
            "prefill_replicas": float(x),
            "decode_replicas": float(y),
            "prefill_batch": float(at_first[of.I_BATCH] * prefill_degrees["dp"]),
            "prefill_load": LOADS[int(at_first[of.I_LOAD])],
            "prefill_accelerators": float(x * groups[0]),
        } | {name: float(value) for name, value in degrees.items()}
        choice.figures |= {f"prefill_{name}": float(value) for name, value in prefill_degrees.items()}
        choice.texts = {
            "mode": "disaggregated",
            **self._names(self.space, then),
            **self._names(space, first, "prefill_"),
            "prefill_system": axes.label(space.systems[side]),
        }
        return choice


def pools_of(space: Space, found: dict[str, Any], number: int, system: int, workload: int, slo: int) -> Pools | None:
    """Pools of a system that meet the limits and cost little more than the cheapest, one a deployment; None for none."""
    from roofline.kernels import reduce as of
    from roofline.kernels.bounds import POOL_SLACK
    from roofline.kernels.candidates import PREFILL_POOL

    best = found["best"][:, number, workload, slo]
    kept = np.flatnonzero((space.system == system) & np.isfinite(best[:, of.F_COST]))
    if not kept.size:
        return None
    pools = Pools(
        cost=best[kept, of.F_COST],
        rate=best[kept, of.F_RATE],
        watts=best[kept, of.F_WATTS],
        group=space.group[kept],
        first_s=best[kept, of.F_TTFT if number == PREFILL_POOL else of.F_TPOT],
        facts=PowerFacts.of(space.systems[system]),
        idle_w=float(space.packed.machines[system]["idle_w"]),
        kept=kept,
    )
    return pools.cheapest(POOL_SLACK)
