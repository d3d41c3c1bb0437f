"""Pictures of what an answer rests on and of how sure it is: `roofline.insight.sensitivity` and `uncertainty`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError, unknown_name
from roofline.insight.parameters import short_name
from roofline.insight.sensitivity import bought, ranked, sentence
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, basis_line, figure, marks, put_ticks, tokens
from roofline.report.tables import compact, number

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_BARS = 20
"""Numbers that a tornado has room for."""

MORE, LESS, SEARCHED = COLOURS[0], COLOURS[1], INK


def tornado(ds: xr.Dataset, figure_name: str = "") -> Figure:
    """Bars of how far a figure moves with each number that much more and less, the largest elasticity on top.

    ds : `roofline.insight.sensitivity`.   In words above them what more of the strongest rate does. A mark beside a bar
    is the same with everything chosen again, where that is known. Raises InputError for a figure that it does not have,
    and where nothing moves it.
    """
    found = ranked(ds, figure_name, MOST_BARS)
    name, change = str(found.attrs["figure"]), float(ds.attrs["change"])
    count = found.sizes["parameter"]
    if not count:
        raise InputError(f"nothing moves {name}: there is nothing to draw")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        ax = canvas.add_axes((0.27, 0.1, 0.53, 0.73))
        ratios = {key: found[f"ratio_{key}"].sel(figure=name).values for key in ("more", "less")}
        rows = np.arange(count)[::-1]
        for key, colour in (("more", MORE), ("less", LESS)):
            moved = np.where(np.isfinite(ratios[key]), 100.0 * (ratios[key] - 1.0), 0.0)
            ax.barh(rows, moved, height=0.68, color=colour, label=_change(change, key), zorder=3)
        _chosen_again(ax, ds, found, name, rows)
        ax.axvline(0.0, color=INK, linewidth=0.8, zorder=4)
        put_ticks(ax.yaxis, list(rows), [_said(path) for path in found["parameter"].values])
        ax.set_ylim(min(-0.7, count - 8.3), count - 0.3)  # few bars stay slim, and clear of the legend
        _elasticities(ax, found["elasticity"].sel(figure=name).values, found["parameter_grade"].values, rows)
        ax.grid(True, axis="x", color="#d0d7de", linewidth=0.5)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(f"change of {name} [%]", fontsize=11)
        ax.legend(frameon=False, fontsize=10, loc="lower right")
        title = f"What moves {found['figure_meaning'].sel(figure=name).item()}"
        _words(canvas, ds, title, f"{100 * change:.3g} % more or as much less of each number")
        canvas.text(0.012, 0.878, sentence(ds, bought(found), name), fontsize=12.5, color=INK, va="top")
        return canvas


def _change(change: float, key: str) -> str:
    return f"{100 * change:.3g} % more of it" if key == "more" else f"1/{1 + change:.3g} of it"


def _said(path: str) -> str:
    words = short_name(str(path))
    return words if len(words) <= 44 else f"{words[:20]}…{words[-22:]}"


def _chosen_again(ax: Axes, ds: xr.Dataset, found: xr.Dataset, name: str, rows: Any) -> None:
    if "searched_more" not in ds or name != ds.attrs["searched"]:
        return
    for number_, key in enumerate(("more", "less")):
        ratio = found[f"searched_{key}"].values
        label = "with everything chosen again" if number_ == 0 else None
        ax.plot(
            100.0 * (ratio - 1.0), rows, "D", markersize=5, markerfacecolor="white", markeredgecolor=SEARCHED,
            linestyle="none", label=label, zorder=5,
        )  # fmt: skip


def _elasticities(ax: Axes, values: Floats, grades: Any, rows: Any) -> None:
    """Two columns right of the bars: elasticity and grade."""
    for x, title, words in (
        (1.03, "elasticity", [f"{value:+.3f}" for value in values]),
        (1.16, "grade", [str(grade) for grade in grades]),
    ):
        ax.text(x, 1.01, title, transform=ax.transAxes, fontsize=9.5, color=QUIET, va="bottom")
        for row, said in zip(rows, words, strict=True):
            place = ax.get_yaxis_transform()
            ax.text(x, row, said, transform=place, fontsize=9.5, va="center", color=INK)


def _words(canvas: Figure, ds: xr.Dataset, title: str, more: str) -> None:
    """Title, what is asked about, and what the figures mean."""
    attrs = ds.attrs
    canvas.text(0.012, 0.972, title, fontsize=17, fontweight="bold", va="top")
    said = [f"{attrs['model']} on {attrs['system']}"]
    said += [f"workload {attrs['workload']}"] if attrs.get("workload") else []
    said += [f"SLO {attrs['slo']}"] if attrs.get("slo", "none") != "none" else []
    said += [f"{attrs['label']}, held" if attrs["of"] == "plan" else str(attrs["label"]), more]
    line = canvas.text(0.012, 0.918, "  ·  ".join(said), fontsize=11, color=QUIET, va="top")
    line.set_fontsize(11 * min(1.0, 0.976 * canvas.bbox.width / line.get_window_extent().width))
    canvas.text(0.99, 0.012, basis_line(dict(attrs)), fontsize=9, color=QUIET, ha="right")


def interval_picture(ds: xr.Dataset) -> Figure:
    """Each figure's percentiles over its value as the sheets stand: of numbers alone, and with the band.

    ds : `roofline.insight.uncertainty`.   The outer percentiles are the ends of bars, the middle one a mark.
    Raises InputError where no figure has a value.
    """
    ratios = {key: (ds[key] / ds["point"]).values for key in ("numbers", "value")}
    kept = [i for i in range(ds.sizes["figure"]) if np.isfinite(ratios["value"][:, i]).all()]
    if not kept:
        raise InputError("no figure has a value: there is nothing to draw")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        ax = canvas.add_axes((0.2, 0.1, 0.5, 0.73))
        rows = np.arange(len(kept))[::-1]
        middle = int(np.argmin(np.abs(ds["quantile"].values - 50.0)))
        labels = {"value": "with the band of measurements", "numbers": "numbers of the sheets alone"}
        banded = [str(ds["figure"].values[i]) in ds.attrs["residual"].split(", ") for i in kept]
        for key, colour, height, where in (
            ("value", COLOURS[5], 0.62, np.array(banded)),
            ("numbers", COLOURS[0], 0.26, np.full(len(kept), True)),
        ):
            if not where.any():
                continue
            low, high = ratios[key].min(axis=0)[kept][where], ratios[key].max(axis=0)[kept][where]
            ax.barh(rows[where], high - low, left=low, height=height, color=colour, label=labels[key], zorder=3)
            at = ratios[key][middle][kept][where]
            ax.plot(at, rows[where], "|", color=INK, markersize=18 * height + 4, zorder=5)
        _ratio_scale(ax, ratios["value"][:, kept])
        ax.axvline(1.0, color=INK, linewidth=0.9, linestyle="--", zorder=4)
        put_ticks(ax.yaxis, list(rows), [str(ds["figure"].values[i]) for i in kept])
        ax.set_ylim(-0.7, len(kept) - 0.3)
        _percentiles(ax, ds, kept, rows)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ends = f"{ds['quantile'].values.min():g} % to {ds['quantile'].values.max():g} %"
        ax.set_xlabel("over the figure as the sheets stand", fontsize=11)
        ax.legend(frameon=False, fontsize=10, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
        _words(canvas, ds, f"How sure the answer is: {ends} of {int(ds.attrs['draws']):,} draws", "spreads by grade")
        return canvas


def _ratio_scale(ax: Axes, ratios: Floats) -> None:
    """A logarithmic axis about 1 with few plain ticks."""
    low, high = min(0.95, 0.97 * float(ratios.min())), max(1.05, 1.03 * float(ratios.max()))
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    places: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    if high / low < 6.0:
        places = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3)
    if high / low < 1.6:
        places = tuple(0.05 * n for n in range(10, 31))
    shown = [place for place in places if low <= place <= high]
    put_ticks(ax.xaxis, shown, [f"{place:g}" for place in shown])
    ax.grid(True, axis="x", color="#d0d7de", linewidth=0.5)


def _percentiles(ax: Axes, ds: xr.Dataset, kept: list[int], rows: Any) -> None:
    """Columns right of the bars: the percentiles in the figure's own unit."""
    percents = ds["quantile"].values
    for q, percent in enumerate(percents):
        x = 1.03 + 0.56 * q / len(percents)
        ax.text(x, 1.01, f"p{percent:g}", transform=ax.transAxes, fontsize=9.5, color=QUIET, va="bottom")
        for row, i in zip(rows, kept, strict=True):
            unit = str(ds["figure_units"].values[i])
            words = number(float(ds["value"].values[q, i]), unit)
            tail = {"1/s": "/s", "1/MWh": "/MWh"}.get(unit, "")
            ax.text(x, row, words + tail, transform=ax.get_yaxis_transform(), fontsize=9.5, va="center", color=INK)


def band_curve(ds: xr.Dataset, x: str, figure_name: str = "") -> Figure:
    """A figure along an axis with its band: outer percentiles shaded, of the numbers alone darker, the middle a line.

    ds : results of `roofline.insight.uncertainty` side by side, as `xr.concat([...], dim="batch")` with its coordinate.
    Raises InputError where the Dataset has no such axis or figure.
    """
    name = figure_name or str(ds.attrs["figure"])
    if x not in ds.dims or x not in ds.coords:
        raise InputError(
            f"x = {x!r}: the Dataset has no such axis with a coordinate; put results side by side along it"
        )
    if name not in ds["figure"].values:
        raise unknown_name("figure", name, [str(one) for one in ds["figure"].values])
    one = ds.sel(figure=name).transpose(x, "quantile", ...)
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        ax = canvas.add_axes((0.09, 0.1, 0.88, 0.73))
        across, middle = ds[x].values.astype(float), int(np.argmin(np.abs(ds["quantile"].values - 50.0)))
        kinds = [("numbers", COLOURS[0], 0.45, "numbers of the sheets alone")]
        if name in ds.attrs["residual"].split(", "):
            kinds.insert(0, ("value", COLOURS[5], 0.45, "with the band of measurements"))
        for key, colour, alpha, label in kinds:
            held = one[key].values
            low, high = held.min(axis=1), held.max(axis=1)
            ax.fill_between(across, low, high, color=colour, alpha=alpha, linewidth=0.0, label=label)
        ax.plot(across, one["numbers"].values[:, middle], color=COLOURS[0], linewidth=1.8, label="median")
        ax.plot(across, one["point"].values, "--", color=INK, linewidth=1.0, label="as the sheets stand")
        ax.set_xscale("log")
        ax.set_yscale("log")
        put_ticks(ax.xaxis, list(across), [tokens(value) for value in across])
        bottom, top = ax.get_ylim()
        put_ticks(ax.yaxis, marks(bottom, top), [compact(value) for value in marks(bottom, top)])
        ax.grid(True, which="major", color="#d0d7de", linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
        unit = str(one["figure_units"].values.flat[0])
        ax.set_ylabel(f"{name} [{unit}]" if unit != "1" else name, fontsize=11)
        ax.set_xlabel(x, fontsize=11)
        ax.legend(frameon=False, fontsize=10)
        ends = f"{ds['quantile'].values.min():g} % to {ds['quantile'].values.max():g} %"
        title = str(one["figure_meaning"].values.flat[0])
        shared = ds.assign_attrs(label=", ".join(str(ds.attrs[key]) for key in ("of", "recipe", "deployment")))
        _words(canvas, shared, title[:1].upper() + title[1:], f"{ends} of {int(ds.attrs['draws']):,} draws")
        return canvas
