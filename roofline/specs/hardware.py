"""Sheets of hardware: accelerators, the systems they sit in, the facilities around those."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from os import PathLike
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, StrictBool, WithJsonSchema, model_serializer, model_validator

from roofline.specs import folders as places
from roofline.specs import quantity as q
from roofline.specs.efficiency import Efficiency
from roofline.specs.formats import MathType
from roofline.specs.records import Folders, Frozen, FrozenMap, Record, Sheet, SheetInput, Source, TextKeys

IDLE_SHARE_OF_TDP = 0.107
"""Idle over TDP, fitted on H100: the default where a sheet gives no idle power (grade `estimated`)."""

DRAW_A, DRAW_B = 4.76, 0.602
"""Coefficients of equation (16), fitted on H100: the default elsewhere (grade `estimated`)."""


_DRAW_RULE = Source(ref="rule where a sheet gives none: fitted on the H100", grade="estimated")


def _is_accelerator(data: Mapping[str, Any]) -> bool:
    """Whether the fields are those of an accelerator's sheet, not of a system's."""
    return "dense_flop_per_s" in data and not {"accelerator", "accelerators"} & set(data)


def _reference(what: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": f"id of the {what} sheet"})


TopologyName = Literal["switched", "full_mesh", "torus"]
Axes = Annotated[
    tuple[q.Count, ...], Field(description="extents of a torus, one to three; their product is the domain")
]
MOST_AXES = 3


def check_axes(domain: int | None, topology: str | None, axes: Sequence[int], prefix: str = "") -> None:
    """Raise ValueError where the axes of a network are not those of its topology, or do not make its domain."""
    if topology != "torus":
        if axes:
            raise ValueError(f"{prefix}axes are those of a torus, and {prefix}topology is {topology}")
        return
    if not 1 <= len(axes) <= MOST_AXES:
        raise ValueError(f"{prefix}topology torus needs {prefix}axes: one to {MOST_AXES} extents, as [16, 16]")
    if math.prod(axes) != domain:
        product = " x ".join(map(str, axes))
        raise ValueError(f"{prefix}axes make {product} = {math.prod(axes)}, and {prefix}domain is {domain}")


class MayBeUndisclosed(Record):
    """A part of a sheet that leaves out what nobody has said: such a field is None here, and in no dump of it."""

    @model_serializer(mode="wrap")
    def _without_unknown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class Memory(Record):
    """The memory that weights and KV cache live in."""

    bytes: Annotated[q.MemoryBytes, Field(description="usable memory as the driver reports it, else nominal [B]")]
    bytes_per_s: Annotated[q.BytesPerSecond, Field(description="peak bandwidth [B/s]")]
    kind: Annotated[str, Field(description="HBM3e, GDDR7, SRAM ...")]


class Power(MayBeUndisclosed):
    """Electrical draw of one accelerator, equation (16)."""

    default_sources: ClassVar[Mapping[str, Source]] = {
        "idle_w": Source(
            ref=f"rule where a sheet gives none: {IDLE_SHARE_OF_TDP} of TDP, as fitted for the H100", grade="estimated"
        ),
        "draw_a": _DRAW_RULE,
        "draw_b": _DRAW_RULE,
    }

    tdp_w: Annotated[
        q.WattsIfKnown,
        Field(description="sustained limit [W]; left out where undisclosed: then watts and joules are NaN"),
    ] = None
    idle_w: Annotated[
        q.IdleWattsIfKnown,
        Field(
            default_factory=lambda data: None if data["tdp_w"] is None else IDLE_SHARE_OF_TDP * data["tdp_w"],
            description="powered, no work [W]; default 0.107 of TDP, estimated",
        ),
    ]
    draw_a: Annotated[q.Coefficient, Field(description="power_a of equation (16)")] = DRAW_A
    draw_b: Annotated[q.Coefficient, Field(description="power_b of equation (16)")] = DRAW_B

    @model_validator(mode="after")
    def _idle_below_tdp(self) -> Self:
        if self.idle_w is not None and self.tdp_w is not None and self.idle_w >= self.tdp_w:
            raise ValueError(f"idle_w = {self.idle_w:g} is not below tdp_w = {self.tdp_w:g}")
        return self


class Accelerator(Sheet):
    """One accelerator: a GPU, TPU, LPU; the unit in which everything per device is counted."""

    kind_of_sheet: ClassVar[str] = "accelerator"

    vendor: str
    year: Annotated[q.Year, Field(description="of first shipment")]
    dense_flop_per_s: Annotated[
        dict[MathType, q.FlopPerSecond],
        Frozen,
        Field(min_length=1, description="peak without structured sparsity, by math type [FLOP/s]; only what exists"),
    ]
    memory: Memory
    cache_bytes: Annotated[q.CacheBytes | None, Field(description="last-level cache [B]")] = None
    scale_up_bytes_per_s: Annotated[
        q.LinkBytesPerSecond | None, Field(description="scale-up network, one direction [B/s]; left out where none")
    ] = None
    scale_up_domain: Annotated[
        q.Count | None, Field(description="accelerators that share that network; left out where a system sheet says")
    ] = None
    scale_up_topology: Annotated[
        TopologyName | None, Field(description="of that network; left out where a system sheet says")
    ] = None
    scale_up_axes: Axes = ()
    scale_out_bytes_per_s: Annotated[
        q.LinkBytesPerSecond | None,
        Field(description="network between domains, one direction [B/s]; left out where a system sheet says"),
    ] = None
    power: Power
    efficiency: Annotated[Efficiency, _reference("efficiency")]

    @model_validator(mode="after")
    def _torus(self) -> Self:
        check_axes(self.scale_up_domain, self.scale_up_topology, self.scale_up_axes, "scale_up_")
        return self


class ScaleUp(Record):
    """The network inside one domain (NVLink, Infinity Fabric, ICI)."""

    domain: Annotated[q.Count, Field(description="accelerators that share it")]
    topology: TopologyName
    axes: Axes = ()
    hop_s: Annotated[q.Seconds, Field(description="latency of one hop [s]")]
    in_switch_reduction: Annotated[StrictBool, Field(description="switches reduce (NVLS / SHARP)")]
    bytes_per_s: Annotated[
        q.LinkBytesPerSecond | None, Field(description="one direction per accelerator; default the accelerator's")
    ] = None

    @model_validator(mode="after")
    def _torus(self) -> Self:
        check_axes(self.domain, self.topology, self.axes)
        return self


class ScaleOut(Record):
    """The network between domains (InfiniBand, Ethernet)."""

    bytes_per_s: Annotated[q.LinkBytesPerSecond, Field(description="one direction per accelerator [B/s]")]
    hop_s: Annotated[q.Seconds, Field(description="latency of one hop [s]")]


class Psu(Record):
    """Power supplies: efficiency against load, load = DC watts / rated_w."""

    rated_w: Annotated[q.SystemWatts, Field(description="of all supplies of the system together [W]")]
    load: Annotated[tuple[q.Share, ...], Field(min_length=1)]
    efficiency: Annotated[tuple[q.Share, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _curve(self) -> Self:
        if len(self.load) != len(self.efficiency):
            raise ValueError(f"load has {len(self.load)} points and efficiency {len(self.efficiency)}")
        if any(b <= a for a, b in pairwise(self.load)):
            raise ValueError("load must rise from point to point")
        return self

    def efficiency_at(self, direct_w: float) -> float:
        """Efficiency where they deliver so much [W]: linear between points, flat beyond."""
        load = direct_w / self.rated_w
        i = bisect_right(self.load, load)
        if i == 0 or i == len(self.load):
            return self.efficiency[min(i, len(self.load) - 1)]
        share = (load - self.load[i - 1]) / (self.load[i] - self.load[i - 1])
        return self.efficiency[i - 1] + share * (self.efficiency[i] - self.efficiency[i - 1])


class SystemPower(MayBeUndisclosed):
    """What a system draws beside its accelerators; what is undisclosed is left out, and what needs it is NaN."""

    host_dc_w: Annotated[
        dict[str, q.HostWatts],
        Frozen,
        Field(
            default_factory=FrozenMap,
            description="DC watts of all that is not accelerators, by any names; summed; left out where undisclosed",
        ),
    ]
    network_w: Annotated[
        q.NetworkWatts,
        Field(description="of the network outside the system, its share [W]: counted at the facility; 0 where unknown"),
    ] = 0.0
    psu: Psu | None = None
    max_w: Annotated[
        q.SystemWattsIfKnown,
        Field(description="what the system is rated to draw at most [W]; left out where undisclosed"),
    ] = None
    provisioned_w_per_accelerator: Annotated[
        dict[str, q.SystemWatts],
        TextKeys,
        Frozen,
        Field(default_factory=FrozenMap, description="all-in facility watts per accelerator, by vintage"),
    ]

    @property
    def host_w(self) -> float:
        """DC watts of the whole system that are not accelerators [W]; NaN where undisclosed."""
        return float(sum(self.host_dc_w.values())) if self.host_dc_w else math.nan

    @property
    def supplies(self) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
        """Rated watts [W], loads and efficiencies of the power supplies; NaN where undisclosed."""
        if self.psu is None:
            return math.nan, (1.0,), (math.nan,)
        return self.psu.rated_w, self.psu.load, self.psu.efficiency


class Facility(Sheet):
    """The building: what it adds to the power of the racks."""

    kind_of_sheet: ClassVar[str] = "facility"

    cooling: Literal["air", "liquid"]
    pue: Annotated[q.Pue, Field(description="total power over IT power, of racks that draw all they are rated for")]
    fixed_overhead: Annotated[
        q.ShareOrNone,
        Field(
            description="of that, what the building takes whatever the racks draw (idle losses of UPS, pumps, fans), "
            "over the racks' rated power; 0: a constant PUE"
        ),
    ] = 0.0

    @model_validator(mode="after")
    def _fixed(self) -> Self:
        if self.fixed_overhead > self.pue - 1.0 + 1e-12:
            raise ValueError(f"fixed_overhead = {self.fixed_overhead:g}: at most pue - 1 = {self.pue - 1.0:.4g}")
        return self


class System(Sheet):
    """A box or rack of one kind of accelerator, its networks, power and cooling."""

    kind_of_sheet: ClassVar[str] = "system"

    kind: Literal["box", "rack", "pod"]
    accelerator: Annotated[Accelerator, _reference("accelerator")]
    accelerators: Annotated[q.Count, Field(description="accelerators in one system")]
    max_systems: Annotated[q.Count, Field(description="systems that one replica may span over scale-out")] = 1
    scale_up: ScaleUp
    scale_out: ScaleOut | None = None
    power: SystemPower
    cooling: Literal["air", "liquid"]
    facility: Annotated[Facility, _reference("facility")]

    @model_validator(mode="after")
    def _above_idle(self) -> Self:
        """A system may draw at least what it takes idle: else nothing that is counted of it means anything."""
        idle_w, most_w, host_w = self.accelerator.power.idle_w, self.power.max_w, self.power.host_w
        if idle_w is None or most_w is None or math.isnan(host_w):
            return self
        direct = self.accelerators * idle_w + host_w
        wall_w = direct if self.power.psu is None else direct / self.power.psu.efficiency_at(direct)
        if wall_w > most_w:
            raise ValueError(
                f"power.max_w = {most_w:g} W is below the {wall_w:.0f} W that the system draws idle; raise it, or "
                "lower its idle and host watts"
            )
        return self

    @classmethod
    def load(cls, source: SheetInput | Self | Accelerator, *, folders: Folders = None) -> Self:
        """The system of a name, a path or a mapping.

        An accelerator, the name of one that no system has, the path of its sheet or its mapping stands for one
        scale-up domain of it with a default host (`roofline.specs.default_host`), whose numbers are `estimated`.
        Raises `roofline.errors.InputError` where there is no such sheet or it is not valid.
        """
        from roofline.specs import default_host, load  # these need the classes of this file first

        if isinstance(source, Accelerator):
            return cls.model_validate(default_host.around(source, folders=folders))
        if isinstance(source, str) and load.is_name(source) and not load.exists(cls, source, folders=folders):
            if load.exists(Accelerator, source, folders=folders):
                return cls.model_validate(
                    default_host.around(Accelerator.load(source, folders=folders), folders=folders)
                )
            known = {*load.list_specs("system", folders=folders), *load.list_specs("accelerator", folders=folders)}
            raise places.not_found("system or accelerator", source, known, folders)
        if isinstance(source, str | PathLike | Mapping) and _is_accelerator(load.data_of(source)):
            accelerator = Accelerator.load(source, folders=folders)
            nearby = load.search_folders(source, folders)
            return cls.model_validate(default_host.around(accelerator, folders=nearby))
        return load.load_sheet(cls, source, folders=folders)

    @property
    def scale_up_bytes_per_s(self) -> float:
        """Scale-up bandwidth, one direction per accelerator [B/s]; 0 where there is no such network."""
        return self.scale_up.bytes_per_s or self.accelerator.scale_up_bytes_per_s or 0.0

    @property
    def power_unknown(self) -> str:
        """What is undisclosed of the watts of this system, in words; an empty string where all is known."""
        power = self.power
        facts = {"host watts": power.host_dc_w, "power supplies": power.psu, "maximum watts": power.max_w}
        unknown = [f"TDP of {self.accelerator.id}"] if self.accelerator.power.tdp_w is None else []
        lacking = [name for name, value in facts.items() if not value]
        unknown += [f"{', '.join(lacking)} of {self.id or self.name}"] if lacking else []
        return f"undisclosed: {'; '.join(unknown)}" if unknown else ""

    @model_validator(mode="after")
    def _networks(self) -> Self:
        reach = self.accelerators * self.max_systems
        if self.scale_up.domain > reach:
            raise ValueError(
                f"scale_up.domain = {self.scale_up.domain} is more than accelerators * max_systems = {reach}"
            )
        if self.scale_up.domain > 1 and not self.scale_up_bytes_per_s:
            raise ValueError("scale_up.domain > 1, but neither scale_up.bytes_per_s nor the accelerator gives a rate")
        if reach > self.scale_up.domain and self.scale_out is None:
            raise ValueError(f"a replica may span {reach} accelerators, more than scale_up.domain, without scale_out")
        return self
