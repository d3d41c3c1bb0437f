"""The main job: tokens per MWh over batch and context, model by system, with the best legal deployment in each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.report.tables import Column, Table, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import xarray as xr
    from matplotlib.figure import Figure

MODELS = ("llama-3.3-70b", "deepseek-r1")
SYSTEMS = ("hgx-h100", "hgx-h200", "hgx-b200", "gb300-nvl72", "vr-nvl72")
BATCH_PER_GPU = tuple(2.0**power for power in range(-3, 10))
CONTEXT = tuple(2**power for power in range(10, 18))


def heatmap(
    models: Sequence[Any] = MODELS,
    systems: Sequence[Any] = SYSTEMS,
    *,
    recipes: Sequence[Any] | None = None,
    batch_per_gpu: Sequence[float] = BATCH_PER_GPU,
    context: Sequence[int] = CONTEXT,
    fidelity: str = "kernel",
    boundary: str = "facility",
    basis: str = "metered",
    out: str | PathLike[str] | None = None,
) -> xr.Dataset:
    """Output tokens per MWh of decode for each model and system over batch per GPU and context.

    out : also draw it there (.png, .svg, .pdf) or save it (.csv, .parquet, .nc, .zarr).
    Returns a Dataset (model, system, batch_per_gpu, context) with the winner's degrees and recipe beside each value.
    Raises InputError on bad input and where `out` cannot be written.
    """
    from roofline.rack import best_over_deployments

    ds: xr.Dataset = best_over_deployments(
        models=models,
        systems=systems,
        recipes=recipes,
        batch_per_gpu=batch_per_gpu,
        context=context,
        fidelity=fidelity,
        boundary=boundary,
        basis=basis,
    )
    if out is not None:
        from roofline.report.files import save

        save(ds, str(out), draw=draw)
    return ds


def draw(ds: xr.Dataset) -> Figure:
    """The heat map of a result of `heatmap`."""
    from roofline.report.plots import heatmap as picture

    attrs = ds.attrs
    return picture(
        ds,
        title="Output tokens per MWh, decode: the best legal deployment and shipped format in every cell",
        subtitle=f"decode only, no prefill  ·  energy at the {attrs['boundary']} boundary, {attrs['basis']} power  ·  "
        f"{attrs['fidelity']} fidelity: efficiencies of measured kernels, no serving stack  ·  "
        f"roofline {attrs.get('roofline_version', '')}",
    )


def best_cells(ds: xr.Dataset) -> Table:
    """One row per model and system: the best cell, where it is and what runs there."""
    stacked = ds.stack(cell=("batch_per_gpu", "context"), create_index=False)
    value = stacked["tokens_per_mwh"]
    runs = value.notnull().any("cell")
    at = value.fillna(-1.0).argmax("cell")
    best = stacked.isel(cell=at).where(runs)
    rows = table(best, list(ds.data_vars))
    order = [name for name in rows.names if name != "limit"]
    columns: list[Column] = [rows[name] for name in order]
    return Table(tuple(columns), rows.attrs)
