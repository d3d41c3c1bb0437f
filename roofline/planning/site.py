"""A site of a given power: which plan each system runs there, how much it serves, what it draws and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.variables import limit_reason
from roofline.layout import Limit
from roofline.planning.money import PRICED, bill_of
from roofline.planning.parts import Chosen
from roofline.planning.plan import DIMS, plan
from roofline.planning.site_variables import FIGURES, KEPT, SOLD, STATED, TEXTS
from roofline.rack.cost import HOURS_A_DAY, JOULES_PER_KWH, MILLION, SECONDS_AN_HOUR, Bill, footprint, spent
from roofline.rack.day import hours_of
from roofline.rack.energy import JOULES_PER_MWH, check, check_vintage, describe
from roofline.rack.hall import Pue
from roofline.rack.site import LIMIT_FLAGS, Filled, SiteLimit, fill, watts_of
from roofline.serving.workload import HOURS, Workload
from roofline.specs import Facility, Model, Recipe, System
from roofline.specs.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from roofline.rack.day import DayLike
    from roofline.rack.energy import Basis
    from roofline.serving.slo import SLO

SECONDS_A_DAY = HOURS_A_DAY * SECONDS_AN_HOUR


def site(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    power: float | str,
    workload: Workload | Mapping[str, Any] | str | PathLike[str] | Sequence[Any],
    slo: SLO | Mapping[str, Any] | Sequence[Any] | None = None,
    load: DayLike | None = None,
    bill: Bill | Mapping[str, Any] | None = None,
    basis: Basis = "metered",
    vintage: str | None = None,
    facility: axes.SheetLike | None = None,
    pue: float | Mapping[float, float] | Sequence[tuple[float, float]] | None = None,
    stack: Any = "default",
    prefill_systems: axes.SheetLike | None = None,
    ffn_systems: axes.SheetLike | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """What a site of a given power serves, draws, earns and costs with each system, each at its best plan.

    models, systems, recipes, workload, slo, stack, prefill_systems, ffn_systems, progress : as in `roofline.plan`, and
        so are `options` (objective, modes, acceptance, most_accelerators ...).
    power : at the facility's meter, watts or text as 1MW.
    load : of the day, as `rack.day.hours_of` reads it: a share, 24, a named shape or a CSV; default the workload's own.
    bill : what is paid, a `Bill` or its fields; default prices of SemiAnalysis InferenceX, of the vintage given, else
        the first, for hyperscalers, and 0.07 USD/kWh.
    basis : how systems are counted against the power: `metered`, what they draw with every replica at work, or
        `provisioned`, what is set aside for them: nameplate or the all-in watts of a `vintage`. Plans are sought, and
        systems counted, on this basis; what is drawn and paid is metered.
    facility, pue : in place of each system's own. A PUE by load is given as {share: PUE}, of shares of what the racks
        draw with every replica at work; plans are sought with that at full load.

    Returns a Dataset with dims (model, system, workload, slo): figures of the site, those of a unit of the plan beside
    them, and `load` by workload and hour. Where a site serves nothing it is NaN, and `site_limit` and `site_reason` say
    why; `rack_limited` says what the power of a rack leaves idle. Costs are NaN where an accelerator has no price.
    Raises `InputError` as `roofline.plan`, for a power, load, price or PUE that is none, and for a `boundary`.
    """
    power_w = watts_of(power)
    check("facility", basis, 1.0, vintage)
    if "boundary" in options:
        raise InputError(f"boundary {options['boundary']!r}: a site is counted at the facility; leave it out")
    paid = bill_of(bill, vintage)
    shapes, boxes = axes.sheets("models", Model, models), axes.sheets("systems", System, systems)
    helpers = [] if prefill_systems is None else axes.sheets("prefill_systems", System, prefill_systems)
    others = [] if ffn_systems is None else axes.sheets("ffn_systems", System, ffn_systems)
    curve = Pue.of(pue) if isinstance(pue, Mapping | Sequence) and not isinstance(pue, str) else None
    fixed = pue if curve is None else curve.at(1.0)
    boxes, helpers, others = (_housed(listed, facility, fixed) for listed in (boxes, helpers, others))
    everything = {axes.label(system): system for system in (*helpers, *others, *boxes)}
    check_vintage(vintage, {name: system.power.provisioned_w_per_accelerator for name, system in everything.items()})
    paid.check_vintage(vintage)
    named = None if recipes is None else axes.sheets("recipes", Recipe, recipes)
    asked = [_loaded(one, load) for one in (workload if isinstance(workload, list | tuple) else [workload])]
    server = Stack.load(stack)
    ds = plan(
        shapes,
        boxes,
        named,
        workload=asked,
        slo=slo,
        stack=server,
        prefill_systems=helpers or None,
        ffn_systems=others or None,
        basis=basis,
        vintage=vintage,
        progress=progress,
        bill=paid if options.get("objective") in PRICED else None,
        **options,
    )
    by_recipe = {axes.label(recipe): recipe for recipe in named or []}
    result = _Result(ds, paid, curve)
    for at in np.ndindex(*(ds.sizes[dim] for dim in DIMS)):
        cell = ds.isel(dict(zip(DIMS, at, strict=True)))
        chosen = Chosen(cell, shapes[at[0]], everything, by_recipe, asked[at[2]], server)
        result.put(at, chosen, power_w, basis, vintage)
    return result.dataset(power_w, basis, vintage, asked)


def by_hour(ds: xr.Dataset) -> xr.Dataset:
    """A site hour by hour: dims (model, system, workload, slo, hour) of load, power [W] and output_tokens_per_s [1/s].

    ds : a result of `site`. Raises InputError for another Dataset.
    """
    if "power_running" not in ds:
        raise InputError("by_hour: give a Dataset that site returned")
    load = ds["load"]
    drawn = load * ds["power_running"] + (1.0 - load) * ds["power_idle"]
    if "pue_by_load" in ds.attrs:
        curve = Pue.of([point.split(":") for point in ds.attrs["pue_by_load"].split(",")])
        racks = load * ds["rack_power_running"] + (1.0 - load) * ds["rack_power_idle"]
        network = ds["power_running"] / curve.at(1.0) - ds["rack_power_running"]
        drawn = (racks + network) * xr.apply_ufunc(curve.at, racks / ds["rack_power_running"], vectorize=True)
    rates = load * ds["output_tokens_per_s"]
    order = (*DIMS, "hour")
    where = describe("facility", "metered")
    return xr.Dataset(
        {
            "power": drawn.transpose(*order).assign_attrs(units="W", long_name=f"mean power of the site ({where})"),
            "output_tokens_per_s": rates.transpose(*order).assign_attrs(
                units="1/s", long_name="output tokens a second"
            ),
        },
        attrs=ds.attrs,
    )


def _housed(systems: list[System], facility: axes.SheetLike | None, pue: Any) -> list[System]:
    """Systems in another hall. Raises InputError for a PUE that is none."""
    if facility is not None:
        building = Facility.load(facility)
        systems = [system.model_copy(update={"facility": building}) for system in systems]
    if pue is None:
        return systems
    return [system.replace(facility__pue=pue, facility__fixed_overhead=0.0) for system in systems]


def _loaded(workload: Any, load: DayLike | None) -> Workload:
    return Workload.of(workload) if load is None else Workload.of(workload, load=hours_of(load))


class _Result:
    """Arrays of a site as they fill."""

    def __init__(self, ds: xr.Dataset, bill: Bill, pue: Pue | None) -> None:
        self.ds, self.bill, self.pue = ds, bill, pue
        self.shape = tuple(ds.sizes[dim] for dim in DIMS)
        stated = footprint(bill, 0.0, 0.0, 1.0)
        sold = SOLD if bill.sold_usd_per_mtok is not None or bill.sold_usd_per_mtok_input is not None else {}
        self.about = FIGURES | {name: STATED[name] for name in stated} | sold
        self.figures = {name: np.full(self.shape, np.nan) for name in self.about}
        self.texts = {name: np.full(self.shape, "", dtype=object) for name in TEXTS}
        self.limit = np.zeros(self.shape, dtype=np.int8)

    def put(self, at: tuple[int, ...], chosen: Chosen, power_w: float, basis: Basis, vintage: str | None) -> None:
        """Fill a site with what was chosen for a cell, and write what comes of it."""
        if not chosen.runs:
            trips = chosen.number("limit") == Limit.RACK
            self._none(at, Filled(limit=SiteLimit.RACK_POWER if trips else SiteLimit.PLAN, reason=_why_no_plan(chosen)))
            return
        filled = fill(chosen.parts(), power_w, basis, vintage, self.pue)
        if filled.limit is not SiteLimit.NONE:
            self._none(at, filled)
            return
        for name, value in self._figures(chosen, filled, power_w).items():
            self.figures[name][at] = value
        kinds = sorted({one.part.accelerator for one in filled.placed})
        grades = {self.bill.grade(kind) for kind in kinds}
        lowest = next((grade for grade in ("", "estimated", "measured", "published") if grade in grades), "")
        self.texts["rack_limited"][at], self.texts["price_grade"][at] = filled.rack_limited, lowest

    def _none(self, at: tuple[int, ...], filled: Filled) -> None:
        self.limit[at], self.texts["site_reason"][at] = filled.limit, filled.reason

    def _figures(self, chosen: Chosen, filled: Filled, power_w: float) -> dict[str, float]:
        workload, rate = chosen.workload, filled.units * chosen.number("request_rate")
        output, duty = rate * workload.mean_osl, workload.duty
        out_day, in_day = (SECONDS_A_DAY * duty * rate * size for size in (workload.mean_osl, workload.mean_isl))
        joules = SECONDS_A_DAY * filled.mean(workload.hours, "facility")
        accelerators = sum(one.accelerators for one in filled.placed)
        found = {
            "units": filled.units,
            "systems": sum(one.systems for one in filled.placed),
            "site_accelerators": accelerators,
            "idle_accelerators": sum(one.idle_accelerators for one in filled.placed),
            "site_power": power_w,
            "power_taken": filled.taken_w,
            "power_left": power_w - filled.taken_w,
            "power_running": filled.at(1.0, "facility"),
            "power_idle": filled.at(0.0, "facility"),
            "rack_power_running": filled.at(1.0, "rack"),
            "rack_power_idle": filled.at(0.0, "rack"),
            "output_tokens_per_s": output,
            "input_tokens_per_s": rate * workload.mean_isl,
            "output_tokens_per_s_per_mw": output / power_w * 1e6,
            "total_tokens_per_s_per_mw": rate * (workload.mean_osl + workload.mean_isl) / power_w * 1e6,
            "users": filled.units * chosen.number("concurrency"),
            "output_tokens_per_day": out_day,
            "input_tokens_per_day": in_day,
            "energy_per_day": joules,
            "tokens_per_mwh": JOULES_PER_MWH * out_day / joules,
            "joules_per_token_at_boundary": joules / out_day,
        }
        for role in ("prefill", "decode", "ffn", "serving"):
            listed = [one for one in filled.placed if one.part.role == role]
            if listed and role != "serving":
                found[f"{role}_systems"] = listed[0].systems
            if listed and role in ("serving", "decode"):
                found["replicas_per_system"] = listed[0].per_group / listed[0].part.systems
        return found | self._money(filled, workload.hours, in_day, out_day)

    def _money(self, filled: Filled, loads: Sequence[float], in_day: float, out_day: float) -> dict[str, float]:
        hours: dict[str, tuple[float, float]] = {}
        kwh = prompts_kwh = rack_kwh = 0.0
        for one in filled.placed:
            whole, prompts = hours.get(one.part.accelerator, (0.0, 0.0))
            stands = one.accelerators * HOURS_A_DAY
            hours[one.part.accelerator] = whole + stands, prompts + stands * one.part.prompts
            drawn = filled.mean(loads, "facility", one) * SECONDS_A_DAY / JOULES_PER_KWH
            kwh, prompts_kwh = kwh + drawn, prompts_kwh + drawn * one.part.prompts
            rack_kwh += filled.mean(loads, "rack", one) * SECONDS_A_DAY / JOULES_PER_KWH
        money = spent(self.bill, hours, (kwh, prompts_kwh))
        found = money.per_mtok(in_day, out_day) | footprint(self.bill, kwh, rack_kwh, out_day)
        found |= {"usd_per_day": money.total, "energy_usd_per_day": money.energy}
        if "revenue_per_day" in self.figures:
            sold = in_day * (self.bill.sold_usd_per_mtok_input or 0.0) + out_day * (self.bill.sold_usd_per_mtok or 0.0)
            found |= {"revenue_per_day": sold / MILLION, "margin_per_day": sold / MILLION - money.total}
        return found

    def dataset(self, power_w: float, basis: Basis, vintage: str | None, asked: list[Workload]) -> xr.Dataset:
        """All of it, with what the plan says of each unit, and provenance."""
        where = describe("facility", "metered")
        data: dict[str, Any] = {}
        for name, (units, text) in self.about.items():
            said = text.format(metered=where, basis=describe("facility", basis, vintage))
            data[name] = (DIMS, self.figures[name], {"units": units, "long_name": said})
        for name, text in TEXTS.items():
            data[name] = (DIMS, self.texts[name], {"long_name": text})
        data["site_limit"] = (DIMS, self.limit, LIMIT_FLAGS)
        kept = self.ds[[name for name in KEPT if name in self.ds]].rename(accelerators="unit_accelerators")
        load = np.array([workload.hours for workload in asked])
        about = {"units": "1", "long_name": "share of what the site can serve that is asked in an hour"}
        found = kept.assign(data).assign_coords(load=(("workload", "hour"), load, about), hour=np.arange(HOURS))
        attributes = self.ds.attrs | self.bill.attributes | {"pass": "site", "site_power_w": f"{power_w:g}"}
        if self.bill.sheet is not None:
            digests = [f"{name}={value}" for name, value in self.bill.sheet.digests.items()]
            attributes["sheets"] = " ".join(sorted({*attributes["sheets"].split(), *digests}))
        attributes |= {} if self.pue is None else {"pue_by_load": str(self.pue)}
        filled_by = describe("facility", basis, vintage)
        return found.assign_attrs(attributes | {"basis": "metered", "vintage": "", "filled_by": filled_by})


def _why_no_plan(chosen: Chosen) -> str:
    missed = chosen.text("nearest_miss")
    if missed:
        return f"the nearest candidate is {chosen.number('nearest_factor'):.3g} times over the limit of {missed}"
    return limit_reason(int(chosen.number("limit")))
