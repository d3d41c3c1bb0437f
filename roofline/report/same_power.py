"""Pictures of a site: what the same power serves with each system, and its day hour by hour."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.bands import band
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, basis_line, figure, shown_name
from roofline.report.tables import compact, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ESTIMATED = "estimated"
_COUNTED = ("system", "systems", "prefill_system", "prefill_systems", "ffn_system", "ffn_systems")
MOST_MODELS = 6
"""Panels of a picture."""
NAME_WIDTH, LEGEND_WIDTH = 28, 24
"""Characters of a system's name before it is broken into lines."""
_SMALL, _BOLD, _NAME = 0.0051, 0.0068, 0.0062
"""Width of a character over that of the slide: of small words, of bold ones, of names at the axis."""
_RIGHT, _BETWEEN = 0.985, 0.02


def same_power(ds: xr.Dataset) -> Figure:
    """Output tokens a second of the same power, a bar a system and a panel a model, with J/token and $/Mtok beside it.

    ds : a result of `roofline.site` of one workload and SLO. Bars start at 0, so that lengths compare.
    Raises InputError for another Dataset, several workloads or SLOs, more models than `MOST_MODELS`, and where no
    system serves anything.
    """
    one = _one(ds)
    if not np.isfinite(one["output_tokens_per_s"].values).any():
        raise InputError(f"no system serves anything: {'; '.join(sorted({str(x) for x in _reasons(one) if x}))}")
    models = one.sizes["model"]
    if models > MOST_MODELS:
        raise InputError(f"the site has {models} models; a picture shows {MOST_MODELS}: ds.isel(model=[0, 1])")
    canvas = figure(layout=None)
    import matplotlib as mpl

    names = ["\n".join(textwrap.wrap(shown_name(one, "system", s), NAME_WIDTH)) for s in range(one.sizes["system"])]
    left = max(0.175, 0.02 + _NAME * max(len(line) for name in names for line in name.split("\n")))
    columns = models if models <= 3 else math.ceil(models / 2)
    width = (_RIGHT - left - (columns - 1) * _BETWEEN) / columns
    with mpl.rc_context(STYLE):
        place = {"left": left, "right": _RIGHT, "top": 0.8, "bottom": 0.15, "wspace": _BETWEEN / width, "hspace": 0.32}
        panels = canvas.subplots(
            math.ceil(models / columns), columns, squeeze=False, sharey=True, gridspec_kw=place
        ).ravel()
        marks = [_panel(ax, one.isel(model=m), models, width) for m, ax in enumerate(panels[:models])]
        for m, ax in enumerate(panels[:models]):
            ax.set_title(shown_name(one, "model", m), fontweight="bold", fontsize=12, loc="left")
        for ax in panels[models:]:
            ax.remove()
        panels[0].set_yticks(range(len(names)), names, fontsize=11 if models <= 3 else 9)
        panels[0].set_ylim(len(names) - 0.45, -0.55)  # the first at the top
        axis = "output tokens a second, every replica at work"
        canvas.text(0.5 * (left + _RIGHT), 0.075, axis, fontsize=11, ha="center", va="center")
        power = number(float(ds.attrs["site_power_w"]), "W")
        canvas.text(0.012, 0.972, f"The same {power}, tokens per generation", fontsize=17, fontweight="bold", va="top")
        asked = f"workload {one['workload'].item()}, limits {one['slo'].item()}, load {float(ds.attrs['duty']):.0%}"
        told = f"{asked}  ·  systems counted: {ds.attrs['filled_by']}  ·  {ds.attrs['hardware_prices']}, "
        canvas.text(0.012, 0.92, f"{told}{ds.attrs['usd_per_kwh']} USD/kWh", fontsize=10.5, color=QUIET, va="top")
        canvas.text(0.012, 0.886, basis_line(dict(ds.attrs)), fontsize=10.5, color=QUIET, va="top")
        said = ["lines under bars: 80 % of measurements of such runs are to lie there, where some were made"]
        said += ["* the price of the hardware is an estimate or a placeholder"] if any(marks) else []
        canvas.text(0.012, 0.02, "  ·  ".join(said), fontsize=9.5, color=QUIET)
        return canvas


def day(ds: xr.Dataset) -> Figure:
    """Power and output tokens a second of a site over the hours of a day, a line a system.

    ds : a result of `roofline.site` of one model, workload and SLO. The dashed line is the power of the site.
    Raises InputError for another Dataset, several of these, and where no system serves anything.
    """
    from roofline.planning.site import by_hour

    one = _one(ds)
    if one.sizes["model"] > 1:
        raise InputError("day: the site has several models; select one first")
    hours = by_hour(ds).isel(model=0, workload=0, slo=0)
    if not np.isfinite(hours["output_tokens_per_s"].values).any():
        raise InputError(f"no system serves anything: {'; '.join(sorted({str(x) for x in _reasons(one) if x}))}")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        place = {"left": 0.07, "right": 0.8, "top": 0.82, "bottom": 0.1, "hspace": 0.14}
        upper, lower = canvas.subplots(2, 1, sharex=True, gridspec_kw=place)
        edges = np.arange(hours.sizes["hour"] + 1)
        count, said = (1e6, "million") if float(hours["output_tokens_per_s"].max()) >= 1e6 else (1e3, "thousand")
        unit, watts = ("MW", 1e6) if float(ds.attrs["site_power_w"]) >= 1e6 else ("kW", 1e3)
        for s in range(one.sizes["system"]):
            drawn, tokens = (hours[name].isel(system=s).values for name in ("power", "output_tokens_per_s"))
            if np.isfinite(tokens).any():
                colour = COLOURS[s % len(COLOURS)]
                label = "\n".join(textwrap.wrap(shown_name(one, "system", s), LEGEND_WIDTH))
                drawing: Any = {"baseline": None, "color": colour, "linewidth": 2.0}
                drawing |= {"linestyle": ("-", "--", ":")[s // len(COLOURS) % 3]}
                upper.stairs(tokens / count, edges, label=label, **drawing)
                lower.stairs(drawn / watts, edges, **drawing)
        site = float(ds.attrs["site_power_w"]) / watts
        lower.axhline(site, color=INK, linewidth=1.0, linestyle="--")
        lower.annotate("power of the site", (0.0, site), xytext=(4, -12), textcoords="offset points", fontsize=9)
        upper.set_ylabel(f"{said} output tokens/s", fontsize=11)
        lower.set_ylabel(f"power at the facility [{unit}]", fontsize=11)
        lower.set_xlabel("hour of the day", fontsize=11)
        lower.set_xticks(range(0, 25, 3))
        for ax in (upper, lower):
            ax.set_ylim(bottom=0.0)
            ax.set_xlim(0, 24)
            ax.grid(True, axis="y", color="#d0d7de", linewidth=0.5)
            ax.spines[["top", "right"]].set_visible(False)
        upper.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=10.5)
        title = f"A day of {number(float(ds.attrs['site_power_w']), 'W')}: idle power is drawn, and paid"
        canvas.text(0.012, 0.972, title, fontsize=17, fontweight="bold", va="top")
        asked = f"{shown_name(one, 'model', 0)}, workload {one['workload'].item()}, limits {one['slo'].item()}"
        canvas.text(0.012, 0.917, asked, fontsize=10.5, color=QUIET, va="top")
        canvas.text(0.012, 0.883, basis_line(dict(ds.attrs)), fontsize=10.5, color=QUIET, va="top")
        return canvas


def _one(ds: xr.Dataset) -> xr.Dataset:
    """A site of one workload and SLO, without those dims."""
    if "output_tokens_per_s_per_mw" not in ds:
        raise InputError("give a Dataset that site returned")
    for dim in ("workload", "slo"):
        if ds.sizes.get(dim, 1) > 1:
            raise InputError(f"the site has {ds.sizes[dim]} of {dim}; select one first: ds.isel({dim}=[0])")
    return ds.isel({dim: 0 for dim in ("workload", "slo") if dim in ds.dims})


def _reasons(one: xr.Dataset) -> list[Any]:
    found: list[Any] = one["site_reason"].values.ravel().tolist()
    return found


def systems_in_words(row: Mapping[str, Any]) -> str:
    """Systems of a site: `116`, or `11 + 29 vr-nvl144-cpx` where prompts or feed-forwards are on another kind.

    row : values of one model, system, workload and SLO, by name.
    """
    if row["systems"] is None or np.isnan(row["systems"]):
        return "-"
    own, others = float(row["systems"]), []
    for role in ("prefill", "ffn"):
        if row[f"{role}_system"] not in ("", row["system"]):
            own -= float(row[f"{role}_systems"])
            others.append(f"{float(row[f'{role}_systems']):,.0f} {row[f'{role}_system']}")
    return " + ".join([f"{own:,.0f}", *others])


def _panel(ax: Axes, cell: xr.Dataset, models: int, width: float) -> bool:
    """Bars of one model in a panel of a width over the slide's. Whether one of them has a price that is an estimate."""
    values = cell["output_tokens_per_s"].values
    most = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    marked, end, small = False, most * 1.02, 1.0 if models <= 3 else 0.85
    between, drawn = band(cell, "output_tokens_per_s"), most
    for s, value in enumerate(values):
        row = cell.isel(system=s)
        if not np.isfinite(value):
            why = textwrap.wrap(str(row["site_reason"].item()), int(0.95 * width / _SMALL), max_lines=3)
            ax.text(0.01, s, "\n".join(why), va="center", fontsize=9 * small, color=QUIET, transform=_along(ax))
            continue
        ax.barh(s, value, height=0.62, color=COLOURS[0])
        low_end, high_end = (float(ends.values[s]) for ends in between)
        if np.isfinite(high_end):
            ax.plot([low_end, high_end], [s + 0.36, s + 0.36], color=INK, linewidth=2.0, solid_capstyle="butt")
            drawn = max(drawn, high_end)
        usd, joules = float(row["usd_per_mtok"]), float(row["joules_per_token_at_boundary"])
        star = "*" if str(row["price_grade"].item()) == ESTIMATED and "price_vintage" in cell.attrs else ""
        marked |= bool(star)
        price = f"${compact(usd, 3)}{star}/Mtok" if np.isfinite(usd) else "no price"
        count = systems_in_words({name: row[name].item() for name in _COUNTED})
        count += "" if " + " in count else f" x {float(row['system_accelerators']):.0f} GPUs"
        first = f"{compact(value, 3)} tok/s"
        second = f"{price} · {compact(joules, 3)} J/tok{' · ' if models == 1 else chr(10)}{count}"
        high, low = (0.13, 0.2) if models == 1 else (0.24, 0.16)
        about: Any = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(first, (value, s - high), fontsize=11 * small, fontweight="bold", **about)
        ax.annotate(second, (value, s + low), fontsize=9 * small, color=QUIET, linespacing=1.1, **about)
        words = max(_BOLD * len(first), _SMALL * max(len(line) for line in second.split("\n"))) * small
        end = max(end, value / (1.0 - min(0.85, (words + 0.012) / width)))
    ax.set_xlim(0.0, max(end, 1.02 * drawn))
    ticks = [tick for tick in ax.get_xticks() if tick <= most * 1.02]
    ax.set_xticks(ticks, [compact(tick) for tick in ticks])
    ax.grid(True, axis="x", color="#d0d7de", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return marked


def _along(ax: Axes) -> Any:
    """Across in shares of the panel, down in systems."""
    return ax.get_yaxis_transform()
