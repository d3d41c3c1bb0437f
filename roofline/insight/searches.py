"""Sides and mixtures searched together: the best of each at every interactivity, from the same candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from roofline.errors import InputError, unknown_name
from roofline.grid.axes import label
from roofline.grid.deployments import MOST_GROUP, every_deployment
from roofline.planning.plan import plan
from roofline.planning.space import self_contained
from roofline.planning.variables import FIGURES, TEXTS
from roofline.rack.best import native_recipes
from roofline.rack.cost import Bill
from roofline.serving.slo import SLO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from roofline.insight.mixtures import Side
    from roofline.rack.energy import Basis, Boundary
    from roofline.serving.workload import Workload
    from roofline.specs import Model, Recipe

    Floats = NDArray[np.float64]

TOGETHER = 32
"""Systems of one search."""


class Measure(NamedTuple):
    """What is compared.   objective : of the search.   units, meaning : of the value, of which more is better."""

    objective: str
    units: str
    meaning: str

    @property
    def by_energy(self) -> bool:
        """Whether watts decide."""
        return self.objective == "tokens_per_mwh"


MEASURES = {
    "tokens_per_mwh": Measure("tokens_per_mwh", "1/MWh", "output tokens per megawatt-hour"),
    "tokens_per_s_per_gpu": Measure("tokens_per_s_per_gpu", "1/s", "output tokens a second per accelerator"),
    "tokens_per_usd": Measure("tokens_per_s_per_gpu", "1/USD", "output tokens per US dollar of accelerator-hours"),
}
"""By name."""

KEPT = (
    *("tokens_per_mwh", "tokens_per_s_per_gpu", "total_tokens_per_s_per_gpu", "power_at_boundary", "ttft", "tpot"),
    *("accelerators", "batch", "drafts", "prefill_replicas", "decode_replicas", "nearest_factor"),
    *("output_tokens_per_s", "ffn_accelerators"),
)
"""Figures of a plan that a comparison holds."""


@dataclass(frozen=True)
class Asked:
    """What all sides of a comparison are asked.

    slo : limits beside that of TPOT, which is 1/interactivity.   recipes : those to try; None: each model's own that
    the accelerator computes as meant.   most : accelerators of a replica.   across : whether a replica may span
    scale-up domains.
    """

    model: Model
    workload: Workload
    slo: SLO
    recipes: tuple[Recipe, ...] | None
    boundary: Boundary
    basis: Basis
    vintage: str | None
    most: int
    across: bool = True
    parallel: bool = True

    def limits(self, interactivity: Floats) -> list[SLO]:
        """The limits at each interactivity [1/s]."""
        slo = self.slo
        return [SLO(slo.ttft_s, 1.0 / float(x), slo.latency_s, percentile=slo.percentile) for x in interactivity]

    def deployments(self, sides: Sequence[Side]) -> list[dict[str, int]]:
        """Every deployment of a replica of at most `most` accelerators that is one on any of the sides."""
        names = ("tp", "pp", "dp", "ep", "moe_tp")
        found: dict[tuple[int, ...], None] = {}
        for side in sides:
            rows = every_deployment(self.model, side.system, self.reach(side)).rows
            found |= dict.fromkeys(rows)
        return [dict(zip(names, row, strict=True)) for row in sorted(found, key=lambda row: row[0] * row[1] * row[2])]

    def reach(self, side: Side) -> int:
        """Accelerators of the largest replica of a side."""
        return self.most if self.across else min(self.most, side.system.scale_up.domain)


def largest_replica(model: Model, sides: Sequence[Side], recipes: Sequence[Recipe] | None) -> int:
    """Accelerators of a replica that a comparison lets every side have: those of the largest domain, or more.

    More where some side needs several systems to hold the weights twice over; never beyond `MOST_GROUP`.
    """
    found = []
    for side in sides:
        chosen = native_recipes(model, side.system) if recipes is None else list(recipes)
        found += [side.system.scale_up.domain, self_contained(model, side.system, chosen)]
    return min(MOST_GROUP, max(found))


@dataclass(frozen=True)
class Found:
    """What searches found: figures and texts of a plan by name, [side, interactivity], and why where there is none."""

    figures: dict[str, Floats]
    texts: dict[str, NDArray[np.object_]]
    limit: NDArray[np.int8]
    attrs: dict[str, str]

    def value(self, measure: str, sides: Sequence[Side]) -> Floats:
        """A measure of each side, float64[side, interactivity]. Raises InputError where a price is missing."""
        if measure != "tokens_per_usd":
            return self.figures[measure]
        return 3600.0 * self.figures["tokens_per_s_per_gpu"] / usd_per_busy_hour(sides)[:, None]

    @cached_property
    def reasons(self) -> NDArray[np.object_]:
        """Why there is no choice, in words; '' where there is one."""
        from roofline.layout import LIMIT_MEANINGS, Limit

        found = np.full(self.limit.shape, "", dtype=object)
        for at in np.ndindex(*found.shape):
            if self.texts["mode"][at]:
                continue
            missed, factor = self.texts["nearest_miss"][at], self.figures["nearest_factor"][at]
            nearest = f"{missed} {factor:.3g}x over its limit" if missed else ""
            found[at] = nearest or LIMIT_MEANINGS[Limit(int(self.limit[at]))]
        return found


def priced(
    sides: Sequence[Side], prices: Any, tier: str | None, vintage: str | None, needed: bool
) -> tuple[list[Side], dict[str, str]]:
    """Sides with prices of a sheet where none has its own, and what a result says of them.

    prices, tier : as in `rack.cost.Bill`.   vintage : of provisioned watts, which prices must share.
    needed : whether tokens per USD are asked for; else sides that the sheet has no price of stay without.
    Raises InputError as `Bill`, for prices given twice, and where one is needed and missing.
    """
    chosen = prices is not None or tier is not None
    if any(side.usd_per_hour is not None for side in sides):
        if chosen:
            raise InputError("prices, tier: sides have a usd_per_hour of their own; leave one of them out")
        return list(sides), {}
    bill = Bill.of({"prices": prices, "tier": tier}, vintage)
    bill.check_vintage(vintage)
    hours = bill.all_in_usd_per_hour([side.system.accelerator.id for side in sides])
    lacking = [side.system.accelerator.id for side in sides if side.system.accelerator.id not in hours]
    if lacking:
        if chosen or needed:
            raise InputError(
                f"prices {bill.attributes['hardware_prices']}: none of {', '.join(dict.fromkeys(lacking))}; tokens per "
                "USD needs that of both sides: give usd_per_hour (--price)"
            )
        return list(sides), {}
    names = [side.system.accelerator.id for side in sides]
    said = {name: bill.attributes[name] for name in ("hardware_prices", "price_vintage")}
    said["price_grades"] = ", ".join(f"{name} {bill.grade(name)}" for name in dict.fromkeys(names))
    return [side.replace(usd_per_hour=hours[name]) for side, name in zip(sides, names, strict=True)], said


def usd_per_busy_hour(sides: Sequence[Side]) -> Floats:
    """USD for an accelerator-hour at work of each side: hours without work are paid too.

    Raises InputError for a side without a price.
    """
    for side in sides:
        if side.usd_per_hour is None:
            raise InputError(
                f"usd_per_hour: none given for {label(side.system)}; tokens per USD needs that of both sides"
            )
    return np.array([side.usd_per_hour / side.load for side in sides if side.usd_per_hour], dtype=np.float64)


def checked_measure(name: str) -> Measure:
    """The measure of a name. Raises InputError for an unknown one."""
    if not isinstance(name, str) or name not in MEASURES:
        raise unknown_name("measure", str(name), MEASURES)
    return MEASURES[name]


def search(
    sides: Sequence[Side],
    asked: Asked,
    interactivity: Floats,
    objective: str,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """The best of each side at every interactivity [1/s], like sides in one search.

    Replicas of all sides are chosen from the same deployments.   progress : called with how many sides are done.
    Raises InputError as `roofline.plan`.
    """
    shape = len(sides), interactivity.size
    figures = {name: np.full(shape, np.nan) for name in FIGURES if name in KEPT}
    texts = {name: np.full(shape, "", dtype=object) for name in TEXTS}
    limit, attrs, done = np.zeros(shape, dtype=np.int8), {}, 0
    sheets: set[str] = set()
    everyone = asked.deployments(sides) if asked.across else None
    for members in _alike(sides, asked):
        for start in range(0, len(members), TOGETHER):
            some = members[start : start + TOGETHER]
            first = sides[some[0]]
            listed = [sides[n].system.model_copy(update={"id": f"side-{n}"}) for n in some]
            found = plan(
                asked.model,
                listed,
                asked.recipes,
                workload=_served(asked.workload, first),
                slo=asked.limits(interactivity),
                objective=objective,
                modes=first.modes,
                acceptance=first.acceptance,
                ffn_systems=first.ffn_systems or None,
                deployments=everyone or asked.deployments([sides[n] for n in some]),
                stack=first.stack,
                boundary=asked.boundary,
                basis=asked.basis,
                vintage=asked.vintage,
                parallel=asked.parallel,
            ).isel(model=0, workload=0)
            for name, held in (*figures.items(), *texts.items()):
                held[some] = found[name].values
            for n in some:
                prompts = texts["prefill_system"][n]
                prompts[prompts == f"side-{n}"] = label(sides[n].system)
            limit[some] = found["limit"].values
            attrs = {str(name): str(value) for name, value in found.attrs.items()}
            sheets |= {pair for pair in attrs["sheets"].split() if "/side-" not in pair}
            done += len(some)
            if progress is not None:
                progress(done)
    return Found(figures, texts, limit, attrs | {"sheets": " ".join(sorted(sheets))})


def _served(workload: Workload, side: Side) -> Workload:
    """The workload as a side serves it."""
    return replace(workload, cached=0, cached_share=side.cached_share, load=side.load)


def _alike(sides: Sequence[Side], asked: Asked) -> list[list[int]]:
    """Numbers of the sides that one search can hold: the same orchestration, and the same reach of a replica."""
    groups: dict[Any, list[int]] = {}
    for n, side in enumerate(sides):
        ffn = tuple(label(one) for one in side.ffn_systems)
        stack = side.stack if isinstance(side.stack, str) else id(side.stack)
        key = (side.modes, ffn, side.acceptance, side.cached_share, side.load, stack, asked.reach(side))
        groups.setdefault(key, []).append(n)
    return list(groups.values())
