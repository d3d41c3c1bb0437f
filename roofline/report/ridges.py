"""Ridge points over the years: how much a part must compute on a byte before its memory stops being the limit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.report.plots import COLOURS, QUIET, STYLE, figure

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = {"bf16": "o", "fp8": "s", "fp4": "^"}
"""Arithmetic and its marker, widest first."""


def ridge_points(ds: xr.Dataset) -> Figure:
    """Ridge points of accelerators against the year of first shipment, one colour a vendor, one marker an arithmetic.

    ds : `roofline.report.overview.overview("accelerators")`.
    Each part is a line from its widest to its narrowest arithmetic, labelled at the highest point.
    """
    import matplotlib as mpl

    vendors = [vendor for vendor, _ in Counter(str(vendor) for vendor in ds["vendor"].values).most_common()]
    colour = {vendor: COLOURS[i % len(COLOURS)] for i, vendor in enumerate(vendors)}
    with mpl.rc_context(STYLE):
        canvas = figure()
        ax = canvas.add_subplot()
        tops = _points(ax, ds, colour)
        _label(ax, tops)
        ax.set_yscale("log")
        ax.set_xlabel("year of first shipment")
        ax.set_ylabel("ridge point: dense FLOP per byte of memory traffic")
        years = range(int(ds["year"].min()), int(ds["year"].max()) + 1)
        ax.set_xlim(years[0] - 0.5, years[-1] + 0.5)
        ax.set_xticks(years)
        low, high = ax.get_ylim()
        ax.set_ylim(low, 3.0 * high)  # room for the labels
        values = [base * 10**power for power in range(6) for base in (1, 2, 5) if low <= base * 10**power <= 2.0 * high]
        ax.set_yticks(values, [f"{value:,}" for value in values], minor=False)
        ax.minorticks_off()
        ax.grid(axis="y", linewidth=0.4, color="#d0d7de")
        for year in years[::2]:
            ax.axvspan(year - 0.5, year + 0.5, color="#f6f8fa", zorder=0)
        ax.set_title("Ridge points over the years: work of a lower intensity waits for memory", loc="left")
        _legends(ax, colour)
        ax.spines[["top", "right"]].set_visible(False)
    return canvas


def _points(ax: Axes, ds: xr.Dataset, colour: dict[str, str]) -> list[tuple[float, float, str, str]]:
    """Draw every part; returns (x, y, label, colour) of its highest point."""
    tops = []
    taken: dict[int, int] = {}
    for part in range(ds.sizes["accelerator"]):
        cell: Any = ds.isel(accelerator=part)
        year, vendor = int(cell["year"]), str(cell["vendor"].item())
        beside = taken.get(year, 0)
        taken[year] = beside + 1
        x = year + 0.84 * ((beside + 1) / (int((ds["year"] == year).sum()) + 1) - 0.5)
        ys = {math: float(cell[f"{math}_ridge"]) for math in MARKS}
        known = {math: y for math, y in ys.items() if np.isfinite(y)}
        if not known:
            continue
        ax.plot([x] * len(known), list(known.values()), color=colour[vendor], linewidth=0.8, alpha=0.6, zorder=1)
        for math, y in known.items():
            ax.plot(x, y, MARKS[math], color=colour[vendor], markersize=6, markeredgecolor="white", markeredgewidth=0.5)
        tops.append((x, max(known.values()), str(cell["accelerator"].item()), colour[vendor]))
    return tops


def _label(ax: Axes, tops: list[tuple[float, float, str, str]]) -> None:
    """Name every part above its highest point, upright, so that neighbours do not cover each other."""
    for x, y, name, ink in tops:
        ax.annotate(
            name, (x, y), xytext=(0, 6), textcoords="offset points", rotation=90, ha="center", va="bottom",
            fontsize=7.5, color=ink,
        )  # fmt: skip


def _legends(ax: Axes, colour: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    def handles(marks: dict[str, tuple[str, str]]) -> list[Any]:
        return [Line2D([], [], color=ink, marker=m, linewidth=0, label=name) for name, (ink, m) in marks.items()]

    vendors = handles({name: (ink, "o") for name, ink in colour.items()})
    maths = handles({math: (QUIET, mark) for math, mark in MARKS.items()})
    first = ax.legend(handles=vendors, loc="upper left", frameon=False, fontsize=8.5)
    ax.add_artist(first)
    ax.legend(handles=maths, loc="upper left", bbox_to_anchor=(0.12, 1.0), frameon=False, fontsize=8.5)
