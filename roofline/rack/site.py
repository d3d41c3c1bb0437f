"""What a site of a given power holds and draws: whole systems, as many units of a plan as they serve, and what idles.

Equations (6) to (8) of docs/site.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.rack.energy import PowerFacts
from roofline.serving.service import number

if TYPE_CHECKING:
    from roofline.rack.energy import Basis, Boundary
    from roofline.rack.hall import Pue

_POWER = re.compile(r"([0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*(w|kw|mw|gw)", re.IGNORECASE)
_WATTS = {"w": 1.0, "kw": 1e3, "mw": 1e6, "gw": 1e9}


class SiteLimit(IntEnum):
    """Why a site serves nothing. 0 where it does."""

    NONE = 0
    PLAN = 1
    RACK_POWER = 2
    SITE_POWER = 3
    UNDISCLOSED = 4


MEANINGS = {
    SiteLimit.NONE: "serves",
    SiteLimit.PLAN: "there is no plan",
    SiteLimit.RACK_POWER: "one replica at work takes a system above what it may draw",
    SiteLimit.SITE_POWER: "the site cannot power one unit",
    SiteLimit.UNDISCLOSED: "watts that are needed to fill the site are undisclosed",
}

LIMIT_FLAGS = {
    "flag_values": [int(limit) for limit in SiteLimit],
    "flag_meanings": " ".join(limit.name.lower() for limit in SiteLimit),
    "flag_descriptions": "; ".join(f"{limit.name.lower()}: {MEANINGS[limit]}" for limit in SiteLimit),
    "long_name": "why a site serves nothing; 0 where it does",
}


def watts_of(power: Any) -> float:
    """Power of a site [W]: a number of watts, or `1MW`, `250 kW`. Raises InputError for anything else, and for 0."""
    if isinstance(power, str):
        match = _POWER.fullmatch(power.strip())
        if match is None or not 0.0 < float(match[1]) * _WATTS[match[2].lower()] < math.inf:
            raise InputError(f"power {power!r}: write a power above 0 with its unit, as 1MW, 250kW or 1.2GW")
        return float(match[1]) * _WATTS[match[2].lower()]
    return number("power", power, above=0.0)


@dataclass(frozen=True)
class Part:
    """Replicas of one kind on one system in a unit of a plan.

    role : serving, prefill, decode or ffn.   system, accelerator : labels.   group : accelerators of a replica.
    replicas : in one unit.   draw_w : mean draw of one of its accelerators at work [W].
    prompts : share of what it costs that is for prompt tokens.
    """

    role: str
    system: str
    accelerator: str
    facts: PowerFacts
    group: int
    replicas: int
    draw_w: float
    prompts: float

    @property
    def systems(self) -> int:
        """Systems that are placed together: 1, or those that a replica spans."""
        return int(self.facts.placement(np.array(self.group))[0])

    @property
    def room(self) -> int:
        """Replicas for which systems placed together have accelerators."""
        return int(self.facts.placement(np.array(self.group))[1])

    def watts(self, boundary: Boundary, replicas: int) -> float:
        """Metered watts of systems placed together with so many replicas at work; the other accelerators idle."""
        used, draw = np.array(replicas * self.group), np.array(self.draw_w if replicas else self.facts.idle_w)
        return float(self.facts.wall_watts(boundary, draw, used, np.array(self.systems)))

    def reserved(self, vintage: str | None) -> float:
        """Provisioned watts at the facility of systems placed together, whatever they do."""
        used, systems = np.array(self.room * self.group), np.array(self.systems)
        return float(self.facts.reserved_watts("facility", vintage, used, systems))

    @property
    def most(self) -> int:
        """Replicas at work that keep systems placed together within what they may draw: equation (6).

        Raises InputError where they may draw less than they take idle.
        """
        allowed, idle = self.systems * self.facts.max_w, self.watts("rack", 0)
        if idle > allowed:
            raise InputError(
                f"{self.system}: power.max_w = {self.facts.max_w:g} W is below the {idle / self.systems:.0f} W that it "
                "draws idle; raise it, or lower its idle and host watts"
            )
        return int(self.facts.at_work(np.array(self.draw_w), np.array(self.group)))


@dataclass(frozen=True)
class Placed:
    """A part at a site: groups of systems placed together, with per_group replicas each.

    busy : share of the time that they work where the site serves all it can; 1 of the part that says how much that is.
    """

    part: Part
    per_group: int
    groups: int
    busy: float

    @property
    def replicas(self) -> int:
        """Replicas in all."""
        return self.groups * self.per_group

    @property
    def systems(self) -> int:
        """Systems in all."""
        return self.groups * self.part.systems

    @property
    def accelerators(self) -> int:
        """Accelerators of these systems, those in no replica too."""
        return self.systems * self.part.facts.accelerators

    @property
    def idle_accelerators(self) -> int:
        """Accelerators in no replica."""
        return self.accelerators - self.replicas * self.part.group

    def at(self, load: float, boundary: Boundary) -> float:
        """Mean metered watts where the site serves a share of all it can: equation (8).

        At the accelerator only those in replicas count.
        """
        works = load * self.busy
        if boundary == "accelerator":
            mean = works * self.part.draw_w + (1.0 - works) * self.part.facts.idle_w
            return self.replicas * self.part.group * mean
        full, idle = self.part.watts(boundary, self.per_group), self.part.watts(boundary, 0)
        return self.groups * (works * full + (1.0 - works) * idle)


@dataclass(frozen=True)
class Filled:
    """A site with as many units as its power takes, or why there is none.

    units : of the plan, in rates of requests; whole where a unit is one replica.   taken_w : power that its systems are
    counted with.   limit, reason : why nothing is served, in words.   rack_limited : what the power of a rack leaves
    idle, in words; empty where nothing.   pue : of the hall by load, in place of that of each system's own facility.
    """

    units: float = 0.0
    placed: tuple[Placed, ...] = ()
    taken_w: float = math.nan
    limit: SiteLimit = SiteLimit.NONE
    reason: str = ""
    rack_limited: str = ""
    pue: Pue | None = None

    def at(self, load: float, boundary: Boundary, one: Placed | None = None) -> float:
        """Metered watts of all of it, or of one of `placed`, where the site serves a share of all it can: (8), (8a)."""
        some = self.placed if one is None else (one,)
        if boundary != "facility" or self.pue is None:
            return sum(each.at(load, boundary) for each in some)
        network_w = sum(each.systems * each.part.facts.network_w for each in some)
        return (self.at(load, "rack", one) + network_w) * self.pue.at(self.at(load, "rack") / self.at(1.0, "rack"))

    def mean(self, loads: Sequence[float], boundary: Boundary, one: Placed | None = None) -> float:
        """Mean of `at` over hours of these loads."""
        if self.pue is None or boundary != "facility":  # linear in the load
            return self.at(math.fsum(loads) / len(loads), boundary, one)
        return math.fsum(self.at(load, boundary, one) for load in loads) / len(loads)


def fill(
    parts: Sequence[Part],
    power_w: float,
    basis: Basis = "metered",
    vintage: str | None = None,
    pue: Pue | None = None,
) -> Filled:
    """The most units whose systems a site can power: equation (7).

    parts : of one unit, each on systems of its own, which are filled with it.   power_w : at the facility's meter.
    basis : `metered` counts a system with what it draws full and at work, `provisioned` with what is set aside for it:
        its maximum times PUE, or the all-in watts of a `vintage`, and what it draws where that is more.
    pue : of the hall by load; the systems of the parts are of a facility with what it is at full load.

    Pools keep at least the ratio that the plan matched them in; what whole systems hold beyond it idles.
    Raises InputError where a system may draw less than it takes idle, and for a vintage that a system does not have.
    """
    most = [part.most for part in parts]
    for part, allowed in zip(parts, most, strict=True):
        if allowed == 0:
            system_w = part.watts("rack", 1) / part.systems
            reason = f"one replica takes {part.system} to {_kw(system_w)}, above its {_kw(part.facts.max_w)}"
            return Filled(limit=SiteLimit.RACK_POWER, reason=reason)
    each = [part.watts("facility", allowed) for part, allowed in zip(parts, most, strict=True)]
    if basis == "provisioned":  # what is set aside, but never less than what is drawn: the meter would trip
        reserved = [part.reserved(vintage) for part in parts]
        each = [watts if math.isnan(drawn) else max(watts, drawn) for watts, drawn in zip(reserved, each, strict=True)]
    if any(math.isnan(watts) for watts in each):
        names = ", ".join(part.system for part, watts in zip(parts, each, strict=True) if math.isnan(watts))
        return Filled(limit=SiteLimit.UNDISCLOSED, reason=f"{basis} watts of {names} are undisclosed")
    if sum(each) > power_w:
        needs = " and ".join(f"{part.systems} {part.system} ({part.role})" for part in parts)
        reason = f"the least is {needs}: {_kw(sum(each))} at the facility, of {_kw(power_w)}"
        reason += "; mode aggregated has no pools" if len(parts) > 1 else ""
        return Filled(limit=SiteLimit.SITE_POWER, reason=reason)
    units_each = [allowed / part.replicas for part, allowed in zip(parts, most, strict=True)]
    counts = _counts(units_each, each, power_w)
    units = min(count * held for count, held in zip(counts, units_each, strict=True))
    placed = tuple(
        Placed(part, allowed, count, units / (count * held))
        for part, allowed, count, held in zip(parts, most, counts, units_each, strict=True)
    )
    taken = sum(count * watts for count, watts in zip(counts, each, strict=True))
    limited = "; ".join(said for one in placed if (said := _limited(one)))
    return Filled(units, placed, taken, rack_limited=limited, pue=pue)


def _counts(units_each: Sequence[float], watts_each: Sequence[float], power_w: float) -> list[int]:
    """Groups of each part, the fewest that serve the most units within the power.

    units_each, watts_each : that one group of each part serves and is counted with; one of each fits.
    """

    def counts(units: float) -> list[int]:
        return [max(1, math.ceil(units / held * (1.0 - 1e-12))) for held in units_each]

    def fits(units: float) -> bool:
        return sum(count * watts for count, watts in zip(counts(units), watts_each, strict=True)) <= power_w

    low, high = 0.0, 1.0 + min(power_w / watts * held for watts, held in zip(watts_each, units_each, strict=True))
    while high - low > 1e-13 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    found = counts(low)
    units = min(count * held for count, held in zip(found, units_each, strict=True))
    return counts(units)


def _limited(one: Placed) -> str:
    """What the power of a rack leaves idle, in words."""
    return one.part.facts.rack_limited(one.part.system, one.part.draw_w, one.part.group)


def _kw(watts: float) -> str:
    return f"{watts / 1e3:.1f} kW"
