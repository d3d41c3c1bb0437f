"""The points that a claim is held against, and what it is beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roofline.insight.claim_text import Claim
    from roofline.insight.ideal_bound import IdealBound
    from roofline.insight.working_points import WorkingPoint

VERDICTS = {
    "impossible": "better than the ideal bound: no deployment can be that good",
    "better_than_best_plan": "within the ideal bound, better than the best deployment that is known to work",
    "plausible": "between the best plan and the worst working deployment",
    "below_working": "worse than anything that a working deployment gives",
    "undefined": "there is nothing to hold it against",
}
"""What a claim can be, from the best cost to the worst, and undefined."""


@dataclass(frozen=True)
class Rung:
    """A point of the ladder that a claim is held against.

    value : in the claim's unit.   joules_per_token [J], of an output token.
    claim_over : cost of a token as claimed over that of this point; above 1 the claim is the worse.
    """

    name: str
    what: str
    value: float
    joules_per_token: float
    claim_over: float


def judge(cost: float, bound: float, best: float, worst: float) -> str:
    """Verdict of a cost of a token beside the ideal bound, the best plan and the worst working point.

    All in one unit, less is better; best not below bound, worst not below best. NaN where a point is not known: what
    is below the bound is impossible whatever the others are. Monotone: a larger cost is never called better.
    """
    if cost < bound:
        return "impossible"
    if not (math.isfinite(cost) and math.isfinite(best) and math.isfinite(worst)):
        return "undefined"
    if cost < best * (1.0 - 1e-9):  # the plan's own figure, printed and read again
        return "better_than_best_plan"
    return "plausible" if cost <= worst * (1.0 + 1e-9) else "below_working"


class Ladder:
    """The points that a claim is held against, as costs of an output token in the claim's kind."""

    def __init__(
        self,
        claim: Claim,
        bound: IdealBound,
        best: WorkingPoint | None,
        poor: tuple[WorkingPoint, WorkingPoint] | None,
        rival: WorkingPoint | None,
        prices: tuple[float, float],
        per_output: float,
    ) -> None:
        self.claim, self.kind, self.per_output = claim, claim.kind, per_output
        self.price, self.ideal, self.plan, self.poor = prices[0], bound, best, poor
        self.bound = {
            "energy": bound.joules_per_token,
            "rate": bound.gpu_seconds,
            "money": bound.gpu_seconds * self.price / 3600.0,
        }[self.kind]
        self.best = math.nan if best is None else best.cost(self.kind, self.price)
        expected = self.best * (1.0 if best is None else best.better)
        self.expected = max(expected, self.bound) if math.isfinite(self.bound) else expected
        costs = [] if poor is None else [point.cost(self.kind, self.price) for point in poor]
        self.worst = max([self.best, *costs])
        self.reference = math.nan if rival is None else rival.cost(self.kind, prices[1])
        self.claimed = claim.cost(self.reference) * (1.0 if claim.reference else per_output)

    def judge(self, cost: float) -> str:
        """Verdict of a cost."""
        return judge(cost, self.bound, self.expected, self.worst)

    def joules(self, cost: float) -> float:
        """J of an output token at the boundary; of time and money by the power of the best plan."""
        if self.kind == "energy" or self.plan is None:
            return cost if self.kind == "energy" else math.nan
        busy = self.plan.duty if self.kind == "rate" else 1.0
        seconds = cost if self.kind == "rate" else cost * 3600.0 / self.price
        return seconds * self.plan.watts / busy

    def rungs(self) -> tuple[Rung, ...]:
        """Bound, best plan, one sequence at a time and the worst working point, those that there are."""
        listed = [("ideal_bound", _bound_words(self.ideal), self.bound, self.ideal.joules_per_token)]
        points: list[tuple[str, WorkingPoint | None]] = [("best_plan", self.plan)]
        points += [] if self.poor is None else [("one_at_a_time", self.poor[0]), ("worst_working", self.poor[1])]
        for name, point in points:
            if point is not None:
                duty = "" if point.duty == 1.0 else f", {point.duty:.0%} of the time"
                duty += "" if point.better == 1.0 else f"; a measurement may reach {point.better:.2f} of its cost"
                cost = self.worst if name == "worst_working" else point.cost(self.kind, self.price)
                listed.append((name, point.what + duty, cost, point.joules_per_token))
        return tuple(
            Rung(name, what, self._in_unit(cost), joules, self.claimed / cost) for name, what, cost, joules in listed
        )

    def _in_unit(self, cost: float) -> float:
        if not math.isfinite(cost):
            return math.nan
        return self.claim.in_unit(cost / (1.0 if self.claim.reference else self.per_output), self.reference)


def _bound_words(bound: IdealBound) -> str:
    drafts = f", {bound.drafts} draft{'s' if bound.drafts > 1 else ''}" if bound.drafts else ""
    return f"dense peaks and full bandwidth, weights and network for nothing, {bound.recipe}{drafts}"
