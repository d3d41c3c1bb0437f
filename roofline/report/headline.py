"""The main job: tokens per MWh over batch and context, model by system, with the best legal deployment in each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.grid import axes
from roofline.grid.axes import deployment_label
from roofline.report.plots import DEGREES
from roofline.report.tables import Column, Table, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    import xarray as xr
    from matplotlib.figure import Figure

    from roofline.rack.energy import Basis, Boundary
    from roofline.specs.pack import Fidelity

MODELS = ("llama-3.3-70b", "deepseek-r1")
SYSTEMS = ("hgx-h100", "hgx-h200", "hgx-b200", "gb300-nvl72", "vr-nvl72")
BATCH_PER_GPU = tuple(2**power for power in range(11))
CONTEXT = tuple(2**power for power in range(10, 18))


def heatmap(
    models: axes.SheetLike | Sequence[axes.SheetLike] = MODELS,
    systems: axes.SheetLike | Sequence[axes.SheetLike] = SYSTEMS,
    *,
    recipes: axes.SheetLike | Sequence[axes.SheetLike] | None = None,
    batch_per_gpu: axes.Counts = BATCH_PER_GPU,
    context: axes.Counts = CONTEXT,
    fidelity: Fidelity = "kernel",
    boundary: Boundary = "facility",
    basis: Basis = "metered",
    out: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Output tokens per MWh of decode for each model and system over batch per GPU and context.

    models, systems, recipes : a sheet, its name or path, or several of them, as `roofline.decode` takes them.
    progress : called with (pairs of model and system done, pairs in all).
    out : also draw it there (.png, .svg, .pdf) or save it (.csv, .parquet, .nc, .zarr).
    Returns a Dataset (model, system, batch_per_gpu, context) with the winner's degrees and recipe beside each value.
    Raises InputError on bad input and where `out` cannot be written.
    """
    from roofline.rack import best_over_deployments
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.specs import System

    if out is not None:
        suffix_of(str(out))
        check_writable(str(out))
    boxes = axes.sheets("systems", System, systems)
    ds = best_over_deployments(
        models=models,
        systems=boxes,
        recipes=recipes,
        batch_per_gpu=batch_per_gpu,
        context=context,
        fidelity=fidelity,
        boundary=boundary,
        basis=basis,
        progress=progress,
    )
    ds = ds.assign_coords(system_grade=("system", np.array([weakest_grade(box) for box in boxes], dtype=object)))
    if out is not None:
        save(ds, str(out), draw=draw)
    return ds


def weakest_grade(system: Any) -> str:
    """The weakest grade of the figures that decide a decode step: peaks, bandwidth, TDP and GEMM efficiencies."""
    from roofline.specs import System

    accelerator = System.load(system).accelerator
    fields = [
        *(f"dense_flop_per_s.{name}" for name in accelerator.dense_flop_per_s),
        "memory.bytes_per_s",
        "power.tdp_w",
    ]
    sources = [accelerator.source_of(field) for field in fields]
    sources += [
        accelerator.efficiency.source_of(f"operations.gemm.{name}") for name in accelerator.efficiency.operations.gemm
    ]
    grades = {source.grade for source in sources if source is not None}
    return next((grade for grade in ("estimated", "measured", "published") if grade in grades), "estimated")


def draw(ds: xr.Dataset) -> Figure:
    """The heat map of a result of `heatmap`."""
    from roofline.report.plots import heatmap as picture

    attrs = ds.attrs
    meant = {
        "ideal": "ideal fidelity: a lower bound on time",
        "kernel": "kernel fidelity: efficiencies of measured kernels, no serving stack",
    }
    return picture(
        ds,
        x_title="context [tokens]",
        y_title="batch per GPU",
        title="Decode tokens per MWh: the best legal deployment and shipped format in each cell",
        subtitle=f"decode only, no prefill  ·  energy at the {attrs['boundary']} boundary, {attrs['basis']} power  ·  "
        f"{meant[attrs['fidelity']]}  ·  roofline {attrs.get('roofline_version', '')}",
    )


def best_cells(ds: xr.Dataset) -> Table:
    """One row per model and system: the best cell, where it is and what runs there; None where nothing runs."""
    stacked = ds.stack(cell=("batch_per_gpu", "context"), create_index=False)
    at = stacked["tokens_per_mwh"].fillna(-1.0).argmax("cell")
    rows = table(stacked.isel(cell=at).drop_vars("limit"))
    names = list(rows.names)
    runs = np.isfinite(rows["tokens_per_mwh"].values)
    columns: list[Column] = []
    for column in rows.columns:
        where = column.name in {"model", "system", "model_name", "system_name"}
        whole = column.name in {"batch_per_gpu", "context", "batch", "accelerators", *DEGREES}
        held = [
            int(v) if whole and ok else v if ok or where else None for v, ok in zip(column.values, runs, strict=True)
        ]
        columns.append(Column(column.name, column.unit, column.meaning, np.array(held, dtype=object)))
    labels = [_deployment(rows, i) if ok else None for i, ok in enumerate(runs)]
    deployment = Column("deployment", "", "degrees of the best deployment", np.array(labels, dtype=object))
    columns.insert(names.index("tokens_per_mwh"), deployment)
    return Table(tuple(columns), rows.attrs)


def _deployment(rows: Table, index: int) -> str:
    tp, pp, dp, ep, moe_tp = (int(rows[name].values[index]) for name in DEGREES)
    return deployment_label((tp, pp, dp, ep, moe_tp))
