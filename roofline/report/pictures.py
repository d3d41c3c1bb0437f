"""The picture of a result: which of the pictures shows it, by what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from roofline.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


class Kind(NamedTuple):
    """A kind of result.   holds, lacks : variables and dims by which it is known.   module, draw : what draws it."""

    holds: tuple[str, ...]
    module: str
    draw: str
    lacks: tuple[str, ...] = ()


KINDS = {
    "compare": Kind(("side", "interactivity"), "waterfall", "comparison_picture"),
    "site": Kind(("power_running", "rack_limited"), "same_power", "same_power"),
    "power_cap": Kind(("cap", "choice"), "power_cap", "cap_curve"),
    "sensitivity": Kind(("elasticity",), "tornado", "tornado"),
    "uncertainty": Kind(("quantile", "point"), "tornado", "interval_picture"),
    "pareto": Kind(("mode", "prefill_replicas", "point"), "frontier", "frontier_picture"),
    "feasibility": Kind(
        ("accelerators", "recipe", "system"), "feasibility", "feasibility_picture", ("tpot", "prefill_time", "pair")
    ),
    "prefill": Kind(("prefill_time",), "curves", "prefill_curves"),
    "decode": Kind(("tpot", "batch", "context"), "curves", "throughput_curves"),
}
"""By the function that returns it; the first whose names a Dataset has is its kind."""


def kind_of(ds: xr.Dataset) -> str:
    """Which function returned a Dataset, one of `KINDS`. Raises InputError for one without a picture of its own."""
    names = {*map(str, ds.variables), *map(str, ds.dims)}
    for name, kind in KINDS.items():
        if names.issuperset(kind.holds) and names.isdisjoint(kind.lacks):
            return name
    raise InputError(
        f"picture: of a Dataset of {', '.join(KINDS)}; this is none of them. ds.roofline.heatmap() draws any two axes"
    )


def picture(ds: xr.Dataset, **options: Any) -> Figure:
    """The picture that the command line draws of it.   options : of the function that draws it."""
    from importlib import import_module

    kind = KINDS[kind_of(ds)]
    found: Figure = getattr(import_module(f"roofline.report.{kind.module}"), kind.draw)(ds, **options)
    return found
