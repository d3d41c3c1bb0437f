"""Pictures of a site: what the same power serves with each system, and its day hour by hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.report.plots import COLOURS, INK, QUIET, STYLE, basis_line, figure, shown_name
from roofline.report.tables import compact, number

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ESTIMATED = "estimated"


def same_power(ds: xr.Dataset) -> Figure:
    """Output tokens a second of the same power, a bar a system and a panel a model, with J/token and $/Mtok beside it.

    ds : a result of `roofline.site` of one workload and SLO. Bars start at 0, so that lengths compare.
    Raises InputError for another Dataset, several workloads or SLOs, and where no system serves anything.
    """
    one = _one(ds)
    if not np.isfinite(one["output_tokens_per_s"].values).any():
        raise InputError(f"no system serves anything: {'; '.join(sorted({str(x) for x in _reasons(one) if x}))}")
    canvas = figure(layout=None)
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        panels = canvas.subplots(
            1, one.sizes["model"], squeeze=False, sharey=True,
            gridspec_kw={"left": 0.175, "right": 0.985, "top": 0.8, "bottom": 0.15, "wspace": 0.06},
        )[0]  # fmt: skip
        marks = [_panel(ax, one.isel(model=m), one.sizes["model"]) for m, ax in enumerate(panels)]
        for m, ax in enumerate(panels):
            ax.set_title(shown_name(one, "model", m), fontweight="bold", fontsize=12, loc="left")
        names = [shown_name(one, "system", s) for s in range(one.sizes["system"])]
        panels[0].set_yticks(range(len(names)), names, fontsize=11)
        panels[0].set_ylim(len(names) - 0.45, -0.55)  # the first at the top
        power = number(float(ds.attrs["site_power_w"]), "W")
        canvas.text(0.012, 0.972, f"The same {power}, tokens per generation", fontsize=17, fontweight="bold", va="top")
        asked = f"workload {one['workload'].item()}, limits {one['slo'].item()}, load {float(ds.attrs['duty']):.0%}"
        told = f"{asked}  ·  systems counted: {ds.attrs['filled_by']}  ·  {ds.attrs['hardware_prices']}, "
        canvas.text(0.012, 0.92, f"{told}{ds.attrs['usd_per_kwh']} USD/kWh", fontsize=10.5, color=QUIET, va="top")
        canvas.text(0.012, 0.886, basis_line(dict(ds.attrs)), fontsize=10.5, color=QUIET, va="top")
        if any(marks):
            said = "* the price of the hardware is an estimate or a placeholder"
            canvas.text(0.012, 0.02, said, fontsize=9.5, color=QUIET)
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
        for s in range(one.sizes["system"]):
            drawn, tokens = (hours[name].isel(system=s).values for name in ("power", "output_tokens_per_s"))
            if np.isfinite(tokens).any():
                colour = COLOURS[s % len(COLOURS)]
                label = shown_name(one, "system", s)
                upper.stairs(tokens / 1e6, edges, baseline=None, color=colour, linewidth=2.0, label=label)
                lower.stairs(drawn / 1e6, edges, baseline=None, color=colour, linewidth=2.0)
        site_mw = float(ds.attrs["site_power_w"]) / 1e6
        lower.axhline(site_mw, color=INK, linewidth=1.0, linestyle="--")
        lower.annotate("power of the site", (0.0, site_mw), xytext=(4, -12), textcoords="offset points", fontsize=9)
        upper.set_ylabel("million output tokens/s", fontsize=11)
        lower.set_ylabel("power at the facility [MW]", fontsize=11)
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


def _panel(ax: Axes, cell: xr.Dataset, models: int) -> bool:
    """Bars of one model. Whether one of them has a price that is an estimate."""
    values = cell["output_tokens_per_s"].values
    most = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    marked = False
    for s, value in enumerate(values):
        row = cell.isel(system=s)
        if not np.isfinite(value):
            why = str(row["site_reason"].item())
            why = why if len(why) <= 120 // models else f"{why[: 116 // models]} ..."
            ax.text(0.01 * most, s, why, va="center", fontsize=9, color=QUIET)
            continue
        ax.barh(s, value, height=0.62, color=COLOURS[0])
        usd, joules = float(row["usd_per_mtok"]), float(row["joules_per_token_at_boundary"])
        star = "*" if str(row["price_grade"].item()) == ESTIMATED else ""
        marked |= bool(star)
        price = f"${compact(usd, 3)}{star}/Mtok" if np.isfinite(usd) else "no price"
        count = f"{float(row['systems']):,.0f} x {float(row['system_accelerators']):.0f} GPUs"
        first, second = f"{compact(value, 3)} tok/s", f"{price} · {compact(joules, 3)} J/tok · {count}"
        ax.text(value + 0.012 * most, s - 0.13, first, va="center", fontsize=11, fontweight="bold")
        ax.text(value + 0.012 * most, s + 0.2, second, va="center", fontsize=9, color=QUIET)
    ax.set_xlim(0.0, most * (1.42 if models == 1 else 1.0 + 0.55 * models))
    ticks = [tick for tick in ax.get_xticks() if tick <= most * 1.02]
    ax.set_xticks(ticks, [compact(tick) for tick in ticks])
    ax.set_xlabel("output tokens a second, every replica at work", fontsize=11)
    ax.grid(True, axis="x", color="#d0d7de", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return marked
