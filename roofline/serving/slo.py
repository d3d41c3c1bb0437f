"""Service-level objectives: limits on the waiting of a request, each at a percentile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LIMITS = ("ttft", "tpot", "latency")
"""What is limited, in the order in which ties are settled."""

MEDIAN = 50.0


class Violation(NamedTuple):
    """The limit that is missed by most: its name (`ttft`, `tpot` or `latency`) and value over limit, above 1."""

    limit: str
    factor: float


@dataclass(frozen=True)
class SLO:
    """Limits on time to first token, time per output token and time to the last token [s]; inf or None: no limit.

    percentile : share of the requests that must meet a limit [%], above 0 and below 100; one number for all limits, or
        a mapping by limit (`{"ttft": 99}`), the others at 50. The default is the median, the figure in which the closed
        forms are compared: the mean of TTFT is some 1.6 times it, so a limit on the mean is the stricter one.

    Raises InputError for a limit or percentile that is zero, negative, NaN or no number.
    """

    ttft_s: float = math.inf
    tpot_s: float = math.inf
    latency_s: float = math.inf
    percentile: float | Mapping[str, float] | tuple[float, float, float] = MEDIAN

    def __post_init__(self) -> None:
        for name in LIMITS:
            field = f"{name}_s"
            value = getattr(self, field)
            object.__setattr__(self, field, math.inf if value is None else _positive(field, value, math.inf))
        object.__setattr__(self, "percentile", _percentiles(self.percentile))

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set [s], by name."""
        return {name: value for name in LIMITS if (value := getattr(self, f"{name}_s")) < math.inf}

    def percentile_of(self, limit: str) -> float:
        """The percentile [%] at which a limit holds. Raises InputError for a name that is not one of `LIMITS`."""
        if limit not in LIMITS:
            raise unknown_name("limit", limit, LIMITS)
        if isinstance(self.percentile, tuple):
            return self.percentile[LIMITS.index(limit)]
        return float(self.percentile)  # type: ignore[arg-type]  # a mapping became a tuple

    def factors(self, ttft: ArrayLike, tpot: ArrayLike, latency: ArrayLike) -> NDArray[np.float64]:
        """Values over their limits, float64[3, ...] in the order of `LIMITS`: above 1 a limit is missed.

        ttft, tpot, latency : at their percentiles [s], broadcast; tpot 0 where OSL is 1. 0 where there is no limit, inf
        where a limit is set and the value is NaN: what never comes meets none. Raises InputError for values below 0.
        """
        values = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (ttft, tpot, latency)))
        found = np.zeros((len(LIMITS), *values[0].shape))
        for row, (name, value) in enumerate(zip(LIMITS, values, strict=True)):
            if (value < 0.0).any():
                raise InputError(f"{name} = {value[value < 0.0][0]:g}: a time is never negative")
            if name in self.limits:
                found[row] = np.where(np.isnan(value), np.inf, value / self.limits[name])
        return found

    def violations(self, ttft: float, tpot: float, latency: float) -> Violation | None:
        """The limit that is missed by the largest factor, None where all are met; scalars as in `factors`."""
        factors = self.factors(ttft, tpot, latency)
        worst = int(np.argmax(factors))
        return Violation(LIMITS[worst], float(factors[worst])) if factors[worst] > 1.0 else None


def _positive(field: str, value: object, most: float) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = math.nan
    if not 0.0 < found <= most:
        bound = "" if math.isinf(most) else f" and below {most:g}"
        raise InputError(f"{field} = {value!r}: give a number above 0{bound}")
    return found


def _percentiles(given: object) -> float | tuple[float, float, float]:
    """One number where all limits have the same, else one a limit."""
    if isinstance(given, Mapping):
        for name in given:
            if name not in LIMITS:
                raise unknown_name("limit", str(name), LIMITS)
        given = tuple(given.get(name, MEDIAN) for name in LIMITS)
    if not isinstance(given, tuple | list):
        given = (given,) * len(LIMITS)
    if len(given) != len(LIMITS):
        raise InputError(f"percentile = {given!r}: give one number, or one each for {', '.join(LIMITS)}")
    below = math.nextafter(100.0, 0.0)
    ttft, tpot, latency = (_positive("percentile", value, below) for value in given)
    return ttft if ttft == tpot == latency else (ttft, tpot, latency)
