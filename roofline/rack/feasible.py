"""Which model runs on which system at all, and on how few accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.grid import axes
from roofline.grid.deployments import every_shape
from roofline.grid.evaluate import Grid
from roofline.grid.variables import LIMIT_FLAGS
from roofline.layout import Limit
from roofline.rack.best import nearest_reason
from roofline.specs import Model, Recipe, System, list_specs

if TYPE_CHECKING:
    from collections.abc import Callable

    from roofline.specs.pack import Fidelity


def feasibility(
    models: axes.SheetLike | None = None,
    systems: axes.SheetLike | None = None,
    *,
    recipes: axes.SheetLike | None = None,
    context: int = 8192,
    fidelity: Fidelity = "kernel",
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Fewest accelerators on which a model decodes one sequence, for every model and system.

    models, systems : default all that can be named.   recipes : default those each model ships in.
    context : tokens.   progress : called with (pairs done, in all).
    Tried is every tp that the heads allow, every number of stages, and for experts every dp that is a power of two.
    Returns a Dataset with dims (model, system): accelerators (NaN where none of that runs), recipe and
    deployment of that one, and `limit`, the reason nearest to running. Of equally few accelerators the recipe that the
    model names first.
    Raises `InputError` as `roofline.decode`.
    """
    from roofline.kernels.sweep import decode_grid

    shapes = axes.sheets("models", Model, list_specs("model") if models is None else models)
    boxes = axes.sheets("systems", System, list_specs("system") if systems is None else systems)
    named = None if recipes is None else axes.sheets("recipes", Recipe, recipes)
    tokens = axes.count("context", context)
    shape = (len(shapes), len(boxes))
    fewest, limit = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
    recipe, deployment = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    digests: set[str] = set()
    attributes: dict[str, str] = {}
    for m, s in np.ndindex(shape):
        model, system = shapes[m], boxes[s]
        if progress is not None:
            progress(m * len(boxes) + s, len(shapes) * len(boxes))
        grid = Grid(model, system, model.recipes if named is None else named, every_shape(model, system), fidelity)
        records = grid.records()
        one = np.ones((records[-1].size, 1), dtype=np.int64)
        found = decode_grid(*records, one, np.array([tokens]), with_bound=False)["limit"][:, 0]
        group = np.tile(np.array(grid.deployments.accelerators), grid.shape[2])
        runs = np.flatnonzero(found[:, 0] == int(Limit.NONE))
        attributes = grid.attributes("output")
        digests.update(attributes["sheets"].split())
        if not runs.size:
            limit[m, s] = nearest_reason(found)[0]
            continue
        best = runs[np.argmin(group[runs])]
        fewest[m, s] = group[best]
        recipe[m, s] = axes.label(grid.recipes[best // len(grid.deployments.rows)])
        deployment[m, s] = grid.deployments.labels[best % len(grid.deployments.rows)]
    dims = ("model", "system")
    about = f"fewest accelerators that decode a sequence of {tokens} tokens"
    data: dict[str, Any] = {
        "accelerators": (dims, fewest, {"units": "1", "long_name": about}),
        "recipe": (dims, recipe, {"long_name": "recipe on those"}),
        "deployment": (dims, deployment, {"long_name": "deployment on those"}),
        "limit": (dims, limit, LIMIT_FLAGS),
    }
    coords = {
        name: np.array([axes.label(x) for x in sheets], dtype=object)
        for name, sheets in (("model", shapes), ("system", boxes))
    }
    attributes = {key: value for key, value in attributes.items() if key not in ("boundary", "basis", "token_basis")}
    return xr.Dataset(data, coords=coords, attrs=attributes | {"sheets": " ".join(sorted(digests))})
