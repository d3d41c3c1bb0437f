"""The best deployment and recipe of a model on a system, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.grid import axes
from roofline.grid.deployments import candidates
from roofline.grid.evaluate import Grid
from roofline.grid.variables import LIMIT_FLAGS
from roofline.layout import Limit
from roofline.rack.energy import JOULES_PER_MWH, PowerFacts, check, check_vintage, describe, joules_per_token
from roofline.specs import Model, Recipe, System
from roofline.specs.pack import pack_kit, used_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from roofline.rack.energy import Basis, Boundary
    from roofline.specs.pack import Fidelity

_FIGURES = {  # variable -> (kernel's Var, units, meaning)
    "tpot": ("STEP", "s", "time per output token of one sequence (TPOT)"),
    "tokens_per_s_per_user": ("USER_RATE", "1/s", "output tokens per second of one sequence"),
    "tokens_per_s_per_gpu": ("GPU_RATE", "1/s", "output tokens per second per accelerator"),
    "memory": ("MEMORY", "B", "memory of the fullest accelerator"),
    "power": ("POWER", "W", "metered draw of one accelerator"),
}
_DEGREES = ("tp", "pp", "dp", "ep", "moe_tp")


def best_over_deployments(
    models: axes.SheetLike,
    systems: axes.SheetLike,
    *,
    batch_per_gpu: axes.Counts,
    context: axes.Counts,
    recipes: axes.SheetLike | None = None,
    most_accelerators: int | None = None,
    fidelity: Fidelity = "kernel",
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    vintage: str | None = None,
    facility: axes.SheetLike | None = None,
    duty: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Most output tokens/MWh of a decode step over all candidate deployments and recipes, for each cell.

    batch_per_gpu : sequences in flight per accelerator of a replica.   context : tokens.
    recipes : default those each model ships in and the accelerator has the arithmetic for.
    most_accelerators : largest replica; default what the system can join.
    boundary, basis, vintage, duty : as in `roofline.rollup`.   progress : called with (pairs done, pairs in all).

    Returns a Dataset with dims (model, system, batch_per_gpu, context): tokens_per_mwh, joules_per_token_at_boundary,
    the figures of the winner, its degrees, accelerators, batch and recipe. A tie goes to the fewest accelerators, then
    to the recipe the model names first. Where nothing runs it is NaN and `limit` says why the nearest candidate does
    not.
    Raises `InputError` as `roofline.decode` and `roofline.rollup`.
    """
    check(boundary, basis, duty, vintage)
    shapes, boxes = axes.sheets("models", Model, models), axes.sheets("systems", System, systems)
    check_vintage(vintage, {axes.label(box): box.power.provisioned_w_per_accelerator for box in boxes})
    named = None if recipes is None else axes.sheets("recipes", Recipe, recipes)
    batches, contexts = axes.counts("batch_per_gpu", batch_per_gpu), axes.counts("context", context)
    names = ["tokens_per_mwh", *_FIGURES, *_DEGREES, "batch", "accelerators"]
    shape = (len(shapes), len(boxes), batches.size, contexts.size)
    values = {name: np.full(shape, np.nan) for name in names}
    recipe = np.full(shape, "", dtype=object)
    limit = np.zeros(shape, dtype=np.int8)
    attributes: dict[str, str] = {}
    digests: set[str] = set()
    for m, model in enumerate(shapes):
        for s, system in enumerate(boxes):
            if progress is not None:
                progress(m * len(boxes) + s, len(shapes) * len(boxes))
            chosen = native_recipes(model, system) if named is None else named
            grid = Grid(model, system, chosen, candidates(model, system, most_accelerators), fidelity, facility)
            found = _best_of(grid, batches, contexts, boundary, basis, vintage, duty)
            for name in names:
                values[name][m, s] = found[name]
            recipe[m, s], limit[m, s] = found["recipe"], found["limit"]
            attributes = grid.attributes("output")
            digests.update(attributes["sheets"].split())
    if progress is not None:
        progress(len(shapes) * len(boxes), len(shapes) * len(boxes))
    where = describe(boundary, basis, vintage)
    dims = ("model", "system", "batch_per_gpu", "context")
    data: dict[str, Any] = {
        "tokens_per_mwh": (
            dims,
            values["tokens_per_mwh"],
            _about("1/MWh", f"output tokens per megawatt-hour ({where})"),
        ),
        "joules_per_token_at_boundary": (
            dims,
            JOULES_PER_MWH / values["tokens_per_mwh"],
            _about("J", f"energy per output token ({where})"),
        ),
    }
    for name, (_, units, long_name) in _FIGURES.items():
        data[name] = (dims, values[name], _about(units, long_name))
    for name in (*_DEGREES, "batch", "accelerators"):
        data[name] = (dims, values[name], _about("1", f"{name} of the best deployment"))
    data["recipe"] = (dims, recipe, {"long_name": "recipe of the best deployment"})
    data["limit"] = (dims, limit, LIMIT_FLAGS)
    coords = {
        "model": np.array([axes.label(x) for x in shapes], dtype=object),
        "system": np.array([axes.label(x) for x in boxes], dtype=object),
        "batch_per_gpu": ("batch_per_gpu", batches, _about("1", "sequences in flight per accelerator")),
        "context": ("context", contexts, _about("1", "context length, new tokens included")),
        "model_name": ("model", np.array([x.name for x in shapes], dtype=object)),
        "system_name": ("system", np.array([x.name for x in boxes], dtype=object)),
    }
    attributes |= {"boundary": boundary, "basis": basis, "vintage": vintage or "", "duty": str(duty), "pass": "decode"}
    attributes["sheets"] = " ".join(sorted(digests))
    return xr.Dataset(data, coords=coords, attrs=attributes)


def native_recipes(model: Model, system: System, shipped: list[Recipe] | None = None) -> list[Recipe]:
    """The recipes a model ships in that an accelerator computes as meant; all of them where there is none.

    Others would run by widening operands (FP4 weights on a part without FP4 arithmetic): name them to have them.
    shipped : those of the model, where they are loaded.
    """
    shipped = [Recipe.load(name) for name in model.recipes] if shipped is None else shipped
    parts = used_parts(model)
    native = [r for r in shipped if pack_kit(r, system.accelerator, "kernel", parts).is_native(parts)]
    return native or shipped


def _about(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}


def _best_of(
    grid: Grid,
    batches: NDArray[np.int64],
    contexts: NDArray[np.int64],
    boundary: Boundary,
    basis: Basis,
    vintage: str | None,
    duty: float,
) -> dict[str, Any]:
    """The best cell over recipes and deployments of one model on one system: arrays [batch, context]."""
    from roofline.kernels.outputs import Var
    from roofline.kernels.sweep import decode_grid

    want = {name: int(Var[kernel]) for name, (kernel, _, _) in _FIGURES.items()}
    degrees = np.array(grid.deployments.rows, dtype=np.int64)
    group = degrees[:, 0] * degrees[:, 1] * degrees[:, 2]
    grid.check_size(batches.size * contexts.size, len(want) + 3)
    recipes, rows = grid.shape[2], len(group)
    per_config = np.tile(group[:, None] * batches[None, :], (recipes, 1))
    result = decode_grid(*grid.records(), per_config, contexts, want=list(want.values()), with_bound=False)
    figures = {name: result["values"][number] for name, number in want.items()}
    groups = np.tile(group, recipes)[:, None, None]
    placed = PowerFacts.of(grid.systems[0]).placed(figures["power"], groups, boundary, basis, vintage)
    energy = joules_per_token(placed, figures["tokens_per_s_per_gpu"], duty)
    ranked = np.where(np.isnan(energy), np.inf, energy)
    order = np.argsort(np.tile(group, recipes), kind="stable")  # fewest accelerators first, then recipe
    winner = order[np.argmin(ranked[order], axis=0)]
    runs = np.isfinite(np.min(ranked, axis=0))
    at = (winner, *np.indices(winner.shape))
    found: dict[str, Any] = {name: np.where(runs, value[at], np.nan) for name, value in figures.items()}
    found["tokens_per_mwh"] = np.where(runs, JOULES_PER_MWH / np.where(runs, energy[at], 1.0), np.nan)
    for column, name in enumerate(_DEGREES):
        found[name] = np.where(runs, degrees[winner % rows, column], np.nan)
    found["accelerators"] = np.where(runs, group[winner % rows], np.nan)
    found["batch"] = np.where(runs, per_config[winner, np.arange(batches.size)[:, None]], np.nan)
    labels = np.array([axes.label(recipe) for recipe in grid.recipes], dtype=object)
    found["recipe"] = np.where(runs, labels[winner // rows], "")
    unpowered = (result["limit"] == int(Limit.NONE)).any(axis=0)
    known = not grid.systems[0].power_unknown
    reason = np.where(unpowered, int(Limit.RACK if known else Limit.POWER), nearest_reason(result["limit"]))
    found["limit"] = np.where(runs, 0, reason).astype(np.int8)
    return found


def nearest_reason(limit: NDArray[np.int8]) -> NDArray[np.int8]:
    """Of the reasons why no configuration runs, the one nearest to running: context, memory, then what is illegal."""
    reason = limit[-1]
    for code in (Limit.MEMORY, Limit.CONTEXT):
        reason = np.where((limit == int(code)).any(axis=0), int(code), reason)
    found: NDArray[np.int8] = reason.astype(np.int8)
    return found
