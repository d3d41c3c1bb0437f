"""Levers that lead from one way of serving to another, and mixtures in which some of them have been moved.

A mixture is served by a real `System`, made with `System.replace`: what a lever owns comes from the new side where it
has been moved, else from the old one. Moving all of them makes the new side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from dataclasses import replace as changed
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from roofline.errors import InputError, unknown_name
from roofline.planning.choose import MODES
from roofline.specs import System
from roofline.specs.formats import MathType
from roofline.specs.hardware import Memory, Psu, ScaleUp, SystemPower

if TYPE_CHECKING:
    from roofline.specs import Accelerator, Efficiency


class Lever(NamedTuple):
    """One thing that differs between two sides.   group : silicon, interconnect, orchestration, facility or price."""

    name: str
    group: str
    meaning: str


LEVERS = (
    Lever("flops", "silicon", "FLOP/s of bf16 arithmetic (of the widest that both have), at which all rates scale"),
    Lever("formats", "silicon", "which arithmetic there is and how much faster each is; recipes follow"),
    Lever("bandwidth", "silicon", "memory bandwidth"),
    Lever("capacity", "silicon", "memory, and what of it a server may use"),
    Lever("kernels", "silicon", "shares of the peaks that kernels reach, and their fixed times"),
    Lever("watts", "silicon", "TDP, idle power and the draw between them"),
    Lever("domain", "interconnect", "accelerators joined by scale-up, their topology, and the box or rack around them"),
    Lever("scale_up", "interconnect", "rate and latency of scale-up, and what collectives reach of it"),
    Lever("scale_out", "interconnect", "rate and latency of scale-out, and how many systems it joins"),
    Lever("disaggregation", "orchestration", "modes of serving: pools apart, feed-forwards on another system"),
    Lever("drafts", "orchestration", "tokens drafted by MTP and how many are kept"),
    Lever("prefix", "orchestration", "share of the prompt found in the prefix cache"),
    Lever("duty", "orchestration", "share of the time in which work is offered"),
    Lever("stack", "orchestration", "host times of the serving stack"),
    Lever(
        "hosts", "facility", "watts beside the accelerators: hosts, network, supplies, the rest of what is provisioned"
    ),
    Lever("pue", "facility", "cooling and PUE"),
    Lever("price", "price", "USD per accelerator-hour"),
)
"""All levers, in the order in which they are shown."""

GROUPS = tuple(dict.fromkeys(lever.group for lever in LEVERS))
BY_NAME = {lever.name: lever for lever in LEVERS}
OF_WATTS = frozenset({"watts", "hosts", "pue"})
"""Levers that only energy feels."""

_ANCHORS: tuple[MathType, ...] = ("bf16", "fp16", "fp8", "int8", "tf32", "fp32", "fp4")
"""The arithmetic that `flops` is the rate of: the first that both sides have."""


@dataclass(frozen=True)
class Side:
    """One way of serving: a system and what runs on it.

    system : a sheet, its name, path or mapping.   modes : as in `roofline.plan`.   acceptance : chance that the draft
    at each position is kept; None: no drafts.   cached_share : of each prompt in the prefix cache.   load : share of
    the time in which work is offered.   stack : of serving.   ffn_systems : those that may run feed-forwards.
    usd_per_hour : price of an accelerator.
    Raises InputError naming field and value.
    """

    system: System
    modes: tuple[str, ...] = ("aggregated", "disaggregated")
    acceptance: tuple[float, ...] | None = None
    cached_share: float = 0.0
    load: float = 1.0
    stack: Any = "default"
    ffn_systems: tuple[Any, ...] = ()
    usd_per_hour: float | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "system": System.load(self.system),
            "modes": _modes(self.modes),
            "acceptance": _numbers("acceptance", self.acceptance),
            "ffn_systems": tuple(System.load(one) for one in _listed(self.ffn_systems)),
        }
        for name, least in (("cached_share", 0.0), ("load", 0.0), ("usd_per_hour", 0.0)):
            value = getattr(self, name)
            if value is not None:
                checked[name] = _number(name, value, least)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.usd_per_hour == 0.0:
            raise InputError("usd_per_hour = 0: give a price above 0, or None where it is unknown")

    @classmethod
    def of(cls, source: Any, **defaults: Any) -> Side:
        """A side of a `Side`, of a mapping of its fields, or of a system; defaults stand for what is not given.

        Raises InputError for an unknown field and as `Side`.
        """
        if isinstance(source, Side):
            return source
        known = [field.name for field in fields(cls)]
        for name in defaults:
            if name not in known:
                raise unknown_name("field of a side", name, known)
        if isinstance(source, Mapping) and isinstance(source.get("system"), str | System | Mapping | PathLike):
            for name in source:
                if name not in known:
                    raise unknown_name("field of a side", str(name), known)
            return cls(**(defaults | dict(source)))
        return cls(source, **defaults)

    @property
    def name(self) -> str:
        """Its system, and those that run feed-forwards for it."""
        others = ", ".join(one.name for one in self.ffn_systems)
        return f"{self.system.name} with {others}" if others else self.system.name

    def replace(self, **changes: Any) -> Side:
        """This side with fields changed and checked again."""
        return changed(self, **changes)


def mixture(old: Side, new: Side, moved: frozenset[str], name: str = "") -> Side:
    """The side in which the levers of `moved` come from the new one.   name : of its system; default says it.

    Raises InputError for an unknown lever, and where a system of such parts cannot be: then levers have to be moved
    together.
    """
    for lever in moved:
        if lever not in BY_NAME:
            raise unknown_name("lever", str(lever), BY_NAME)
    disaggregation, drafts, prefix, duty, stack, price = (
        new if lever in moved else old for lever in ("disaggregation", "drafts", "prefix", "duty", "stack", "price")
    )
    return Side(
        system=mixed_system(old.system, new.system, moved, name),
        modes=disaggregation.modes,
        ffn_systems=disaggregation.ffn_systems,
        acceptance=drafts.acceptance,
        cached_share=prefix.cached_share,
        load=duty.load,
        stack=stack.stack,
        usd_per_hour=price.usd_per_hour,
    )


def mixed_system(old: System, new: System, moved: frozenset[str], name: str = "") -> System:
    """A system with the parts of `new` that levers of `moved` own, else those of `old`. Raises InputError as above."""
    of = {lever: new if lever in moved else old for lever in BY_NAME}
    box, out = of["domain"], of["scale_out"]
    listed = [lever.name for lever in LEVERS if lever.name in moved]
    joined = -(-box.scale_up.domain // box.accelerators)
    try:
        return old.replace(
            name=name or f"{old.id or old.name} with {', '.join(listed) or 'nothing'} of {new.id or new.name}",
            aliases=(),
            kind=box.kind,
            accelerator=_accelerator(old, new, of),
            accelerators=box.accelerators,
            max_systems=max(out.max_systems, joined) if out.scale_out is not None else joined,
            scale_up=ScaleUp(
                domain=box.scale_up.domain,
                topology=box.scale_up.topology,
                axes=box.scale_up.axes,
                in_switch_reduction=box.scale_up.in_switch_reduction,
                hop_s=of["scale_up"].scale_up.hop_s,
                bytes_per_s=of["scale_up"].scale_up.bytes_per_s,
            ),
            scale_out=out.scale_out,
            power=_power(of, old, new),
            cooling=of["pue"].cooling,
            facility=of["pue"].facility,
        )
    except InputError as error:
        whole = "name interconnect as one lever, or others that belong together"
        raise InputError(
            f"no system has {', '.join(listed)} of {new.id} and the rest of {old.id}; {whole}: {error}"
        ) from None


def _accelerator(old: System, new: System, of: Mapping[str, System]) -> Accelerator:
    def at(lever: str) -> Accelerator:
        return of[lever].accelerator

    return old.accelerator.replace(
        dense_flop_per_s=_rates(old.accelerator, new.accelerator, at("flops"), at("formats")),
        memory=Memory(
            bytes=at("capacity").memory.bytes,
            bytes_per_s=at("bandwidth").memory.bytes_per_s,
            kind=at("bandwidth").memory.kind,
        ),
        scale_up_bytes_per_s=at("scale_up").scale_up_bytes_per_s,
        power=at("watts").power,
        efficiency=_efficiency(at("kernels").efficiency, at("scale_up"), at("scale_out"), at("capacity")),
    )


def _rates(old: Accelerator, new: Accelerator, flops: Accelerator, formats: Accelerator) -> dict[MathType, float]:
    """Rates of the arithmetic that `formats` has, scaled so that the anchor's is that of `flops`."""
    if flops is formats:
        return dict(flops.dense_flop_per_s)
    both = [name for name in _ANCHORS if name in old.dense_flop_per_s and name in new.dense_flop_per_s]
    if not both:
        raise InputError(f"{old.name} and {new.name} have no arithmetic in common; name flops and formats as one lever")
    scale = flops.dense_flop_per_s[both[0]] / formats.dense_flop_per_s[both[0]]
    return {name: rate * scale for name, rate in formats.dense_flop_per_s.items()}


def _efficiency(kernels: Efficiency, up: Accelerator, out: Accelerator, capacity: Accelerator) -> Efficiency:
    """Shares of kernels and collectives, each of the side its lever takes it from."""
    scaled_out = {name: getattr(out.efficiency.collectives, name) for name in ("out_s", "eta_out")}
    return kernels.replace(
        collectives=up.efficiency.collectives.model_copy(update=scaled_out), runtime=capacity.efficiency.runtime
    )


def _power(of: Mapping[str, System], old: System, new: System) -> SystemPower:
    """Watts beside the accelerators: those of one, times as many as the box has; TDP apart where it is known."""
    hosts, tdp_of, box = of["hosts"], of["watts"], of["domain"]
    scale = box.accelerators / hosts.accelerators
    power = hosts.power
    psu = power.psu
    if psu is not None and scale != 1.0:
        psu = Psu(rated_w=psu.rated_w * scale, load=psu.load, efficiency=psu.efficiency)
    vintages = list(power.provisioned_w_per_accelerator)
    rated = None if power.max_w is None else power.max_w / hosts.accelerators
    rated = _with_tdp(rated, hosts, tdp_of, [_rated(old), _rated(new)], old, new)
    provisioned = {}
    for vintage in vintages:
        known = [side.power.provisioned_w_per_accelerator.get(vintage) for side in (old, new)]
        value = _with_tdp(power.provisioned_w_per_accelerator[vintage], hosts, tdp_of, known, old, new)
        if value is not None:
            provisioned[vintage] = value
    given: dict[str, Any] = {
        "host_dc_w": {name: watts * scale for name, watts in power.host_dc_w.items()},
        "network_w": power.network_w * scale,
        "provisioned_w_per_accelerator": provisioned,
    }
    given |= {} if psu is None else {"psu": psu}
    given |= (
        {}
        if rated is None
        else {"max_w": rated * box.accelerators if hosts is not box or tdp_of is not box else power.max_w}
    )
    return SystemPower(**given)


def _rated(system: System) -> float | None:
    return None if system.power.max_w is None else system.power.max_w / system.accelerators


def _with_tdp(
    watts: float | None, hosts: System, tdp_of: System, known: Sequence[float | None], old: System, new: System
) -> float | None:
    """Watts provisioned for one accelerator: TDP of one side and what goes beyond TDP of the other.

    Where a side does not say, or provisions less than its TDP, all of it belongs to `hosts`.
    """
    if watts is None or tdp_of is hosts:
        return watts
    tdp = [side.accelerator.power.tdp_w for side in (old, new)]
    for all_in, share in zip(known, tdp, strict=True):
        if all_in is None or share is None or all_in < share:
            return watts
    here, there = hosts.accelerator.power.tdp_w, tdp_of.accelerator.power.tdp_w
    return watts if here is None or there is None else watts - here + there


def differing(old: Side, new: Side) -> list[str]:
    """Levers in which two sides differ, in the order of LEVERS.

    Raises InputError as `mixture`.
    """
    base = mixed_system(old.system, new.system, frozenset(), "one")
    found = []
    for lever in LEVERS:
        try:
            here = mixed_system(old.system, new.system, frozenset({lever.name}), "one")
        except InputError:  # it cannot be moved by itself, so it differs
            found.append(lever.name)
            continue
        served = {
            "disaggregation": (old.modes, old.ffn_systems) != (new.modes, new.ffn_systems),
            "drafts": old.acceptance != new.acceptance,
            "prefix": old.cached_share != new.cached_share,
            "duty": old.load != new.load,
            "stack": old.stack != new.stack,
            "price": old.usd_per_hour != new.usd_per_hour,
        }
        if served.get(lever.name, False) or here != base:
            found.append(lever.name)
    return found


def players(differ: Sequence[str], levers: str | Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Levers that differ, by the player they are moved with.

    levers : names of levers, each moved by itself, and of groups, each moved as a whole; what differs and is in none of
        them is moved together as `others`. None: the silicon lever by lever, other groups as a whole. "all": every
        lever by itself.   Returns only players that hold a lever that differs.
    Raises InputError for an unknown name, and for a lever that two names hold.
    """
    if levers is None:
        named = [lever.name for lever in LEVERS if lever.group == "silicon"]
        named += [group for group in GROUPS if group != "silicon"]
    elif levers == "all":
        named = list(BY_NAME)
    else:
        named = [levers] if isinstance(levers, str) else list(levers)
    found: dict[str, tuple[str, ...]] = {}
    taken: dict[str, str] = {}
    for name in named:
        if name not in BY_NAME and name not in GROUPS:
            raise unknown_name("lever or group of levers", str(name), [*BY_NAME, *GROUPS, "all"])
        held = [name] if name in BY_NAME else [lever.name for lever in LEVERS if lever.group == name]
        for lever in held:
            if lever in taken:
                raise InputError(f"levers: {lever} is moved by {taken[lever]} and by {name}; name one of them")
            taken[lever] = name
        inside = tuple(lever for lever in held if lever in differ)
        if inside:
            found[name] = inside
    rest = tuple(lever for lever in differ if lever not in taken)
    return found | ({"others": rest} if rest else {})


def group_of(player: str) -> str:
    """The group of a player's levers: its own name where it is a group."""
    return BY_NAME[player].group if player in BY_NAME else player


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [] if given is None else [given]


def _modes(given: Any) -> tuple[str, ...]:
    listed = _listed(given)
    for mode in listed:
        if mode not in MODES:
            raise unknown_name("mode", str(mode), MODES)
    if not listed:
        raise InputError(f"modes: none given; give at least one of {', '.join(MODES)}")
    return tuple(mode for mode in MODES if mode in listed)


def _numbers(name: str, given: Any) -> tuple[float, ...] | None:
    listed = _listed(given)
    return tuple(_number(name, value, 0.0) for value in listed) or None


def _number(name: str, given: Any, least: float) -> float:
    try:
        value = float("nan") if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not least <= value < float("inf"):
        raise InputError(f"{name} = {given!r}: give a number of at least {least:g}")
    return value
