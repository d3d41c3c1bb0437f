"""Which numbers an answer's uncertainty comes from, interactions included: Sobol indices over graded spreads.

Sobol, Math. Comput. Simul. 55, 2001; estimators of Saltelli et al., Comput. Phys. Commun. 181, 2010, by SALib.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from roofline.errors import InputError, unknown_name
from roofline.grid import axes
from roofline.insight.sensitivity import coords
from roofline.insight.spreads import SPREAD_MEANS, check_scale, drawn_spread, factors
from roofline.insight.subjects import blocks, leading, subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from roofline.insight.subjects import Subject

    Floats = NDArray[np.float64]

LEAST = 1e-2
"""Of the largest move of a figure, what a number must move it by to be among those that are drawn."""

EDGE = 1e-9
"""Shares this close to 0 and 1 stand for them: a normal deviate has no value there."""


def sobol(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    of: str = "plan",
    figure: str = "",
    samples: int = 256,
    seed: int = 0,
    spread: float | Mapping[str, float] = 1.0,
    **options: Any,
) -> xr.Dataset:
    """First-order and total Sobol indices of the logarithm of one figure in every number that may be off.

    of, options : as of `roofline.insight.sensitivity`.   figure : default the leading one, what a plan seeks.
    samples : base samples, a power of two; the answer is evaluated samples * (numbers + 2) times.
    seed, spread : as of `roofline.insight.uncertainty`.

    Returns a Dataset with the dim parameter, by falling total index: `first_order`, the share of the variance that a
    number brings by itself, `total`, the share with all its interactions, and half the 95 % interval of each as
    `first_order_error` and `total_error`. Numbers that move the figure, two spreads up or down, by less than
    `LEAST` of what the strongest does are left out: the fewer there are, the better the points fill their space.
    Raises `InputError` for bad input, where nothing runs, where nothing may be off, and without SALib (extra
    `sensitivity`).
    """
    check_samples(samples)
    samples, seed = int(samples), axes.count("seed", seed, least=0)
    check_scale(spread)
    sampler, analyzer, normal = _salib()
    held = subject(of, model, system, recipe, options)
    base = held.figures(held.numbers.base())
    name = figure or leading(held, {key: float(column[0]) for key, column in base.items()})
    if name not in held.about:
        raise unknown_name("figure", name, held.about)
    parameters = held.numbers.parameters
    drawn = _moving(held, name, spread)
    problem = {
        "num_vars": len(drawn),
        "names": [parameters[p].path for p in drawn],
        "bounds": [[0.0, 1.0]] * len(drawn),
    }
    places = sampler.sample(problem, samples, calc_second_order=False, seed=seed)
    logs = _logs(held, name, drawn, np.clip(places, EDGE, 1.0 - EDGE), normal, spread)
    if not np.isfinite(logs).all():
        raise InputError(f"{name}: some draws cannot run, and Sobol indices need them all; use a smaller spread")
    found = analyzer.analyze(problem, logs, calc_second_order=False, print_to_console=False, seed=seed)
    order = np.argsort(-found["ST"], kind="stable")
    listed = [parameters[drawn[p]] for p in order]
    about = {
        "first_order": ("S1", "share of the variance that the number brings by itself"),
        "total": ("ST", "share of the variance that it brings with its interactions"),
        "first_order_error": ("S1_conf", "half the 95 % interval of first_order"),
        "total_error": ("ST_conf", "half the 95 % interval of total"),
    }
    data = {
        key: ("parameter", np.asarray(found[theirs])[order], {"units": "1", "long_name": text})
        for key, (theirs, text) in about.items()
    }
    along = {key: value for key, value in coords(listed, held.about).items() if not key.startswith("figure")}
    spreads = [drawn_spread(one, spread) for one in listed]
    along["parameter_spread"] = ("parameter", spreads, {"long_name": SPREAD_MEANS})
    attributes = {"of": of, "figure": name, "label": held.label, "samples": str(samples), "seed": str(seed)}
    return xr.Dataset(data, coords=along, attrs=held.attributes | attributes)


def check_samples(samples: Any, name: str = "samples") -> None:
    """Raise InputError for what is no power of two, and without SALib.   name : what it is called."""
    whole = isinstance(samples, Integral) and not isinstance(samples, bool)
    if not whole or samples < 2 or samples & (samples - 1):
        raise InputError(f"{name} = {samples!r}: give a power of two, at least 2")
    _salib()


def _moving(held: Subject, name: str, spread: float | Mapping[str, float]) -> list[int]:
    """Numbers that move a figure, the strongest first. Raises InputError where none does, or none may be off."""
    parameters = held.numbers.parameters
    able = [p for p, one in enumerate(parameters) if drawn_spread(one, spread) > 0.0]
    if not able:
        raise InputError("nothing may be off: every spread is 0")
    deviates = np.zeros((1 + 2 * len(able), len(parameters)))
    for row, p in enumerate(able):
        deviates[1 + 2 * row : 3 + 2 * row, p] = (2.0, -2.0)
    logs = np.log(held.figures(held.numbers.vary(factors(parameters, deviates, spread)))[name])
    moves = np.abs(logs[1:] - logs[0]).reshape(-1, 2).max(axis=1)
    if not moves.max() > 1e-12:
        raise InputError(f"{name}: does not depend on what may be off; give another figure")
    order = np.argsort(-moves, kind="stable")
    return [able[row] for row in order if moves[row] >= LEAST * moves.max()]


def _salib() -> tuple[Any, Any, Any]:
    """SALib's sampler and analyzer, and the inverse of the normal distribution that it brings."""
    try:
        from SALib.analyze import sobol as analyzer
        from SALib.sample import sobol as sampler
        from scipy.special import ndtri
    except ImportError:
        raise InputError(
            'Sobol indices need SALib, which is not installed; pip install "roofline[sensitivity]" '
            '(in a clone: pip install ".[sensitivity]")'
        ) from None
    return sampler, analyzer, ndtri


def _logs(
    held: Subject, name: str, drawn: list[int], places: Floats, normal: Any, spread: float | Mapping[str, float]
) -> Floats:
    """Logarithm of a figure at places of the unit cube over the drawn numbers, float64[n]; block by block."""
    parameters = held.numbers.parameters
    found = np.empty(places.shape[0])
    for start, stop in blocks(held, places.shape[0]):
        block = places[start:stop]
        deviates = np.zeros((block.shape[0], len(parameters)))
        deviates[:, drawn] = normal(block)
        figures = held.figures(held.numbers.vary(factors(parameters, deviates, spread)))
        found[start:stop] = np.log(figures[name])
    return found
