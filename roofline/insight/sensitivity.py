"""What an answer rests on: elasticities of its figures in every number of the sheets.

e = d log(figure) / d log(number)                                                                         (1)

of docs/sensitivity.md: 0.6 says that one percent more of a number gives 0.6 percent more of a figure.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError, unknown_name
from roofline.insight import parameters as kinds
from roofline.insight.research import Research
from roofline.insight.subjects import blocks, leading, subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.grid import axes
    from roofline.insight.parameters import Parameter
    from roofline.insight.subjects import Subject

    Floats = NDArray[np.float64]

STEP = 1e-4
"""Of the central differences, in the logarithm; a second one is twice as wide."""

KINK = 1e-3
"""Differences to the left and to the right that are further apart say that something else begins to bind there."""

ROUNDED = 1e-12
"""What a number may be beyond its bounds by rounding: 1/1.1 of a PUE of 1.1 is 1."""

DIMENSION = {kinds.RATE: 1.0, kinds.TIME: -1.0, kinds.HOST: -1.0}
"""Of kinds of numbers, powers of 1/s: by them elasticities of one figure add up to a whole number."""


def sensitivity(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    of: str = "plan",
    change: float = 0.1,
    searched: bool | int = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Elasticities of all figures of an answer in every number of the sheets behind it.

    of : plan (what `roofline.plan` chooses, held: the same mode, recipe, deployment, batch, chunk and drafts, two pools
        matched), decode or prefill (one pass), serve (a load).   options : of that function, one value each.
    change : how much more, and less by the same factor, of each number the ratios are of.
    searched : of a plan, choose again for each number changed: True for all that move anything, or how many, those of
        the largest elasticities first and memory always.   progress : called with (numbers done, in all), of those
        that move anything and then of those chosen again for.

    Returns a Dataset with dims (parameter, figure): `elasticity` (1), by central differences of two steps, joined;
    `elasticity_error`, what the steps leave open; `kink`, 1 where the slopes to the left and right differ, as at the
    edge between two roofs (a number at the end of what it can be has the slope to its one side, and no kink);
    `ratio_more` and `ratio_less`, the figure with `change` more and less of the number over the figure, NaN where the
    number cannot be that; by parameter `searched_more` and `searched_less`, the same of the
    leading figure with everything chosen again, NaN where it was not. By figure its `value`, and `sum_of_rates`:
    elasticities of all rates less those of all times, which is the figure's own power of 1/s, a check that no number is
    missed. Attribute `figure`: the leading one, what a plan seeks; parameters come by falling size of its elasticity.
    Deployments are held whatever memory says: that a change needs more of it than there is shows in `memory_share`.
    Raises `InputError` for bad input and where nothing runs.
    """
    if isinstance(change, bool) or not isinstance(change, Real) or not 0.0 < change <= 1.0:
        raise InputError(f"change = {change!r}: give a share of each number above 0 and at most 1, e.g. 0.1")
    if not isinstance(searched, bool) and (not isinstance(searched, Integral) or searched < 1):
        raise InputError(f"searched = {searched!r}: give how many numbers to choose again for, at least 1, or True")
    if searched and of != "plan":
        raise InputError(f"searched: only a plan can be chosen again, not {of}")
    held = subject(of, model, system, recipe, options)
    found = elasticities(held, change, progress=progress)
    figures = list(held.about)
    lead = leading(held, dict(zip(figures, found["value"].tolist(), strict=True)))
    order = np.argsort(-np.abs(found["elasticity"][:, figures.index(lead)]), kind="stable")
    listed = [held.numbers.parameters[p] for p in order]
    dims = ("parameter", "figure")
    data: dict[str, Any] = {
        name: (dims, values[order], {"units": "1", "long_name": _ABOUT[name]})
        for name, values in found.items()
        if values.ndim == 2
    }
    data["value"] = ("figure", found["value"], {"long_name": "the figure as the sheets stand, in its units"})
    data["sum_of_rates"] = (
        "figure",
        sum_of_rates(listed, found["elasticity"][order]),
        {"units": "1", "long_name": "elasticities of all rates less those of all times"},
    )
    if searched:
        count = len(listed) if searched is True else int(searched)
        ratios = Research(model, system, recipe, options, lead).ratios(listed, change, count, progress)
        for column, name in enumerate(("searched_more", "searched_less")):
            data[name] = ("parameter", ratios[:, column], {"units": "1", "long_name": _ABOUT[name]})
    attributes = held.attributes | {"of": of, "figure": lead, "change": f"{change:g}", "label": held.label}
    attributes |= {"searched": lead} if searched else {}
    return xr.Dataset(data, coords=coords(listed, held.about), attrs=attributes)


_ABOUT = {
    "elasticity": "relative change of the figure over that of the number",
    "elasticity_error": "what two steps of the difference leave open",
    "kink": "1 where the slopes to the left and to the right differ",
    "ratio_more": "figure with that much more of the number, over the figure",
    "ratio_less": "figure with as much less of the number, over the figure",
    "searched_more": "leading figure with that much more of the number and all chosen again, over itself",
    "searched_less": "leading figure with as much less of the number and all chosen again, over itself",
}


def coords(parameters: Sequence[Parameter], about: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Coordinates of parameters, with value, unit, grade and source, and of figures, with units and meaning."""

    def column(values: list[str]) -> NDArray[np.object_]:
        return np.array(values, dtype=object)

    found: dict[str, Any] = {"parameter": column([one.path for one in parameters])}
    found["parameter_value"] = ("parameter", [one.value for one in parameters], {"long_name": "in parameter_unit"})
    for name in ("unit", "kind", "grade", "source"):
        found[f"parameter_{name}"] = ("parameter", column([getattr(one, name) for one in parameters]))
    found["figure"] = column(list(about))
    found["figure_units"] = ("figure", column([units for units, _ in about.values()]))
    found["figure_meaning"] = ("figure", column([meaning for _, meaning in about.values()]))
    return found


def elasticities(
    held: Subject, change: float = 0.1, step: float = STEP, progress: Callable[[int, int], None] | None = None
) -> dict[str, Floats]:
    """Arrays [parameter, figure] of what `sensitivity` returns by these names, and `value` [figure].

    held : what is asked about.   step : of the differences, in the logarithm.   progress : as of `sensitivity`.
    """
    parameters = held.numbers.parameters
    count = len(parameters)
    acting = [p for p, one in enumerate(parameters) if one.effects]
    logs = np.array([0.0, step, -step, 2.0 * step, -2.0 * step, np.log1p(change), -np.log1p(change)])
    factors = np.ones((1 + 6 * len(acting), count))
    for row, p in enumerate(acting):
        factors[1 + 6 * row : 7 + 6 * row, p] = np.exp(logs[1:])
    table = np.empty((factors.shape[0], len(held.about)))
    for start, stop in blocks(held, factors.shape[0]):
        figures = held.figures(held.numbers.vary(factors[start:stop]))
        table[start:stop] = np.stack([figures[name] for name in held.about], axis=-1)
        if progress is not None:
            progress((stop - 1) // 6, len(acting))
    base = table[0]
    moved = np.log(table[1:].reshape(len(acting), 6, -1) / base)
    least, value, most = (
        np.array([getattr(parameters[p], name) for p in acting]).reshape(-1, 1) for name in ("least", "value", "most")
    )
    given = value * np.exp(logs[1:])
    can_be = (given >= least * (1.0 - ROUNDED)) & (given <= most * (1.0 + ROUNDED))
    slopes = _slopes(moved, can_be, step)
    ratios = np.where(can_be[:, 4:, None], np.exp(moved[:, 4:]), np.nan)
    shape = (count, base.size)
    found = {name: np.zeros(shape) for name in ("elasticity", "elasticity_error", "kink")}
    found |= {"ratio_more": np.ones(shape), "ratio_less": np.ones(shape)}
    for name, values in slopes.items():
        found[name][acting] = values
    found["ratio_more"][acting], found["ratio_less"][acting] = ratios[:, 0], ratios[:, 1]
    return found | {"value": base}


def _slopes(moved: Floats, can_be: NDArray[np.bool_], step: float) -> dict[str, Floats]:
    """`elasticity`, `elasticity_error` and `kink`, float64[n, figures] each, of n numbers.

    moved : logarithms of ratios of figures, [n, 6, figures], one and two steps up and down first, as
        (up, down, two up, two down, ...).   can_be : [n, 6], whether a number can have that: one at its bound has a
        slope to one side alone, (4 f(h) - f(2h)) / 2h, and no edge there.
    """
    near, wide = (moved[:, 0] - moved[:, 1]) / (2.0 * step), (moved[:, 2] - moved[:, 3]) / (4.0 * step)
    left, right = -moved[:, 1] / step, moved[:, 0] / step
    kink = np.abs(right - left) > KINK + 4.0 * step
    elasticity = np.where(kink, near, (4.0 * near - wide) / 3.0)
    error = np.abs(near - wide) / 3.0
    for first, second, sign, stuck in ((0, 2, 1.0, ~can_be[:, 3]), (1, 3, -1.0, ~can_be[:, 2])):
        one_side = sign * (4.0 * moved[:, first] - moved[:, second]) / (2.0 * step)
        elasticity[stuck] = one_side[stuck]
        error[stuck] = np.abs(one_side - sign * moved[:, first] / step)[stuck]
        kink[stuck] = False
    return {"elasticity": elasticity, "elasticity_error": error, "kink": kink.astype(np.float64)}


def sum_of_rates(parameters: Sequence[Parameter], elasticity: Floats) -> Floats:
    """Elasticities of rates less those of times, by figure: what a figure's own power of 1/s is (Euler)."""
    powers = np.array([DIMENSION.get(one.kind, 0.0) for one in parameters])
    found: Floats = powers @ elasticity
    return found


def ranked(ds: xr.Dataset, figure: str = "", most: int = 0) -> xr.Dataset:
    """A sensitivity with its numbers by falling size of elasticity in `figure`, default the first; at most `most`.

    Those that move nothing are left out. Raises InputError for a figure that it does not have.
    """
    name = figure or str(ds.attrs["figure"])
    if name not in ds["figure"].values:
        raise unknown_name("figure", name, [str(one) for one in ds["figure"].values])
    size = np.abs(ds["elasticity"].sel(figure=name).values)
    order = np.argsort(-size, kind="stable")[: int((size > 1e-9).sum())]
    return ds.isel(parameter=order[:most] if most else order).assign_attrs(figure=name)


def bought(ds: xr.Dataset) -> str:
    """Path of the strongest of the rates (peaks, bandwidths), which faster hardware has more of; else of all numbers.

    ds : of `ranked`, with a number at least.
    """
    rates = np.flatnonzero(ds["parameter_kind"].values == kinds.RATE)
    return str(ds["parameter"].values[rates[0] if rates.size else 0])


def sentence(ds: xr.Dataset, parameter: str, figure: str = "") -> str:
    """`10 % more memory bandwidth: 5.1 % more tokens_per_mwh`, and what choosing again makes of it where that is known.

    A number that cannot be that much more is taken as much less.
    """
    name, change = figure or str(ds.attrs["figure"]), float(ds.attrs["change"])
    one = ds.sel(parameter=parameter)
    which = "more" if np.isfinite(one["ratio_more"].sel(figure=name)) else "less"
    asked = change if which == "more" else 1.0 - 1.0 / (1.0 + change)
    said = f"{100 * asked:.3g} % {which} {kinds.short_name(parameter)}: "
    said += _signed(float(one[f"ratio_{which}"].sel(figure=name)), name)
    if "searched_more" in ds and name == ds.attrs["searched"]:
        again = float(one[f"searched_{which}"])
        said += f", {_signed(again, '')}with everything chosen again" if np.isfinite(again) else ""
    return said


def _signed(ratio: float, name: str) -> str:
    share = 100.0 * (ratio - 1.0)
    if not abs(share) > 5e-3:
        return f"no change of {name}" if name else "no change "
    return f"{abs(share):.2g} % {'more' if share > 0.0 else 'less'} {name}"
