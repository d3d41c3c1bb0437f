"""Frontiers of interactivity against throughput: every deployment that no other beats in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError, unknown_name
from roofline.grid import axes
from roofline.grid.variables import LIMIT_FLAGS
from roofline.planning.choose import Choice, Chooser
from roofline.planning.match import Pools, match
from roofline.planning.objective import Objective
from roofline.planning.plan import attributes, checked_modes, slo_label, workload_label
from roofline.planning.pools import half_of, joined, pools_of, terms_of
from roofline.planning.question import question
from roofline.planning.space import Space
from roofline.planning.variables import AT_BOUNDARY, FIGURES, TEXTS
from roofline.specs import Model, Recipe, System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from roofline.rack.energy import Basis, Boundary
    from roofline.serving.slo import SLO
    from roofline.serving.workload import Workload

    Floats = NDArray[np.float64]

AGAINST = {
    "tokens_per_s_per_gpu": ("tokens_per_s_per_gpu", "1/s", "output tokens a second per accelerator"),
    "total_tokens_per_s_per_gpu": (
        "tokens_per_s_per_gpu",
        "1/s",
        "input and output tokens a second per accelerator",
    ),
    "tokens_per_s_per_mw": ("tokens_per_mwh", "1/(s MW)", "output tokens a second per megawatt"),
    "tokens_per_mwh": ("tokens_per_mwh", "1/MWh", "output tokens per megawatt-hour"),
}
"""What a frontier may be against: objective it is searched by, unit, meaning."""

MOST_POINTS = 512
"""Undominated candidates kept of one deployment and mode."""

IN_POOLS = ("disaggregated",)


def pareto(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    workload: Workload | Mapping[str, Any] | str | PathLike[str],
    slo: SLO | Mapping[str, Any] | None = None,
    against: str = "tokens_per_s_per_gpu",
    modes: str | Sequence[str] = ("aggregated", "disaggregated"),
    acceptance: float | Sequence[float] | None = None,
    most_accelerators: int | None = None,
    deployments: Iterable[Mapping[str, int]] | None = None,
    chunk: axes.Counts | None = None,
    stack: Any = "default",
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    vintage: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    parallel: bool = True,
) -> xr.Dataset:
    """All candidates that no other of the same model and system beats in both interactivity and throughput.

    against : what interactivity (tokens_per_s_per_user, at the percentile of the SLO's TPOT) is set against:
        tokens_per_s_per_gpu, total_tokens_per_s_per_gpu, tokens_per_s_per_mw or tokens_per_mwh.
    modes : aggregated, static, disaggregated; points of all of them are compared.
    slo : candidates beyond its limits are left out; of TTFT or latency, above all.
    Others as `roofline.plan`. Two pools are matched at each undominated decode pool with the prefill pool that costs
    least in time.

    Returns a Dataset with the dim `point`, by model, system and rising interactivity: coords model and system, and the
    variables of a plan. Where a system has no point, it has none here and stands in the attribute `without`, with the
    reason. Raises InputError as `roofline.plan`.
    """
    if against not in AGAINST:
        raise unknown_name("against", against, AGAINST)
    objective, units, about = AGAINST[against]
    aim = Objective(objective, boundary, basis, vintage)
    asked = question(workload, slo, stack=stack, chunks=chunk, acceptance=acceptance)
    if len(asked.workloads) != 1 or len(asked.slos) != 1:
        raise InputError("pareto: takes one workload and one slo; call it for each")
    shapes, boxes = axes.sheets("models", Model, models), axes.sheets("systems", System, systems)
    named = None if recipes is None else axes.sheets("recipes", Recipe, recipes)
    ways = checked_modes(modes, False)
    fixed = None if deployments is None else axes.deployments(rows=deployments)
    most = None if most_accelerators is None else axes.count("most_accelerators", most_accelerators)
    rows: list[tuple[str, str, Choice]] = []
    without, tried = [], 0
    for m, model in enumerate(shapes):
        space = Space.of(model, boxes, named, most, fixed)
        chooser = Chooser(space, asked, aim, ways, None, most, most_points=MOST_POINTS, parallel=parallel)
        tried += chooser.candidates
        for s, system in enumerate(boxes):
            if progress is not None:
                progress(m * len(boxes) + s, len(shapes) * len(boxes))
            points = frontier([point for mode in ways for point in _points(chooser, mode, s)], against)
            rows += [(axes.label(model), axes.label(system), point) for point in points]
            if not points:
                why = chooser.choose(s, 0, 0)
                without.append(f"{axes.label(model)} on {axes.label(system)}: {reason(why)}")
    if progress is not None:
        progress(len(shapes) * len(boxes), len(shapes) * len(boxes))
    data = _dataset(rows, aim)
    y = data[against].values if against in data else None
    if y is None:  # of a megawatt: an hour's tokens over its seconds
        y = data["tokens_per_mwh"].values / 3600.0
        data[against] = ("point", y, {"units": units, "long_name": f"{about} ({aim.where})"})
    found = attributes(asked, aim, shapes, boxes, named or [], set(data["recipe"].values), tried)
    data = data.assign_coords(mean_context=asked.workloads[0].mean_context)
    found |= {
        "pass": "pareto",
        "against": against,
        "workload": workload_label(asked.workloads[0]),
        "slo": slo_label(asked.slos[0]),
        "slo_tpot_s": str(asked.slos[0].tpot_s),
        "without": "; ".join(without),
    }
    return data.assign_attrs(found)


def reason(choice: Choice) -> str:
    """Why nothing was chosen, in words."""
    from roofline.layout import LIMIT_MEANINGS, Limit

    if choice.missed:
        return f"the nearest candidate is {choice.factor:.3g} times over the limit of {choice.missed}"
    return LIMIT_MEANINGS[Limit(choice.limit)]


def frontier(points: list[Choice], against: str) -> list[Choice]:
    """The undominated of some candidates, by rising interactivity; of equal ones the first."""
    if not points:
        return []
    name = "tokens_per_mwh" if against == "tokens_per_s_per_mw" else against
    x = np.array([point.figures["tokens_per_s_per_user"] for point in points])
    y = np.array([point.figures[name] for point in points])
    kept, best = [], -np.inf
    for at in np.lexsort((np.arange(x.size), -y, -x)):
        if y[at] > best:
            best = y[at]
            kept.append(points[at])
    return kept[::-1]


def _points(chooser: Chooser, mode: str, system: int) -> list[Choice]:
    """Undominated candidates of one mode on a system."""
    from roofline.kernels import candidates as kind

    if mode == "disaggregated":
        return _pairs(chooser, system)
    number = kind.AGGREGATED if mode == "aggregated" else kind.STATIC
    return [
        chooser.described(mode, config, figures, place, 0, 0)
        for config, figures, place in _undominated(chooser, number, system)
    ]


def _undominated(chooser: Chooser, number: int, system: int) -> list[tuple[int, Floats, Any]]:
    """(configuration, figures, place) of what no other candidate of a mode on a system beats in TPOT and cost."""
    from roofline.kernels import reduce as of

    listed = []
    for config in chooser.space.of_system(system):
        count = chooser.found["filled"][config, number, 0, 0]
        listed += [(int(config), point) for point in chooser.found["points"][config, number, 0, 0, :count]]
    if not listed:
        return []
    tpot = np.array([point[of.F_TPOT] for _, point in listed])
    cost = np.array([point[of.F_COST] for _, point in listed])
    kept, best = [], np.inf
    for at in np.lexsort((cost, tpot)):
        if cost[at] < best:
            best = cost[at]
            config, point = listed[at]
            kept.append((config, point[: of.FIGURES], point[of.FIGURES :].astype(np.int64)))
    return kept


def _pairs(chooser: Chooser, system: int) -> list[Choice]:
    """Two pools matched at every undominated decode pool."""
    from roofline.kernels import reduce as of
    from roofline.kernels.candidates import DECODE_POOL, PREFILL_POOL

    space = chooser.space
    prefill = pools_of(chooser, space, chooser.found, PREFILL_POOL, system, 0, 0)
    if prefill is None:
        return []
    terms, found = terms_of(chooser, 0, 0), []
    for config, figures, place in _undominated(chooser, DECODE_POOL, system):
        price = chooser.objective.price(space.systems[system])
        half = half_of(space, system, np.array([config]), figures[[of.F_WATTS]], price)
        one = Pools(figures[[of.F_COST]], figures[[of.F_RATE]], figures[[of.F_TPOT]], np.array([config]), (half,))
        pair = match(prefill, one, terms)
        if pair is not None:
            at = (figures, place)
            found.append(
                joined(chooser, "disaggregated", pair, space, chooser.found, prefill, system, one, None, at, 0, 0)
            )
    return found


def _dataset(rows: list[tuple[str, str, Choice]], aim: Objective) -> xr.Dataset:
    data: dict[str, Any] = {}
    for name, (units, text) in FIGURES.items():
        if name in ("memory", "memory_share", "nearest_factor"):
            continue
        values = np.array([choice.figures.get(name, np.nan) for _, _, choice in rows], dtype=np.float64)
        where = f" ({aim.where})" if name in AT_BOUNDARY else ""
        data[name] = ("point", values, {"units": units, "long_name": text + where})
    for name, text in TEXTS.items():
        if name != "nearest_miss":
            values = np.array([choice.texts.get(name, "") for _, _, choice in rows], dtype=object)
            data[name] = ("point", values, {"long_name": text})
    data["limit"] = ("point", np.zeros(len(rows), dtype=np.int8), LIMIT_FLAGS)
    coords = {
        "model": ("point", np.array([model for model, _, _ in rows], dtype=object)),
        "system": ("point", np.array([system for _, system, _ in rows], dtype=object)),
    }
    return xr.Dataset(data, coords=coords)
