"""A claim on one axis: what is impossible, what is plausible, what no working deployment gives, and where it stands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.insight.claim_words import NAMES, figure, priced, sentences
from roofline.rack.energy import JOULES_PER_MWH
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, basis_line, marks, put_ticks
from roofline.report.plots import figure as canvas_of
from roofline.report.tables import compact
from roofline.report.waterfall import fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from roofline.insight.claims import ClaimCheck

BANDS = {
    "impossible": ("#d0d7de", "////"),
    "better_than_best_plan": ("#fdebc8", ""),
    "plausible": ("#cce8dd", ""),
    "below_working": ("#f6d5c3", "...."),
}
"""Colour and hatch of each verdict: light, told apart without colour by hatch and by words."""

SHORT_ARROW = 0.2
"""Share of the axis below which the words of a slip do not fit above its arrow."""

HEIGHTS = {"ideal_bound": 0.62, "best_plan": 0.46, "one_at_a_time": 0.30, "worst_working": 0.14}
"""Where the words of each point stand, so that neighbours do not cover each other."""


def claim_picture(found: ClaimCheck) -> Figure:
    """The ladder of a claim on a logarithmic axis of J per output token, dearer to the right.

    Points of a rate or a price stand at the energy that the best plan's power makes of them; where power is
    undisclosed, on an axis of what they cost. Raises InputError where the claim has nothing to stand beside.
    """
    energetic = math.isfinite(found.joules_per_token)
    here = found.joules_per_token if energetic else found.cost
    places = {rung.name: here / rung.claim_over for rung in found.rungs if math.isfinite(rung.claim_over)}
    if not places or not math.isfinite(here):
        raise InputError(f"{found.claim.text}: nothing to draw: {found.reason or 'no point is known'}")
    slip = found.nearest_slip
    moved = None if slip is None else here * slip.cost / found.cost
    canvas = canvas_of(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        ax = canvas.add_axes((0.05, 0.34, 0.9, 0.46))
        ax.set_xscale("log")
        ax.set_ylim(0.0, 1.0)
        ax.set_yticks([])
        shown = [here, *places.values(), *([] if moved is None else [moved])]
        low, high = min(shown) / 4.0, max(shown) * 4.0
        ax.set_xlim(low, high)
        _bands(ax, found, places, here, low, high)
        for n, (name, place) in enumerate(places.items()):
            _point(ax, found, name, place, COLOURS[n], low, high)
        _claim(ax, found, here, moved, low, high)
        _axes(ax, found, energetic, low, high)
        canvas.text(0.012, 0.975, f"{found.claim.text}?", fontsize=17, fontweight="bold", va="top")
        attrs = found.attrs
        limits = "" if attrs["slo"] == "none" else f", {attrs['slo']}"
        what = f"{attrs['model']} on {attrs['system']}, workload {attrs['workload']}{limits}"
        if "usd_per_gpu_hour" in attrs:
            fitted(canvas, (0.012, 0.893), priced(attrs), 0.976, fontsize=11, color=QUIET)
        fitted(canvas, (0.012, 0.925), f"{what}  ·  {basis_line(attrs)}", 0.976, fontsize=11, color=QUIET)
        canvas.text(0.05, 0.215, "\n".join(_wrapped(sentences(found)[1:])), fontsize=11, va="top", linespacing=1.45)
    return canvas


def _wrapped(lines: list[str], width: int = 150) -> list[str]:
    from textwrap import wrap

    return [piece for line in lines for piece in wrap(line, width, subsequent_indent="    ")]


def _bands(ax: Axes, found: ClaimCheck, places: dict[str, float], here: float, low: float, high: float) -> None:
    """A region for each verdict, as far as its ends are known."""
    bound, best = places.get("ideal_bound"), places.get("best_plan")
    worst = places.get("worst_working", best)
    if best is not None and math.isfinite(found.expected):
        best = here * found.expected / found.cost
    ends = {
        "impossible": (low, bound),
        "better_than_best_plan": (bound, best),
        "plausible": (best, worst),
        "below_working": (worst if best is not None else None, high),
    }
    for name, (start, stop) in ends.items():
        if start is None or stop is None or stop <= start:
            continue
        colour, hatch = BANDS[name]
        ax.axvspan(start, stop, ymax=0.8, facecolor=colour, hatch=hatch, edgecolor="#b9c1c9", linewidth=0.0)
        middle = float(np.sqrt(start * stop))
        words = name.replace("_", " ")
        if np.log(stop / start) > 0.007 * len(words) * np.log(high / low):
            ax.text(
                middle, 0.765, words, ha="center", va="top", fontsize=9.5, color=INK, zorder=6,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip


def _point(ax: Axes, found: ClaimCheck, name: str, place: float, colour: str, low: float, high: float) -> None:
    """One point of the ladder with its words."""
    rung = found.rung(name)
    ax.plot([place, place], [0.0, 0.8], color=colour, linewidth=1.8)
    right = np.log(place / low) > 0.62 * np.log(high / low)
    said = NAMES[name].removeprefix("the ")
    unit = "" if found.claim.kind == "energy" or found.claim.reference else found.claim.unit.text
    own = f" J, {figure(rung.value)} {unit}" if unit and math.isfinite(found.joules_per_token) else ""
    words = f"{said}: {figure(place)}{own}\n{rung.what.removeprefix(said + ', ')}"
    ax.annotate(
        words, (place, HEIGHTS[name]), xytext=(-6 if right else 6, 0), textcoords="offset points",
        ha="right" if right else "left", va="center", fontsize=9.0, linespacing=1.3,
        bbox={"facecolor": "white", "edgecolor": colour, "linewidth": 0.8, "boxstyle": "round,pad=0.25"},
    )  # fmt: skip


def _claim(ax: Axes, found: ClaimCheck, here: float, moved: float | None, low: float, high: float) -> None:
    """Where the claim stands, and where it would without its nearest slip."""
    to_the_right = np.log(here / low) < 0.5 * np.log(high / low) if moved is None else moved < here
    side = "left" if to_the_right else "right"
    ax.plot([here, here], [0.0, 0.86], color=INK, linewidth=2.4, linestyle="--")
    ax.plot(here, 0.88, marker="v", markersize=13, color=INK)
    shift = -10 if side == "right" else 10
    ax.annotate(
        f"claim: {figure(here)}", (here, 0.93), xytext=(shift, 0), textcoords="offset points",
        ha=side, va="center", fontsize=12, fontweight="bold",
    )  # fmt: skip
    slip = found.nearest_slip
    if moved is None or slip is None:
        return
    ax.plot(moved, 0.88, marker="v", markersize=11, markerfacecolor="white", markeredgecolor=INK)
    ax.annotate(
        "", (moved, 0.88), xytext=(here, 0.88),
        arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.0, "shrinkA": 9, "shrinkB": 8},
    )  # fmt: skip
    said, left = f"without a factor of {figure(slip.factor)}: {figure(moved)}", moved < here
    if abs(np.log(moved / here)) > SHORT_ARROW * np.log(high / low):
        ax.text(float(np.sqrt(moved * here)), 0.9, said, ha="center", va="bottom", fontsize=10)
    else:  # beside it, away from the words of the claim
        ax.annotate(
            said, (moved, 0.88), xytext=(-10 if left else 10, 0), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=10,
        )  # fmt: skip


def _axes(ax: Axes, found: ClaimCheck, energetic: bool, low: float, high: float) -> None:
    """J/token below and tokens/MWh above; where power is undisclosed what a token costs."""
    places = marks(low, high)
    put_ticks(ax.xaxis, places, [compact(value) for value in places])
    ax.spines[["left", "right", "top"]].set_visible(False)
    attrs = found.attrs
    if not energetic:
        ax.set_xlabel(f"cost of an output token [{attrs['cost_unit']}]", fontsize=11)
        return
    through = "" if found.claim.kind == "energy" else ", time and money at the power of the best plan"
    ax.set_xlabel(f"energy of an output token [J] ({attrs['where']}{through})", fontsize=11)
    per_mwh = marks(JOULES_PER_MWH / high, JOULES_PER_MWH / low)
    other = ax.secondary_xaxis("top")
    put_ticks(other.xaxis, [JOULES_PER_MWH / value for value in per_mwh], [compact(value) for value in per_mwh])
    other.set_xlabel("output tokens per MWh (k, M: million, G: billion)", fontsize=9.5, color=QUIET)
    other.tick_params(labelsize=8.5, colors=QUIET, length=2.5, width=0.5)
    other.spines["top"].set_visible(False)
