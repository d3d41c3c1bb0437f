"""Step times of many replicas at many batches, computed together: what all predictions are made of.

Everything that does not depend on tuned constants is packed once; `Cells.run` calls the kernels again with others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from roofline.layout import CONFIG, MACHINE
from roofline.specs.pack import pack, pack_deployments
from roofline.validation.tuned import Named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.grid.axes import Degrees
    from roofline.specs import Model, Recipe, System

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


FEW = 64
"""Steps below which threads cost more than they save."""


class Setup(NamedTuple):
    """One configuration: what runs where, and how much memory it may fill (None: as the sheets say)."""

    model: Model
    system: System
    recipe: Recipe
    degrees: Degrees
    generation: str
    memory_fraction: float | None = None


class Pass(NamedTuple):
    """A kind of step: context of the decoding sequences, and the chunk beside them (0: none) with where chunks end."""

    context: int
    chunk: int = 0
    ahead: tuple[int, ...] = ()
    drafts: int = 0


@dataclass(frozen=True)
class Records:
    """Record arrays of all configurations, and what they are named after."""

    models: NDArray[np.void]
    layers: NDArray[np.void]
    machines: NDArray[np.void]
    kits: NDArray[np.void]
    deployments: NDArray[np.void]
    configs: NDArray[np.void]
    named: Named

    @classmethod
    def of(cls, setups: Sequence[Setup]) -> Records:
        """One row of `configs` for each setup, in their order."""
        models, systems, recipes = _Places(), _Places(), _Places()
        rows, machines = _Places(), _Places()
        at = [(models.at(s.model.id, s.model), systems.at(s.system.id, s.system)) for s in setups]
        which = [recipes.at(s.recipe.id, s.recipe) for s in setups]
        packed = pack(models.items, systems.items, recipes.items, "kernel")
        configs = np.zeros(len(setups), dtype=CONFIG)
        for i, setup in enumerate(setups):
            m, s = at[i]
            machine = machines.at((s, setup.memory_fraction), (s, setup.memory_fraction))
            row = rows.at(setup.degrees, setup.degrees)
            configs[i] = (m, machine, packed.kit_index[m, s, which[i]], row)
        found = np.zeros(len(machines.items), dtype=MACHINE)
        for i, (s, fraction) in enumerate(machines.items):
            found[i] = packed.machines[s]
            if fraction is not None:
                found[i]["memory_fraction"] = fraction
        generations = {s.system.id: s.generation for s in setups}
        kits = np.zeros((3, packed.kits.size), dtype="U64")
        for (_, s, r), index in np.ndenumerate(packed.kit_index):
            if index >= 0:
                system = systems.items[s]
                kits[:, index] = system.accelerator.id, generations[system.id], recipes.items[r].id
        of_machines = [systems.items[s] for s, _ in machines.items]
        named = Named(
            kits[0],
            kits[1],
            kits[2],
            np.array([system.accelerator.id for system in of_machines]),
            np.array([generations[system.id] for system in of_machines]),
        )
        return cls(packed.models, packed.layers, found, packed.kits, pack_deployments(rows.items), configs, named)

    def cell(self, configs: Ints) -> tuple[Any, Any, Any, Any, Any, Any]:
        """Record arrays as kernels take them, of some configurations."""
        return self.models, self.layers, self.machines, self.kits, self.deployments, self.configs[configs]

    def group(self, name: str) -> Ints:
        """A degree of each configuration."""
        found: Ints = self.deployments[name][self.configs["deployment"]]
        return found


class _Places:
    """Things in the order they were first seen, by a key."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._known: dict[Any, int] = {}

    def at(self, key: Any, item: Any) -> int:
        if key not in self._known:
            self._known[key] = len(self.items)
            self.items.append(item)
        return self._known[key]


@dataclass(frozen=True)
class Work:
    """Steps of each row at each of its batches. float64[rows, nodes]; NaN where it cannot run.

    step_s : decoding alone.   more_s : what a full chunk on each rank adds.   compute_s, memory_s : work of one
    accelerator in such a step, at peak rates; chunk_* : of a step with a chunk.   limit : `layout.Limit`.
    """

    step_s: Floats
    more_s: Floats
    compute_s: Floats
    memory_s: Floats
    chunk_compute_s: Floats
    chunk_memory_s: Floats
    limit: NDArray[np.int8]


@dataclass
class Cells:
    """Rows of (configuration, pass, batches of a rank); batch 0 is a chunk with nothing beside it.

    nodes : float64[rows, nodes]   batches of a rank, rising; the last one again where a row has fewer.
    run_at : int64[rows, nodes]   what they are padded to.
    """

    config: Ints
    passes: list[Pass]
    nodes: Floats
    run_at: Ints
    _groups: dict[Pass, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows: dict[Pass, list[int]] = {}
        for i, one in enumerate(self.passes):
            rows.setdefault(one, []).append(i)
        self._groups = {one: np.array(found, dtype=np.int64) for one, found in rows.items()}

    def run(self, records: Records) -> Work:
        """All rows with the records given."""
        shape = self.nodes.shape
        step, more, compute, memory, chunk_compute, chunk_memory = (np.full(shape, np.nan) for _ in range(6))
        limit = np.zeros(shape, dtype=np.int8)
        found = Work(step, more, compute, memory, chunk_compute, chunk_memory, limit)
        for one, rows in self._groups.items():
            self._run_group(records, one, rows, found)
        alone = (self.nodes[:, 0] == 0.0) & np.array([one.chunk > 0 for one in self.passes], dtype=bool)
        for chunk in {self.passes[i].chunk for i in np.flatnonzero(alone)}:
            of_chunk = np.array([i for i in np.flatnonzero(alone) if self.passes[i].chunk == chunk], dtype=np.int64)
            _chunks_alone(records, self.config[of_chunk], chunk, of_chunk, found)
        return found

    def _run_group(self, records: Records, one: Pass, rows: Ints, found: Work) -> None:
        from roofline.kernels.mixed import mixed_grid
        from roofline.kernels.outputs import Var
        from roofline.kernels.sweep import decode_grid

        configs = self.config[rows]
        cell = records.cell(configs)
        dp, pp = (records.group(name)[configs][:, None] for name in ("dp", "pp"))
        batch = dp * np.maximum(self.run_at[rows], 1)
        context, new = np.array([one.context]), 1 + one.drafts
        want, many = (Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY), batch.size > FEW
        alone = decode_grid(*cell, batch, context, new, one.drafts, want=want, with_bound=False, parallel=many)
        step, compute, memory = (alone["values"][name][..., 0] for name in want)
        limit = alone["limit"][..., 0]
        compute, memory = compute * step, memory * step
        found.step_s[rows], found.compute_s[rows], found.memory_s[rows] = step, compute, memory
        if one.chunk:
            mixed = mixed_grid(*cell, batch, context, new, one.chunk, np.array(one.ahead), many)
            found.more_s[rows] = (mixed["step"][:, :, 0] - mixed["decode"]).mean(axis=-1)
            others = (np.minimum(batch, pp) - 1) / np.minimum(batch, pp)
            bandwidth = records.machines["bytes_per_s"][records.configs["machine"][configs]][:, None]
            found.chunk_compute_s[rows] = others * compute + mixed["peak"][:, :, 0].mean(axis=-1) / pp
            found.chunk_memory_s[rows] = others * memory + mixed["moved"][:, :, 0].mean(axis=-1) / bandwidth / pp
            limit = np.maximum(limit, mixed["limit"][:, :, 0].max(axis=-1))
        else:
            found.more_s[rows] = 0.0
            found.chunk_compute_s[rows], found.chunk_memory_s[rows] = compute, memory
        found.limit[rows] = limit


def _chunks_alone(records: Records, configs: Ints, chunk: int, rows: Ints, found: Work) -> None:
    """A chunk on each rank with nothing beside it, into the first node of some rows; see `serving.deployed`."""
    from roofline.kernels.outputs import Var
    from roofline.kernels.prefill import prefill_grid

    models, layers, machines, kits, deployments, one = records.cell(configs)
    roomy = machines.copy()
    roomy["memory_bytes"] = np.inf
    dp, pp = (records.group(name)[configs] for name in ("dp", "pp"))
    prompts = (dp - 1) * pp + 1
    classes = (Var.CLASS_COMPUTE, Var.CLASS_MEMORY, Var.CLASS_NETWORK, Var.CLASS_LATENCY)
    want = (Var.STEP, Var.DRAWN_COMPUTE, Var.DRAWN_MEMORY, *classes)
    values = prefill_grid(
        models, layers, roomy, kits, deployments, one, prompts[:, None], np.array([chunk]), want=want, with_bound=False
    )["values"]
    step, flights = values[Var.STEP][:, 0, 0], np.minimum(prompts, pp)
    through = sum(values[name][:, 0, 0] for name in classes)
    found.step_s[rows, 0] = found.compute_s[rows, 0] = found.memory_s[rows, 0] = 0.0
    found.more_s[rows, 0] = np.where(flights == 1, step, through)
    found.chunk_compute_s[rows, 0] = values[Var.DRAWN_COMPUTE][:, 0, 0] * step / flights
    found.chunk_memory_s[rows, 0] = values[Var.DRAWN_MEMORY][:, 0, 0] * step / flights


def between(nodes: Floats, values: Floats, at: Floats) -> Floats:
    """Linear interpolation of each row at one place of its own: nodes, values float64[rows, k], at float64[rows].

    Beyond the nodes the outermost value, as `numpy.interp`. A node may come again.
    """
    rows = np.arange(nodes.shape[0])
    left = np.clip((nodes <= at[:, None]).sum(axis=1) - 1, 0, nodes.shape[1] - 1)
    right = np.minimum(left + 1, nodes.shape[1] - 1)
    low, high = nodes[rows, left], nodes[rows, right]
    width = high - low
    part = np.where(width > 0.0, np.clip((at - low) / np.where(width > 0.0, width, 1.0), 0.0, 1.0), 0.0)
    before = values[rows, left]
    found: Floats = np.where(part > 0.0, before + part * (values[rows, right] - before), before)
    return found


def nodes_of(wanted: Sequence[Sequence[float]]) -> Floats:
    """Batches of each row as a rectangle: rising, each once, the last one repeated. float64[rows, most]."""
    ordered = [sorted(set(row)) for row in wanted]
    most = max((len(row) for row in ordered), default=1)
    return np.array([row + [row[-1]] * (most - len(row)) for row in ordered], dtype=np.float64)
