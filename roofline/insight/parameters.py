"""Every number of the sheets behind an answer, and where it goes in packed records.

A `Parameter` is one number of one sheet with its source. `Numbers` has all of them for the systems, recipes and stack
of an answer, the records packed once, and `vary`, which lays factors over copies of those records: what elasticities
and random draws are made of. A number that no record has, as a math type that the recipe does not use, moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.layout import KIT, MACHINE
from roofline.specs.pack import pack_kit, pack_machine, used_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.rack.cost import Bill
    from roofline.specs import Model, Recipe, System
    from roofline.specs.pack import Fidelity, Kit
    from roofline.specs.records import Sheet
    from roofline.specs.stack import Stack

    Floats = NDArray[np.float64]

AROUND = np.dtype(
    [
        (name, np.float64)
        for name in (
            *("host_w", "psu_rated_w", "psu_gain", "network_w", "pue", "fixed_overhead", "max_w", "reserved_w"),
            *("usd_per_hour", "usd_per_kwh"),
        )
    ]
)
"""What is around the accelerators of a system: watts, and what it costs; NaN where nobody asks for it.

psu_gain: factor on the whole efficiency curve of its supplies.   usd_per_hour: of an accelerator."""

STACK = np.dtype([(name, np.float64) for name in ("step_s", "sequence_s", "ttft_s")])
"""What a serving stack adds."""

RATE, TIME, HOST, WATTS, BYTES = "rate", "time", "host_time", "watts", "bytes"
SHARE, LOSS, EXCESS, NUMBER, PRICE = "share", "loss", "excess", "number", "price"
"""Kinds of numbers: 1/s, s of kernels and links, s of a serving stack, W, B; without a dimension a share of a peak, a
share near 1 that is known by what it loses, a number known by how far it is above 1, and any other; and USD."""

_OPERATIONS = ("gemm", "experts", "decode_attention", "context_attention")
_KIT_NUMBERS = {
    "elementwise.eta_memory": "elementwise_eta_memory",
    "elementwise.fixed_s": "elementwise_fixed_s",
    "permute.eta_memory": "permute_eta_memory",
    "top_k.eta_memory": "top_k_eta_memory",
    "top_k.fixed_s": "top_k_fixed_s",
}
_UNITS = (("flop_per_s", "FLOP/s"), ("bytes_per_s", "B/s"), ("bytes", "B"), ("_s", "s"), ("_w", "W"))


_SHORT = {
    "accelerator.memory.bytes_per_s": "memory bandwidth",
    "accelerator.memory.bytes": "memory capacity",
    "accelerator.scale_up_bytes_per_s": "scale-up bandwidth",
    "accelerator.power.tdp_w": "TDP",
    "accelerator.power.idle_w": "idle draw",
    "accelerator.power.draw_a": "draw by compute (draw_a)",
    "accelerator.power.draw_b": "draw by memory (draw_b)",
    "system.scale_up.bytes_per_s": "scale-up bandwidth",
    "system.scale_up.hop_s": "scale-up hop",
    "system.scale_out.bytes_per_s": "scale-out bandwidth",
    "system.scale_out.hop_s": "scale-out hop",
    "system.power.network_w": "network between systems",
    "system.power.psu.rated_w": "rating of power supplies",
    "system.power.psu.efficiency": "efficiency of power supplies",
    "system.power.max_w": "maximum watts of a system",
    "prices.usd_per_kwh": "price of energy",
    "facility.pue": "PUE",
    "facility.fixed_overhead": "overhead of the building at any load",
}


def short_name(path: str) -> str:
    """A number's path in fewer words: `memory bandwidth`, `fp8 peak`, `gemm fp8 eta_memory`."""
    prefix, found = ("prefill ", path.removeprefix("prefill.")) if path.startswith("prefill.") else ("", path)
    if found in _SHORT:
        return prefix + _SHORT[found]
    head, _, last = found.rpartition(".")
    if head == "accelerator.dense_flop_per_s":
        return f"{prefix}{last} peak"
    if head == "prices":
        return f"{prefix}price of an hour of {last}"
    if head == "system.power.host_dc_w":
        return f"{prefix}host watts ({last})"
    for start in ("efficiency.operations.", "efficiency.", "system.power.", "system."):
        found = found.removeprefix(start)
    return prefix + found.replace(".", " ")


@dataclass(frozen=True)
class Effect:
    """Where a number goes: a field of the records of one side, of whose value `share` is this number's."""

    records: str  # machines, kits, around or stack
    side: int
    field: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Parameter:
    """One number of one sheet: `accelerator.memory.bytes_per_s`, with unit, kind, source and grade.

    least, most : what it can be.   effects : what it moves; none where nothing asks for it.
    """

    path: str
    value: float
    unit: str
    kind: str
    grade: str
    source: str
    effects: tuple[Effect, ...] = ()
    least: float = 0.0
    most: float = np.inf


@dataclass(frozen=True)
class Side:
    """A recipe on a system, packed.   prefix : before the paths of its numbers, where two systems serve together."""

    system: System
    recipe: Recipe
    kit: Kit
    machine: Any
    prefix: str = ""

    @classmethod
    def of(cls, model: Model, system: System, recipe: Recipe, fidelity: Fidelity, prefix: str = "") -> Side:
        """Raises InputError where the accelerator has no arithmetic for the recipe."""
        kit = pack_kit(recipe, system.accelerator, fidelity, used_parts(model))
        if kit.record is None:
            raise InputError(f"{axes.label(model)} in {axes.label(recipe)}: {kit.reason}")
        return cls(system, recipe, kit, pack_machine(system, fidelity), prefix)


@dataclass
class Varied:
    """Records of n variants: MACHINE[n], KIT[n] and AROUND[n] of each side, STACK[n]."""

    machines: tuple[NDArray[np.void], ...]
    kits: tuple[NDArray[np.void], ...]
    around: tuple[NDArray[np.void], ...]
    stack: NDArray[np.void]

    @property
    def size(self) -> int:
        """How many variants."""
        return self.stack.size


class Numbers:
    """All numbers behind an answer.   vintage : of provisioned watts, bill : of money, where they are asked for."""

    def __init__(
        self,
        sides: Sequence[Side],
        stack: Stack | None,
        fidelity: Fidelity,
        vintage: str | None = None,
        bill: Bill | None = None,
    ) -> None:
        self.sides, self.fidelity = tuple(sides), fidelity
        found: dict[str, Parameter] = {}
        for number, side in enumerate(self.sides):
            listed = [*_of_side(side, number, fidelity, vintage), *_of_bill(side, number, bill)]
            for one in listed:
                before = found.get(one.path)
                found[one.path] = one if before is None else _joined(before, one)
        if stack is not None:
            found |= {one.path: one for one in _of_stack(stack)}
        self.parameters = tuple(found.values())
        self._stack = np.zeros(1, dtype=STACK)
        if stack is not None:
            self._stack[0] = (stack.step_s, stack.sequence_s, stack.ttft_s)
        self._around = tuple(_around(side.system, vintage, bill) for side in self.sides)

    def __getitem__(self, path: str) -> Parameter:
        return next(one for one in self.parameters if one.path == path)

    def base(self, count: int = 1) -> Varied:
        """The records as the sheets have them, `count` times."""
        return Varied(
            tuple(np.repeat(np.array([side.machine], dtype=MACHINE), count) for side in self.sides),
            tuple(np.repeat(np.array([side.kit.record], dtype=KIT), count) for side in self.sides),
            tuple(np.repeat(around, count) for around in self._around),
            np.repeat(self._stack, count),
        )

    def vary(self, factors: Floats) -> Varied:
        """Records with every number times its factor.   factors : float64[n, parameters], in their order."""
        varied = self.base(factors.shape[0])
        for p, parameter in enumerate(self.parameters):
            column = factors[:, p]
            if (column == 1.0).all():
                continue
            for effect in parameter.effects:
                held = getattr(varied, effect.records)
                target: Any = held if effect.records == "stack" else held[effect.side]
                for name in effect.field[:-1]:
                    target = target[name]
                target[effect.field[-1]] += effect.share * (column - 1.0)
        return varied


def _joined(one: Parameter, other: Parameter) -> Parameter:
    """The same number of the same sheet on two sides."""
    return Parameter(**{**one.__dict__, "effects": one.effects + other.effects})


def _around(system: System, vintage: str | None, bill: Bill | None) -> NDArray[np.void]:
    power, hall, found = system.power, system.facility, np.zeros(1, dtype=AROUND)
    rated_w, _, _ = power.supplies
    reserved_w = np.nan if vintage is None else power.provisioned_w_per_accelerator.get(vintage, np.nan)
    max_w = np.nan if power.max_w is None else power.max_w
    found[0] = (
        power.host_w,
        rated_w,
        1.0,
        power.network_w,
        hall.pue,
        hall.fixed_overhead,
        max_w,
        reserved_w,
        *_prices(system, bill),
    )
    return found


def _prices(system: System, bill: Bill | None) -> tuple[float, float]:
    """USD of an hour of an accelerator, and of a kWh that is paid beside it; NaN without a bill."""
    if bill is None:
        return np.nan, np.nan
    return bill.usd_per_hour(axes.label(system.accelerator)), 0.0 if bill.includes_energy else bill.usd_per_kwh


def _of_bill(side: Side, number: int, bill: Bill | None) -> Iterator[Parameter]:
    """Prices: of an hour of the accelerator, by the grade of its sheet, and of energy, where it is not in the hour."""
    if bill is None:
        return
    kind = axes.label(side.system.accelerator)
    hour, kwh = _prices(side.system, bill)
    known, said = bill.source(kind), bill.grade(kind) or "estimated"
    moved = (Effect("around", number, ("usd_per_hour",), hour),)
    yield Parameter(f"prices.{kind}", hour, "USD/h", PRICE, said, known, moved)
    if kwh:
        moved = (Effect("around", number, ("usd_per_kwh",), kwh),)
        yield Parameter("prices.usd_per_kwh", kwh, "USD/kWh", PRICE, "estimated", "the bill", moved)


def _unit(path: str) -> str:
    last = path if "flop_per_s" in path else path.rpartition(".")[2]
    if ".host_dc_w." in path or "provisioned_w" in path:
        return "W"
    return next((unit for ending, unit in _UNITS if ending in last and (ending != "_s" or last.endswith("_s"))), "1")


_KINDS = {"FLOP/s": RATE, "B/s": RATE, "B": BYTES, "s": TIME, "W": WATTS}


def _parameter(
    sheet: Sheet, kind_of_sheet: str, path: str, value: float | None, effects: tuple[Effect, ...] = (),
    prefix: str = "", source: Any = None,
) -> Iterator[Parameter]:  # fmt: skip
    """One number, none where the sheet leaves it out."""
    if value is None:
        return
    known = source or sheet.source_of(path)
    unit = _unit(path)
    by_path = LOSS if path.endswith(("psu.efficiency", "memory_fraction")) else SHARE if "eta_" in path else ""
    by_path = EXCESS if path in ("pue", "experts_skew") else HOST if kind_of_sheet == "stack" else by_path
    kind = by_path or _KINDS.get(unit, NUMBER)
    yield Parameter(
        f"{prefix}{kind_of_sheet}.{path}",
        float(value),
        unit,
        kind,
        "estimated" if known is None else known.grade,
        "" if known is None else known.ref,
        effects,
        least=1.0 if kind == EXCESS else 0.0,
        most=1.0 if kind in (SHARE, LOSS) else np.inf,
    )


def _of_stack(stack: Stack) -> Iterator[Parameter]:
    for name in STACK.names or ():
        value = getattr(stack, name)
        yield from _parameter(stack, "stack", name, value, (Effect("stack", 0, (name,), value),))


def _of_side(side: Side, number: int, fidelity: Fidelity, vintage: str | None) -> Iterator[Parameter]:
    def goes(records: str, value: float | None, *fields: str) -> tuple[Effect, ...]:
        return (Effect(records, number, fields, value),) if value else ()

    yield from _of_accelerator(side, number)
    system, prefix, timed = side.system, side.prefix, fidelity != "ideal"
    up, out, power = system.scale_up, system.scale_out, system.power
    moved = goes("machines", up.bytes_per_s, "up_bytes_per_s")
    yield from _parameter(system, "system", "scale_up.bytes_per_s", up.bytes_per_s, moved, prefix)
    moved = goes("machines", up.hop_s, "up_hop_s") if timed else ()
    yield from _parameter(system, "system", "scale_up.hop_s", up.hop_s, moved, prefix)
    if out is not None:
        moved = goes("machines", out.bytes_per_s, "out_bytes_per_s")
        yield from _parameter(system, "system", "scale_out.bytes_per_s", out.bytes_per_s, moved, prefix)
        moved = goes("machines", out.hop_s, "out_hop_s") if timed else ()
        yield from _parameter(system, "system", "scale_out.hop_s", out.hop_s, moved, prefix)
    for name, watts in power.host_dc_w.items():
        moved = goes("around", watts, "host_w")
        yield from _parameter(system, "system", f"power.host_dc_w.{name}", watts, moved, prefix)
    if power.network_w:
        moved = goes("around", power.network_w, "network_w")
        yield from _parameter(system, "system", "power.network_w", power.network_w, moved, prefix)
    if power.psu is not None:
        moved = goes("around", power.psu.rated_w, "psu_rated_w")
        yield from _parameter(system, "system", "power.psu.rated_w", power.psu.rated_w, moved, prefix)
        best = max(power.psu.efficiency)  # the whole curve, by its best point
        yield from _parameter(system, "system", "power.psu.efficiency", best, goes("around", 1.0, "psu_gain"), prefix)
    moved = goes("around", power.max_w, "max_w")
    yield from _parameter(system, "system", "power.max_w", power.max_w, moved, prefix)
    for name, watts in power.provisioned_w_per_accelerator.items():
        moved = goes("around", watts, "reserved_w") if name == vintage else ()
        path = f"power.provisioned_w_per_accelerator.{name}"
        yield from _parameter(system, "system", path, watts, moved, prefix)
    hall = system.facility
    yield from _parameter(hall, "facility", "pue", hall.pue, goes("around", hall.pue, "pue"), prefix)
    if hall.fixed_overhead:
        moved = goes("around", hall.fixed_overhead, "fixed_overhead")
        yield from _parameter(hall, "facility", "fixed_overhead", hall.fixed_overhead, moved, prefix)
    yield from _of_efficiency(side, number, timed)


def _of_accelerator(side: Side, number: int) -> Iterator[Parameter]:
    part, prefix = side.system.accelerator, side.prefix
    shared_link = side.system.scale_up.bytes_per_s is None
    fields: Mapping[str, tuple[float | None, str]] = {
        "memory.bytes_per_s": (part.memory.bytes_per_s, "bytes_per_s"),
        "memory.bytes": (part.memory.bytes, "memory_bytes"),
        "scale_up_bytes_per_s": (part.scale_up_bytes_per_s, "up_bytes_per_s" if shared_link else ""),
        "power.tdp_w": (part.power.tdp_w, "tdp_w"),
        "power.idle_w": (part.power.idle_w, "idle_w"),
        "power.draw_a": (part.power.draw_a, "power_a"),
        "power.draw_b": (part.power.draw_b, "power_b"),
    }
    for math, rate in part.dense_flop_per_s.items():
        parts = [plan.kit_field for plan in side.kit.plans if plan.math == math]
        moved = tuple(Effect("kits", number, (name, "flop_per_s"), rate) for name in parts)
        yield from _parameter(part, "accelerator", f"dense_flop_per_s.{math}", rate, moved, prefix)
    for path, (value, field) in fields.items():
        moved = (Effect("machines", number, (field,), value),) if field and value else ()
        yield from _parameter(part, "accelerator", path, value, moved, prefix)


def _of_efficiency(side: Side, number: int, timed: bool) -> Iterator[Parameter]:
    """Shares and fixed times, which `ideal` does not have."""
    sheet, prefix = side.system.accelerator.efficiency, side.prefix
    operations = sheet.operations
    entries = {
        f"operations.{table}.{name}": entry
        for table in _OPERATIONS
        for name, entry in getattr(operations, table).items()
    } | {f"operations.{table}": getattr(operations, table) for table in ("linear_attention", "index")}
    for where, entry in entries.items():
        parts = [plan.kit_field for plan in side.kit.plans if plan.efficiency_path == where] if timed else []
        for field in ("eta_compute", "eta_memory", "fixed_s"):
            value, path = getattr(entry, field), f"{where}.{field}"
            source = sheet.sources.get(path) or entry.source
            moved = tuple(Effect("kits", number, (name, field), value) for name in parts)
            yield from _parameter(sheet, "efficiency", path, value, moved, prefix, source)
    for name, field in _KIT_NUMBERS.items():
        table, _, last = name.partition(".")
        value = getattr(getattr(operations, table), last)
        moved = (Effect("kits", number, (field,), value),) if timed else ()
        yield from _parameter(sheet, "efficiency", f"operations.{name}", value, moved, prefix)
    moved = (Effect("kits", number, ("expert_skew",), sheet.experts_skew),) if timed else ()
    yield from _parameter(sheet, "efficiency", "experts_skew", sheet.experts_skew, moved, prefix)
    for group, fields in (("collectives", sheet.collectives), ("runtime", sheet.runtime)):
        for field in type(fields).model_fields:
            value = getattr(fields, field)
            moved = (Effect("machines", number, (field,), value),) if timed else ()
            yield from _parameter(sheet, "efficiency", f"{group}.{field}", value, moved, prefix)
