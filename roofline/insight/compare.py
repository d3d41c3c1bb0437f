"""Two ways of serving compared: their ratio over interactivity, and at one interactivity what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline import provenance
from roofline.errors import InputError, unknown_name
from roofline.grid import axes
from roofline.grid.variables import LIMIT_FLAGS
from roofline.insight.attribution import Attribution, coalitions
from roofline.insight.mixtures import OF_WATTS, Side, differing, group_of, mixture, players
from roofline.insight.searches import (
    KEPT,
    MEASURES,
    Asked,
    Found,
    Measure,
    checked_measure,
    largest_replica,
    priced,
    search,
    usd_per_busy_hour,
)
from roofline.insight.shapley import MOST_PLAYERS
from roofline.planning.plan import slo_label, workload_label
from roofline.planning.variables import AT_BOUNDARY, FIGURES, TEXTS
from roofline.rack.energy import NAMEPLATE, check, check_vintage, describe
from roofline.serving.slo import SLO
from roofline.serving.workload import Workload
from roofline.specs import Model, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from roofline.rack.energy import Basis, Boundary

    Floats = NDArray[np.float64]

INTERACTIVITY = (20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 110, 125, 150, 175, 200)
"""Tokens/s of a user at which a curve is drawn unless others are asked for."""

SIDES = ("old", "new")
MOST_NAMED = 6
"""Undefined mixtures that a result names."""


def compare(
    old: Any,
    new: Any,
    *,
    model: axes.SheetLike,
    isl: Any = None,
    osl: Any = None,
    workload: Workload | Mapping[str, Any] | str | None = None,
    at: float = 50.0,
    interactivity: Sequence[float] = INTERACTIVITY,
    slo: SLO | Mapping[str, Any] | None = None,
    measure: str = "tokens_per_mwh",
    levers: str | Sequence[str] | None = None,
    attribution: bool = True,
    recipes: axes.SheetLike | None = None,
    most_accelerators: int | None = None,
    across: bool = True,
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    vintage: str | None = None,
    prices: Any = None,
    tier: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    parallel: bool = True,
    **both: Any,
) -> xr.Dataset:
    """The ratio of two systems over interactivity, and at one interactivity its factors.

    old, new : a system (sheet, name, path or mapping), or a `Side`, or a mapping of the fields of one with `system`:
        what runs on it.   both : fields of a `Side` that stand for both where they do not say: modes, acceptance,
        cached_share, load, stack, ffn_systems, usd_per_hour.
    model : one.   isl, osl : lengths, as `roofline.Workload` takes them; or workload.
    at : tokens/s of a user at which the ratio is taken apart.   interactivity : those of the curve; each is a limit on
        TPOT of its inverse, at the percentile of `slo`, which holds other limits.
    measure : what is taken apart: tokens_per_mwh, tokens_per_s_per_gpu, or tokens_per_usd.
    levers : which are moved by themselves or together, as in `mixtures.players`.   attribution : False: the curve only.
    recipes : those that every mixture may use; default those the model ships in that its accelerator computes as meant.
    most_accelerators : of a replica of either side; default those of the larger scale-up domain, or as many as hold
        the weights twice over.   across : whether a replica may span scale-up domains over scale-out.
    boundary, basis, vintage : where energy is counted, as in `roofline.rollup`.
    prices, tier : of accelerator-hours, as in `roofline.site`, for sides without a usd_per_hour; default SemiAnalysis
        InferenceX, of the vintage given, else its first. Where that has none of a side, nothing is said per USD.
    progress : called with (searches done, in all).

    In each of the 2^k mixtures recipe, mode, deployment, batch and drafts are searched again under the same limits.
    Where a mixture cannot meet them at `at`, its value is undefined: the factors are then those at the
    largest interactivity of the curve that all mixtures reach (`at_reported`); `undefined` names the mixtures.

    Returns a Dataset: by (side, interactivity) the measures and what was chosen, by interactivity the ratios, by lever
    factor, alone, last; by mixture its value; by (baseline, interactivity) the ratio to an old side that may do less.
    The product of the factors is `ratio`. Fidelity `serving`.
    Raises InputError for bad input. Equations (30) and (31) of docs/comparing.md.
    """
    kind = checked_measure(measure)
    sides = [Side.of(one, **both) for one in (old, new)]
    asked = _asked(
        model, sides, _workload(workload, isl, osl), slo, recipes, most_accelerators, across, boundary, basis, vintage,
        parallel,
    )  # fmt: skip
    _drafting(asked.model, sides)
    sides, paid = priced(sides, prices, tier, vintage, measure == "tokens_per_usd")
    points, place = _points(interactivity, at)
    moved = players(_felt(differing(*sides), measure, kind, asked), levers) if attribution else {}
    if len(moved) > MOST_PLAYERS:
        raise InputError(
            f"levers: {len(moved)} make 2^{len(moved)} mixtures; name groups, at most {MOST_PLAYERS} in all"
        )
    listed = coalitions(tuple(moved))
    done = 0

    def step(count: int, passes: int = 1) -> None:
        whole = 4 + passes * len(listed)
        if progress is not None:
            progress(min(done + count, whole), whole)

    step(0)
    main = search(sides, asked, points, kind.objective)
    done = 2
    step(0)
    other = search(sides, asked, points, next(m.objective for m in MEASURES.values() if m.objective != kind.objective))
    done = 4
    step(0)
    data = _curve(sides, main, other, kind, asked)
    data |= _baselines(sides, asked, points, measure, kind, main)
    coords: dict[str, Any] = {
        "interactivity": ("interactivity", points, {"units": "1/s", "long_name": "tokens a second of one user"}),
        "side": np.array(SIDES, dtype=object),
        "system": ("side", np.array([axes.label(side.system) for side in sides], dtype=object)),
        "system_name": ("side", np.array([side.name for side in sides], dtype=object)),
        "power_unknown": ("side", np.array([side.system.power_unknown for side in sides], dtype=object)),
    }
    found = _attributes(sides, asked, main, measure) | paid | {"at": f"{at:g}"}
    if attribution:
        more, about = _attributed(sides, asked, points, place, measure, kind, moved, main, step)
        data |= more
        found |= about
        coords["lever"] = np.array(list(moved), dtype=object)
        coords["lever_group"] = ("lever", np.array([group_of(name) for name in moved], dtype=object))
        coords["levers_moved"] = ("lever", np.array([", ".join(held) for held in moved.values()], dtype=object))
        coords["mixture"] = np.array([mixture_label(one, list(moved)) for one in listed], dtype=object)
    if not attribution:
        step(len(listed))
    return xr.Dataset(data, coords=coords, attrs=found)


def mixture_label(moved: frozenset[str], order: Sequence[str]) -> str:
    """`old`, or what has been moved: `flops + formats`."""
    return " + ".join(name for name in order if name in moved) or "old"


def _workload(workload: Any, isl: Any, osl: Any) -> Workload:
    if workload is not None:
        if isl is not None or osl is not None:
            raise InputError("workload, isl, osl: give either a workload or both lengths")
        return Workload.of(workload)
    if isl is None or osl is None:
        raise InputError(
            f"{'isl' if isl is None else 'osl'}: missing; give isl and osl in tokens, e.g. isl=1024, osl=1024"
        )
    return Workload(isl, osl)


def _asked(
    model: Any, sides: Sequence[Side], workload: Workload, slo: Any, recipes: Any, most: int | None, across: bool,
    boundary: Boundary, basis: Basis, vintage: str | None, parallel: bool,
) -> Asked:  # fmt: skip
    shapes = axes.sheets("model", Model, model)
    if len(shapes) != 1:
        raise InputError("model: several given; a comparison is of one")
    limits = _slo(slo)
    if limits.tpot_s < np.inf:
        raise InputError(f"slo: tpot_s = {limits.tpot_s:g} is set by the interactivity; leave it out and give `at`")
    if workload.cached or workload.cached_share or workload.duty != 1.0:
        raise InputError("workload: prefix and load belong to a side; give cached_share and load there, or for both")
    check(boundary, basis, 1.0, vintage)
    known = {axes.label(side.system): side.system.power.provisioned_w_per_accelerator for side in sides}
    check_vintage(vintage, known)
    named = None if recipes is None else tuple(axes.sheets("recipes", Recipe, recipes))
    reach = largest_replica(shapes[0], sides, named) if most is None else axes.count("most_accelerators", most)
    return Asked(shapes[0], workload, limits, named, boundary, basis, vintage, reach, bool(across), parallel)


def _drafting(model: Model, sides: Sequence[Side]) -> None:
    """Raise InputError where drafts are asked of a model that cannot make any."""
    if model.mtp is None and any(side.acceptance for side in sides):
        raise InputError(f"acceptance: {axes.label(model)} has no multi-token-prediction layers; leave it out")


def _slo(given: Any) -> SLO:
    if given is None or isinstance(given, SLO):
        return given or SLO()
    known = ("ttft_s", "tpot_s", "latency_s", "percentile")
    if not isinstance(given, Mapping):
        raise InputError(f"slo = {given!r}: give a roofline.SLO or a mapping of ttft_s, latency_s and percentile")
    for name in given:
        if name not in known:
            raise unknown_name("field of an SLO", str(name), known)
    return SLO(**given)


def _points(interactivity: Sequence[float], at: float) -> tuple[Floats, int]:
    """The interactivities of the curve, rising, with `at` among them, and its place."""
    try:
        points = np.unique(np.array([*interactivity, at], dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"interactivity {interactivity!r}, at {at!r}: give tokens/s of a user as numbers") from None
    wrong = points[~((points > 0.0) & np.isfinite(points))]
    if wrong.size:
        raise InputError(f"interactivity, at: {wrong[0]:g} tokens/s of a user; give numbers above 0")
    return points, int(np.searchsorted(points, float(at)))


def _felt(differ: Sequence[str], measure: str, kind: Measure, asked: Asked) -> list[str]:
    """Of the levers that differ, those that a measure can feel: others are null, whatever the mixture."""
    null = set() if measure == "tokens_per_usd" else {"price"}
    if measure == "tokens_per_s_per_gpu":
        null |= {"duty"}  # a rate is that of what runs
    if not kind.by_energy:
        null |= OF_WATTS
    elif asked.vintage is not None:
        null |= {"pue"}  # an all-in figure holds it
    elif asked.boundary != "facility":
        null |= {"pue"}
    return [name for name in differ if name not in null]


def _curve(sides: Sequence[Side], main: Found, other: Found, kind: Measure, asked: Asked) -> dict[str, Any]:
    """Levels of both sides, what was chosen, and their ratios."""
    dims = ("side", "interactivity")
    data: dict[str, Any] = {}
    energy, fast = (main, other) if kind.by_energy else (other, main)
    where = describe(asked.boundary, asked.basis, asked.vintage)
    priced = all(side.usd_per_hour is not None for side in sides)
    for name, one in MEASURES.items():
        if name == "tokens_per_usd" and not priced:
            continue
        values = (energy if one.by_energy else fast).value(name, sides)
        said = f"{one.meaning} ({where})" if one.by_energy else one.meaning
        data[name] = (dims, values, {"units": one.units, "long_name": f"most {said}"})
        about = {"units": "1", "long_name": f"{name} of new over old, each at its best"}
        data[f"ratio_{name}"] = ("interactivity", values[1] / values[0], about)
    total = fast.figures["total_tokens_per_s_per_gpu"]
    about = {"units": "1/s", "long_name": "input and output tokens a second per accelerator, where output is most"}
    data["total_tokens_per_s_per_gpu"] = (dims, total, about)
    if priced:
        rate = {"output": fast.figures["tokens_per_s_per_gpu"], "total": total}
        for basis, values in rate.items():
            cost = 1e6 * usd_per_busy_hour(sides)[:, None] / (3600.0 * values)
            about = {"units": "USD", "long_name": f"price of the accelerator-hours of a million {basis} tokens"}
            data[f"usd_per_million_{basis}_tokens"] = (dims, cost, about)
    for name in KEPT:
        if name not in data and name != "nearest_factor":
            units, text = FIGURES[name]
            at = f" ({where})" if name in AT_BOUNDARY else ""
            data[name] = (dims, main.figures[name], {"units": units, "long_name": text + at})
    for name, text in TEXTS.items():
        data[name] = (dims, main.texts[name], {"long_name": text})
    data["nearest_factor"] = (
        dims,
        main.figures["nearest_factor"],
        {"units": "1", "long_name": FIGURES["nearest_factor"][1]},
    )
    data["limit"] = (dims, main.limit, LIMIT_FLAGS)
    return data


def _baselines(
    sides: Sequence[Side], asked: Asked, points: Floats, measure: str, kind: Measure, main: Found
) -> dict[str, Any]:
    """The ratio to old sides that may do less than the one asked for: what was not allowed is in the ratio."""
    old = sides[0]
    base = f"as asked: replicas of up to {asked.most} accelerators" + ("" if asked.across else " within one domain")
    found = {base: main.value(measure, sides)[0]}
    asides = [("no drafts", old.replace(acceptance=None), asked.across)] if old.acceptance else []
    if asked.across and asked.most > old.system.scale_up.domain:
        within = f"replicas within one domain of {old.system.scale_up.domain}"
        asides.append((within, old, False))
        asides += [(f"{within}, no drafts", old.replace(acceptance=None), False)] if old.acceptance else []
    if len(old.modes) > 1 and "aggregated" in old.modes:
        asides.append(("aggregated alone", old.replace(modes=("aggregated",), ffn_systems=()), asked.across))
    for name, side, across in asides:
        one = search([side], replace(asked, across=across), points, kind.objective)
        found[name] = one.value(measure, [side])[0]
    ratios = main.value(measure, sides)[1] / np.array(list(found.values()))
    about = {"units": "1", "long_name": f"{measure} of new, as asked, over an old side that may do no more than this"}
    return {
        "baseline_ratio": (("baseline", "interactivity"), ratios, about),
        "baseline": ("baseline", np.array(list(found), dtype=object)),
    }


def _attributed(
    sides: Sequence[Side],
    asked: Asked,
    points: Floats,
    place: int,
    measure: str,
    kind: Measure,
    moved: Mapping[str, tuple[str, ...]],
    main: Found,
    step: Callable[..., None],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Factors of every player, values of every mixture, and where they are of."""
    listed = coalitions(tuple(moved))
    mixed = [_mixed(sides, moved, one) for one in listed]
    found, column, reported = search(mixed, asked, points[place : place + 1], kind.objective, step), 0, points[place]
    values, reasons = found.value(measure, mixed)[:, 0], found.reasons[:, 0]
    lost = np.flatnonzero(np.isnan(values))
    named = [f"{mixture_label(listed[n], list(moved))}: {reasons[n] or 'its watts are undisclosed'}" for n in lost]
    below = np.flatnonzero(np.isfinite(main.value(measure, sides)).all(axis=0) & (points < points[place]))
    if lost.size and below.size:  # the largest that all reach is at most the largest that both ends reach
        lower = search(mixed, asked, points[below], kind.objective, lambda count: step(len(listed) + count, 2))
        reached = np.flatnonzero(np.isfinite(lower.value(measure, mixed)).all(axis=0))
        if reached.size:
            found, column, reported = lower, int(reached[-1]), points[below[reached[-1]]]
            values = found.value(measure, mixed)[:, column]
    parts = Attribution(tuple(moved), values)
    texts = [found.texts[name][:, column] for name in ("mode", "deployment", "recipe")]
    served = [", ".join(words) if words[0] else "" for words in zip(*texts, strict=True)]
    one = MEASURES[measure]
    data: dict[str, Any] = {
        "factor": ("lever", parts.factors, {"units": "1", "long_name": "Shapley factor; all multiply to the ratio"}),
        "alone": ("lever", parts.alone, {"units": "1", "long_name": "ratio with this lever moved and no other"}),
        "last": ("lever", parts.last, {"units": "1", "long_name": "ratio of all levers moved to all but this one"}),
        "mixture_value": ("mixture", values, {"units": one.units, "long_name": f"most {one.meaning} of a mixture"}),
        "mixture_served": ("mixture", np.array(served, dtype=object), {"long_name": "mode, deployment, recipe"}),
    }
    more = len(named) - MOST_NAMED
    return data, {
        "at_reported": f"{reported:g}" if np.isfinite(parts.values).all() else "",
        "ratio": repr(parts.ratio) if np.isfinite(parts.ratio) else "",
        "undefined": "; ".join(named[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else ""),
        "mixtures": str(len(mixed)),
    }


def _mixed(sides: Sequence[Side], moved: Mapping[str, tuple[str, ...]], names: frozenset[str]) -> Side:
    """The side in which the levers of some players have been moved; the ends are the sides themselves."""
    if len(names) in (0, len(moved)):
        return sides[1 if names else 0]
    return mixture(sides[0], sides[1], frozenset(lever for name in names for lever in moved[name]))


def _attributes(sides: Sequence[Side], asked: Asked, main: Found, measure: str) -> dict[str, str]:
    """Provenance of a comparison."""
    digests = [pair for side in sides for one in (side.system, *side.ffn_systems) for pair in one.digests.items()]
    found = provenance.attributes(fidelity="serving", boundary=asked.boundary, basis=asked.basis, sheets=digests)
    found["sheets"] = " ".join(sorted({*found["sheets"].split(), *main.attrs["sheets"].split()}))
    vintage = (asked.vintage or NAMEPLATE) if asked.basis == "provisioned" else ""

    def said(name: str) -> str:
        given = [getattr(side, name) for side in sides]
        words = [
            "none" if one in (None, ()) else ", ".join(map(_word, one)) if isinstance(one, tuple) else _word(one)
            for one in given
        ]
        return words[0] if words[0] == words[1] else f"old {words[0]}; new {words[1]}"

    return found | {
        "pass": "compare",
        "measure": measure,
        "model": axes.label(asked.model),
        "workload": workload_label(asked.workload),
        "slo": slo_label(asked.slo),
        "vintage": vintage,
        "most_accelerators": str(asked.most),
        "across_domains": "yes" if asked.across else "no",
        "modes": said("modes"),
        "acceptance": said("acceptance"),
        "cached_share": said("cached_share"),
        "duty": said("load"),
        "stack": said("stack"),
        "usd_per_hour": said("usd_per_hour"),
    }


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "id", value))
