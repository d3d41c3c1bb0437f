"""The picture of a frontier: throughput against tokens/s of one user, one line a system, deployments at some points."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.choices import deployed, recipes
from roofline.report.curves import DASHES
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, axis_title, basis_line, figure, marks, put_ticks
from roofline.report.tables import compact, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

ACROSS = "tokens_per_s_per_user"

MARKERS = {"aggregated": "s", "static": "^", "disaggregated": "o"}
"""By mode."""

MOST_LABELS = 4
"""Points of one line whose deployment is written beside them."""

PLACES: tuple[tuple[float, float, str, str], ...] = (
    *((7, 7, "left", "bottom"), (-7, -7, "right", "top"), (7, -7, "left", "top"), (-7, 7, "right", "bottom")),
    *((26, 26, "left", "bottom"), (-26, -26, "right", "top"), (45, 45, "left", "bottom"), (-45, -45, "right", "top")),
    *((10, -45, "left", "top"), (10, 45, "left", "bottom")),
    *((0, 60, "center", "bottom"), (0, -60, "center", "top"), (70, 70, "left", "bottom"), (-70, -70, "right", "top")),
)
"""Where a label may stand beside its point [points, alignment], the first that is free of the lines."""

NEAR = 4
"""Of those, how many need no line to their point."""


def frontier_picture(ds: xr.Dataset) -> Figure:
    """Throughput against tokens/s of one user: a panel a model, a line a system, a vertical line at the limit of TPOT.

    ds : `roofline.pareto`.   Markers tell modes apart; the label of a point says what serves it.
    Raises InputError where there is no point.
    """
    if not ds.sizes["point"]:
        raise InputError(f"no deployment to draw: {ds.attrs['without']}")
    against = str(ds.attrs["against"])
    rows = list(table(ds).rows())
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    systems = list(dict.fromkeys(str(row["system"]) for row in rows))
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        axes = canvas.subplots(
            1, len(models), squeeze=False, sharey=True,
            gridspec_kw={"left": 0.07, "right": 0.985, "top": 0.83, "bottom": 0.135, "wspace": 0.05},
        )[0]  # fmt: skip
        for ax, model in zip(axes, models, strict=True):
            mine = [row for row in rows if row["model"] == model]
            for s, system in enumerate(systems):
                _line(ax, [row for row in mine if row["system"] == system], against, s, system)
            ax.set_title(model, fontweight="bold", fontsize=12, loc="left")
            ax.set_xlabel(axis_title(ds[ACROSS]), fontsize=11)
        _scales(axes, ds[against].values)
        for ax, model in zip(axes, models, strict=True):
            taken = [ax.legend(frameon=False, fontsize=9.5, loc="lower left").get_window_extent()]
            said, limit = _limit(ax, float(ds.attrs["slo_tpot_s"]))
            lines = [[row for row in rows if row["model"] == model and row["system"] == name] for name in systems]
            _labels(ax, lines, against, taken + said, limit)
        axes[0].set_ylabel(axis_title(ds[against]), fontsize=11)
        _words(canvas, ds, rows)
        return canvas


def _line(ax: Axes, rows: Sequence[Row], against: str, number: int, label: str) -> None:
    if not rows:
        return
    colour = COLOURS[number % len(COLOURS)]
    x, y = (np.array([row[name] for row in rows], dtype=float) for name in (ACROSS, against))
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    ax.plot(x, y, dash, linewidth=1.8, color=colour, label=label)
    for mode, marker in MARKERS.items():
        at = np.array([row["mode"] == mode for row in rows])
        if at.any():
            ax.plot(x[at], y[at], marker, markersize=4.2, color=colour, markeredgecolor="white", markeredgewidth=0.4)


def _scales(axes: Sequence[Axes], values: Any) -> None:
    """A log axis of throughput for all panels, a plain one of interactivity from 0 for each, room above for labels."""
    low, high = float(np.min(values)), float(np.max(values))
    room = 1.25 * (high / low) ** 0.08
    for ax in axes:
        ax.set_xlim(0.0, 1.06 * ax.dataLim.x1)
        ax.set_yscale("log")
        ax.set_ylim(low / room, high * room)
        bottom, top = ax.get_ylim()
        put_ticks(ax.yaxis, marks(bottom, top), [compact(value) for value in marks(bottom, top)])
        ax.grid(True, which="major", color="#d0d7de", linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)


def _limit(ax: Axes, tpot_s: float) -> tuple[list[Any], Any]:
    """The limit of TPOT as tokens/s of one user, what is left of it too slow; the box of its words, places along it."""
    least = 1.0 / tpot_s
    if not 0.0 < least < ax.get_xlim()[1]:
        return [], np.empty((0, 2))
    ax.axvspan(0.0, least, color="#eaeef2", zorder=0, linewidth=0.0)
    ax.axvline(least, color=INK, linewidth=1.1, linestyle="--")
    said = f"limit: TPOT {compact(1e3 * tpot_s)} ms"
    text = ax.annotate(
        said, (least, 1.0), xytext=(-4, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
        rotation=90, ha="right", va="top", fontsize=9, color=QUIET,
    )  # fmt: skip
    box, up = text.get_window_extent(), np.linspace(ax.bbox.y0, ax.bbox.y1, 200)
    line = np.stack([np.full(200, ax.transData.transform((least, 1.0))[0]), up], axis=1)
    beside = np.stack([np.full(50, 0.5 * (box.x0 + box.x1)), np.linspace(box.y0, box.y1, 50)], axis=1)
    return [box], np.concatenate([line, beside])


def chosen(rows: Sequence[Row]) -> list[Row]:
    """Points of one line to be labelled: its ends and where the deployment changes, at most `MOST_LABELS`, evenly."""
    kinds = [(row["mode"], row["prefill_deployment"], row["deployment"]) for row in rows]
    first = [i for i in range(len(rows)) if i == 0 or kinds[i] != kinds[i - 1]]
    # A kind is labelled amid its run; alternating ones once.
    runs = [range(a, b) for a, b in zip(first, [*first[1:], len(rows)], strict=True)]
    longest = {kinds[run[0]]: run for run in sorted(runs, key=len)}
    at = sorted({0, *(run[len(run) // 2] for run in longest.values()), len(rows) - 1})
    count = min(MOST_LABELS, len(at))
    return [rows[at[round(i * (len(at) - 1) / max(1, count - 1))]] for i in range(count)]


def _drawn(ax: Axes, line: Sequence[Row], against: str) -> Any:
    """Places all along a line [pixels], float64[places, 2]."""
    points = ax.transData.transform([(row[ACROSS], row[against]) for row in line])
    whole, fine = np.arange(len(line)), np.linspace(0, len(line) - 1, 8 * len(line))
    return np.stack([np.interp(fine, whole, points[:, axis]) for axis in (0, 1)], axis=1)


def _labels(ax: Axes, lines: Sequence[Sequence[Row]], against: str, taken: list[Any], limit: Any) -> None:
    """What serves some points, written where nothing else is written and no line is covered, else left out.

    taken : boxes of what is written already; those of labels are added.   limit : places along the limit [pixels].
    """
    points = np.concatenate([*(_drawn(ax, line, against) for line in lines if line), limit])
    for s, line in enumerate(lines):
        for row in chosen(line) if line else ():
            words = f"{fill(deployed(row), 34)}\nbatch {row['batch']:.0f}"
            at, colour = (row[ACROSS], row[against]), COLOURS[s % len(COLOURS)]
            for n, place in enumerate(PLACES):
                text = _written(ax, words, at, place, colour)
                box = text.get_window_extent()
                text.remove()
                if _free(ax, box, taken, points) and (n < NEAR or not _crossing(ax, at, place, points)):
                    _written(ax, words, at, place, colour, led=n >= NEAR)
                    taken.append(box)
                    break


def _free(ax: Axes, box: Any, taken: Sequence[Any], points: Any) -> bool:
    """Whether a box is within the axes and neither on another nor on a line."""
    x, y = points.T
    covered = ((box.x0 <= x) & (x <= box.x1) & (box.y0 <= y) & (y <= box.y1)).sum()
    inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 and ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1
    return bool(inside and covered == 0 and not any(box.overlaps(other) for other in taken))


def _crossing(ax: Axes, at: tuple[float, float], place: tuple[float, float, str, str], points: Any) -> bool:
    """Whether the way from a point to its label goes over a line; its own is left behind after a few points."""
    start = ax.transData.transform(at)
    pixels = ax.figure.dpi / 72.0
    way = start + np.linspace(0.25, 1.0, 24)[:, None] * np.array(place[:2], dtype=float) * pixels
    gaps = np.abs(way[:, None, :] - points[None, :, :]).max(axis=2)
    return bool((gaps < 3.0 * pixels).any())


def _written(
    ax: Axes, words: str, at: tuple[float, float], place: tuple[float, float, str, str], colour: str, led: bool = False
) -> Any:
    """Words beside a point, with a thin line to it where they are `led`."""
    from matplotlib.patheffects import withStroke

    dx, dy, across, up = place
    return ax.annotate(
        words, at, xytext=(dx, dy), textcoords="offset points", ha=across, va=up, fontsize=7.5, linespacing=1.1,
        color=colour, path_effects=[withStroke(linewidth=2.2, foreground="white")],
        arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.5} if led else None,
    )  # fmt: skip


def _words(canvas: Figure, ds: xr.Dataset, rows: Sequence[Row]) -> None:
    """Title, what all points share, markers, and what has no point."""
    from matplotlib.lines import Line2D

    title = "Throughput against interactivity: what no other deployment beats in both"
    canvas.text(0.012, 0.972, title, fontsize=17, fontweight="bold", va="top")
    said = [f"workload {ds.attrs['workload']}", f"SLO {ds.attrs['slo']}"]
    said += [", ".join(sorted({recipes(row) for row in rows})), basis_line(dict(ds.attrs))]
    subtitle = canvas.text(0.012, 0.918, "  ·  ".join(said), fontsize=11, color=QUIET, va="top")
    subtitle.set_fontsize(11 * min(1.0, 0.976 * canvas.bbox.width / subtitle.get_window_extent().width))
    modes = [mode for mode in MARKERS if any(row["mode"] == mode for row in rows)]
    handles = [
        Line2D([], [], marker=MARKERS[mode], linestyle="none", color=QUIET, markersize=5, label=mode) for mode in modes
    ]
    canvas.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.99, 0.0), ncols=3, frameon=False, fontsize=9)
    if ds.attrs["without"]:
        words = fill(f"No point: {ds.attrs['without']}", 150)
        canvas.text(0.012, 0.012, words, fontsize=9, color=QUIET, va="bottom")
