"""Picture of a power cap: tokens/MWh and TPOT against the cap, the best marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, basis_line, figure
from roofline.report.tables import compact

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EDGE = 0.12
"""Of the width of a panel: what words there take."""
LIMIT = "#cf222e"
LABELS = {"held": "the plan without a cap, held", "replanned": "chosen again at each cap"}


def cap_curve(ds: xr.Dataset) -> Figure:
    """Two panels over the cap: tokens/MWh, and TPOT with its limit where that is near; below, clocks of both phases.

    ds : `roofline.insight.power_cap`.   Solid where the SLO is met, dotted where it is missed; where nothing runs is
    shaded. Raises InputError for another Dataset and where no cap can be met.
    """
    if "best_cap" not in ds or "decode_clock" not in ds:
        raise InputError("give a Dataset that power_cap returned")
    if not np.isfinite(ds["tokens_per_s_per_gpu"].values).any():
        reasons = {str(one) for one in ds["reason"].values.ravel() if one}
        raise InputError(f"no cap can be met: {'; '.join(sorted(reasons))}")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        place = {"left": 0.085, "right": 0.975, "top": 0.8, "bottom": 0.1, "hspace": 0.16, "height_ratios": (3, 3, 2)}
        energy, times, clocks = canvas.subplots(3, 1, sharex=True, gridspec_kw=place)
        lead = str(ds.attrs["lead"])
        for number, choice in enumerate(ds["choice"].values):
            one = ds.sel(choice=choice)
            colour = COLOURS[number]
            _line(energy, one, one[lead].values / _scale(lead), colour, LABELS[str(choice)])
            _line(times, one, 1e3 * one["tpot"].values, colour, "")
            _mark(energy, one, one[lead].values / _scale(lead), colour, lead, number == 0)
            _mark(times, one, 1e3 * one["tpot"].values, colour, "tpot", number == 0)
            for phase, style in (("decode", "-"), ("prompt", "--")):
                said = {"decode": "decode step", "prompt": "step with prompts"}[phase] if number == 0 else None
                clocks.plot(
                    one["cap"], one[f"{phase}_clock"], style, color=colour, linewidth=1.4, alpha=0.9, label=said,
                    marker="o" if ds.sizes["cap"] == 1 else "",
                )  # fmt: skip
        energy.axhline(float(ds[f"uncapped_{lead}"]) / _scale(lead), color=INK, linewidth=0.8, linestyle=(0, (6, 4)))
        times.axhline(1e3 * float(ds["uncapped_tpot"]), color=INK, linewidth=0.8, linestyle=(0, (6, 4)))
        _at_right(energy, float(ds[f"uncapped_{lead}"]) / _scale(lead), "no cap")
        _limit(times, ds)
        for ax in (energy, times, clocks):
            _dress(ax, ds)
        unit = "tokens/MWh [billions]" if lead == "tokens_per_mwh" else "output tokens/s per GPU"
        energy.set_ylabel(unit, fontsize=10.5)
        times.set_ylabel("TPOT [ms]", fontsize=10.5)
        clocks.set_ylabel("clock / rated", fontsize=10.5)
        clocks.set_ylim(0.0, 1.12)
        clocks.set_xlabel("cap on every accelerator [W]", fontsize=11)
        energy.legend(frameon=False, fontsize=10, loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=5)
        clocks.legend(frameon=False, fontsize=9.5, loc="lower right", ncols=2)
        _words(canvas, ds)
        return canvas


def _scale(lead: str) -> float:
    return 1e9 if lead == "tokens_per_mwh" else 1.0


def _line(ax: Axes, one: xr.Dataset, values: Floats, colour: str, label: str) -> None:
    """Solid where limits are met, dotted where they are missed."""
    meets = one["meets_slo"].values == 1
    cap = one["cap"].values
    missed = ~meets & np.isfinite(values)
    ax.plot(
        cap, values, ":", color=colour, linewidth=1.6, label=f"{label}, SLO missed" if label and missed.any() else None
    )
    ax.plot(cap, np.where(meets, values, np.nan), "-", color=colour, linewidth=2.4, label=label or None)
    alone = meets & ~np.r_[False, meets[:-1]] & ~np.r_[meets[1:], False]  # a line has no single points
    ax.plot(cap[alone], values[alone], "o", color=colour, markersize=4)


def _mark(ax: Axes, one: xr.Dataset, values: Floats, colour: str, name: str, above: bool) -> None:
    """The best cap, its value and what it changes.   above : where the words go."""
    best = float(one["best_cap"])
    if not np.isfinite(best):
        return
    at = int(np.flatnonzero(one["cap"].values == best)[0])
    ax.plot(
        best, values[at], "D", color=colour, markersize=8, markeredgecolor="white", markeredgewidth=1.2, zorder=6,
        clip_on=False,
    )  # fmt: skip
    change = 100.0 * (float(one[f"best_{name}_ratio"]) - 1.0)
    said = f"{best:g} W: {compact(float(values[at]), 3)} ({change:+.1f} %)"
    low, high = _span(one)
    along = (best - low) / (high - low)
    side = "left" if along < EDGE else "right" if along > 1.0 - EDGE else "center" if above else "left"
    aside = {"left": 7, "center": 0, "right": -7}[side]
    ax.annotate(
        said, (best, values[at]), xytext=(aside, 9 if above else -8), textcoords="offset points", fontsize=10,
        ha=side, va="bottom" if above else "top", fontweight="bold", color=colour, zorder=7,
    )  # fmt: skip


def _at_right(ax: Axes, value: float, said: str) -> None:
    """Words above a line across the panel, at its right end."""
    ax.annotate(
        said, (1.0, value), xycoords=ax.get_yaxis_transform(), xytext=(-2, 3), fontsize=9, ha="right",
        textcoords="offset points", color=INK,
    )  # fmt: skip


def _limit(ax: Axes, ds: xr.Dataset) -> None:
    """The limit on TPOT, where it is no more than half above all that is drawn."""
    if "tpot_limit_s" in ds.attrs and 1e3 * float(ds.attrs["tpot_limit_s"]) <= 1.5 * ax.get_ylim()[1]:
        limit_ms = 1e3 * float(ds.attrs["tpot_limit_s"])
        ax.axhline(limit_ms, color=LIMIT, linewidth=1.0)
        _at_right(ax, limit_ms, f"limit {limit_ms:.4g} ms")


def _span(ds: xr.Dataset) -> tuple[float, float]:
    """Ends of the axis of caps [W]; a cap by itself stands in the middle."""
    low, high = float(ds["cap"].min()), float(ds["cap"].max())
    return (low, high) if high > low else (0.95 * low, 1.05 * low)


def _dress(ax: Axes, ds: xr.Dataset) -> None:
    left, right = _span(ds)
    least = min(float(ds["least_cap"].min()), right)
    ax.set_xlim(left, right)
    if least > left and ds.sizes["cap"] > 1:
        zone = ax.axvspan(left, least, color="#e8eaed", linewidth=0.0, zorder=0)
        if ax.get_subplotspec().is_first_row():  # type: ignore[union-attr]  # made by subplots, it has one
            if least - left > EDGE * (right - left):
                ax.text(
                    0.5 * (left + least), 0.78, "below the draw\nat the least clock", fontsize=9.5,
                    color=QUIET, transform=ax.get_xaxis_transform(), ha="center", va="center",
                )  # fmt: skip
            else:
                zone.set_label("below the draw at the least clock")
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.12 * (high - low), high + 0.16 * (high - low))
    ax.grid(True, axis="both", color="#d0d7de", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _words(canvas: Any, ds: xr.Dataset) -> None:
    attrs = ds.attrs
    title = f"A cap of watts: {attrs['model']} on {attrs['system']}"
    canvas.text(0.012, 0.972, title, fontsize=17, fontweight="bold", va="top")
    said = f"workload {attrs['workload']}  ·  SLO {attrs['slo']}  ·  without a cap: {attrs['label']}, "
    said += f"{float(ds['uncapped_power']):.0f} W an accelerator"
    canvas.text(0.012, 0.918, said, fontsize=11, color=QUIET, va="top")
    canvas.text(0.012, 0.883, f"{basis_line(dict(attrs))}  ·  voltage estimated", fontsize=10, color=QUIET, va="top")
