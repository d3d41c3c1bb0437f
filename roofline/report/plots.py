"""Pictures of results. Each takes a Dataset (or an explanation) and returns a matplotlib Figure; none computes physics.

Figures are made without pyplot: nothing global is touched and no window is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from roofline.errors import InputError
from roofline.grid.axes import deployment_label
from roofline.report.tables import compact, meanings

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SLIDE = (13.333, 7.5)
"""16:9, inches."""

DEGREES = ("tp", "pp", "dp", "ep", "moe_tp")
"""Coordinates that make a deployment."""

INK = "#1b1f24"
QUIET = "#57606a"
HATCHES = ("////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oooo", "||||", "****")
STYLE: Any = {
    "font.size": 10.0,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "hatch.linewidth": 0.5,
    "hatch.color": "#8c959f",
    "svg.fonttype": "none",
    "savefig.dpi": 160,
}
MISSED = -1
"""Where a `limit` is no reason: all that runs there misses the SLO."""

_AXIS_WORDS = {"batch_per_gpu": "batch", "slo": "SLO", "isl": "ISL", "osl": "OSL"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito (2008): eight colours told apart by all common kinds of colour vision."""


def figure(layout: Literal["constrained"] | None = "constrained", size: tuple[float, float] = SLIDE) -> Figure:
    """An empty slide; with layout None the caller places everything.

    Raises InputError, with the line that installs it, where matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        from roofline.report.files import how_to_install

        raise InputError(f"pictures need matplotlib, which is not installed; {how_to_install('plots')}") from None
    return Canvas(figsize=size, layout=layout)


def tokens(size: float) -> str:
    """A count of tokens as people write it: 512, 8k, 128k (k = 1024), 1M."""
    whole = round(size)
    if size >= 1024 and whole % 1024 == 0:
        thousands = whole // 1024
        return f"{thousands // 1024}M" if thousands % 1024 == 0 else f"{thousands}k"
    if size < 1:
        share = 1.0 / size
        return f"1/{round(share)}" if abs(share - round(share)) < 1e-9 else f"{size:.3g}"
    return f"{size:.4g}"


def edges(centres: Floats) -> Floats:
    """Borders of cells whose centres are spaced evenly in the logarithm, shape (n + 1,)."""
    logs = np.log(centres)
    middle = 0.5 * (logs[1:] + logs[:-1])
    first, last = (
        (2 * logs[0] - middle[0], 2 * logs[-1] - middle[-1]) if len(logs) > 1 else (logs[0] - 0.35, logs[0] + 0.35)
    )
    borders: Floats = np.exp(np.concatenate([[first], middle, [last]]))
    return borders


def places(coord: xr.DataArray) -> Floats:
    """Where the values of a coordinate stand on an axis: themselves, or even steps for words."""
    if coord.dtype.kind in "OUT":
        return np.exp2(np.arange(coord.size, dtype=np.float64))
    return coord.values.astype(float)


def said(coord: xr.DataArray) -> list[str]:
    """What an axis says at each value of a coordinate."""
    return [str(value) if isinstance(value, str) else tokens(float(value)) for value in coord.values]


def ticks(centres: Floats, most: int = 6) -> Floats:
    """At most `most` of the centres, evenly chosen, the last among them."""
    step = max(1, -(-len(centres) // most))
    return centres[::-step][::-1]


def put_ticks(axis: Any, where: list[float], said: list[str]) -> None:
    """Ticks at given places with given words, none between."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(where))
    axis.set_major_formatter(FixedFormatter(said))
    axis.set_minor_locator(NullLocator())


def basis_line(attrs: dict[str, Any]) -> str:
    """What the numbers of a result mean, in one line for a picture."""
    parts = [
        (f"fidelity {attrs['fidelity']}") if "fidelity" in attrs else "",
        (f"boundary {attrs['boundary']}") if "boundary" in attrs else "",
        (f"power {attrs['basis']}") if "basis" in attrs else "",
        (f"{attrs['token_basis']} tokens") if "token_basis" in attrs else "",
        (f"{attrs['drafts']} drafts, {attrs['tokens_per_step']} tokens a step") if "drafts" in attrs else "",
        (f"roofline {attrs['roofline_version']}") if "roofline_version" in attrs else "",
    ]
    return "  ·  ".join(part for part in parts if part)


def heatmap(
    ds: xr.Dataset,
    variable: str = "tokens_per_mwh",
    *,
    x: str = "context",
    y: str = "batch_per_gpu",
    rows: str = "model",
    columns: str = "system",
    x_title: str | None = None,
    y_title: str | None = None,
    title: str | None = None,
    subtitle: str | None = None,
) -> Figure:
    """One panel per row and column, one colour scale for all, logarithmic axes; hatching where nothing runs.

    variable : a positive quantity with dimensions (rows, columns, y, x); NaN where `limit` is not 0.
    Raises InputError where no cell has a value.
    """
    values = ds[variable].transpose(rows, columns, y, x)
    if not np.isfinite(values.values).any():
        raise InputError(f"no cell of {variable} has a value: {why_none(ds)}")
    canvas = figure(layout=None)
    import matplotlib as mpl
    from matplotlib.colors import LogNorm

    with mpl.rc_context(STYLE):
        grid = _grid(canvas, ds.sizes[rows], ds.sizes[columns])
        low, high = float(values.min()), float(values.max())
        norm = LogNorm(low, high if high > low else low * 1.01)
        mesh: Any = None
        shown: dict[int, str] = {}
        for r, line in enumerate(grid):
            for c, ax in enumerate(line):
                mesh = _panel(ax, ds.isel({rows: r, columns: c}), variable, x, y, norm, shown)
        _labels(grid, ds, (x, x_title or axis_title(ds[x])), (y, y_title or axis_title(ds[y])), rows, columns)
        bar = canvas.colorbar(mesh, cax=canvas.add_axes((0.938, BOTTOM, 0.011, TOP - BOTTOM)))
        _colour_scale(bar, ds[variable], low, high)
        canvas.text(0.012, 0.975, title or _title(ds[variable]), fontsize=17, fontweight="bold", va="top")
        canvas.text(0.012, 0.928, subtitle or basis_line(ds.attrs), fontsize=11, color=QUIET, va="top")
        _legend(canvas, ds, shown)
        return canvas


LEFT, RIGHT, BOTTOM, TOP = 0.066, 0.895, 0.125, 0.8
GAP_X, GAP_Y = 0.009, 0.07
"""Where panels lie on the slide: places are given, not solved for, as a solver draws everything several times over."""


def _grid(canvas: Figure, down: int, across: int) -> list[list[Axes]]:
    """Panels by row and column, from the top left."""
    width = (RIGHT - LEFT - GAP_X * (across - 1)) / across
    height = (TOP - BOTTOM - GAP_Y * (down - 1)) / down
    lefts = [LEFT + c * (width + GAP_X) for c in range(across)]
    bottoms = [TOP - height - r * (height + GAP_Y) for r in range(down)]
    return [[canvas.add_axes((left, bottom, width, height)) for left in lefts] for bottom in bottoms]


def _panel(ax: Axes, cell: xr.Dataset, variable: str, x: str, y: str, norm: Any, shown: dict[int, str]) -> Any:
    across, up = places(cell[x]), places(cell[y])
    held = cell[variable].transpose(y, x).values
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    mesh = ax.pcolormesh(edges(across), edges(up), np.ma.masked_invalid(held), cmap="viridis", norm=norm)
    mesh.set_rasterized(True)
    ax.set_facecolor("#f3f4f6")
    ax.set_xlim(float(edges(across)[0]), float(edges(across)[-1]))
    ax.set_ylim(float(edges(up)[0]), float(edges(up)[-1]))
    if "limit" in cell:
        _hatch(ax, cell["limit"].transpose(y, x), edges(across), edges(up), shown)
    if np.isfinite(held).any():
        at = np.unravel_index(int(np.nanargmax(held)), held.shape)
        ax.plot(across[at[1]], up[at[0]], marker="*", color="white", markeredgecolor=INK, markersize=12, zorder=5)
        words = _best(cell, variable, x, y)
        said = ax.text(0.0, 1.02, words, transform=ax.transAxes, va="bottom", fontsize=8.2, linespacing=1.2)
        said.set_fontsize(8.2 * min(1.0, ax.bbox.width / said.get_window_extent().width))  # not into the next panel
    else:
        ax.text(0.5, 0.5, "nothing runs", transform=ax.transAxes, ha="center", va="center", color=QUIET)
    return mesh


def _best(cell: xr.Dataset, variable: str, x: str, y: str) -> str:
    """Two short lines: the best value, and the place, recipe, deployment and GPUs that reach it."""
    held = cell[variable]
    at = held.argmax([x, y])
    one = cell.isel(at)
    words = [f"{_AXIS_WORDS.get(name, name)} {said(cell[name])[int(at[name])]}" for name in (y, x)]
    best = f"best {compact(float(one[variable]), 3)}: {', '.join(words)}"
    if "mode" in one:
        return f"{best}\n{one['mode'].item()}, {one['recipe'].item()}, {int(one['accelerators'])} GPUs"
    if {"recipe", *DEGREES} <= set(one.variables):
        tp, pp, dp, ep, moe_tp = (int(one[name]) for name in DEGREES)
        gpus = tp * pp * dp
        label = deployment_label((tp, pp, dp, ep, moe_tp))
        return f"{best}\n{one['recipe'].item()}, {label}, {gpus} GPU{'s' * (gpus != 1)}"
    return best


def _hatch(ax: Axes, limit: xr.DataArray, across: Floats, up: Floats, shown: dict[int, str]) -> None:
    """Cover cells with a limit, cells above each other by one rectangle (hatches are slow to draw)."""
    from matplotlib.collections import PolyCollection

    codes = limit.values
    for code in (int(value) for value in np.unique(codes) if value != 0):
        hatch = shown.setdefault(code, HATCHES[len(shown) % len(HATCHES)])
        corners = []
        for j in range(codes.shape[1]):
            inside = np.concatenate([[False], codes[:, j] == code, [False]])
            starts, stops = np.flatnonzero(~inside[:-1] & inside[1:]), np.flatnonzero(inside[:-1] & ~inside[1:])
            left, right = across[j], across[j + 1]
            corners += [
                [(left, up[low]), (right, up[low]), (right, up[high]), (left, up[high])]
                for low, high in zip(starts, stops, strict=True)
            ]
        cover = PolyCollection(corners, hatch=hatch, facecolor="#eaeef2", linewidth=0.0, edgecolor="#8c959f")
        ax.add_collection(cover, autolim=False)


def _labels(
    grid: list[list[Axes]], ds: xr.Dataset, x: tuple[str, str], y: tuple[str, str], rows: str, columns: str
) -> None:
    """Ticks and words at the outer panels only; x and y are names of coordinates and the titles of their axes."""
    across, up = (dict(zip(places(ds[name]), said(ds[name]), strict=True)) for name, _ in (x, y))
    for r, line in enumerate(grid):
        for c, ax in enumerate(line):
            for axis, words, outer in (
                (ax.xaxis, across, r == len(grid) - 1),
                (ax.yaxis, up, c == 0),
            ):
                at = list(ticks(np.array([*words]), 5 if words is across else 8)) if outer else []
                put_ticks(axis, at, [words[value].replace(", ", "\n") for value in at])
                upright = axis is ax.yaxis and ds[y[0]].dtype.kind in "OUT"
                axis.set_tick_params(length=2.5, width=0.5, labelrotation=90 if upright else 0)
    for c, ax in enumerate(grid[0]):
        star = "*" if f"{columns}_grade" in ds.coords and ds[f"{columns}_grade"].values[c] == "estimated" else ""
        ax.set_title(shown_name(ds, columns, c) + star, fontweight="bold", fontsize=11.5, pad=29, loc="left")
    for ax in grid[-1]:
        ax.set_xlabel(x[1])
    for r, line in enumerate(grid):
        line[0].set_ylabel("" if ds[y[0]].dtype.kind in "OUT" else y[1])  # words say themselves what they are
        line[0].annotate(
            shown_name(ds, rows, r), (0, 0.5), xytext=(-52, 0), xycoords="axes fraction", textcoords="offset points",
            rotation=90, ha="center", va="center", fontsize=12, fontweight="bold",
        )  # fmt: skip


def shown_name(ds: xr.Dataset, dim: str, index: int) -> str:
    """The name people use (coordinate `<dim>_name`) or the id."""
    named = f"{dim}_name"
    return str(ds[named].values[index]) if named in ds.coords else str(ds[dim].values[index])


def axis_title(coord: xr.DataArray) -> str:
    """What an axis shows, with its unit."""
    name = str(coord.attrs.get("long_name", coord.name)).rstrip(".")
    unit = str(coord.attrs.get("units", ""))
    return f"{name} [{unit}]" if unit and unit != "1" else name


def _title(variable: xr.DataArray) -> str:
    name = str(variable.attrs.get("long_name", variable.name))
    return name[:1].upper() + name[1:]


def marks(start: float, stop: float) -> list[float]:
    """1, 2, 5 of each decade from start to stop; only the 1 where that would be too many, even steps where too few."""
    steps = (1.0, 2.0, 5.0) if stop / start < 3000 else (1.0,)
    powers = range(int(np.floor(np.log10(start))), int(np.ceil(np.log10(stop))) + 1)
    found = [s * 10.0**p for p in powers for s in steps if start * 0.999 <= s * 10.0**p <= stop * 1.001]
    if len(found) > 2 or not stop > start:
        return found
    from matplotlib.ticker import MaxNLocator

    return [float(place) for place in MaxNLocator(5).tick_values(start, stop) if start <= place <= stop]


def _colour_scale(bar: Any, variable: xr.DataArray, low: float, high: float) -> None:
    """Ticks at 1, 2, 5 of each decade; for tokens/MWh the same scale read as J/token on the other side."""
    places = marks(low, high)
    put_ticks(bar.ax.yaxis, places, [compact(value) for value in places])
    unit = str(variable.attrs.get("units", ""))
    per_mwh = variable.name == "tokens_per_mwh"
    words = "output tokens per MWh (M: million, G: billion)" if per_mwh else f"{variable.name} [{unit}]"
    bar.set_label(words, fontsize=10.5)
    bar.outline.set_visible(False)
    if per_mwh:
        joules = marks(3.6e9 / high, 3.6e9 / low)
        other = bar.ax.secondary_yaxis("left")
        put_ticks(other.yaxis, [3.6e9 / value for value in joules], [compact(value) for value in joules])
        other.tick_params(labelsize=8.0, colors=QUIET, length=2.5, width=0.5)
        other.set_ylabel("J per token", fontsize=9, color=QUIET, labelpad=1)
        other.spines["left"].set_visible(False)


def _legend(canvas: Figure, ds: xr.Dataset, shown: dict[int, str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D(
            [], [], marker="*", linestyle="none", color="white", markeredgecolor=INK, markersize=11, label="best cell"
        )
    ]
    known = reasons(ds["limit"]) if "limit" in ds else {}
    for code, hatch in sorted(shown.items()):
        words = "nothing meets the SLO" if code == MISSED else known.get(code, f"limit {code}")
        handles.append(Patch(facecolor="#eaeef2", edgecolor="#8c959f", hatch=hatch, linewidth=0.0, label=words))
    if any(name.endswith("_grade") and "estimated" in ds[name].values for name in map(str, ds.coords)):
        words = "* estimated: rates, power or kernel efficiencies of this system are neither published nor measured"
        handles.append(Line2D([], [], linestyle="none", label=words))
    for columns in range(min(6, len(handles)), 0, -1):
        legend = canvas.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0.008, 0.0), ncols=columns, frameon=False, fontsize=9,
            handleheight=1.2, columnspacing=1.6, borderpad=0.2, labelspacing=0.3,
        )  # fmt: skip
        if legend.get_window_extent().x1 <= canvas.bbox.x1 or columns == 1:
            return
        legend.remove()


def why_none(ds: xr.Dataset) -> str:
    """Why no cell of a result has a value, in words."""
    codes = sorted({int(code) for code in ds["limit"].values.flat if code}) if "limit" in ds else []
    said = reasons(ds["limit"]) if codes else {}
    unknown = sorted({str(text) for text in ds["power_unknown"].values.flat if text}) if "power_unknown" in ds else []
    return "; ".join([said[code] for code in codes] + unknown) or "nothing was computed"


def reasons(limit: xr.DataArray) -> dict[int, str]:
    """Code to a sentence of a `limit` variable: `flag_descriptions` where it has them, else `flag_meanings`."""
    known = meanings(limit) or {}
    said = dict(
        part.split(": ", 1) for part in str(limit.attrs.get("flag_descriptions", "")).split("; ") if ": " in part
    )
    return {code: said.get(word, word.replace("_", " ")) for code, word in known.items()}
