"""The picture of a comparison: its factors as a waterfall, and the ratio and both levels over interactivity."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.curves import DASHES
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, axis_title, basis_line, figure, marks, put_ticks
from roofline.report.tables import compact

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GROUP_COLOURS = {
    "silicon": COLOURS[0],
    "interconnect": COLOURS[1],
    "orchestration": COLOURS[2],
    "facility": COLOURS[3],
    "price": COLOURS[4],
    "others": COLOURS[5],
}
"""By group of levers."""

WORDS = {
    "tokens_per_mwh": "tokens/MWh",
    "tokens_per_s_per_gpu": "tokens/s per accelerator",
    "tokens_per_usd": "tokens per USD",
}
"""Measures as people write them."""

OLD, NEW = COLOURS[5], COLOURS[0]


def comparison_picture(ds: xr.Dataset) -> Figure:
    """Waterfall of the factors with each lever alone and moved last, and curves over interactivity.

    ds : `roofline.compare`.   Left empty is a waterfall of factors that no mixture defines, with the reason.
    Raises InputError where neither side has a value anywhere.
    """
    measure = str(ds.attrs["measure"])
    if not np.isfinite(ds[measure].values).any():
        raise InputError(f"no value of {measure} to draw: {_why_none(ds)}")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        if "factor" in ds:
            grid = {"left": 0.065, "right": 0.53, "top": 0.80, "bottom": 0.155, "hspace": 0.09, "height_ratios": (3, 2)}
            upper, lower = canvas.subplots(2, 1, sharex=True, gridspec_kw=grid)
            _factors(upper, lower, ds)
        left = 0.6 if "factor" in ds else 0.065
        grid = {"left": left, "right": 0.985, "top": 0.80, "bottom": 0.155, "hspace": 0.09, "height_ratios": (3, 2)}
        ratio, level = canvas.subplots(2, 1, sharex=True, gridspec_kw=grid)
        _ratios(ratio, ds, measure)
        _levels(level, ds, measure)
        _words(canvas, ds, measure)
        return canvas


def _why_none(ds: xr.Dataset) -> str:
    unknown = [str(text) for text in ds["power_unknown"].values if text]
    return "; ".join(unknown) or "nothing meets the limits at any interactivity"


def _factors(upper: Axes, lower: Axes, ds: xr.Dataset) -> None:
    """Bars from 1 to the ratio, and below them each factor beside the same lever alone and last."""
    names, groups = [str(name) for name in ds["lever"].values], [str(name) for name in ds["lever_group"].values]
    factors = ds["factor"].values
    if not names or not np.isfinite(factors).all():
        lower.set_axis_off()
        upper.set_axis_off()
        said = (
            "the two sides do not differ"
            if not names
            else f"no interactivity reaches all mixtures: {ds.attrs['undefined']}"
        )
        upper.text(0.5, 0.5, fill(said, 60), transform=upper.transAxes, ha="center", va="center", color=QUIET)
        return
    total = np.concatenate([[1.0], np.cumprod(factors)])
    last = len(names) + 1
    _bar(upper, last, 1.0, total[-1], "#57606a", f"{compact(total[-1], 3)}x")
    for n, (group, factor) in enumerate(zip(groups, factors, strict=True), start=1):
        _bar(upper, n, total[n - 1], total[n], GROUP_COLOURS[group], f"x {compact(float(factor), 3)}")
        upper.plot([n - 0.38, n + 1.38], [total[n], total[n]], color=QUIET, linewidth=0.6)
        lower.plot(n, factor, "s", color=GROUP_COLOURS[group], markersize=7, zorder=3)
    at = np.arange(1, last)
    lower.plot(at - 0.18, ds["alone"].values, "^", color="white", markeredgecolor=INK, markersize=6, zorder=3)
    lower.plot(at + 0.18, ds["last"].values, "D", color="white", markeredgecolor=INK, markersize=5, zorder=3)
    upper.axhline(1.0, color=INK, linewidth=0.8)
    lower.axhline(1.0, color=INK, linewidth=0.8)
    _log(upper, total, "new over old, lever by lever", 1.45, above=0.18)
    _log(lower, np.concatenate([factors, ds["alone"].values, ds["last"].values, [1.0]]), "factor", 1.15, above=0.25)
    put_ticks(lower.xaxis, [*map(float, range(1, last + 1))], [*(name.replace("_", "\n") for name in names), "all"])
    lower.set_xlim(0.4, last + 0.6)
    if len(names) > 6:
        for label in lower.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    _legend(lower, upper, groups)


def _bar(ax: Axes, place: float, start: float, stop: float, colour: str, said: str) -> None:
    """A bar between two values of a log axis, hatched where it goes down, with its factor above it."""
    low, high = sorted((start, stop))
    falls = stop < start
    ax.bar(place, high - low, bottom=low, width=0.76, color=colour, hatch="////" if falls else None, edgecolor="white")
    ax.annotate(said, (place, high), xytext=(0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=9)


def _legend(lower: Axes, upper: Axes, groups: Sequence[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    known = [group for group in GROUP_COLOURS if group in groups]
    upper.legend(
        handles=[Patch(color=GROUP_COLOURS[group], label=group) for group in known],
        frameon=False, fontsize=9, loc="upper left", ncols=len(known), columnspacing=1.2,
    )  # fmt: skip
    marked = [
        Line2D([], [], marker="s", linestyle="none", color=QUIET, markersize=7, label="factor (Shapley)"),
        Line2D(
            [], [], marker="^", linestyle="none", color="white", markeredgecolor=INK, markersize=6, label="moved alone"
        ),
        Line2D(
            [], [], marker="D", linestyle="none", color="white", markeredgecolor=INK, markersize=5, label="moved last"
        ),
    ]
    lower.legend(handles=marked, frameon=False, fontsize=9, loc="upper right", ncols=3, bbox_to_anchor=(1.0, 1.06))


def _ratios(ax: Axes, ds: xr.Dataset, measure: str) -> None:
    """Ratios of all measures over interactivity, and of this one to old sides that may do less."""
    x, drawn = ds["interactivity"].values, []
    for number, name in enumerate(name for name in WORDS if f"ratio_{name}" in ds):
        y = ds[f"ratio_{name}"].values
        if np.isfinite(y).any():
            width = 2.4 if name == measure else 1.3
            ax.plot(x, y, "-", marker="o", markersize=3.2, linewidth=width, color=COLOURS[number], label=WORDS[name])
            drawn.append(y)
    for number, name in enumerate(ds["baseline"].values[1:]):
        y = ds["baseline_ratio"].values[number + 1]
        if np.isfinite(y).any():
            dash = DASHES[1 + number % (len(DASHES) - 1)]
            ax.plot(x, y, dash, linewidth=1.2, color=COLOURS[3 + number], label=fill(f"old: {name}", 36))
            drawn.append(y)
    _log(ax, np.concatenate([*drawn, [1.0]]) if drawn else np.array([1.0, 10.0]), "new over old", 1.2, above=0.38)
    _reported(ax, ds)
    if drawn:
        ax.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8.3, loc="upper left", ncols=2)
    else:
        ax.text(0.5, 0.5, "no interactivity that both reach", transform=ax.transAxes, ha="center", color=QUIET)
    ax.axhline(1.0, color=INK, linewidth=0.8)


def _levels(ax: Axes, ds: xr.Dataset, measure: str) -> None:
    """Both sides by themselves."""
    x, values = ds["interactivity"].values, ds[measure]
    for side, colour, mark in (("old", OLD, "o"), ("new", NEW, "s")):
        name = str(ds["system_name"].sel(side=side).item())
        ax.plot(
            x, values.sel(side=side).values, "-", marker=mark, markersize=3.5, linewidth=1.7, color=colour, label=name
        )
    _log(ax, values.values.ravel(), f"{WORDS[measure]} [{values.attrs['units']}]", 1.2)
    ax.yaxis.label.set_fontsize(9)
    _reported(ax, ds)
    ax.set_xlabel(axis_title(ds["interactivity"]) + ", limit of TPOT its inverse", fontsize=10.5)
    ax.legend(frameon=False, fontsize=9, loc="lower left")


def _reported(ax: Axes, ds: xr.Dataset) -> None:
    at = ds.attrs.get("at_reported")
    if at:
        ax.axvline(float(at), color=INK, linewidth=1.0, linestyle="--", zorder=0)


def _log(ax: Axes, values: Floats, title: str, room: float, above: float = 0.08) -> None:
    """A log axis from below the least to above the largest: by `room`, and by `above` of the way between them."""
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    ax.set_yscale("log")
    ax.set_ylim(low / 1.25, high * room * max(1.0, (high / low) ** above))
    bottom, top = ax.get_ylim()
    put_ticks(ax.yaxis, marks(bottom, top), [compact(value) for value in marks(bottom, top)])
    ax.set_ylabel(title, fontsize=10)
    ax.grid(True, which="major", axis="y", color="#d0d7de", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _words(canvas: Figure, ds: xr.Dataset, measure: str) -> None:
    """Title, what was asked, and what the factors are of."""
    old, new = (str(name) for name in ds["system_name"].values)
    attrs = ds.attrs
    fitted(canvas, (0.012, 0.975), f"{new} over {old}: {WORDS[measure]}", 0.976, fontsize=17, fontweight="bold")
    asked = [
        attrs["model"],
        f"ISL/OSL {attrs['workload']}",
        f"SLO beside TPOT: {attrs['slo']}",
        f"modes {attrs['modes']}",
    ]
    asked += [f"drafts kept {attrs['acceptance']}", f"stack {attrs['stack']}"]
    reach = "across domains" if attrs["across_domains"] == "yes" else "within a domain"
    asked.append(f"replicas of up to {attrs['most_accelerators']} {reach}")
    line = basis_line({**attrs, "basis": " ".join(filter(None, [attrs["basis"], attrs["vintage"]]))})
    if "tokens_per_usd" in ds:
        whose = f" ({attrs['hardware_prices']})" if "hardware_prices" in attrs else ""
        line += f"  ·  USD per accelerator-hour {attrs['usd_per_hour']}{whose}"
    fitted(canvas, (0.012, 0.925), "  ·  ".join(asked), 0.976, fontsize=11, color=QUIET)
    fitted(canvas, (0.012, 0.893), line, 0.976, fontsize=11, color=QUIET)
    if "factor" in ds and attrs["ratio"]:
        said = (
            f"{float(attrs['ratio']):.4g}x at {attrs['at_reported']} tokens/s of a user, {attrs['mixtures']} "
            f"mixture{'' if attrs['mixtures'] == '1' else 's'}"
        )
        if attrs["at_reported"] != attrs["at"]:
            said += f" (not all of them reach {attrs['at']})"
        fitted(canvas, (0.065, 0.835), said, 0.5, fontsize=12, fontweight="bold")
    left = 0.6 if "factor" in ds else 0.065
    fitted(canvas, (left, 0.835), "Over interactivity", 0.35, fontsize=12, fontweight="bold")
    if attrs.get("undefined"):
        words = fill(f"Undefined at {attrs['at']}: {attrs['undefined']}", 190)
        canvas.text(0.012, 0.012, words, fontsize=8.5, color=QUIET)


def fitted(canvas: Figure, at: tuple[float, float], words: str, share: float, *, fontsize: float, **how: Any) -> None:
    """A line of text, smaller where it would be longer than a share of the slide's width."""
    text = canvas.text(*at, words, va="top", fontsize=fontsize, **how)
    while text.get_window_extent().width > share * canvas.bbox.width and fontsize > 6.0:  # glyphs grow in whole pixels
        fontsize -= 0.25
        text.set_fontsize(fontsize)
