"""How sure an answer is: random draws of every number of its sheets, as far off as its grade allows."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from roofline.errors import InputError
from roofline.grid import axes
from roofline.insight.residual import residuals
from roofline.insight.sensitivity import coords
from roofline.insight.spreads import SPREAD_MEANS, check_scale, drawn_spread, factors
from roofline.insight.subjects import blocks, leading, subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.insight.subjects import Subject

    Floats = NDArray[np.float64]

MOST_DRAWS = 1_000_000

QUANTILES = (5.0, 50.0, 95.0)
"""Percentiles that are given, where no others are asked for."""


class Draws(NamedTuple):
    """Figures of all draws, float64[draws] by name, and the squared correlation of each with each number's logarithm.

    share : float64[parameters, figures], 0 where a number was not drawn.
    """

    values: dict[str, Floats]
    share: Floats


def uncertainty(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    of: str = "plan",
    draws: int = 2000,
    seed: int = 0,
    spread: float | Mapping[str, float] = 1.0,
    residual: bool = True,
    quantiles: float | Sequence[float] = QUANTILES,
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Percentiles of all figures of an answer when every number of the sheets may be off as far as its grade says.

    of, options : as of `roofline.insight.sensitivity`: a plan's choice (held), a pass or a load.
    draws : how many.   seed : the same seed gives the same result.
    spread : factor on all spreads, or by grade, e.g. {"estimated": 2}; 0: none.   docs/sensitivity.md has the spreads.
    residual : of a plan or a load, widen what the numbers give to the band of the nearest validated group, where that
        is wider (docs/bands.md); a pass has no band.
    quantiles : percentiles.   keep : also every draw.   progress : called with (draws done, in all).

    Returns a Dataset with dims (quantile, figure): `value`, numbers and residual together, and `numbers`, of the sheets
    alone; by figure `point`, as the sheets stand; by (parameter, figure) `share`, the squared correlation of the figure
    with the number: what part of its variance goes with it; by parameter `parameter_spread`, 0 where it is not drawn.
    With `keep` also `draw_value` [draw, figure]. Attributes: `fits`, the share of draws in which the deployment still
    fits in memory (figures of a plan or a pass are as if it did; a load that does not fit is NaN and left out), and
    `missing`, the share of those left out.
    Each figure's percentiles are its own: those of two figures need not come together.
    Raises `InputError` for bad input and where nothing runs.
    """
    draws, seed = axes.count("draws", draws), axes.count("seed", seed, least=0)
    if draws > MOST_DRAWS:
        raise InputError(f"draws: {draws} are more than {MOST_DRAWS:,}; a hundredth of them gives the same percentiles")
    percents = _percents(quantiles)
    check_scale(spread)
    held = subject(of, model, system, recipe, options)
    generator, other = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
    found = draw(held, draws, generator, spread, progress)
    figures = list(held.about)
    widened = residuals(held, figures, found.values, other) if residual else {}
    total = {name: found.values[name] * widened.get(name, 1.0) for name in figures}
    parameters = held.numbers.parameters
    point = {name: float(column[0]) for name, column in held.figures(held.numbers.base()).items()}
    lead = leading(held, point)
    dims = ("quantile", "figure")
    data: dict[str, Any] = {
        "value": (dims, _percentiles(total, percents), {"long_name": "percentile of the figure, in its units"}),
        "numbers": (dims, _percentiles(found.values, percents), {"long_name": "the same, without residual"}),
        "point": ("figure", [point[name] for name in figures], {"long_name": "as the sheets stand"}),
        "share": (
            ("parameter", "figure"),
            found.share,
            {"units": "1", "long_name": "squared correlation of the figure with the number"},
        ),
    }
    if keep:
        data["draw_value"] = (("draw", "figure"), np.stack([total[name] for name in figures], axis=-1))
    along = coords(parameters, held.about)
    spreads = [drawn_spread(one, spread) for one in parameters]
    along["parameter_spread"] = ("parameter", spreads, {"long_name": SPREAD_MEANS})
    along["quantile"] = ("quantile", percents, {"units": "1", "long_name": "percentile"})
    first = found.values[lead]
    share = found.values.get("memory_share", np.zeros(1))
    attributes = held.attributes | {
        "of": of,
        "figure": lead,
        "label": held.label,
        "draws": str(draws),
        "seed": str(seed),
        "spread": _said(spread),
        "residual": ", ".join(widened) or "none",
        "fits": f"{np.mean(share <= 1.0):.4g}",
        "missing": f"{np.mean(~np.isfinite(first)):.4g}",
    }
    return xr.Dataset(data, coords=along, attrs=attributes)


def _percents(quantiles: float | Sequence[float]) -> list[float]:
    given: Any = quantiles  # whatever somebody may have given
    listed = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    for percent in listed:
        if isinstance(percent, bool) or not isinstance(percent, Real) or not 0.0 < float(percent) < 100.0:
            raise InputError(f"quantiles: {percent!r} is no percentile above 0 and below 100")
    if not listed:
        raise InputError("quantiles: none given; give at least one, e.g. 50")
    return [float(percent) for percent in listed]


def _said(spread: float | Mapping[str, float]) -> str:
    if isinstance(spread, int | float):
        return f"{spread:g}"
    return ", ".join(f"{grade} {value:g}" for grade, value in spread.items())


def _percentiles(values: Mapping[str, Floats], percents: list[float]) -> Floats:
    """Percentiles of each figure without what is NaN, float64[percents, figures]; NaN where all is."""
    columns = []
    for column in values.values():
        finite = column[np.isfinite(column)]
        columns.append(np.percentile(finite, percents) if finite.size else np.full(len(percents), np.nan))
    return np.stack(columns, axis=-1)


def draw(
    held: Subject,
    draws: int,
    generator: np.random.Generator,
    spread: float | Mapping[str, float] = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Draws:
    """Figures under random numbers.   held : what is asked about.   Block size moves no bits: draws come row by row."""
    parameters = held.numbers.parameters
    values = {name: np.empty(draws) for name in held.about}
    sums = _Sums(len(parameters), len(values))
    for start, stop in blocks(held, draws):
        deviates = generator.standard_normal((stop - start, len(parameters)))
        found = held.figures(held.numbers.vary(factors(parameters, deviates, spread)))
        for name, column in values.items():
            column[start:stop] = found[name]
        sums.add(deviates, np.stack([found[name] for name in held.about], axis=-1))
        if progress is not None:
            progress(stop, draws)
    drawn = np.array([drawn_spread(one, spread) > 0.0 for one in parameters])
    return Draws(values, np.where(drawn[:, None], sums.squared_correlation(), 0.0))


class _Sums:
    """Correlations of deviates with logarithms of figures, summed block by block."""

    def __init__(self, parameters: int, figures: int) -> None:
        self.count = np.zeros(figures)
        self.shift: Floats | None = None
        self.y, self.yy = np.zeros(figures), np.zeros(figures)
        self.z, self.zz, self.zy = (np.zeros((parameters, figures)) for _ in range(3))

    def add(self, deviates: Floats, figures: Floats) -> None:
        """deviates : float64[n, parameters].   figures : float64[n, figures]."""
        runs = np.isfinite(figures) & (figures > 0.0)
        logs = np.log(np.where(runs, figures, 1.0))
        if self.shift is None:  # sums of squares about a value near the mean lose no digits
            self.shift = logs.mean(axis=0)
        y = np.where(runs, logs - self.shift, 0.0)
        self.count += runs.sum(axis=0)
        self.y += y.sum(axis=0)
        self.yy += (y * y).sum(axis=0)
        self.z += deviates.T @ runs
        self.zz += (deviates * deviates).T @ runs
        self.zy += deviates.T @ y

    def squared_correlation(self) -> Floats:
        """float64[parameters, figures]; 0 where a figure does not vary."""
        n = np.maximum(self.count, 1.0)
        spread_y = self.yy - self.y**2 / n
        spread_z = self.zz - self.z**2 / n
        both = self.zy - self.z * self.y / n
        scale = spread_z * spread_y
        varies = spread_y > 1e-18 * n
        return np.where(varies & (scale > 0.0), both**2 / np.where(scale > 0.0, scale, 1.0), 0.0)
