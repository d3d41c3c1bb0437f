"""The classic roofline: attainable FLOP/s against arithmetic intensity, with a pass's operations on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, basis_line, figure
from roofline.report.tables import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Dot:
    """One operation on the chart: `count` executions of `time_s` seconds each."""

    name: str
    flop: float
    moved_bytes: float
    time_s: float
    count: int
    group: str

    @property
    def intensity(self) -> float:
        """FLOP per byte of memory traffic."""
        return self.flop / self.moved_bytes

    @property
    def rate(self) -> float:
        """FLOP/s reached."""
        return self.flop / self.time_s


def roofline_chart(
    dots: Sequence[Dot],
    *,
    peaks: Mapping[str, float],
    bytes_per_s: float,
    title: str,
    subtitle: str = "",
    attrs: Mapping[str, Any] | None = None,
) -> Figure:
    """Roofs of an accelerator and the operations of one pass under them; both axes logarithmic.

    dots : all operations of the pass; the area of a dot is its share of their time. Those without work or without
    memory traffic (collectives) have no place on the axes: the legend gives their share.
    peaks : math type -> dense FLOP/s. bytes_per_s : memory bandwidth.
    Raises InputError where no operation has both work and traffic.
    Williams, Waterman, Patterson, CACM 52(4), 2009.
    """
    shown = [dot for dot in dots if dot.flop > 0 and dot.moved_bytes > 0 and dot.time_s > 0]
    if not shown:
        raise InputError("no operation has both work and memory traffic: there is nothing to draw")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        ax = canvas.add_axes((0.07, 0.1, 0.66, 0.74))
        ax.set_xscale("log")
        ax.set_yscale("log")
        x_low = min(dot.intensity for dot in shown) / 4
        x_high = max(max(peaks.values()) / bytes_per_s, *(dot.intensity for dot in shown)) * 6
        y_low = min(min(dot.rate for dot in shown), x_low * bytes_per_s) / 2
        ax.set_xlim(x_low, x_high)
        ax.set_ylim(y_low, max(peaks.values()) * 3)
        _roofs(ax, peaks, bytes_per_s, x_low, x_high)
        _dots(ax, shown, sum(dot.time_s * dot.count for dot in dots))
        ax.grid(True, which="major", color="#d0d7de", linewidth=0.4)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel("arithmetic intensity [FLOP/B]", fontsize=11)
        ax.set_ylabel("performance of one accelerator [FLOP/s]", fontsize=11)
        ax.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9.5, labelspacing=0.7,
            title="operation and its share of the pass", title_fontsize=9.5, alignment="left",
        )  # fmt: skip
        canvas.text(0.012, 0.972, title, fontsize=18, fontweight="bold", va="top")
        canvas.text(0.012, 0.915, subtitle, fontsize=11, color=QUIET, va="top")
        canvas.text(0.99, 0.012, basis_line(dict(attrs or {})), fontsize=9, color=QUIET, ha="right")
        return canvas


def _roofs(ax: Axes, peaks: Mapping[str, float], bytes_per_s: float, x_low: float, x_high: float) -> None:
    top = max(peaks.values())
    ridge = top / bytes_per_s
    ax.plot([x_low, ridge], [x_low * bytes_per_s, top], color=INK, linewidth=1.8)
    angle_at = np.sqrt(x_low * ridge)
    ax.annotate(
        f"memory {number(bytes_per_s, 'B')}/s", (angle_at, angle_at * bytes_per_s), xytext=(-6, 6),
        textcoords="offset points", ha="right", va="bottom", fontsize=9.5,
    )  # fmt: skip
    for name, peak in peaks.items():
        ax.plot([peak / bytes_per_s, x_high], [peak, peak], color=INK, linewidth=1.8 if peak == top else 1.0)
        ax.annotate(
            f"{name} {number(peak, 'FLOP')}/s", (x_high, peak), xytext=(-4, 3), textcoords="offset points",
            ha="right", va="bottom", fontsize=9.5,
        )  # fmt: skip


def _dots(ax: Axes, dots: Sequence[Dot], total: float) -> None:
    ranked = sorted(dots, key=lambda dot: -dot.time_s * dot.count)
    colours = {group: COLOURS[g % len(COLOURS)] for g, group in enumerate(dict.fromkeys(dot.group for dot in ranked))}
    for number_, dot in enumerate(ranked, 1):
        share = dot.time_s * dot.count / total
        ax.scatter(
            dot.intensity, dot.rate, s=30 + 1800 * share, color=colours[dot.group], alpha=0.75, edgecolor="white",
            linewidth=0.8, zorder=4,
        )  # fmt: skip
        ax.scatter([], [], s=70, color=colours[dot.group], label=f"{number_}  {dot.name}  {share:.1%}")
    rest = 1.0 - sum(dot.time_s * dot.count for dot in dots) / total
    if rest > 5e-4:
        ax.scatter([], [], s=0, label=f"not on the axes (collectives, moves)  {rest:.1%}")
    for members in _clusters(ax, ranked):
        rightmost = max((ranked[member] for member in members), key=lambda dot: dot.intensity)
        radius = np.sqrt(30 + 1800 * rightmost.time_s * rightmost.count / total) / 2
        ax.annotate(
            ", ".join(str(member + 1) for member in members), (rightmost.intensity, rightmost.rate),
            xytext=(radius + 3, 0), textcoords="offset points", va="center", fontsize=9, fontweight="bold", zorder=6,
        )  # fmt: skip


def _clusters(ax: Axes, dots: Sequence[Dot], near_px: float = 26.0) -> list[list[int]]:
    """Indices of dots that lie on each other, so that one label can name them all."""
    places = ax.transData.transform([(dot.intensity, dot.rate) for dot in dots])
    found: list[list[int]] = []
    for index, place in enumerate(places):
        for members in found:
            if float(np.hypot(*(places[members[0]] - place))) < near_px:
                members.append(index)
                break
        else:
            found.append([index])
    return found
