"""Predictions beside measurements: parity of each quantity, and how far speed is off by batch and by source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, figure, marks, put_ticks
from roofline.report.tables import number
from roofline.validation.score import UNKNOWN, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from roofline.validation.score import Line, Scores

    Floats = NDArray[np.float64]

NAMES = {
    "tpot": ("TPOT", "s"),
    "ttft": ("TTFT", "s"),
    "throughput": ("tokens/s", ""),
    "joules_per_token": ("J/token", "J"),
    "power": ("power", "W"),
}
"""Short name and unit of the quantities that have a panel."""

NEAR, FAR = 1.25, 2.0
"""Factors of the bands: shaded and dashed."""

MARKERS = ("o", "s", "^", "D")
"""Sources with the same colour differ by these."""

WIDEST = 4.0
"""Residuals beyond this factor, and predictions so far beyond all that was measured, are drawn at it."""


@dataclass(frozen=True, eq=False)
class Speeds:
    """Predicted over measured speed of rows.   row : place in the file.   ratio : above 1 promises more than was."""

    row: NDArray[np.intp]
    ratio: Floats


def speeds(scores: Scores) -> Speeds:
    """Of rows without flags: 1/TPOT where that was measured and is predicted, else tokens/s."""
    found: dict[int, float] = {}
    measured, predicted, rows = scores.pairs("throughput")
    found |= dict(zip(rows.tolist(), (predicted / measured).tolist(), strict=True))
    measured, predicted, rows = scores.pairs("tpot")
    found |= dict(zip(rows.tolist(), (measured / predicted).tolist(), strict=True))
    order = sorted(found)
    return Speeds(np.array(order, dtype=np.intp), np.array([found[row] for row in order], dtype=np.float64))


def parity_picture(scores: Scores) -> Figure:
    """Predicted against measured for each quantity; below, predicted over measured speed by batch and by source.

    Rows with flags are left out. A source has one colour and marker in all panels; the last one names them.
    Raises InputError where no row has a prediction.
    """
    lines = [
        line for line in scores.lines if not line.by and not line.flagged and line.rows.n and line.quantity in NAMES
    ]
    if not lines:
        raise InputError(f"{scores.measured.path}: no row without flags has a prediction; there is nothing to draw")
    looks = _looks(scores)
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        tops = canvas.subplots(
            1, len(lines), squeeze=False,
            gridspec_kw={"left": 0.06, "right": 0.985, "top": 0.82, "bottom": 0.5, "wspace": 0.3},
        )[0]  # fmt: skip
        for ax, line in zip(tops, lines, strict=True):
            _parity(ax, scores, line, looks)
        tops[0].set_ylabel("predicted")
        off = speeds(scores)
        if off.row.size:
            _by_batch(canvas.add_axes((0.06, 0.085, 0.4, 0.31)), scores, off, looks)
            _by_source(canvas.add_axes((0.66, 0.085, 0.325, 0.31)), scores, off, looks)
        _words(canvas, scores)
        return canvas


def _looks(scores: Scores) -> dict[str, dict[str, Any]]:
    """Colour, marker and size of the dots of each source, in the order of the alphabet."""
    sources = sorted({point.source for point in scores.points})
    colours = COLOURS[:7]  # yellow is too pale for dots
    size = 20.0 if len(scores.points) < 500 else 9.0
    return {
        name: {"color": colours[i % len(colours)], "marker": MARKERS[i // len(colours) % len(MARKERS)], "s": size}
        for i, name in enumerate(sources)
    }


def _by(scores: Scores, rows: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    """Source -> places among `rows`, in the order of the alphabet."""
    names = np.array([scores.points[row].source for row in rows.tolist()], dtype=object)
    return {str(name): np.flatnonzero(names == name) for name in sorted(set(names.tolist()))}


def _dots(ax: Axes, x: Floats, y: Floats, look: dict[str, Any]) -> None:
    ax.scatter(x, y, alpha=0.75, linewidth=0.3, edgecolor="white", zorder=3, **look)


def _parity(ax: Axes, scores: Scores, line: Line, looks: dict[str, dict[str, Any]]) -> None:
    name, unit = NAMES[line.quantity]
    measured, predicted, rows = scores.pairs(line.quantity)
    ends = (measured.min() / WIDEST, measured.max() * WIDEST)
    shown = np.clip(predicted, *ends)
    low, high = min(measured.min(), shown.min()) / 1.4, max(measured.max(), shown.max()) * 1.4
    line_x = np.array([low, high])
    ax.fill_between(line_x, line_x / NEAR, line_x * NEAR, color="#d8dee4", linewidth=0.0, zorder=0)
    ax.plot(line_x, line_x, color=INK, linewidth=1.0, zorder=1)
    for factor in (1.0 / FAR, FAR):
        ax.plot(line_x, factor * line_x, color=QUIET, linewidth=0.8, linestyle="--", zorder=1)
    for source, at in _by(scores, rows).items():
        _dots(ax, measured[at], shown[at], looks[source])
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), xlabel="measured")
    places = _apart(marks(low, high), low, high)
    for axis in (ax.xaxis, ax.yaxis):
        put_ticks(axis, places, [number(place, unit) for place in places])
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    off = line.rows
    said = f"{name}, {off.n} rows\nmedian error {off.mdape:.0%}, bias ×{off.bias:.2f}"
    ax.set_title(said, loc="left", fontsize=9.5, linespacing=1.35)


def _apart(places: list[float], low: float, high: float, share: float = 0.22) -> list[float]:
    """Of rising places those that are some share of a log axis apart."""
    kept: list[float] = []
    for place in places:
        if not kept or np.log(place / kept[-1]) >= share * np.log(high / low):
            kept.append(place)
    return kept


def _residuals(ax: Axes, along: str) -> None:
    """A log axis of predicted over measured, with the bands of the parity panels.   along : x or y."""
    span: Any = ax.axvspan if along == "x" else ax.axhspan
    line: Any = ax.axvline if along == "x" else ax.axhline
    span(1.0 / NEAR, NEAR, color="#d8dee4", linewidth=0.0, zorder=0)
    line(1.0, color=INK, linewidth=1.0, zorder=1)
    for factor in (1.0 / FAR, FAR):
        line(factor, color=QUIET, linewidth=0.8, linestyle="--", zorder=1)
    ax.set(**{f"{along}scale": "log", f"{along}lim": (1.0 / WIDEST / 1.1, WIDEST * 1.1)})
    places = [0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0]
    put_ticks(ax.xaxis if along == "x" else ax.yaxis, places, [f"{place:g}" for place in places])
    ax.spines[["top", "right"]].set_visible(False)


def _shown(ratio: Floats) -> Floats:
    """Ratios within the axis: those beyond stand at its edge."""
    return np.clip(ratio, 1.0 / WIDEST, WIDEST)


def _by_batch(ax: Axes, scores: Scores, off: Speeds, looks: dict[str, dict[str, Any]]) -> None:
    """Ratios over the batch, with the median of each octave; rows whose batch is not known at the right."""
    _residuals(ax, "y")
    batch = np.array([scores.points[row].concurrency_or_batch or np.nan for row in off.row.tolist()])
    octaves = np.array([label(scores.points[row], "batch") for row in off.row.tolist()], dtype=object)
    known = np.isfinite(batch)
    last = 2.0 * float(np.max(batch[known], initial=1.0))
    ax.set_xscale("log")
    x = np.where(known, batch, 2.0 * last)
    for source, at in _by(scores, off.row).items():
        _dots(ax, x[at], _shown(off.ratio[at]), looks[source])
    for name in set(octaves.tolist()):
        mine = octaves == name
        middle = float(np.median(off.ratio[mine]))
        ends = [1.4 * last, 2.8 * last] if name == UNKNOWN else [float(part) for part in name.split("-")]
        ax.plot(
            [ends[0], ends[-1] + (0.0 if name == UNKNOWN else 1.0)], [middle] * 2, color=INK, linewidth=2.4, zorder=4
        )
    places = [float(place) for place in 4.0 ** np.arange(0, 10) if place <= last]
    said = [f"{place:.0f}" for place in places]
    if not known.all():
        places, said = [*places, 2.0 * last], [*said, "not said"]
    put_ticks(ax.xaxis, places, said)
    ax.set_xlim(0.8, 3.2 * last if not known.all() else last)
    ax.set_xlabel("batch or concurrency of the deployment")
    ax.set_ylabel("predicted / measured")
    ax.set_title("Speed by batch; bars: medians of an octave", loc="left", fontsize=10.5)


def _by_source(ax: Axes, scores: Scores, off: Speeds, looks: dict[str, dict[str, Any]]) -> None:
    """A row of dots a source, with its median."""
    _residuals(ax, "x")
    parts = _by(scores, off.row)
    for place, (source, at) in enumerate(parts.items()):
        ratio = off.ratio[at]
        rise = np.linspace(-0.28, 0.28, at.size) if at.size > 1 else np.zeros(1)
        _dots(ax, _shown(ratio), place + rise, looks[source])
        ax.plot([float(np.median(ratio))] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=2.4, zorder=4)
    put_ticks(ax.yaxis, [float(place) for place in range(len(parts))], [f"{n}  ({at.size})" for n, at in parts.items()])
    for tick, source in zip(ax.get_yticklabels(), parts, strict=True):
        tick.set_color(looks[source]["color"])
    ax.tick_params(axis="y", labelsize=8.5, length=0)
    ax.set_ylim(len(parts) - 0.4, -0.6)
    ax.set_xlabel("predicted / measured")
    ax.set_title("Speed by source (rows); bars: medians", loc="left", fontsize=10.5)


def _words(canvas: Figure, scores: Scores) -> None:
    canvas.text(0.012, 0.972, "Predicted against measured", fontsize=17, fontweight="bold", va="top")
    flagged = sum(bool(point.flagged) for point in scores.points)
    without = sum(one.rows for one in scores.unpredicted if not one.flagged)
    said = [f"{len(scores.points)} rows of {scores.measured.path.name}"]
    said += [f"{without} without a prediction"] if without else []
    said += [f"{flagged} with flags left out"] if flagged else []
    said += [f"shaded: within ×{NEAR:g}", f"dashed: factor {FAR:g}"]
    said += ["speed: 1/TPOT, or tokens/s where that was not measured; above 1 promises too much"]
    line = canvas.text(0.012, 0.918, "  ·  ".join(said), fontsize=11, color=QUIET, va="top")
    line.set_fontsize(11 * min(1.0, 0.976 * canvas.bbox.width / line.get_window_extent().width))
