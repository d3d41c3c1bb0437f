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
    why_none,
)
from roofline.report.tables import compact

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DASHES = ("-", "--", ":", "-.")


def throughput_curves(ds: xr.Dataset) -> Figure:
    """Tokens per second per accelerator against tokens per second of one sequence.

    ds : a result of `roofline.decode`; one panel per model, one colour per system, and along a line the cells that no
    other batch or deployment beats in both.
    Raises InputError where no cell has a value.
    """
    title = "Throughput against interactivity, decode: what no other batch or deployment beats in both"
    return _curves(ds, "tokens_per_s_per_user", "tokens_per_s_per_gpu", ("batch", "deployment"), _frontier, title)


def prefill_curves(ds: xr.Dataset) -> Figure:
    """Time of a prefill against the length of the prompt.

    ds : a result of `roofline.prefill`; one panel per model, one colour per system, the fastest deployment at each.
    Raises InputError where no cell has a value.
    """
    title = "Time of a prefill against the length of the prompt"
    return _curves(ds, "isl", "prefill_time", ("isl", "deployment"), _fastest, title)


def _frontier(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Points that no other exceeds in both, from the left."""
    order = np.lexsort((-y, -x))  # from the right; of equal x the highest first
    best = np.concatenate([[-np.inf], np.maximum.accumulate(y[order])[:-1]])
    kept = order[y[order] > best][::-1]
    return x[kept], y[kept]


def _fastest(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The least y at each x."""
    places = np.unique(x)
    return places, np.array([y[x == place].min() for place in places])


def _curves(
    ds: xr.Dataset,
    across: str,
    up: str,
    along: tuple[str, ...],
    pick: Callable[[Floats, Floats], tuple[Floats, Floats]],
    title: str,
) -> Figure:
    if not np.isfinite(ds[up].values).any():
        raise InputError(f"no cell of {up} has a value: {why_none(ds)}")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        axes = canvas.subplots(
            1, ds.sizes["model"], squeeze=False, sharey=True,
            gridspec_kw={"left": 0.065, "right": 0.985, "top": 0.82, "bottom": 0.11, "wspace": 0.05},
        )[0]  # fmt: skip
        for m, ax in enumerate(axes):
            for s in range(ds.sizes["system"]):
                label, colour = shown_name(ds, "system", s), COLOURS[s % len(COLOURS)]
                _lines(ax, ds.isel(model=m, system=s), across, up, along, pick, label, colour)
            ax.set_title(shown_name(ds, "model", m), fontweight="bold", fontsize=12, loc="left")
            ax.set_xlabel(axis_title(ds[across]), fontsize=11)
            _log_axes(ax, ds[across] if across in ds.dims else None)
        axes[0].set_ylabel(axis_title(ds[up]), fontsize=11)
        canvas.text(0.012, 0.972, title, fontsize=17, fontweight="bold", va="top")
        said = "  ·  ".join(filter(None, [_constants(ds), basis_line(dict(ds.attrs))]))
        canvas.text(0.012, 0.915, said, fontsize=11, color=QUIET, va="top")
        return canvas


def _lines(
    ax: Axes,
    cell: xr.Dataset,
    across: str,
    up: str,
    along: tuple[str, ...],
    pick: Callable[[Floats, Floats], tuple[Floats, Floats]],
    label: str,
    colour: str,
) -> None:
    """A line for each combination of the dims that a line does not run along."""
    width, height = cell[across].broadcast_like(cell[up]).transpose(*cell[up].dims), cell[up]
    rest = [str(dim) for dim in height.dims if dim not in along]
    for k, key in enumerate(np.ndindex(*(height.sizes[dim] for dim in rest))):
        at = dict(zip(rest, key, strict=True))
        x, y = width.isel(at).values.astype(float).ravel(), height.isel(at).values.ravel()
        more = ", ".join(_said(cell, dim, index) for dim, index in at.items() if cell.sizes[dim] > 1)
        keep = np.isfinite(y) & np.isfinite(x)
        if keep.any():
            ax.plot(
                *pick(x[keep], y[keep]), DASHES[k % len(DASHES)], marker="o", markersize=4, linewidth=1.7, color=colour,
                label=f"{label}, {more}" if more else label,
            )  # fmt: skip


def _said(ds: xr.Dataset, dim: str, index: int) -> str:
    value = ds[dim].values[index]
    return f"{dim} {tokens(float(value))}" if ds[dim].dtype.kind in "iuf" else str(value)


def _constants(ds: xr.Dataset) -> str:
    """What all lines share."""
    said = [_said(ds, dim, 0) for dim in ("recipe", "deployment", "batch", "context") if ds.sizes.get(dim) == 1]
    if ds.sizes.get("deployment", 1) > 1:
        said.append(f"best of {ds.sizes['deployment']} deployments")
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
