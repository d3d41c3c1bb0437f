"""The choice of a plan as something that can be held: one model, system, workload and SLO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.errors import InputError
from roofline.grid.variables import limit_reason
from roofline.insight.held import Held
from roofline.insight.parameters import Numbers, Side
from roofline.planning.money import PRICED, UsdPerMtok, bill_of, objective_of
from roofline.planning.plan import plan
from roofline.planning.question import question
from roofline.specs import Facility, Model, Recipe, System

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from roofline.grid import axes
    from roofline.rack.cost import Bill


def held_plan(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    workload: Any,
    slo: Any = None,
    facility: axes.SheetLike | None = None,
    bill: Bill | Mapping[str, Any] | None = None,
    **options: Any,
) -> Held:
    """The best plan of one model on one system for one workload and SLO, held.   options : of `roofline.plan`.

    bill : what is paid, for the cost of a token beside the other figures, and for an objective in money.

    Raises InputError where nothing can be chosen, with the reason; where the choice has its feed-forwards apart, which
    cannot be held; where more than one of anything is given; and as `roofline.plan`.
    """
    shape, box = _one("model", Model, model), _one("system", System, system)
    if facility is not None:
        box = box.model_copy(update={"facility": Facility.load(facility)})
    boundary, basis = options.get("boundary", "facility"), options.get("basis", "metered")
    sought, vintage = options.get("objective", "tokens_per_mwh"), options.get("vintage")
    paid = None if bill is None and sought not in PRICED else bill_of(bill, vintage)
    of_money = paid if sought in PRICED else None
    ds = plan(shape, box, recipe, workload=workload, slo=slo, bill=of_money, **options)
    if any(ds.sizes[dim] != 1 for dim in ("model", "system", "workload", "slo")):
        raise InputError("one model, system, workload and SLO at a time: an answer is held, not a table of them")
    chosen = ds.isel(model=0, system=0, workload=0, slo=0)
    if not chosen["mode"].item():
        raise InputError(f"nothing to hold: {_why_none(chosen)}")
    if chosen["mode"].item() == "attention_ffn":
        raise InputError("mode attention_ffn cannot be held: choose among others, e.g. disaggregated")
    chunk = options.get("chunk")
    asked = question(
        workload, slo, stack=options.get("stack", "default"), chunks=chunk, acceptance=options.get("acceptance"),
        rate=options.get("rate"),
    )  # fmt: skip
    objective = objective_of(sought, boundary, basis, vintage, of_money, (asked.workloads[0].duty,))
    sides = [Side.of(shape, box, _recipe(recipe, chosen["recipe"].item()), "kernel")]
    if chosen["mode"].item() == "disaggregated":
        sides.append(_prompt_side(shape, box, recipe, chosen, options.get("prefill_systems"), facility))
    if paid is not None:
        UsdPerMtok(bill=paid).prices([side.system for side in sides])  # refuses an accelerator without a price
    return Held(shape, chosen, asked, objective, Numbers(sides, asked.stack, "kernel", vintage, paid), paid)


def _prompt_side(model: Model, box: System, recipe: Any, chosen: xr.Dataset, helpers: Any, facility: Any) -> Side:
    from roofline.grid import axes

    name, named = str(chosen["prefill_system"].item()), _recipe(recipe, chosen["prefill_recipe"].item())
    if name == axes.label(box):
        return Side.of(model, box, named, "kernel")
    other = next(one for one in axes.sheets("prefill_systems", System, helpers) if axes.label(one) == name)
    if facility is not None:
        other = other.model_copy(update={"facility": Facility.load(facility)})
    return Side.of(model, other, named, "kernel", "prefill.")


def _recipe(given: Any, name: str) -> Recipe:
    from roofline.grid import axes

    listed = [] if given is None else axes.sheets("recipes", Recipe, given)
    return next((one for one in listed if axes.label(one) == name), None) or Recipe.load(name)


def _one(name: str, kind: Any, given: Any) -> Any:
    from roofline.grid import axes

    found = axes.sheets(name, kind, given)
    if len(found) != 1:
        raise InputError(f"{name}: {len(found)} given; give one")
    return found[0]


def _why_none(chosen: xr.Dataset) -> str:
    missed = str(chosen["nearest_miss"].item())
    if missed:
        return f"the nearest candidate is {chosen['nearest_factor'].item():.3g} times over the limit on {missed}"
    return limit_reason(int(chosen["limit"].item()))
