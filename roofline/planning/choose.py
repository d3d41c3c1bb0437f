"""The best way to serve a model on each system: over modes, deployments, batches, chunks and drafts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.grid import axes
from roofline.layout import Limit
from roofline.planning.pools import in_pools
from roofline.rack.best import nearest_reason
from roofline.rack.energy import JOULES_PER_MWH
from roofline.serving.slo import LIMITS, SLO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.planning.objective import Objective
    from roofline.planning.question import Question
    from roofline.planning.space import Space
    from roofline.rack.energy import PowerFacts
    from roofline.specs import System

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MODES = ("aggregated", "static", "disaggregated", "attention_ffn")
"""Ways to serve, in the order in which ties are settled."""

SPLITS = tuple(share / 16 for share in range(1, 16))
"""Shares of a limit of latency that the time to first token may take, where two pools share it."""


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
        feed_forward: Sequence[System] = (),
        most_points: int = 0,
        parallel: bool = True,
    ) -> None:
        from roofline.kernels import candidates as kind

        self.space, self.question, self.objective, self.modes = space, question, objective, modes
        self.most_accelerators, self.parallel = most_accelerators, parallel
        numbers = {"aggregated": (kind.AGGREGATED,), "static": (kind.STATIC,)}
        wanted = [number for mode in modes for number in numbers.get(mode, (kind.PREFILL_POOL, kind.DECODE_POOL))]
        self.feed_forward = feed_forward
        pools = [number for number in wanted if number in (kind.PREFILL_POOL, kind.DECODE_POOL)]
        self.exact = most_accelerators is not None  # the cheapest pool by itself may leave no room for the other
        at_once = [number for number in wanted if number not in pools] if self.exact else wanted
        self.found = space.search(question, objective, at_once, most_points=most_points, parallel=parallel)
        if self.exact and pools:
            apart = space.search(question, objective, pools, most_points=most_points, prune=False, parallel=parallel)
            for key in ("best", "near", "at", "points", "filled"):
                self.found[key][:, pools] = apart[key][:, pools]
            self.found["count"] += apart["count"]
            self.found["limit"] = np.where(apart["limit"] == 0, 0, self.found["limit"])
        self.within: dict[tuple[int, int], Chooser] = {}
        self.facts = space.facts
        self.prompts = prompts
        self.elsewhere: dict[float, dict[str, Any]] = {}
        self.apart: dict[Any, Any] = {}

    @property
    def candidates(self) -> int:
        """Candidates tried, those of pools included, pairs of pools not."""
        others = sum(int(found["count"][:, 1].sum()) for found in self.elsewhere.values())
        others += sum(inner.candidates for inner in self.within.values())
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

        if mode in ("disaggregated", "attention_ffn"):
            if self.question.slos[slo].latency_s < np.inf:
                return self._within_latency(mode, system, workload, slo)
            return in_pools(self, mode, system, workload, slo)
        return self._single(mode, kind.AGGREGATED if mode == "aggregated" else kind.STATIC, system, workload, slo)

    def _within_latency(self, mode: str, system: int, workload: int, slo: int) -> Choice:
        """The best of two pools that share a limit of latency in any of `SPLITS` ways."""
        if (workload, slo) not in self.within:
            limits, asked = self.question.slos[slo], self.question.workloads[workload]
            percent = {limit: limits.percentile_of(limit) for limit in LIMITS}
            after = self.question.steps[workload, 0, 0].osl_at[percent["latency"]] - 1.0
            parts = [
                SLO(
                    min(limits.ttft_s, share * limits.latency_s),
                    min(limits.tpot_s, (1.0 - share) * limits.latency_s / after) if after > 0.0 else limits.tpot_s,
                    percentile=percent,
                )
                for share in SPLITS
            ]
            pools = tuple(one for one in self.modes if one in ("disaggregated", "attention_ffn"))
            self.within[workload, slo] = Chooser(
                self.space, replace(self.question, workloads=(asked,), slos=tuple(parts)), self.objective, pools,
                self.prompts, self.most_accelerators, self.feed_forward, parallel=self.parallel,
            )  # fmt: skip
        inner = self.within[workload, slo]
        found = [in_pools(inner, mode, system, 0, row) for row in range(len(SPLITS))]
        best = min(found, key=lambda one: one.cost)
        missed = [row for row, one in enumerate(found) if one.missed]
        if np.isfinite(best.cost) or not missed:
            return best
        row = min(missed, key=lambda at: found[at].factor)
        part, whole, name = inner.question.slos[row], self.question.slos[slo], found[row].missed
        shared = getattr(part, f"{name}_s") < getattr(whole, f"{name}_s")
        return replace(found[row], missed="latency" if shared else name)

    def _single(self, mode: str, number: int, system: int, workload: int, slo: int) -> Choice:
        from roofline.kernels.reduce import F_COST

        mine = self.space.of_system(system)
        best = self.found["best"][mine, number, workload, slo]
        at = int(np.argmin(best[:, F_COST])) if mine.size else 0
        if mine.size and np.isfinite(best[at, F_COST]):
            return self._chosen(mode, number, int(mine[at]), workload, slo)
        return self.none(self.found, mine, number, system, workload, slo)

    def none(self, found: dict[str, Any], mine: Ints, number: int, system: int, workload: int, slo: int) -> Choice:
        """Why no candidate of a mode is one."""
        from roofline.kernels.candidates import PREFILL_POOL

        near = found["near"][mine, number, workload, slo]
        if mine.size and np.isfinite(near[:, 0]).any():
            at = int(np.argmin(near[:, 0]))
            if near[at, 0] > 1.0:
                missed = LIMITS[int(near[at, 1])]
                return Choice(factor=float(near[at, 0]), missed=missed)
            return Choice(limit=int(Limit.ACCELERATORS))  # there is one, of more than a unit may have
        limits = found["limit"][mine]
        if (limits == 0).any():  # something runs, and is no candidate
            if number == PREFILL_POOL and not found["count"][mine, 0].any():
                return Choice(limit=int(Limit.LINK))
            unknown = self.objective.by_energy and self.space.systems[system].power_unknown != ""
            if unknown:
                return Choice(limit=int(Limit.POWER))
            return Choice(limit=int(Limit.RACK if self.facts[system].limited else Limit.MEMORY))
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
        self.common(
            choice, workload, figures[of.F_TTFT], figures[of.F_TPOT], figures[of.F_LATENCY], figures[of.F_RATE], group,
            replicas,
        )  # fmt: skip
        self.energy(choice, [(self.facts[system], float(figures[of.F_WATTS]), group, 1)], figures[of.F_RATE], workload)
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
        choice.texts |= {"mode": mode, **self.names(self.space, config)}
        return choice

    def _replicas(self, rate: float, workload: int) -> float:
        asked = self.question.workloads[workload].rate
        return np.nan if asked is None else float(np.ceil(asked / rate))

    def common(
        self, choice: Choice, workload: int, ttft: float, tpot: float, latency: float, rate: float, group: int,
        replicas: float,
    ) -> None:  # fmt: skip
        """Add the figures that all modes have: of a unit of `group` accelerators that serves `rate` requests/s."""
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

    def energy(
        self, choice: Choice, parts: Sequence[tuple[PowerFacts, float, int, int]], rate: float, workload: int
    ) -> None:
        """Energy and power of parts that serve `rate` requests a second.

        parts : (facts of the system, draw of one accelerator [W], accelerators of a replica, replicas) each.
        """
        objective, asked = self.objective, self.question.workloads[workload]
        watts, boundary_w, used, duty = 0.0, 0.0, 0, asked.duty
        left_idle = [facts.rack_limited("a system", draw, group) for facts, draw, group, _ in parts]
        choice.texts["rack_limited"] = "; ".join(said for said in left_idle if said)
        for facts, draw, group, replicas in parts:
            placed = facts.placed(
                np.array([draw]), np.array([group]), objective.boundary, objective.basis, objective.vintage
            )
            mean = duty * placed.busy_w + (1.0 - duty) * placed.idle_w
            boundary_w += replicas * float((mean * group / placed.used)[0])
            watts += replicas * group * draw
            used += replicas * group
        joules = boundary_w / (duty * rate * asked.mean_osl)
        choice.figures |= {
            "power": watts / used,
            "power_at_boundary": boundary_w / used,
            "joules_per_token": watts / (rate * asked.mean_osl),
            "joules_per_token_at_boundary": joules,
            "tokens_per_mwh": JOULES_PER_MWH / joules,
        }

    def names(self, space: Space, config: int, prefix: str = "") -> dict[str, str]:
        """Recipe and deployment of a configuration."""
        recipe = axes.label(space.recipes[int(space.recipe[config])])
        return {f"{prefix}recipe": recipe, f"{prefix}deployment": space.label(config)}
