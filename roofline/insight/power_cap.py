"""What a cap of watts on every accelerator costs and saves: tokens/MWh and TPOT against the cap, and the best cap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError
from roofline.insight.capped import PHASES, Capped
from roofline.insight.clock import Clock
from roofline.insight.holding import held_plan
from roofline.serving.slo import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from roofline.grid import axes
    from roofline.insight.held import Held

    Floats = NDArray[np.float64]

TIGHTER = (0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.76, 0.73, 0.7, 0.65, 0.6, 0.55, 0.5, 0.4)
"""Of the limits: plans for these are what is chosen among under a cap. They have time to lose."""

MOST_CAPS = 2_000
SHARES_OF_TDP = tuple(share / 40 for share in range(12, 41))
"""Caps where none are given: 30 % of the TDP to all of it."""
SLACK = 1e-9
"""Of a limit: rounding does not miss it."""

COMPARED = {
    "tokens_per_mwh": "tokens/MWh over those without a cap",
    "tokens_per_s_per_gpu": "output tokens/s over those without a cap",
    "tpot": "TPOT over that without a cap",
    "ttft": "TTFT over that without a cap",
    "power": "mean draw over that without a cap",
}
"""Figures that are also given over those of the held plan without a cap."""

_OF_PHASE = {
    "clock": ("1", "clock over the rated one of {}"),
    "power": ("W", "draw of one accelerator in {}"),
    "time": ("s", "time of {}"),
    "rated_power": ("W", "draw without a cap in {}"),
}


def power_cap(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    caps: ArrayLike | None = None,
    workload: Any,
    slo: Any = None,
    replan: bool = False,
    clock: Clock | Mapping[str, float] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Figures of a plan whose accelerators may each draw no more than a cap, for every cap.

    caps : W of one accelerator, above 0; default 30 to 100 % of the TDP.
    replan : also choose anew for every cap, among the plan and the plans for tighter limits (`TIGHTER`), each held
        under the cap; needs an SLO with a limit. Without, mode, recipe, degrees and batch are those of the plan without
        a cap, and a plan that is at a limit has no time to lose.
    clock : how draw follows the clock, or some of its numbers by name; all are `estimated`, with bands in
        `roofline.insight.clock.BANDS`.   options : of `roofline.plan`, one value each, `boundary` and `basis` too.

    Returns a Dataset with dims (choice, cap): held, and replanned where asked for. All figures of a held plan; those in
    question over the ones without a cap (`tokens_per_mwh_ratio`, `tpot_ratio` ...); by phase (`decode`, `prompt`) the
    clock, draw and time of a step; `meets_slo`; `deployment` in words; `reason`, why there is no figure: then all are
    NaN. By choice: `best_cap`, of those that meet the SLO the lowest of the caps at which the objective is best, with
    `best_tokens_per_mwh_ratio` and `best_tpot_ratio`, and `least_cap`, the draw at the least clock. Scalars
    `uncapped_...`. Idle accelerators, hosts and duty are charged as `roofline.rollup` does. On the basis `provisioned`
    what is set aside of an accelerator is the cap where that is below its TDP, and of a system as much less.
    Raises `InputError` for bad input, where nothing can be held or draw is undisclosed, and for a `vintage`, which is
    of systems without a cap.
    """
    given_w, model_of_clock = None if caps is None else _caps(caps), Clock.of(clock)
    if options.get("vintage") is not None:
        raise InputError(f"vintage {options['vintage']!r} is a figure of systems without a cap; leave it out")
    held = held_plan(model, system, recipe, workload=workload, slo=slo, **options)
    rated = {name: float(value[0]) for name, value in held.figures(held.numbers.base()).items()}
    if np.isnan(rated["power"]):
        unknown = next(one.system.power_unknown for one in held.numbers.sides if one.system.power_unknown)
        raise InputError(f"nothing to cap: {unknown}")
    caps_w = given_w if given_w is not None else np.array(SHARES_OF_TDP) * float(held.numbers.sides[0].machine["tdp_w"])
    lead = "tokens_per_mwh" if held.objective.by_energy else "tokens_per_s_per_gpu"
    choices = {"held": _row(held, caps_w, model_of_clock)}
    if replan:
        again = _others(held, model, system, recipe, workload, options)
        rows = [choices["held"], *(_row(one, caps_w, model_of_clock) for one in again)]
        choices["replanned"] = _best_of(rows, lead)
    data: dict[str, Any] = {}
    for name, (units, meaning) in _about(held).items():
        values = np.stack([row.values[name] for row in choices.values()])
        data[name] = (("choice", "cap"), values, {"long_name": meaning} | ({"units": units} if units else {}))
    for name, meaning in COMPARED.items():
        ratio = data[name][1] / rated[name]
        data[f"{name}_ratio"] = (("choice", "cap"), ratio, {"units": "1", "long_name": meaning})
    data |= _best(data, lead, caps_w)
    data["least_cap"] = (
        "choice",
        [row.least_w for row in choices.values()],
        {"units": "W", "long_name": "lowest cap that the slowest clock meets in every phase"},
    )
    for name in COMPARED:
        units, meaning = held.about[name]
        data[f"uncapped_{name}"] = ((), rated[name], {"units": units, "long_name": f"{meaning}, without a cap"})
    coords = {
        "choice": np.array(list(choices), dtype=object),
        "cap": ("cap", caps_w, {"units": "W", "long_name": "most that one accelerator may draw"}),
    }
    numbers = ", ".join(f"{name} {value:g}" for name, value in vars(model_of_clock).items())
    attributes = held.attributes | {"label": held.label, "lead": lead, "clock": f"{numbers} (estimated)"}
    attributes |= {f"{name}_limit_s": f"{limit:g}" for name, limit in held.asked.slos[0].limits.items()}
    return xr.Dataset(data, coords=coords, attrs=attributes | {"held": "plan, capped"})


def _caps(given: ArrayLike) -> Floats:
    """Rising caps [W] without repeats. Raises InputError."""
    try:
        found = np.unique(np.atleast_1d(np.asarray(given, dtype=np.float64)))
    except (TypeError, ValueError):
        raise InputError(f"caps = {given!r}: give watts of one accelerator, e.g. [400, 500, 600]") from None
    if found.ndim != 1 or not 0 < found.size <= MOST_CAPS or np.asarray(given).dtype == bool:
        raise InputError(f"caps: give 1 to {MOST_CAPS} numbers of watts, e.g. [400, 500, 600]")
    wrong = found[~(np.isfinite(found) & (found > 0.0))]
    if wrong.size:
        raise InputError(f"caps: {wrong[0]:g} W; a cap is a number of watts above 0")
    return found


def _about(held: Held) -> dict[str, tuple[str, str]]:
    """Variable -> (units, meaning); words have no units."""
    found = dict(held.about)
    for phase, words in PHASES.items():
        found |= {f"{phase}_{name}": (units, text.format(words)) for name, (units, text) in _OF_PHASE.items()}
    found["meets_slo"] = ("1", "1 where all limits are met")
    found["deployment"] = ("", "what runs")
    found["reason"] = ("", "why there is no figure")
    return found


@dataclass(frozen=True)
class _Row:
    """A choice under all caps.

    values : variables of the Dataset by name, one value a cap.   factors : over limits, float64[3, caps].
    least_w : the lowest cap it can meet [W].
    """

    values: dict[str, Any]
    factors: Floats
    least_w: float


def _row(held: Held, caps_w: Floats, clock: Clock) -> _Row:
    """A held deployment under all caps."""
    capped = Capped.of(held, caps_w, clock)
    figures, phases = capped.capped(), capped.phases
    values: dict[str, Any] = dict(figures)
    runs = np.isfinite(figures["power"])
    for name, one in phases.items():
        for key, value in zip(_OF_PHASE, (one.clock, one.watts, one.time_s, one.rated_w), strict=True):
            values[f"{name}_{key}"] = value if key.startswith("rated") else np.where(runs, value, np.nan)
    untouched = np.all([phase.clock == 1.0 for phase in phases.values()], axis=0)
    factors = held.asked.slos[0].factors(*(figures[name] for name in ("ttft", "tpot", "request_latency")))
    values["meets_slo"] = (runs & ((factors.max(axis=0) <= 1.0 + SLACK) | untouched)).astype(np.int8)
    values["deployment"] = np.where(runs, held.label, "").astype(object)
    values["reason"] = np.array([_why(phases, n, clock) for n in range(caps_w.size)], dtype=object)
    return _Row(values, factors, max(float(phase.least_w[0]) for phase in phases.values()))


def _why(phases: Mapping[str, Any], n: int, clock: Clock) -> str:
    """Which phase cannot meet a cap; an empty string where all do."""
    late = {name: float(phase.least_w[n]) for name, phase in phases.items() if np.isnan(phase.clock[n])}
    if not late:
        return ""
    worst = max(late, key=late.__getitem__)
    return f"{PHASES[worst]} draws {late[worst]:.4g} W at the least clock, {clock.least_clock:g} of the rated one"


def _others(held: Held, model: Any, system: Any, recipe: Any, workload: Any, options: Mapping[str, Any]) -> list[Held]:
    """Plans for tighter limits, judged by the limits that were asked for; each deployment once."""
    slo = held.asked.slos[0]
    if not slo.limits:
        raise InputError("replan: give an SLO with a limit; without one the plan has all the time there is")
    found = {held.label: held}
    for tighter in _tighter(slo):
        try:
            one = held_plan(model, system, recipe, workload=workload, slo=tighter, **options)
        except InputError:  # nothing is that fast, or what is cannot be held
            continue
        found.setdefault(one.label, replace(one, asked=held.asked))
    return [one for one in found.values() if one is not held]


def _tighter(slo: Any) -> Iterator[Any]:
    """Limits all times a factor, and where there are several that of TPOT alone."""
    for names in {tuple(slo.limits), tuple(name for name in ("tpot",) if name in slo.limits)}:
        for factor in TIGHTER if names else ():
            yield replace(slo, **{f"{name}_s": factor * slo.limits[name] for name in names})


def _best_of(rows: Iterable[_Row], lead: str) -> _Row:
    """At every cap the row that is best of those that meet the SLO, the first on a tie."""
    listed = list(rows)
    score = np.stack([np.where(row.values["meets_slo"] == 1, row.values[lead], -np.inf) for row in listed])
    winner, at = score.argmax(axis=0), np.arange(score.shape[1])
    some = np.isfinite(score.max(axis=0))
    values: dict[str, Any] = {}
    for name, first in listed[0].values.items():
        taken = np.stack([row.values[name] for row in listed])[winner, at]
        none = np.nan if first.dtype.kind == "f" else 0 if first.dtype.kind == "i" else ""
        values[name] = np.where(some, taken, none).astype(first.dtype)
    worst = np.stack([row.factors.max(axis=0) for row in listed])
    for n in np.flatnonzero(~some):
        r = int(worst[:, n].argmin())
        missed = LIMITS[int(listed[r].factors[:, n].argmax())]
        said = f"no plan meets the SLO: the nearest has {worst[r, n]:.4g} times the limit on {missed}"
        late = min((row for row in listed), key=lambda row: row.least_w).values["reason"][n]
        values["reason"][n] = said if np.isfinite(worst[r, n]) else late
    factors = np.stack([row.factors for row in listed])[winner, :, at].T
    return _Row(values, factors, min(row.least_w for row in listed))


def _best(data: Mapping[str, Any], lead: str, caps_w: Floats) -> dict[str, Any]:
    """The best cap of each choice and what it brings; NaN where no cap can be met within the limits."""
    score = np.where(data["meets_slo"][1] == 1, data[lead][1], -np.inf)
    at, runs = score.argmax(axis=1), np.isfinite(score.max(axis=1))
    rows = np.arange(at.size)
    found: dict[str, Any] = {
        "best_cap": ("choice", np.where(runs, caps_w[at], np.nan), {"units": "W", "long_name": f"cap of most {lead}"})
    }
    for name, meaning in COMPARED.items():
        value = np.where(runs, data[f"{name}_ratio"][1][rows, at], np.nan)
        found[f"best_{name}_ratio"] = ("choice", value, {"units": "1", "long_name": f"{meaning}, at the best cap"})
    return found


def sentence(ds: xr.Dataset, choice: str = "held") -> str:
    """`held: best at 540 W: 8.0 % more tokens/MWh, 2.9 % less tokens/s, 0.0 % more TPOT ...`; why, where none is."""
    one = ds.sel(choice=choice)
    best = float(one["best_cap"])
    if not np.isfinite(best):
        return f"{choice}: no cap can be met within the limits; the slowest clock draws {float(one['least_cap']):.4g} W"
    if all(float(one[f"best_{name}_ratio"]) == 1.0 for name in COMPARED):
        return f"{choice}: no cap is better than none; at {best:g} W the cap no longer binds"
    names = {"tokens_per_mwh": "tokens/MWh", "tokens_per_s_per_gpu": "tokens/s", "tpot": "TPOT", "ttft": "TTFT"}
    said = []
    for name, words in names.items():
        share = 100.0 * (float(one[f"best_{name}_ratio"]) - 1.0)
        said.append(f"{abs(share):.1f} % {'more' if share >= 0.0 else 'less'} {words}")
    return f"{choice}: best at {best:g} W: {', '.join(said)} than without a cap"
