"""Deployments that a claim is held against: the best plan, and replicas with one sequence at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.grid.deployments import candidates
from roofline.grid.evaluate import decode
from roofline.grid.variables import limit_reason
from roofline.planning.plan import plan
from roofline.planning.space import self_contained
from roofline.rack.energy import rollup
from roofline.serving.bands import MEASURED_MODES, factors
from roofline.serving.under_load import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from roofline.grid.axes import Degrees
    from roofline.insight.claim_units import Kind
    from roofline.rack.energy import Basis, Boundary
    from roofline.serving.slo import SLO
    from roofline.serving.workload import Workload
    from roofline.specs import Model, Recipe, System

POOR_DUTY = 0.1
"""Share of the time in which the worst working point serves: a stated choice, a machine mostly left standing."""

TRIED = 8
"""Deployments that are served in full, of those in order of their decode steps."""

_DEGREES = ("tp", "pp", "dp", "ep", "moe_tp")


@dataclass(frozen=True)
class WorkingPoint:
    """One deployment at work.

    what : the deployment in words.   joules_per_token [J] : at the boundary, with its duty; NaN where undisclosed.
    gpu_seconds [s] : accelerator time of an output token, while it runs.   duty : share of the time that it runs.
    tpot [s].   watts [W] : at the boundary for each accelerator.   draw_w [W] : of the accelerator alone.
    better : factor (at most 1) on its cost down to which a measurement is to be expected; 1 where none was validated.
    """

    what: str
    joules_per_token: float
    gpu_seconds: float
    duty: float
    tpot: float
    watts: float
    draw_w: float
    better: float = 1.0

    def cost(self, kind: Kind, usd_per_gpu_hour: float = np.nan) -> float:
        """Cost of an output token, in `claim_units.COST_UNITS`."""
        if kind == "energy":
            return self.joules_per_token
        return self.gpu_seconds if kind == "rate" else self.gpu_seconds / self.duty * usd_per_gpu_hour / 3600.0


@dataclass(frozen=True)
class Asked:
    """What is served, how, and where energy is counted: the keywords of `roofline.plan`, checked."""

    model: Model
    recipes: Sequence[Recipe]
    workload: Workload
    slo: SLO
    kind: Kind
    boundary: Boundary = "facility"
    basis: Basis = "metered"
    vintage: str | None = None
    stack: Any = "default"
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def most_accelerators(self) -> int | None:
        """Accelerators of a unit that were asked for; None where a plan takes its default."""
        most: int | None = dict(self.options).get("most_accelerators")
        return most

    def reach(self, system: System) -> str:
        """Which deployments a plan on a system takes, in words."""
        if self.most_accelerators is not None:
            return f"units of up to {self.most_accelerators} accelerators"
        return f"replicas of up to {self_contained(self.model, system, self.recipes)} accelerators"

    def plans(self, system: System, slos: Sequence[SLO]) -> xr.Dataset:
        """The best plan on a system under each of some limits."""
        return plan(
            *(self.model, system, list(self.recipes)),
            workload=self.workload,
            slo=list(slos),
            objective="tokens_per_mwh" if self.kind == "energy" else "tokens_per_s_per_gpu",
            boundary=self.boundary,
            basis=self.basis,
            vintage=self.vintage,
            stack=self.stack,
            **dict(self.options),
        )


def best_plan(asked: Asked, system: System) -> tuple[WorkingPoint | None, str]:
    """The best plan on a system, or None and why there is none."""
    ds = asked.plans(system, [asked.slo]).isel(model=0, system=0, workload=0, slo=0)
    if not np.isfinite(float(ds["tokens_per_s_per_gpu"])):
        return None, _why_none(ds)
    mode = str(ds["mode"].item())
    words = f"{mode}, {ds['recipe'].item()}, {ds['deployment'].item()}, batch {float(ds['batch']):.0f}"
    return planned(ds, asked, words, _better(ds, asked, mode)), ""


def planned(ds: xr.Dataset, asked: Asked, words: str, better: float = 1.0) -> WorkingPoint:
    """One choice of a plan as a point."""
    names = ("joules_per_token_at_boundary", "tokens_per_s_per_gpu", "tpot", "power_at_boundary", "power")
    joules, rate, tpot, watts, draw_w = (float(ds[name]) for name in names)
    return WorkingPoint(words, joules, 1.0 / rate, asked.workload.duty, tpot, watts, draw_w, better)


def _better(ds: xr.Dataset, asked: Asked, mode: str) -> float:
    """The better end of the band of what a plan says."""
    quantity, tier = ("joules_per_token", "energy_tier") if asked.kind == "energy" else ("throughput", "tier")
    band = factors(quantity, MEASURED_MODES.get(mode, mode), str(ds[tier].item()))
    if band is None:
        return 1.0
    return band[0] if asked.kind == "energy" else 1.0 / band[1]


def _why_none(ds: xr.Dataset) -> str:
    missed = str(ds["nearest_miss"].item())
    if missed:
        return f"no deployment meets the SLO: the nearest misses {missed} {float(ds['nearest_factor']):.3g} times over"
    return limit_reason(int(ds["limit"]))


def alone(asked: Asked, system: System) -> tuple[WorkingPoint, WorkingPoint] | None:
    """Replicas with one sequence at a time on each attention rank: the quickest, and the costliest at `POOR_DUTY`.

    Of all deployments by powers of two in the accelerators that a plan takes, in all recipes, prompts included, that
    meet the SLO. Decode steps alone put them in order; the first `TRIED` are then served in full. None where none of
    them meets the SLO.
    """
    most = asked.most_accelerators or self_contained(asked.model, system, asked.recipes)
    rows = candidates(asked.model, system, most).rows
    step, joules = _decoding(asked, system, rows)
    runs = np.argwhere(np.isfinite(step) & (step <= asked.slo.tpot_s))
    duty = asked.workload.duty
    poor = duty if asked.kind == "rate" else min(POOR_DUTY, duty)  # a rate is that of what runs
    cost = np.where(np.isfinite(joules), joules, step) if asked.kind == "energy" else step * _group(rows)
    by_speed = sorted(runs.tolist(), key=lambda at: float(step[tuple(at)]))
    by_cost = sorted(runs.tolist(), key=lambda at: -float(cost[tuple(at)]))

    def served(order: list[list[int]], share: float) -> list[WorkingPoint]:
        found = (_served(asked, system, asked.recipes[recipe], rows[row], share) for recipe, row in order[:TRIED])
        return [point for point in found if point is not None]

    quick, costly = served(by_speed, duty), served(by_cost, poor)
    if not quick or not costly:
        return None
    return min(quick, key=lambda one: one.tpot), max(costly, key=lambda one: _rank(one, asked.kind))


def _group(rows: Sequence[Degrees]) -> Any:
    """Accelerators for each sequence of a deployment with one on each rank."""
    return np.array([tp * pp for tp, pp, *_ in rows], dtype=np.float64)


def _decoding(asked: Asked, system: System, rows: Sequence[Degrees]) -> tuple[Any, Any]:
    """Decode steps [s] and J of a token with one sequence on each rank, float64[recipe, deployment]; NaN: none runs."""
    ranks = sorted({row[2] for row in rows})
    ds = decode(
        *(asked.model, system, list(asked.recipes)),
        deployments=[dict(zip(_DEGREES, row, strict=True)) for row in rows],
        batch=ranks,
        context=max(1, round(asked.workload.mean_context)),
    )
    ds = rollup(ds, asked.boundary, asked.basis, vintage=asked.vintage).isel(model=0, system=0, context=0)
    mine = [ranks.index(row[2]) for row in rows]
    found = (ds[name].values[:, range(len(rows)), mine] for name in ("step_time", "joules_per_token_at_boundary"))
    step, joules = found
    return step, joules


def _rank(point: WorkingPoint, kind: Kind) -> float:
    """What makes a point costly: its energy, else its accelerator time."""
    return point.joules_per_token if kind == "energy" and point.joules_per_token > 0.0 else point.gpu_seconds


def _served(asked: Asked, system: System, recipe: Recipe, row: Degrees, duty: float) -> WorkingPoint | None:
    """One deployment with one sequence on each rank, or None where it misses the SLO or does not run."""
    ds = serve(
        *(asked.model, system, recipe),
        workload=asked.workload,
        concurrency=row[2],
        deployments=[dict(zip(_DEGREES, row, strict=True))],
        stack=asked.stack,
    )
    ds = rollup(ds, asked.boundary, asked.basis, vintage=asked.vintage, duty=duty).squeeze()
    times = {"ttft": float(ds["ttft"]), "tpot": float(ds["tpot"]), "latency": float(ds["request_latency"])}
    if not all(times[name] <= limit for name, limit in asked.slo.limits.items()):
        return None
    names = ("joules_per_token_at_boundary", "tokens_per_s_per_gpu", "power_at_boundary", "power")
    joules, rate, watts, draw_w = (float(ds[name]) for name in names)
    if not np.isfinite(rate):
        return None
    words = f"one sequence at a time, {ds['recipe'].item()}, {ds['deployment'].item()}"
    return WorkingPoint(words, joules, 1.0 / rate, duty, times["tpot"], watts, draw_w)
