"""Lines over batch or length: throughput against interactivity, the time of a prompt against its length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.plots import (
    COLOURS,
    QUIET,
    STYLE,
    axis_title,
    basis_line,
    figure,
    marks,
    put_ticks,
    shown_name,
    tokens,
)
from roofline.report.tables import compact

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", "--", ":", "-.")


def throughput_curves(ds: xr.Dataset) -> Figure:
    """Tokens per second per accelerator against tokens per second of one sequence; batch grows along a line.

    ds : a result of `roofline.decode`; one panel per model, one colour per system, the best deployment at each point.
    Raises InputError where no cell has a value.
    """
    title = "Throughput against interactivity, decode: batch grows along each line"
    return _curves(ds, "tokens_per_s_per_user", "tokens_per_s_per_gpu", along="batch", least=False, title=title)


def prefill_curves(ds: xr.Dataset) -> Figure:
    """Time of a prefill against the length of the prompt.

    ds : a result of `roofline.prefill`; one panel per model, one colour per system, the best deployment at each point.
    Raises InputError where no cell has a value.
    """
    return _curves(
        ds, "isl", "prefill_time", along="isl", least=True, title="Time of a prefill against the length of the prompt"
    )


def _curves(ds: xr.Dataset, across: str, up: str, *, along: str, least: bool, title: str) -> Figure:
    if not np.isfinite(ds[up].values).any():
        raise InputError(f"no cell of {up} has a value: nothing fits or divides; see `limit`")
    canvas = figure(layout=None)
    import matplotlib as mpl

    height, width = _best(ds[up], ds[across], least=least)
    with mpl.rc_context(STYLE):
        axes = canvas.subplots(
            1, ds.sizes["model"], squeeze=False, sharey=True,
            gridspec_kw={"left": 0.065, "right": 0.985, "top": 0.82, "bottom": 0.11, "wspace": 0.05},
        )[0]  # fmt: skip
        for m, ax in enumerate(axes):
            for s in range(ds.sizes["system"]):
                label, colour = shown_name(ds, "system", s), COLOURS[s % len(COLOURS)]
                here = {name: at for name, at in {"model": m, "system": s}.items() if name in width.dims}
                _lines(ax, ds, height.isel(model=m, system=s), width.isel(here), along, label, colour)
            ax.set_title(shown_name(ds, "model", m), fontweight="bold", fontsize=12, loc="left")
            ax.set_xlabel(axis_title(ds[across]), fontsize=11)
            _log_axes(ax, ds[across] if across in ds.dims else None)
        axes[0].set_ylabel(axis_title(ds[up]), fontsize=11)
        canvas.text(0.012, 0.972, title, fontsize=18, fontweight="bold", va="top")
        canvas.text(
            0.012, 0.915, f"{_constants(ds)}  ·  {basis_line(dict(ds.attrs))}", fontsize=11, color=QUIET, va="top"
        )
        return canvas


def _best(height: xr.DataArray, width: xr.DataArray, *, least: bool) -> tuple[xr.DataArray, xr.DataArray]:
    """Both quantities at the deployment with the best height; NaN where none runs."""
    if "deployment" not in height.dims:
        return height, width
    at = (height.fillna(np.inf).argmin if least else height.fillna(-np.inf).argmax)("deployment")
    chosen = height.isel(deployment=at)
    return chosen, width.isel(deployment=at) if "deployment" in width.dims else width


def _lines(
    ax: Axes, ds: xr.Dataset, height: xr.DataArray, width: xr.DataArray, along: str, label: str, colour: str
) -> None:
    rest = [str(dim) for dim in height.dims if dim != along]
    for k, key in enumerate(np.ndindex(*(height.sizes[dim] for dim in rest))):
        at = dict(zip(rest, key, strict=True))
        y = height.isel(at).values
        x = width.isel({name: index for name, index in at.items() if name in width.dims}).values
        more = ", ".join(_said(ds, dim, index) for dim, index in at.items() if ds.sizes[dim] > 1)
        keep = np.isfinite(y) & np.isfinite(x)
        if keep.any():
            ax.plot(
                x[keep], y[keep], DASHES[k % len(DASHES)], marker="o", markersize=4, linewidth=1.7, color=colour,
                label=f"{label}, {more}" if more else label,
            )  # fmt: skip


def _said(ds: xr.Dataset, dim: str, index: int) -> str:
    value = ds[dim].values[index]
    return f"{dim} {tokens(float(value))}" if ds[dim].dtype.kind in "iuf" else str(value)


def _constants(ds: xr.Dataset) -> str:
    """What all lines share."""
    said = [_said(ds, dim, 0) for dim in ("recipe", "deployment", "batch", "context") if ds.sizes.get(dim) == 1]
    if ds.sizes.get("deployment", 1) > 1:
        said.append("best deployment at each point")
    return ", ".join(said)


def _log_axes(ax: Axes, lengths: Any) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    if lengths is not None:
        places = [float(value) for value in lengths.values]
        put_ticks(
            ax.xaxis, places[:: -(-len(places) // 10)], [tokens(value) for value in places[:: -(-len(places) // 10)]]
        )
    else:
        put_ticks(ax.xaxis, marks(left, right), [compact(value) for value in marks(left, right)])
    put_ticks(ax.yaxis, marks(bottom, top), [compact(value) for value in marks(bottom, top)])
    ax.grid(True, which="major", color="#d0d7de", linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    if ax.lines:
        ax.legend(frameon=False, fontsize=9)
    else:
        ax.text(0.5, 0.5, "nothing runs", transform=ax.transAxes, ha="center", va="center", color=QUIET)
