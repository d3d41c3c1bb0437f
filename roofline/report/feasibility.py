"""The picture of which model runs on which system, and on how few accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.report.plots import HATCHES, INK, QUIET, STYLE, figure, reasons

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def feasibility_picture(ds: xr.Dataset) -> Figure:
    """A table in colour: fewest accelerators of each model on each system; hatched, by reason, where none runs.

    ds : `roofline.feasibility`.
    """
    import matplotlib as mpl
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Patch, Rectangle

    counts = ds["accelerators"].values
    with mpl.rc_context(STYLE):
        canvas = figure(size=(13.333, max(4.0, 2.2 + 0.27 * ds.sizes["model"])))
        ax = canvas.add_subplot()
        top = float(np.nanmax(counts)) if np.isfinite(counts).any() else 2.0
        shade = ax.imshow(counts, norm=LogNorm(1, max(2.0, top)), cmap="YlGnBu", aspect="auto")
        for (m, s), count in np.ndenumerate(counts):
            if np.isfinite(count):
                dark = np.log(count) > 0.55 * np.log(max(2.0, top))
                ax.text(s, m, f"{int(count)}", ha="center", va="center", fontsize=7.5, color="white" if dark else INK)
        present = sorted({int(code) for code in ds["limit"].values.flat if code})
        said = reasons(ds["limit"])
        marks = {code: HATCHES[i % len(HATCHES)] for i, code in enumerate(present)}
        for (m, s), code in np.ndenumerate(ds["limit"].values):
            if code:
                ax.add_patch(Rectangle((s - 0.5, m - 0.5), 1, 1, fill=False, hatch=marks[int(code)], linewidth=0))
        ax.set_xticks(range(ds.sizes["system"]), ds["system"].values, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(ds.sizes["model"]), ds["model"].values)
        ax.set_title(f"Where a model runs: {ds['accelerators'].attrs['long_name']}", loc="left")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        bar = canvas.colorbar(shade, ax=ax, label="accelerators", fraction=0.025, pad=0.01)
        bar.outline.set_visible(False)
        if present:
            keys: list[Any] = [
                Patch(facecolor="none", edgecolor=QUIET, hatch=marks[code], label=said[code], linewidth=0)
                for code in present
            ]
            ax.legend(handles=keys, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2, frameon=False, fontsize=8.5)
    return canvas
