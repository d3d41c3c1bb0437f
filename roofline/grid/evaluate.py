"""Evaluate a grid: sheets -> records -> kernels -> a Dataset that stands alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from roofline import provenance
from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.drafts import Acceptance, drafts_of
from roofline.grid.variables import BOUND_FLAGS, COMPONENTS, DECODE, LIMIT_FLAGS, PREFILL, VERIFY, WIDENED, Variable
from roofline.layout import CONFIG, Component
from roofline.specs import Facility, Model, Recipe, System
from roofline.specs.pack import Fidelity, Packed, pack, pack_deployments, used_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

Pass = Literal["decode", "prefill"]
Records = tuple[
    "NDArray[np.void]",
    "NDArray[np.void]",
    "NDArray[np.void]",
    "NDArray[np.void]",
    "NDArray[np.void]",
    "NDArray[np.void]",
]
"""models, layers, machines, kits, deployments, configs"""

_DIMS = ("model", "system", "recipe", "deployment")


def physical_memory() -> int:
    """Memory of this machine [B]; where the system does not tell, more than any has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


class Grid:
    """Sheets and records of a grid before its batches and lengths: what `decode`, `prefill` and searches share."""

    def __init__(
        self,
        models: axes.SheetLike,
        systems: axes.SheetLike,
        recipes: axes.SheetLike | None,
        deployments: axes.Deployments,
        fidelity: Fidelity,
        facility: axes.SheetLike | None = None,
    ) -> None:
        self.models = axes.sheets("models", Model, models)
        self.systems = axes.sheets("systems", System, systems)
        if facility is not None:
            building = Facility.load(facility)
            self.systems = [system.model_copy(update={"facility": building}) for system in self.systems]
        self.recipes = axes.default_recipes(self.models) if recipes is None else axes.sheets("recipes", Recipe, recipes)
        self.deployments = deployments
        self.fidelity: Fidelity = fidelity
        self.packed: Packed = pack(self.models, self.systems, self.recipes, fidelity)
        self.shape = (len(self.models), len(self.systems), len(self.recipes), len(deployments.rows))

    def configs(self) -> NDArray[np.void]:
        """All configurations in the order of the dims, as records of `layout.CONFIG`."""
        index = np.indices(self.shape).reshape(4, -1)
        configs = np.zeros(index.shape[1], dtype=CONFIG)
        configs["model"], configs["machine"], configs["deployment"] = index[0], index[1], index[3]
        configs["kit"] = self.packed.kit_index[index[0], index[1], index[2]]
        return configs

    def records(self) -> Records:
        """Record arrays in the order kernels take them, configurations last."""
        packed = self.packed
        deployments = pack_deployments(self.deployments.rows)
        return packed.models, packed.layers, packed.machines, packed.kits, deployments, self.configs()

    def coords(self) -> dict[str, Any]:
        """Coordinates of the four leading dims, with the facts of each system that a roll-up needs."""
        rows = np.array(self.deployments.rows, dtype=np.int64).reshape(-1, 5)
        coords: dict[str, Any] = {
            "model": _labels(self.models),
            "system": _labels(self.systems),
            "recipe": _labels(self.recipes),
            "deployment": np.array(self.deployments.labels, dtype=object),
            "accelerators": (
                "deployment",
                rows[:, 0] * rows[:, 1] * rows[:, 2],
                {"long_name": "accelerators a replica"},
            ),
        }
        for column, name in enumerate(("tp", "pp", "dp", "ep", "moe_tp")):
            coords[name] = ("deployment", rows[:, column])
        coords["widened_parts"] = (_DIMS[:3], self._widened(), WIDENED)
        coords.update(system_coords(self.systems))
        return coords

    def _widened(self) -> NDArray[np.object_]:
        """Parts that run in a wider arithmetic than the recipe's, comma-separated: [model, system, recipe]."""
        widened = np.full(self.shape[:3], "", dtype=object)
        for at, kit in self.packed.plans.items():
            used = used_parts(self.models[at[0]])
            parts = [plan.kit_field for plan in kit.plans if plan.weight_only and plan.kit_field in used]
            widened[at] = ",".join(parts)
        return widened

    def attributes(self, token_basis: str) -> dict[str, str]:
        """Provenance of a result of this grid."""
        sheets = (*self.models, *self.systems, *self.recipes)
        digests = [pair for sheet in sheets for pair in sheet.digests.items()]
        return provenance.attributes(fidelity=self.fidelity, token_basis=token_basis, sheets=digests)

    def check_size(self, cells: int, variables: int) -> None:
        """Raise `InputError` where the arrays of a result would not fit in this machine's memory."""
        count = int(np.prod(self.shape)) * cells
        size, there = count * (8 * variables + 2), physical_memory()
        if size > there:
            raise InputError(
                f"the result would take {size / 1e9:,.1f} GB for {count:,} cells, of {there / 1e9:,.1f} GB of memory "
                "here; give fewer batches, lengths or deployments, or evaluate in parts"
            )


def _labels(sheets: Sequence[Model] | Sequence[System] | Sequence[Recipe]) -> NDArray[np.object_]:
    return np.array([axes.label(sheet) for sheet in sheets], dtype=object)


def system_coords(systems: Sequence[System]) -> dict[str, Any]:
    """What the roll-up needs of each system, as coordinates, so that a saved Dataset can be rolled up.

    Undisclosed watts are NaN, and `power_unknown` says in words which they are: an empty string where there are none.
    """
    watts = {"units": "W"}
    supplies = [system.power.supplies for system in systems]
    points = max(len(load) for _, load, _ in supplies)
    vintages = sorted({vintage for system in systems for vintage in system.power.provisioned_w_per_accelerator})

    def curve(rows: Iterable[tuple[float, ...]]) -> NDArray[np.float64]:
        return np.array([[*row, *row[-1:] * (points - len(row))] for row in rows])

    def known(numbers: Iterable[float | None]) -> list[float]:
        return [np.nan if number is None else number for number in numbers]

    provisioned = [
        [system.power.provisioned_w_per_accelerator.get(vintage, np.nan) for vintage in vintages] for system in systems
    ]
    return {
        "system_name": ("system", np.array([system.name for system in systems], dtype=object)),
        "system_accelerators": ("system", [system.accelerators for system in systems]),
        "power_unknown": ("system", np.array([system.power_unknown for system in systems], dtype=object)),
        "tdp_w": ("system", known(system.accelerator.power.tdp_w for system in systems), watts),
        "idle_w": ("system", known(system.accelerator.power.idle_w for system in systems), watts),
        "host_w": ("system", [system.power.host_w for system in systems], watts),
        "max_w": ("system", known(system.power.max_w for system in systems), watts),
        "psu_rated_w": ("system", [rated_w for rated_w, _, _ in supplies], watts),
        "psu_load": (("system", "psu_point"), curve(load for _, load, _ in supplies)),
        "psu_efficiency": (("system", "psu_point"), curve(efficiency for _, _, efficiency in supplies)),
        "pue": ("system", [system.facility.pue for system in systems]),
        "network_w": ("system", [system.power.network_w for system in systems]),
        "fixed_overhead": ("system", [system.facility.fixed_overhead for system in systems]),
        "vintage": np.array(vintages, dtype=object),
        "provisioned_w": (("system", "vintage"), np.array(provisioned, dtype=float).reshape(len(systems), -1), watts),
    }


def decode(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    tp: axes.Counts = 1,
    pp: axes.Counts = 1,
    dp: axes.Counts = 1,
    ep: axes.Counts | None = None,
    moe_tp: axes.Counts | None = None,
    deployments: Iterable[Mapping[str, int]] | None = None,
    batch: axes.Counts = (1, 4, 16, 64, 256),
    context: axes.Counts = (2048, 8192, 32768),
    new_tokens: int = 1,
    drafts: int = 0,
    acceptance: Acceptance | None = None,
    fidelity: Fidelity = "kernel",
    facility: axes.SheetLike | None = None,
    components: bool = False,
    parallel: bool = True,
) -> xr.Dataset:
    """One decode step for every model x system x recipe x deployment x batch x context.

    models, systems, recipes : names, paths, mappings or sheets, one or many; recipes default to those the models
        ship in.
    tp, pp, dp, ep, moe_tp : degrees, whose product is the deployment axis; or `deployments`, a list of mappings.
        ep defaults to 1, moe_tp to tp*dp/ep.
    batch : sequences in flight in one replica.   context : tokens, the new ones included.
    new_tokens : tokens per sequence in the step; more than 1 to price the verification of a draft: rates and energy
        then count VERIFIED tokens, accepted or not, and there is no `tpot`.
    drafts : tokens drafted per sequence by the model's multi-token-prediction layers and checked in the same step;
        with `acceptance`, the chance that each is kept: one number, or one for each position. Rates, TPOT and energy
        then count the output tokens kept on the mean, and the step includes drafting and checking.
    fidelity : `ideal` (a lower bound on time) or `kernel` (measured kernel efficiencies, no serving stack).
    facility : overrides the facility of the systems.
    components : also the time by component; their sum is the step time in `kernel`, in `ideal` there is none (NaN).
    parallel : use all threads numba may use; False for one.

    Returns a Dataset with dims (model, system, recipe, deployment, batch, context); rates and energy count OUTPUT
    tokens, energy at the accelerators (see `roofline.rollup`). A cell that cannot run is NaN and `limit` says why.
    Raises `roofline.InputError` for unknown names and values out of range. Equations: docs/equations.md.
    """
    from roofline.kernels.sweep import decode_grid

    grid = Grid(models, systems, recipes, axes.deployments(tp, pp, dp, ep, moe_tp, deployments), fidelity, facility)
    batches, contexts = axes.counts("batch", batch), axes.counts("context", context)
    speculation = drafts_of(drafts, acceptance, new_tokens)
    new = _new_tokens(new_tokens, speculation.count, contexts)
    output = new == 1 or speculation.count > 0
    kept = speculation.tokens_per_step if output else float(new)

    def run(want: Sequence[int]) -> dict[str, Any]:
        per_config = np.broadcast_to(batches, (int(np.prod(grid.shape)), batches.size))
        result: dict[str, Any] = decode_grid(
            *grid.records(),
            per_config,
            contexts,
            new_tokens=new,
            drafts=speculation.count,
            tokens_per_step=kept,
            want=want,
            parallel=parallel,
        )
        return result

    length = ("context", contexts, {"units": "1", "long_name": "context length, new tokens included"})
    attributes = grid.attributes("output" if output else "verified") | {"pass": "decode", "new_tokens": str(new)}
    attributes |= speculation.attributes
    ds = _dataset(grid, DECODE if output else VERIFY, run, batches, length, attributes, components)
    if speculation.count:
        ds["tpot"] = (ds["tpot"].dims, ds["tpot"].values / kept, ds["tpot"].attrs)
    return ds


def prefill(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    tp: axes.Counts = 1,
    pp: axes.Counts = 1,
    dp: axes.Counts = 1,
    ep: axes.Counts | None = None,
    moe_tp: axes.Counts | None = None,
    deployments: Iterable[Mapping[str, int]] | None = None,
    batch: axes.Counts = (1,),
    isl: axes.Counts = (2048, 8192, 32768),
    cached: int = 0,
    chunk: int | None = None,
    fidelity: Fidelity = "kernel",
    facility: axes.SheetLike | None = None,
    components: bool = False,
    parallel: bool = True,
) -> xr.Dataset:
    """The prefill of prompts of `isl` tokens for every model x system x recipe x deployment x batch x isl.

    Arguments as in `decode`, and:
    isl : prompt tokens, the cached prefix included.
    cached : tokens of it already in the cache, read but not computed.
    chunk : most new tokens of a sequence in one pass; None: the whole prompt at once.

    Returns a Dataset with dims (model, system, recipe, deployment, batch, isl); rates and energy count computed INPUT
    tokens. Raises `roofline.InputError` as `decode`.
    """
    from roofline.kernels.prefill import prefill_grid

    grid = Grid(models, systems, recipes, axes.deployments(tp, pp, dp, ep, moe_tp, deployments), fidelity, facility)
    batches, lengths = axes.counts("batch", batch), axes.counts("isl", isl)
    size = axes.count("chunk", chunk) if chunk is not None else int(lengths.max())
    prefix = axes.count("cached", cached, least=0)
    if prefix >= lengths.min():
        raise InputError(
            f"cached: {prefix} is not less than the shortest isl, {lengths.min()}; nothing would be computed"
        )

    def run(want: Sequence[int]) -> dict[str, Any]:
        per_config = np.broadcast_to(batches, (int(np.prod(grid.shape)), batches.size))
        result: dict[str, Any] = prefill_grid(
            *grid.records(), per_config, lengths, cached=prefix, chunk=size, want=want, parallel=parallel
        )
        return result

    length = ("isl", lengths, {"units": "1", "long_name": "input sequence length (ISL), cached prefix included"})
    attributes = grid.attributes("input") | {"pass": "prefill", "cached": str(prefix), "chunk": str(chunk or "whole")}
    return _dataset(grid, PREFILL, run, batches, length, attributes, components)


def largest_batch(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    recipes: axes.SheetLike | None = None,
    *,
    tp: axes.Counts = 1,
    pp: axes.Counts = 1,
    dp: axes.Counts = 1,
    ep: axes.Counts | None = None,
    moe_tp: axes.Counts | None = None,
    deployments: Iterable[Mapping[str, int]] | None = None,
    context: axes.Counts = (2048, 8192, 32768),
    new_tokens: int = 1,
    drafts: int = 0,
    fidelity: Fidelity = "kernel",
) -> xr.DataArray:
    """The largest batch of one replica that fits in memory, all sequences at `context` tokens.

    Arguments as in `decode`. Returns int64 with dims (model, system, recipe, deployment, context); 0 where nothing
    fits or the deployment is not legal. Equation (17) of docs/equations.md solved for the batch.
    Raises `roofline.InputError` as `decode`.
    """
    from roofline.kernels.capacity import largest_batches

    grid = Grid(models, systems, recipes, axes.deployments(tp, pp, dp, ep, moe_tp, deployments), fidelity)
    contexts = axes.counts("context", context)
    drafted = axes.count("drafts", drafts, least=0)
    new = _new_tokens(new_tokens, drafted, contexts)
    values = largest_batches(*grid.records(), contexts, new, drafts=drafted)
    coords = grid.coords() | {"context": contexts}
    for name in ("psu_load", "psu_efficiency", "provisioned_w", "vintage"):
        del coords[name]
    about = {"units": "1", "long_name": "largest batch of one replica that fits in memory"}
    return xr.DataArray(
        values.reshape(*grid.shape, contexts.size),
        coords=coords,
        dims=(*_DIMS, "context"),
        name="largest_batch",
        attrs=about | grid.attributes("output"),
    )


def _new_tokens(new_tokens: int, drafts: int, contexts: NDArray[np.int64]) -> int:
    """New tokens of a decode step, drafts to be checked included; every context includes them."""
    new = axes.count("new_tokens", new_tokens) + drafts
    if contexts.min() < new:
        raise InputError(f"context: {contexts.min()} is less than new_tokens = {new}, which it includes")
    return new


def _dataset(
    grid: Grid,
    variables: Sequence[Variable],
    run: Callable[[Sequence[int]], dict[str, Any]],
    batches: NDArray[np.int64],
    length: tuple[str, NDArray[np.int64], dict[str, str]],
    attributes: dict[str, str],
    components: bool,
) -> xr.Dataset:
    """Run a kernel for `variables` and label what it returns."""
    from roofline.kernels.outputs import Var

    grid.check_size(batches.size * length[1].size, len(variables) + (len(Component) if components else 0))
    wanted = [int(Var[variable.kernel]) for variable in variables]
    first = int(Var.COMPONENT)
    if components:
        wanted.append(first)
    result = run(sorted(set(wanted)))
    dims = (*_DIMS, "batch", length[0])
    shape = (*grid.shape, batches.size, length[1].size)
    data: dict[str, Any] = {}
    for variable, number in zip(variables, wanted, strict=False):
        values = result["values"][number].reshape(shape)
        data[variable.name] = (dims, values, {"units": variable.units, "long_name": variable.long_name})
    if components:
        parts = np.stack([result["values"][first + part].reshape(shape) for part in Component], axis=-1)
        about = {"units": "s", "long_name": "time of one pass by component"}
        if grid.fidelity == "ideal":  # the roofs of a layer overlap: its time is no sum over its parts
            about["long_name"] += " (none in ideal, where the work of a layer overlaps)"
        data["component_time"] = ((*dims, "component"), parts, about)
    data["bound"] = (dims, result["bound"].reshape(shape), BOUND_FLAGS)
    data["limit"] = (dims, result["limit"].reshape(shape), LIMIT_FLAGS)
    coords = grid.coords()
    coords["batch"] = ("batch", batches, {"units": "1", "long_name": "sequences in flight in one replica"})
    coords[length[0]] = (length[0], length[1], length[2])
    if components:
        coords["component"] = np.array([COMPONENTS[part] for part in Component], dtype=object)
    return xr.Dataset(data, coords=coords, attrs=attributes)
