"""Energy of a placed replica at the accelerator, the rack and the facility: section 11 of docs/equations.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from roofline.errors import InputError
from roofline.layout import Limit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from roofline.specs import System

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.int64]

Boundary = Literal["accelerator", "rack", "facility"]
Basis = Literal["metered", "provisioned"]
BOUNDARIES: tuple[str, ...] = get_args(Boundary)
BASES: tuple[str, ...] = get_args(Basis)

JOULES_PER_MWH = 3.6e9
_NEEDED = (
    *("power", "tokens_per_s_per_gpu", "accelerators", "system_accelerators", "tdp_w", "idle_w", "host_w", "max_w"),
    *("psu_rated_w", "psu_load", "psu_efficiency", "pue", "fixed_overhead", "network_w", "vintage", "provisioned_w"),
)
"""What a roll-up reads of a Dataset."""
NAMEPLATE = "nameplate"


@dataclass(frozen=True)
class Placed:
    """Watts of everything that stands around replicas placed together."""

    used: Ints  # accelerators in replicas
    busy_w: Floats  # while they run
    idle_w: Floats  # while they do not


@dataclass(frozen=True)
class PowerFacts:
    """What a roll-up needs to know of one system and its facility. NaN: undisclosed, and so is what needs it."""

    accelerators: int
    tdp_w: float
    idle_w: float
    host_w: float
    max_w: float
    psu_rated_w: float
    psu_load: tuple[float, ...]
    psu_efficiency: tuple[float, ...]
    pue: float
    provisioned_w: Mapping[str, float] = field(default_factory=dict)  # facility W per accelerator, by vintage
    fixed_overhead: float = 0.0  # of the building whatever the racks draw, over max_w
    network_w: float = 0.0  # of a system's share of the network outside it

    @classmethod
    def of(cls, system: System) -> PowerFacts:
        """The facts of a system sheet."""
        accelerator, power = system.accelerator.power, system.power
        rated_w, load, efficiency = power.supplies
        tdp_w, idle_w, max_w = (
            np.nan if watts is None else watts for watts in (accelerator.tdp_w, accelerator.idle_w, power.max_w)
        )
        return cls(
            system.accelerators,
            tdp_w,
            idle_w,
            power.host_w,
            max_w,
            rated_w,
            load,
            efficiency,
            system.facility.pue,
            power.provisioned_w_per_accelerator,
            system.facility.fixed_overhead,
            power.network_w,
        )

    def placement(self, group: Ints) -> tuple[Ints, Ints]:
        """(systems, replicas) placed together, for replicas of `group` accelerators.

        A system holds as many whole replicas as fit; a larger replica takes whole systems. What is left over stands
        idle and is charged.
        """
        fits = group <= self.accelerators
        systems = np.where(fits, 1, -(-group // self.accelerators))
        replicas = np.where(fits, self.accelerators // np.minimum(group, self.accelerators), 1)
        return systems, replicas

    @property
    def fixed_w(self) -> float:
        """What the facility takes beside a system whatever that draws [W]: building and network; arrays broadcast."""
        fixed: Any = np.where(np.asarray(self.fixed_overhead) > 0.0, self.fixed_overhead * np.asarray(self.max_w), 0.0)
        fixed = fixed + self.network_w * (self.pue - self.fixed_overhead)
        return fixed if np.ndim(fixed) else float(fixed)

    def at_meter(self, rack: Floats, systems: Ints | float) -> Floats:
        """Watts at the facility's meter of systems that draw `rack` together, section 11 of docs/equations.md."""
        found: Floats = rack * (self.pue - self.fixed_overhead) + systems * self.fixed_w
        return found

    @property
    def limited(self) -> bool:
        """Whether accelerators of a system that all draw their TDP take it above what it may draw."""
        everything, one = np.array(self.accelerators), np.array(1)
        return bool(np.any(self.wall_watts("rack", self.tdp_w, everything, one) > self.max_w))  # type: ignore[arg-type]

    def at_work(self, draw: Floats, group: Ints) -> Ints:
        """Of the replicas placed together, those that may work at once within `max_w`: equation (6) of docs/site.md.

        draw : of one of their accelerators [W]; arrays broadcast. 0 where one replica is too much.
        """
        systems, replicas = self.placement(group)
        if not self.limited:
            return replicas
        working: Ints = replicas + np.zeros(np.shape(draw), dtype=np.int64)
        while True:
            over = self.wall_watts("rack", draw, working * group, systems) > systems * self.max_w
            over &= working > 0
            if not over.any():
                return working
            working = working - over

    def wall_watts(self, boundary: Boundary, draw: Floats, used: Ints, systems: Ints) -> Floats:
        """Metered watts at a boundary: `used` accelerators draw `draw` each, the others of the systems idle."""
        if boundary == "accelerator":
            return used * draw
        left = systems * self.accelerators - used
        direct = (used * draw + left * self.idle_w) / systems + self.host_w
        rack: Floats = systems * direct / np.interp(direct / self.psu_rated_w, self.psu_load, self.psu_efficiency)
        return self.at_meter(rack, systems) if boundary == "facility" else rack

    def reserved_watts(self, boundary: Boundary, vintage: str | None, used: Ints, systems: Ints) -> Floats:
        """Provisioned watts at a boundary: nameplate, or a vintage's all-in figure.

        Raises `InputError` for a vintage at another boundary than the facility, which is all such a figure covers,
        and for one the system does not have.
        """
        if vintage is not None:
            if boundary != "facility":
                raise InputError(f"vintage {vintage!r} is an all-in figure of the facility, not of the {boundary}")
            check_vintage(vintage, {"this system": self.provisioned_w})
            return systems * self.accelerators * self.provisioned_w[vintage]
        if boundary == "accelerator":
            share = np.asarray(self.max_w) / self.accelerators  # never more than what their system is given, if known
            part: Floats = np.where(np.asarray(self.tdp_w) > share, share, self.tdp_w)
            return used * part
        rack: Floats = systems * self.max_w
        return self.at_meter(rack, systems) if boundary == "facility" else rack

    def placed(
        self, draw: Floats, group: Ints, boundary: Boundary, basis: Basis = "metered", vintage: str | None = None
    ) -> Placed:
        """Watts around replicas of `group` accelerators that draw `draw` [W] each; arrays broadcast.

        Of the replicas that there is room for as many work as their systems may draw for (`at_work`); NaN where none.
        A draw of NaN, of a cell that cannot run, gives NaN; but where no draw is known because the TDP is undisclosed,
        what is provisioned does not depend on it.
        """
        systems, _ = self.placement(group)
        working = self.at_work(draw, group)
        used, trips = np.maximum(working, 1) * group, np.where(working > 0, 0.0, np.nan)
        if basis == "provisioned":
            runs = np.zeros_like(draw) if np.isnan(self.tdp_w) else 0.0 * draw
            reserved = self.reserved_watts(boundary, vintage, used, systems) + runs + trips
            return Placed(used, reserved, reserved)
        idle = self.wall_watts(boundary, self.idle_w + 0.0 * draw, used, systems) + trips
        return Placed(used, self.wall_watts(boundary, draw, used, systems) + trips, idle)

    def rack_limited(self, name: str, draw: float, group: int) -> str:
        """What the power of a system leaves idle beside replicas that draw so much, in words; empty where nothing."""
        size = np.array(group)
        systems, room = (int(count) for count in self.placement(size))
        working = int(self.at_work(np.array(draw), size))
        if working == room:
            return ""
        full = float(self.wall_watts("rack", np.array(draw), room * size, np.array(systems))) / systems
        what = f"{working} of {room} replicas in {name}" if room > 1 or systems == 1 else f"none in {systems} {name}"
        return f"{what}: all would draw {full / 1e3:.1f} kW, above its {self.max_w / 1e3:.1f} kW"


def joules_per_token(placed: Placed, tokens_per_s_per_gpu: Floats, duty: float) -> Floats:
    """Energy per token at the boundary of `placed` [J]: equation (18)."""
    mean = duty * placed.busy_w + (1.0 - duty) * placed.idle_w
    energy: Floats = mean / (duty * placed.used * tokens_per_s_per_gpu)
    return energy


def check(boundary: str, basis: str, duty: float, vintage: str | None = None) -> None:
    """Raise `InputError` where a boundary, basis or duty is not one, or where a vintage has no place."""
    if boundary not in BOUNDARIES:
        raise InputError(f"boundary {boundary!r}: expected one of {', '.join(BOUNDARIES)}")
    if basis not in BASES:
        raise InputError(f"basis {basis!r}: expected one of {', '.join(BASES)}")
    if isinstance(duty, bool) or not isinstance(duty, Real) or not 0 < duty <= 1:
        raise InputError(f"duty {duty!r}: expected a share of time above 0 and at most 1")
    if vintage is not None and basis != "provisioned":
        raise InputError(f"vintage {vintage!r} is a provisioned figure; give it with basis 'provisioned'")


def check_vintage(vintage: str | None, known: Mapping[str, Collection[str]]) -> None:
    """Raise `InputError` where a system has no figure of a vintage.   known : vintages by system."""
    lacking = [system for system, vintages in known.items() if vintage is not None and vintage not in vintages]
    if lacking:
        listed = ", ".join(sorted({name for vintages in known.values() for name in vintages}))
        raise InputError(f"vintage {vintage!r}: none of {', '.join(lacking)}; these systems have {listed or 'none'}")


def describe(boundary: str, basis: str, vintage: str | None = None) -> str:
    """`facility, metered` or `facility, provisioned, VINTAGE`."""
    return f"{boundary}, {basis}" + (f", {vintage or NAMEPLATE}" if basis == "provisioned" else "")


def rollup(
    ds: xr.Dataset,
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    *,
    vintage: str | None = None,
    duty: float = 1.0,
) -> xr.Dataset:
    """The Dataset of `decode` or `prefill` with energy at a boundary.

    boundary : `accelerator`; `rack` adds hosts, switches, idle accelerators of the same system and power supplies;
        `facility` adds the network between systems, and what the building takes by its PUE.
    basis : `metered` (modelled draw) or `provisioned` (the power that has to be reserved: nameplate, or an all-in
        figure per accelerator of a `vintage`, which includes the facility).
    duty : share of time that the replica is busy; the rest it idles and is charged.

    Of the replicas that a system has room for, as many work as keep it within its `power.max_w`; where that is none,
    energy is NaN and `limit` says so. Watts that a sheet leaves out as undisclosed (the coordinate `power_unknown` says
    which) make what needs them NaN.

    Adds power_at_boundary [W per accelerator of a replica], joules_per_token_at_boundary [J] and tokens_per_mwh
    [tokens/MWh], of the token basis of `ds`. tokens/MWh * J/token = 3.6e9.
    Raises `InputError` for an unknown boundary or basis, a vintage that one of the systems does not have, a duty
    outside (0, 1], or another kind of Dataset.
    """
    check(boundary, basis, duty, vintage)
    missing = [name for name in _NEEDED if name not in getattr(ds, "variables", ())]
    if missing:
        raise InputError(f"rollup: the Dataset has no {', '.join(missing)}; give one that decode or prefill returned")
    dims = ds["power"].dims
    several = "system" in dims  # a Dataset of which one system was selected has lost the dim
    ones = [ds.isel(system=i) for i in range(ds.sizes["system"])] if several else [ds]
    facts = {str(one["system"].item()): _facts(one) for one in ones}
    check_vintage(vintage, {name: fact.provisioned_w for name, fact in facts.items()})
    watts, energies, trips = [], [], []
    for one, fact in zip(ones, facts.values(), strict=True):
        draw = one["power"].values
        group = one["accelerators"].broadcast_like(one["power"]).transpose(*one["power"].dims)
        placed = fact.placed(draw, group.values, boundary, basis, vintage)
        trips.append(fact.at_work(draw, group.values) == 0)
        energies.append(joules_per_token(placed, one["tokens_per_s_per_gpu"].values, duty))
        mean = (duty * placed.busy_w + (1.0 - duty) * placed.idle_w) / placed.used
        watts.append(np.where(np.isnan(one["tokens_per_s_per_gpu"].values), np.nan, mean))
    where, token = describe(boundary, basis, vintage), ds.attrs.get("token_basis", "output")
    energy, mean_w = (np.stack(x, axis=dims.index("system")) if several else x[0] for x in (energies, watts))
    about = {
        "power_at_boundary": ("W", f"power per accelerator of a replica, idle ones charged ({where})"),
        "joules_per_token_at_boundary": ("J", f"energy per {token} token ({where})"),
        "tokens_per_mwh": ("1/MWh", f"{token} tokens per megawatt-hour ({where})"),
    }
    values = (mean_w, energy, JOULES_PER_MWH / energy)
    added = {
        name: (dims, value, {"units": units, "long_name": long_name})
        for (name, (units, long_name)), value in zip(about.items(), values, strict=True)
    }
    if np.any(trips) and "limit" in ds:
        tripped = np.stack(trips, axis=dims.index("system")) if several else trips[0]
        limit = ds["limit"]
        added["limit"] = (dims, np.where(tripped, limit.dtype.type(Limit.RACK), limit.values), dict(limit.attrs))
    attributes = {"boundary": boundary, "basis": basis, "duty": str(duty), "vintage": vintage or ""}
    return ds.assign(added).assign_attrs(attributes)


def _facts(one: xr.Dataset) -> PowerFacts:
    """Facts of the system of a Dataset that holds one."""

    def number(name: str) -> float:
        return float(one[name])

    def curve(name: str) -> tuple[float, ...]:
        return tuple(one[name].values.tolist())

    by_vintage = zip(one["vintage"].values.tolist(), one["provisioned_w"].values.tolist(), strict=True)
    return PowerFacts(
        accelerators=int(one["system_accelerators"]),
        tdp_w=number("tdp_w"),
        idle_w=number("idle_w"),
        host_w=number("host_w"),
        max_w=number("max_w"),
        psu_rated_w=number("psu_rated_w"),
        psu_load=curve("psu_load"),
        psu_efficiency=curve("psu_efficiency"),
        pue=number("pue"),
        fixed_overhead=number("fixed_overhead"),
        network_w=number("network_w"),
        provisioned_w={name: watts for name, watts in by_vintage if not np.isnan(watts)},
    )
