"""`ds.roofline`: what a result can be asked, without naming a module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError, unknown_name
from roofline.grid.variables import limit_reason
from roofline.report.choices import missed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.figure import Figure

    from roofline.rack.energy import Basis, Boundary

_SMALLER_IS_BETTER = frozenset({"s", "J", "B", "W"})
"""Units of which less is better: times, energies, memory, power. Of rates and shares more is."""

_AXES = (
    *("model", "system", "recipe", "deployment", "batch", "batch_per_gpu", "context", "isl", "osl"),
    *("workload", "slo", "slo_ttft_s", "slo_tpot_s", "slo_latency_s"),
)


def _along(ds: xr.Dataset, name: str) -> xr.Dataset:
    """A Dataset along a coordinate in place of the dim it belongs to, rising."""
    (dim,) = ds[name].dims
    if len(np.unique(ds[name])) < ds.sizes[dim]:
        raise InputError(f"heatmap: several of {dim} have the same {name}; select some first, or name {dim}")
    return ds.swap_dims({dim: name}).sortby(name)


@xr.register_dataset_accessor("roofline")  # type: ignore[no-untyped-call]
class RooflineAccessor:
    """Methods of a result, as `ds.roofline.<method>`."""

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def rollup(self, boundary: Boundary = "facility", basis: Basis = "metered", **options: Any) -> xr.Dataset:
        """Energy at a boundary: `roofline.rollup` of this Dataset."""
        from roofline.rack import rollup

        return rollup(self._ds, boundary, basis, **options)

    def best(
        self, variable: str = "tokens_per_mwh", over: str | Iterable[str] = ("recipe", "deployment")
    ) -> xr.Dataset:
        """The cells with the best `variable` over some dims, with the labels of the winner as variables.

        variable : more is better of rates and shares, less of seconds, joules, bytes and watts (by its `units`).
        over : dims to choose from; those the Dataset does not have are left out.
        Returns a Dataset without these dims; each becomes a variable that names the winner, and tp, pp, dp, ep, moe_tp
        and accelerators follow the deployment. Where nothing runs the value is NaN, the names are '' (numbers NaN),
        and `limit` is that of the last candidate.
        Raises InputError for an unknown variable or dim.
        """
        values = self._variable(variable)
        dims = [over] if isinstance(over, str) else list(over)
        for dim in dims:
            if dim not in _AXES:
                raise unknown_name("axis", dim, _AXES)
        dims = [dim for dim in dims if dim in self._ds.dims]
        if not dims:
            return self._ds
        worst = np.inf if values.attrs.get("units") in _SMALLER_IS_BETTER else -np.inf
        stacked = self._ds.reset_coords().stack(_candidate=dims, create_index=False)
        ranked = stacked[variable].fillna(worst)
        at = ranked.argmin("_candidate") if worst > 0 else ranked.argmax("_candidate")
        runs = stacked[variable].notnull().any("_candidate")
        at = at.where(runs, stacked.sizes["_candidate"] - 1).astype(np.int64)
        found = stacked.isel(_candidate=at)
        for name in (*dims, "tp", "pp", "dp", "ep", "moe_tp", "accelerators"):
            if name in found.variables:
                missing: Any = "" if found[name].dtype == object else np.nan
                found[name] = found[name].where(runs, missing)
        coords = [
            name for name in self._ds.coords if name in found.variables and not set(self._ds[name].dims) & set(dims)
        ]
        return found.set_coords(coords).assign_attrs(self._ds.attrs)

    def heatmap(
        self,
        variable: str | None = None,
        *,
        x: str | None = None,
        y: str | None = None,
        rows: str = "model",
        columns: str = "system",
        out: str | Path | None = None,
        title: str | None = None,
    ) -> Figure:
        """A heat map of one variable, a panel for each of `rows` x `columns`; other dims are reduced to their best.

        variable : default tokens_per_mwh, else tokens_per_s_per_gpu.   x : default context or isl.   y : default batch,
        of a plan its SLOs. Coordinates of a dim, as isl of the workloads of a plan, may stand for it.
        out : also write it there (.png, .svg, .pdf).   Returns the matplotlib figure.
        Raises InputError for an unknown name, where no cell has a value, and where `out` cannot be written.
        """
        from roofline.report.files import save_figure
        from roofline.report.plots import MISSED, heatmap

        ds = self._ds
        name = variable or ("tokens_per_mwh" if "tokens_per_mwh" in ds else "tokens_per_s_per_gpu")
        self._variable(name)
        across = x or self._first("context", "isl")
        up = y or self._first("batch", "batch_per_gpu", "slo")
        kept = (rows, columns, up, across)
        for dim in kept:
            if dim not in _AXES:
                raise unknown_name("axis", dim, _AXES)
            if dim not in ds.dims and dim in ds.coords and ds[dim].ndim == 1:
                ds = _along(ds, dim)
            elif dim not in ds.dims:
                if dim not in ds.coords or ds[dim].ndim:
                    held = ", ".join(map(str, ds.dims))
                    raise InputError(f"heatmap: {dim} is no dim of this Dataset, which has {held}; name one of them")
                ds = ds.expand_dims(dim)
        if len(set(kept)) < len(kept):
            raise InputError(f"heatmap: x, y, rows and columns have to differ, not {', '.join(kept)}")
        rest = [str(dim) for dim in ds[name].dims if dim not in kept]
        shown = RooflineAccessor(ds).best(name, rest) if rest else ds
        if "nearest_miss" in shown:
            misses = (shown["limit"] == 0) & (shown["nearest_miss"] != "")
            shown = shown.assign(limit=shown["limit"].where(~misses, MISSED).assign_attrs(shown["limit"].attrs))
        figure = heatmap(shown, name, x=across, y=up, rows=rows, columns=columns, title=title)
        if out is not None:
            save_figure(figure, out)
        return figure

    def band(self, variable: str) -> tuple[xr.DataArray, xr.DataArray]:
        """(low, high) between which 80 % of measurements of a figure like this lie, in its units; of serve and plan.

        variable : ttft, tpot, a rate of tokens or requests, joules_per_token, power or tokens_per_mwh. NaN where no
        band is claimed: where nothing runs, for rates under a rate of arrivals, which is given, and for attention and
        feed-forward on two systems. Raises InputError for another variable, and for a Dataset of another function.
        What a band depends on, and how it is made: docs/bands.md.
        """
        from roofline.report.bands import band

        return band(self._ds, variable)

    def with_bands(self) -> xr.Dataset:
        """The Dataset with `tpot_low`, `tpot_high` and so on beside its figures; as it is where it has no bands."""
        from roofline.report.bands import with_bands

        return with_bands(self._ds)

    def reasons(self) -> xr.DataArray:
        """Why each cell has no value, in words; '' where it has one. Shape of `limit`."""
        limit = self._variable("limit")
        words = np.full(limit.shape, "", dtype=object)
        if "nearest_miss" in self._ds:
            for at in map(tuple, np.argwhere(self._ds["nearest_miss"].values != "")):
                nearest = str(self._ds["nearest_miss"].values[at]), float(self._ds["nearest_factor"].values[at])
                words[at] = missed(*nearest)
        for code in np.unique(limit.values):
            if code:
                words[limit.values == code] = limit_reason(int(code))
        return limit.copy(data=words).rename("reason").assign_attrs(long_name="why a cell has no value", units="")

    def explain_arguments(self, **labels: str) -> dict[str, Any]:
        """Keyword arguments of `roofline.explain` for the decode step that a plan or a frontier chose.

        labels : of the dims with more than one value (model, system, workload, slo), or point, a number.
        The step is at the mean context of the workload. Raises InputError for labels that are none, where nothing is
        chosen, and where attention and feed-forward are on two systems.
        """
        from roofline.report.choices import explain_arguments

        return explain_arguments(self._ds, labels)

    def same_power(self, out: str | Path | None = None) -> Figure:
        """What the same power serves with each system, a bar each, of a result of `site`; also written to `out`.

        Raises InputError for another Dataset, several workloads or SLOs, and where no system serves anything.
        """
        from roofline.report.files import save_figure
        from roofline.report.same_power import same_power

        figure = same_power(self._ds)
        if out is not None:
            save_figure(figure, out)
        return figure

    def by_hour(self) -> xr.Dataset:
        """Load, power and tokens/s of a site hour by hour. Raises InputError for another Dataset."""
        from roofline.planning.site import by_hour

        return by_hour(self._ds)

    def picture(self, out: str | Path | None = None, **options: Any) -> Figure:
        """The picture that the command line draws of such a result; also written to `out`.

        Of `decode` and `prefill` their curves, of `feasibility` its map, of `pareto` the frontier, of `site` a bar a
        system, of `compare` the waterfall and the curve, of `power_cap` the curve, of `sensitivity` the tornado, of
        `uncertainty` the intervals.   options : of that picture.
        Raises InputError for another Dataset, and as the picture does.
        """
        from roofline.report.files import save_figure
        from roofline.report.pictures import picture

        figure = picture(self._ds, **options)
        if out is not None:
            save_figure(figure, out)
        return figure

    def save(self, path: str | Path) -> Path:
        """Write it as a table (.csv, .parquet) that stands alone, as arrays (.nc, .zarr) or as its picture."""
        from roofline.report.files import save
        from roofline.report.pictures import picture

        return save(self._ds, path, draw=picture)

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self._ds.data_vars:
            hint = "; roll it up first: ds.roofline.rollup()" if name == "tokens_per_mwh" else ""
            raise InputError(str(unknown_name("variable", name, map(str, self._ds.data_vars))) + hint)
        return self._ds[name]

    def _first(self, *names: str) -> str:
        for name in names:
            if name in self._ds.coords:
                return name
        raise InputError(f"heatmap: the Dataset has none of {', '.join(names)}; name the axis")
