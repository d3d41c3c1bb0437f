"""Is a published figure possible? A claim beside the ideal bound, the best plan and the worst working point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline import provenance
from roofline.errors import InputError
from roofline.grid import axes
from roofline.insight.claim_ladder import VERDICTS, Ladder, Rung, judge
from roofline.insight.claim_text import Claim, parse
from roofline.insight.claim_units import COST_UNITS, TOKEN_BASES, TokenBasis
from roofline.insight.ideal_bound import IdealBound, ideal_bound
from roofline.insight.slips import Circumstances, Slip, slips
from roofline.insight.working_points import Asked, WorkingPoint, alone, best_plan
from roofline.planning.plan import slo_label, workload_label
from roofline.rack.best import native_recipes
from roofline.rack.cost import Bill
from roofline.rack.energy import check, check_vintage, describe
from roofline.serving.slo import SLO
from roofline.serving.workload import Workload
from roofline.specs import Facility, Model, Recipe, Stack, System

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from roofline.rack.energy import Basis, Boundary

__all__ = ["VERDICTS", "ClaimCheck", "RatioAt", "Rung", "check_claim", "judge"]

INTERACTIVITIES = (20.0, 50.0, 100.0, 150.0)
"""Tokens a second of one user at which a ratio is set beside that of the best plans."""


@dataclass(frozen=True)
class RatioAt:
    """Ratio of the best plans where one user gets at least so many tokens a second; NaN where one cannot."""

    tokens_per_s_per_user: float
    ratio: float


@dataclass(frozen=True)
class ClaimCheck:
    """What a claim is.

    verdict : of `VERDICTS`.   reason : why it is undefined, '' where it is not.
    cost : of an output token, in `claim_units.COST_UNITS`; joules_per_token [J] : the same as energy at the boundary,
    of a rate or a price by the power of the best plan.
    expected : the least cost that counts as plausible, the better end of the best plan's band; NaN without a plan.
    rungs : bound, best plan, one sequence at a time, worst working point; those that there are.
    slips : what the claim would be without each.   nearest_slip : of those that make it plausible, the nearest to the
    best plan; None where none does, or where it is plausible as it is.
    attrs : model, system, workload, limits, boundary, bases and provenance.
    """

    claim: Claim
    verdict: str
    reason: str
    cost: float
    joules_per_token: float
    expected: float
    rungs: tuple[Rung, ...]
    slips: tuple[Slip, ...]
    nearest_slip: Slip | None
    bound: IdealBound
    ratios: tuple[RatioAt, ...]
    attrs: dict[str, str]

    @property
    def plausible(self) -> bool:
        """Whether a working deployment gives it."""
        return self.verdict == "plausible"

    def rung(self, name: str) -> Rung:
        """A point of the ladder by name. Raises InputError where it is not there."""
        for one in self.rungs:
            if one.name == name:
                return one
        raise InputError(f"no point {name!r}; there are {', '.join(one.name for one in self.rungs)}")

    def said(self) -> list[str]:
        """The answer in a few sentences, with numbers."""
        from roofline.insight.claim_words import sentences

        return sentences(self)


def check_claim(
    claim: str | Claim,
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    workload: Workload | Mapping[str, Any] | str | PathLike[str] = "1k/1k",
    isl: Any = None,
    osl: Any = None,
    slo: SLO | Mapping[str, Any] | None = None,
    token_basis: TokenBasis | None = None,
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    vintage: str | None = None,
    usd_per_gpu_hour: float | None = None,
    reference_usd_per_gpu_hour: float | None = None,
    prices: Any = None,
    tier: str | None = None,
    modes: str | Sequence[str] | None = None,
    acceptance: float | Sequence[float] | None = None,
    most_accelerators: int | None = None,
    stack: Any = "default",
    facility: axes.SheetLike | None = None,
) -> ClaimCheck:
    """Whether a claimed figure is above the ideal bound, in the plausible range, or below what any deployment gives.

    claim : a figure with its unit (500000 tokens/MWh, 2.5M tok/s/MW, 0.4 J/token, $0.20/Mtok, 90 tok/s/GPU) or a ratio
        to another system (50x tokens per MW of dgx-h200).
    model, system : one of each, a name, path, mapping or sheet.   recipes : default those the model ships in that the
        accelerator computes as meant.
    workload : what is served, as in `roofline.plan`; isl, osl : lengths in place of its own [tokens].   slo : limits.
    token_basis : tokens that the claim counts; default what it says, else output.
    boundary, basis, vintage : where the claim's energy is taken to be counted, as in `roofline.rollup`.
    usd_per_gpu_hour, reference_usd_per_gpu_hour : price of an accelerator-hour [$], for claims in money.
    prices, tier : instead, as in `roofline.site`; default SemiAnalysis InferenceX, of the vintage or its first.
    modes, acceptance, most_accelerators, stack : of the best plan, as in `roofline.plan`.
    facility : in place of the systems' own.

    The plausible range runs from the best plan (the better end of its band) to one sequence at a time in the costliest
    deployment that meets the SLO, at a duty of `working_points.POOR_DUTY`. A ratio is held against the reference's
    best plan under the same workload and SLO.
    Raises InputError for a claim or keyword that is not understood, and for one in money where a price is missing.
    Equations: docs/claims.md.
    """
    read = claim if isinstance(claim, Claim) else parse(claim)
    tokens = _tokens(read, token_basis)
    check(boundary, basis, 1.0, vintage)
    served = Workload.of(workload, **{name: size for name, size in (("isl", isl), ("osl", osl)) if size is not None})
    box, shape = _system(system, facility), Model.load(model)
    if acceptance is not None and shape.mtp is None:
        raise InputError(f"acceptance: {axes.label(shape)} has no multi-token-prediction layers; leave it out")
    other = _system(read.reference, facility) if read.reference else None
    boxes = [box] if other is None else [box, other]
    check_vintage(vintage, {axes.label(one): one.power.provisioned_w_per_accelerator for one in boxes})
    paid, bill = _paid(read, boxes, (usd_per_gpu_hour, reference_usd_per_gpu_hour), prices, tier, vintage)
    options = {"modes": modes, "acceptance": acceptance, "most_accelerators": most_accelerators}
    given = tuple((name, value) for name, value in options.items() if value is not None)
    sheet = Stack.load(stack)
    common = partial(
        Asked, shape, workload=served, slo=_slo(slo), kind=read.kind, boundary=boundary, basis=basis, vintage=vintage,
        stack=sheet, options=given,
    )  # fmt: skip
    named = None if recipes is None else axes.sheets("recipes", Recipe, recipes)
    asked = common(recipes=named or native_recipes(shape, box))
    best, reason = best_plan(asked, box)
    poor = alone(asked, box)
    accepted = () if acceptance is None else tuple(np.atleast_1d(acceptance).tolist())
    bound = ideal_bound(
        *(shape, box, asked.recipes, served),
        kind=read.kind,
        acceptance=accepted,
        boundary=boundary,
        basis=basis,
        vintage=vintage,
    )
    rival: WorkingPoint | None = None
    rival_plan = ""
    ratios: tuple[RatioAt, ...] = ()
    baseline = math.nan
    if other is not None:
        theirs = common(recipes=named or native_recipes(shape, other))
        rival, why = best_plan(theirs, other)
        rival_plan = "" if rival is None else f"{rival.what}; {theirs.reach(other)}"
        reason = reason or (f"{axes.label(other)}: {why}" if why else "")
        ratios = _ratios(asked, box, theirs, other, paid)
        idle = alone(theirs, other) if rival is not None else None
        if idle is not None and rival is not None:
            baseline = idle[0].cost(read.kind, paid[1]) / rival.cost(read.kind, paid[1])
    ladder = Ladder(read, bound, best, poor, rival, paid, _per_output(tokens, served))
    cost = ladder.claimed
    undone: tuple[Slip, ...] = ()
    nearest: Slip | None = None
    verdict = ladder.judge(cost)
    if verdict == "undefined":
        unknown = box.power_unknown or (other.power_unknown if other is not None else "")
        reason = reason or f"power is undisclosed: {unknown}"
    elif best is not None and math.isfinite(ladder.best):
        here = replace(_circumstances(read, box, other, served, tokens, best, rival), poor_reference=baseline)
        undone, nearest = slips(cost, here, ladder.judge, ladder.best)
    sheets = [shape, *boxes, *asked.recipes, sheet]
    attrs = provenance.attributes(
        fidelity="serving",
        boundary=boundary,
        basis=basis,
        token_basis=tokens,
        sheets=[pair for one in sheets for pair in one.digests.items()],
    )
    attrs |= {
        "pass": "check-claim",
        "claim": read.text,
        "model": axes.label(shape),
        "system": axes.label(box),
        "reference": "" if other is None else axes.label(other),
        "reference_plan": rival_plan,
        "workload": workload_label(served),
        "slo": slo_label(asked.slo),
        "vintage": vintage or "",
        "stack": axes.label(sheet),
        "duty": f"{served.duty:g}",
        "where": describe(boundary, basis, vintage),
        "cost_unit": COST_UNITS[read.kind],
    }
    if read.kind == "money":
        attrs |= {"usd_per_gpu_hour": f"{paid[0]:g}"} | bill
        attrs |= {"reference_usd_per_gpu_hour": f"{paid[1]:g}"} if other is not None else {}
    return ClaimCheck(
        claim=read,
        verdict=verdict,
        reason=reason if verdict == "undefined" else "",
        cost=cost,
        joules_per_token=ladder.joules(cost),
        expected=ladder.expected,
        rungs=ladder.rungs(),
        slips=undone,
        nearest_slip=nearest if verdict not in ("plausible", "undefined") else None,
        bound=bound,
        ratios=ratios,
        attrs=attrs,
    )


def _circumstances(
    claim: Claim,
    system: System,
    other: System | None,
    workload: Workload,
    tokens: TokenBasis,
    best: WorkingPoint,
    rival: WorkingPoint | None,
) -> Circumstances:
    found = Circumstances(
        claim.kind, system.accelerators, workload.mean_isl, workload.mean_osl, tokens, best.watts / best.draw_w
    )
    if other is None or rival is None:
        return found
    return replace(found, ratio=True, reference_accelerators=other.accelerators, power_ratio=best.watts / rival.watts)


def _ratios(
    asked: Asked, system: System, theirs: Asked, other: System, prices: tuple[float, float]
) -> tuple[RatioAt, ...]:
    """Ratios of the best plans at several speeds of one user, other limits kept."""
    slos = [replace(asked.slo, tpot_s=1.0 / speed) for speed in INTERACTIVITIES]
    costs = []
    for one, box, price in ((asked, system, prices[0]), (theirs, other, prices[1])):
        ds = one.plans(box, slos).isel(model=0, system=0, workload=0)
        joules, rate = ds["joules_per_token_at_boundary"].values, ds["tokens_per_s_per_gpu"].values
        time = 1.0 / rate
        by_kind = {"energy": joules, "rate": time, "money": time * price / 3600.0 / one.workload.duty}
        costs.append(by_kind[one.kind])
    found = costs[1] / costs[0]
    return tuple(RatioAt(speed, float(ratio)) for speed, ratio in zip(INTERACTIVITIES, found, strict=True))


def _per_output(tokens: TokenBasis, workload: Workload) -> float:
    """Tokens of a basis for each output token: what a cost of one has to be multiplied by."""
    isl, osl = workload.mean_isl, workload.mean_osl
    return {"output": 1.0, "input": isl / osl, "total": (isl + osl) / osl}[tokens]


def _tokens(claim: Claim, given: TokenBasis | None) -> TokenBasis:
    if given is not None and given not in TOKEN_BASES:
        raise InputError(f"token_basis {given!r}: expected one of {', '.join(TOKEN_BASES)}")
    if given is not None and claim.tokens is not None and given != claim.tokens:
        raise InputError(f"token_basis {given!r}: the claim {claim.text!r} counts {claim.tokens} tokens; leave it out")
    return given or claim.tokens or "output"


def _paid(
    claim: Claim,
    boxes: Sequence[System],
    given: tuple[float | None, float | None],
    prices: Any,
    tier: str | None,
    vintage: str | None,
) -> tuple[tuple[float, float], dict[str, str]]:
    """Prices of an accelerator-hour of the system and of the reference, NaN where not needed, and whose they are."""
    money, of_sheet = claim.kind == "money", prices is not None or tier is not None
    for name, price, needed in zip(
        ("usd_per_gpu_hour", "reference_usd_per_gpu_hour"), given, (money, money and len(boxes) > 1), strict=True
    ):
        if price is None:
            continue
        if not needed:
            raise InputError(f"{name} = {price!r}: the claim {claim.text!r} does not need it; leave it out")
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0.0 < price < math.inf:
            raise InputError(f"{name} = {price!r}: give dollars above 0")
        if of_sheet:
            raise InputError(f"{name} = {price!r}: prices or tier are given too; leave one of them out")
    if not money:
        if of_sheet:
            raise InputError(f"prices, tier: the claim {claim.text!r} is not of money; leave them out")
        return (math.nan, math.nan), {}
    if any(price is not None for price in given):
        if len(boxes) > 1 and None in given:
            raise InputError(
                "usd_per_gpu_hour, reference_usd_per_gpu_hour: a ratio of money takes both; one is missing"
            )
        own, theirs = (math.nan if price is None else float(price) for price in given)
        return (own, theirs), {}
    bill = Bill.of({"prices": prices, "tier": tier}, vintage)
    bill.check_vintage(vintage)
    names = [box.accelerator.id for box in boxes]
    hours = bill.all_in_usd_per_hour(names)
    options = ("usd_per_gpu_hour (--price)", "reference_usd_per_gpu_hour (--reference-price)")
    for name, option in zip(names, options, strict=False):
        if name not in hours:
            sheet = bill.attributes["hardware_prices"]
            raise InputError(f"prices {sheet}: none of {name}, and the claim is of money; give {option}")
    found = {name: bill.attributes[name] for name in ("hardware_prices", "price_vintage")}
    found["price_grades"] = ", ".join(f"{name} {bill.grade(name)}" for name in dict.fromkeys(names))
    return (hours[names[0]], hours[names[1]] if len(names) > 1 else math.nan), found


def _slo(given: SLO | Mapping[str, Any] | None) -> SLO:
    if given is None or isinstance(given, SLO):
        return given or SLO()
    try:
        return SLO(**given)
    except TypeError:
        raise InputError(f"slo = {given!r}: give a roofline.SLO or its fields") from None


def _system(source: axes.SheetLike, facility: axes.SheetLike | None) -> System:
    found = axes.sheets("system", System, source)
    if len(found) != 1:
        raise InputError(f"system: {len(found)} given; a claim is of one system")
    return found[0] if facility is None else found[0].model_copy(update={"facility": Facility.load(facility)})
