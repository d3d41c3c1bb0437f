"""Sections 1 and 2: the shape of a pass, one operation, and what a run of operations adds up to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from roofline.layout import Bound, Component

Plain = dict[str, Any]

TIE = 1e-12
"""Alternatives this close, relatively, may go either way in another order of floating-point operations."""


def tied(a: float, b: float) -> bool:
    return 0 < abs(a - b) <= TIE * max(abs(a), abs(b)) or a == b != 0


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True)
class Shape:
    """Section 1: how the tokens of one pass spread over the replica."""

    batch: int
    new_tokens: int  # Q
    context: int  # L
    prefill: bool
    tp: int
    pp: int
    dp: int
    ep: int
    moe_tp: int

    @property
    def group(self) -> int:  # G
        return self.tp * self.pp * self.dp

    @property
    def stage_group(self) -> int:  # g
        return self.tp * self.dp

    @property
    def micro_batches(self) -> int:  # m
        return min(self.batch, self.pp)

    @property
    def micro_batch(self) -> int:  # Bm
        return ceil_div(self.batch, self.micro_batches)

    @property
    def rank_batch(self) -> int:  # Ba
        return ceil_div(self.micro_batch, self.dp)

    @property
    def rows(self) -> int:  # M
        return self.rank_batch * self.new_tokens

    @property
    def expert_tokens(self) -> int:  # T
        return self.micro_batch * self.new_tokens


def shape_of(deployment: Plain, batch: int, new_tokens: int, context: int, prefill: bool) -> Shape:
    degrees = {name: deployment[name] for name in ("tp", "pp", "dp", "ep", "moe_tp")}
    return Shape(batch, new_tokens, context, prefill, **degrees)


def local_heads(row: Plain, shape: Shape) -> tuple[int, int]:
    """(Ht, Kt): query and KV heads (linear: value and key heads) of one rank; the latter replicate past kv_heads."""
    return row["heads"] // shape.tp, max(1, row["kv_heads"] // shape.tp)


@dataclass(frozen=True)
class Operation:
    """Equation (1), its two terms kept apart."""

    name: str
    part: str
    component: Component
    flop: float
    moved_bytes: float
    pure_compute_s: float  # F / peak, what it adds to C
    compute_s: float  # F / (eta_c * peak)
    memory_s: float  # bytes / (eta_m * W)
    fixed_s: float
    drawn: tuple[float, float] | None = None  # (F / peak, bytes) of a mean rank in whole tiles, where other than above

    @property
    def time(self) -> float:
        return self.fixed_s + max(self.compute_s, self.memory_s)

    @property
    def bound(self) -> Bound:
        return Bound.COMPUTE if self.compute_s >= self.memory_s else Bound.MEMORY


@dataclass(frozen=True)
class Transfer:
    """A collective or a hand-over: a fixed part (latency) and a bytes part (network)."""

    name: str
    fixed_s: float
    bytes_s: float
    component: Component = Component.COLLECTIVES
    ties: int = 0  # ways that cost the same with other fixed parts

    @property
    def time(self) -> float:
        return self.fixed_s + self.bytes_s


def operation(
    name: str, part_name: str, component: Component, kit: Plain, machine: Plain, flop: float, moved_bytes: float
) -> Operation:
    """Equation (1) for a part of the kit."""
    part = kit[part_name]
    return Operation(
        name,
        part_name,
        component,
        flop,
        moved_bytes,
        flop / part["flop_per_s"],
        flop / (part["eta_compute"] * part["flop_per_s"]),
        moved_bytes / (part["eta_memory"] * machine["bytes_per_s"]),
        part["fixed_s"],
    )


def gemm(
    name: str, part_name: str, component: Component, kit: Plain, machine: Plain, rows: float, k: float, n: float
) -> Operation:
    """Equation (2)."""
    part = kit[part_name]
    moved = k * n * part["w_weight"] + rows * k * part["w_act"] + rows * n * part["w_out"]
    return operation(name, part_name, component, kit, machine, 2 * rows * k * n, moved)


def move(
    name: str, component: Component, machine: Plain, moved_bytes: float, eta_memory: float, fixed_s: float
) -> Operation:
    """An operation with bytes only."""
    memory_s = moved_bytes / (eta_memory * machine["bytes_per_s"])
    return Operation(name, "elementwise", component, 0.0, moved_bytes, 0.0, 0.0, memory_s, fixed_s)


@dataclass
class Tally:
    """Times and resources summed over operations, layers and chunks."""

    time: float = 0.0
    serial: float = 0.0
    compute: float = 0.0  # C
    moved: float = 0.0  # D
    drawn_compute: float = 0.0  # C and D that power is of: those of a mean rank, with rows that fill up tiles
    drawn_moved: float = 0.0
    ties: int = 0  # choices between near-equal alternatives: classes may then be split otherwise
    classes: dict[Bound, float] = field(default_factory=lambda: {b: 0.0 for b in Bound if b})
    components: dict[Component, float] = field(default_factory=lambda: dict.fromkeys(Component, 0.0))

    def add(self, other: Tally, times: float = 1.0) -> None:
        self.time += times * other.time
        self.serial += times * other.serial
        self.compute += times * other.compute
        self.moved += times * other.moved
        self.drawn_compute += times * other.drawn_compute
        self.drawn_moved += times * other.drawn_moved
        self.ties += other.ties
        for bound in self.classes:
            self.classes[bound] += times * other.classes[bound]
        for component in self.components:
            self.components[component] += times * other.components[component]


def in_series(operations: list[Operation], transfers: list[Transfer]) -> Tally:
    """`kernel`: operations run one after another."""
    tally = Tally()
    for op in operations:
        tally.compute += op.pure_compute_s
        tally.moved += op.moved_bytes
        compute, moved = op.drawn or (op.pure_compute_s, op.moved_bytes)
        tally.drawn_compute += compute
        tally.drawn_moved += moved
        tally.time += op.time
        tally.classes[Bound.LATENCY] += op.fixed_s
        tally.classes[op.bound] += max(op.compute_s, op.memory_s)
        tally.components[op.component] += op.time
        tally.ties += tied(op.compute_s, op.memory_s)
    for transfer in transfers:
        tally.time += transfer.time
        tally.ties += transfer.ties
        tally.classes[Bound.LATENCY] += transfer.fixed_s
        tally.classes[Bound.NETWORK] += transfer.bytes_s
        tally.components[transfer.component] += transfer.time
    tally.serial = tally.time
    return tally


def at_the_bound(operations: list[Operation], transfers: list[Transfer], machine: Plain) -> Tally:
    """`ideal`: everything overlaps; the busiest resource sets the time.

    A component gets what it uses of the resource that binds, so that components sum to the time.
    """
    tally = Tally()
    tally.compute = math.fsum(op.pure_compute_s for op in operations)
    tally.moved = math.fsum(op.moved_bytes for op in operations)
    drawn = [op.drawn or (op.pure_compute_s, op.moved_bytes) for op in operations]
    tally.drawn_compute, tally.drawn_moved = (math.fsum(each) for each in zip(*drawn, strict=True)) if drawn else (0, 0)
    network = math.fsum(transfer.time for transfer in transfers)
    memory = tally.moved / machine["bytes_per_s"]
    tally.time = max(tally.compute, memory, network)
    tally.serial = max(tally.compute, memory) + network
    busiest = sorted((tally.compute, memory, network))
    tally.ties = int(tied(busiest[-1], busiest[-2]))
    if tally.compute == tally.time:
        tally.classes[Bound.COMPUTE] = tally.time
        for op in operations:
            tally.components[op.component] += op.pure_compute_s
    elif memory == tally.time:
        tally.classes[Bound.MEMORY] = tally.time
        for op in operations:
            tally.components[op.component] += op.moved_bytes / machine["bytes_per_s"]
    else:
        tally.classes[Bound.NETWORK] = tally.time
        for transfer in transfers:
            tally.components[transfer.component] += transfer.time
    return tally


def run(operations: list[Operation], transfers: list[Transfer], kit: Plain, machine: Plain) -> Tally:
    """A layer (or the embedding, or the lm_head) in the fidelity of the kit."""
    return at_the_bound(operations, transfers, machine) if kit["bound"] else in_series(operations, transfers)
