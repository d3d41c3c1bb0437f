"""How far a number of a sheet may be off, by its kind and its grade: what random draws are made of."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError, unknown_name
from roofline.insight import parameters as of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.insight.parameters import Parameter

    Floats = NDArray[np.float64]

OF_KIND: Mapping[str, str] = {of.LOSS: "what is lost", of.EXCESS: "what is above 1"}
"""Kind of number -> what of it is drawn, where that is not the number itself."""

SPREAD_MEANS = "standard deviation of the logarithm of the number, " + ", ".join(
    f"of kind {kind} of {part}" for kind, part in OF_KIND.items()
)

GRADES = ("published", "measured", "estimated")
"""From the surest."""

SPREADS: Mapping[str, tuple[float, float, float]] = {
    of.RATE: (0.02, 0.05, 0.15),
    of.BYTES: (0.01, 0.02, 0.05),
    of.WATTS: (0.03, 0.05, 0.15),
    of.SHARE: (0.05, 0.10, 0.17),
    of.TIME: (0.10, 0.15, 0.30),
    of.HOST: (0.10, 0.20, 0.50),
    of.LOSS: (0.10, 0.10, 0.30),
    of.EXCESS: (0.20, 0.20, 0.40),
    of.NUMBER: (0.03, 0.06, 0.25),
    of.PRICE: (0.10, 0.10, 0.20),
}
"""Kind of number -> standard deviation of its natural logarithm where it is published, measured and estimated.

Of a `loss` the logarithm of one minus it, of an `excess` that of it minus one.
"""

REASONS: Mapping[str, str] = {
    of.RATE: "peaks and link rates: datasheets round, and sources of one part differ by a percent or two; "
    "an estimate is read off a neighbour or a slide",
    of.BYTES: "capacity: what a driver reports of the nominal one differs by about 1 %",
    of.WATTS: "limits and fixed draws: nameplates are rounded to tens of watts; an undisclosed host is that of another",
    of.SHARE: "shares of peaks: two constants a kernel miss its measured times by 7 % (median of the sheets, and "
    "0.07/0.67 = 0.10); one estimated from other parts has also their spread, 0.14 over nine sheets",
    of.TIME: "fixed times of kernels and links: fits trade them against shares (0.15); one estimated from other parts "
    "has also their spread, 0.26 over nine sheets",
    of.HOST: "host times of a serving stack: the fits' own 90 % intervals are those of 0.07 to 0.41; the default stack "
    "stands for sheets that differ by 0.5",
    of.LOSS: "efficiency of power supplies and the share of memory that a server may use, by what is lost",
    of.EXCESS: "PUE and the load of the fullest expert rank, by what is above 1: halls of one class differ by climate",
    of.PRICE: "an hour of a part differs by a quarter between owners and years; a placeholder is 1.2 times its "
    "neighbour; energy differs by place and contract",
    of.NUMBER: "coefficients of the draw: the fit on the H100 leaves 6 %; from part to part they differ far more",
}
"""Why."""


MOST_SCALE = 20.0
"""Factor on spreads from which on draws say nothing: a share that is off by e^3 either way."""


def spread_of(parameter: Parameter, scale: float | Mapping[str, float] = 1.0) -> float:
    """Standard deviation of the logarithm of a number.   scale : factor on all, or by grade."""
    factor = scale if isinstance(scale, int | float) else scale.get(parameter.grade, 1.0)
    return factor * SPREADS[parameter.kind][GRADES.index(parameter.grade)]


def drawn_spread(parameter: Parameter, scale: float | Mapping[str, float] = 1.0) -> float:
    """`spread_of` a number that is drawn, 0 of one that is not: it moves nothing, or nothing of it may be off."""
    open_part = {of.LOSS: 1.0 - parameter.value, of.EXCESS: parameter.value - 1.0}.get(parameter.kind, parameter.value)
    return spread_of(parameter, scale) if parameter.effects and open_part > 0.0 else 0.0


def check_scale(scale: float | Mapping[str, float], name: str = "spread") -> None:
    """Raise InputError for a scale that is no number from 0 to `MOST_SCALE`, or of no grade.   name : its name."""
    listed: list[tuple[str | None, float]] = list(scale.items()) if isinstance(scale, Mapping) else [(None, scale)]
    for grade, value in listed:
        if grade is not None and grade not in GRADES:
            raise unknown_name("grade", str(grade), GRADES)
        if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= float(value) <= MOST_SCALE:
            of_grade = f" of {grade}" if grade else ""
            raise InputError(f"{name}{of_grade} = {value!r}: give a factor from 0 to {MOST_SCALE:g}")


def factors(parameters: Sequence[Parameter], deviates: Floats, scale: float | Mapping[str, float] = 1.0) -> Floats:
    """Factors on numbers from standard normal deviates, float64[n, parameters] both.

    Lognormal about the sheet's number, which is the median; what would be above what a number can be is put there.
    """
    found = np.ones_like(deviates)
    for p, parameter in enumerate(parameters):
        spread = drawn_spread(parameter, scale)
        if spread == 0.0:
            continue
        times = np.exp(spread * deviates[:, p])
        value = parameter.value
        if parameter.kind == of.LOSS:
            found[:, p] = np.maximum(1.0 - (1.0 - value) / times, 0.0) / value
        elif parameter.kind == of.EXCESS:
            found[:, p] = (1.0 + (value - 1.0) * times) / value
        else:
            found[:, p] = np.minimum(times, parameter.most / value)
    return found
