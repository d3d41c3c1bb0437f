"""Lengths of requests: moments, tails and equally likely strata of a number, a lognormal or measured pairs.

A number of tokens is a whole number, a `Lognormal`, or one of the two columns of `Pairs`. Closed forms of a `Lognormal`
are those of the continuous one; what is drawn from it is rounded to whole tokens, at least 1.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.serving.service import Lognormal
from roofline.serving.tables import read_columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Marginal = int | Lognormal
"""A length by itself: the same for all requests, or spread."""

WHOLE = "give a whole number of tokens, at least 1"

HALVINGS = 80
"""Bisections of an interval: down to the last bit of a float."""


class Pairs:
    """ISL and OSL of requests as they were seen, each pair equally likely. float64[n] whole numbers >= 1, read-only.

    Raises InputError naming field, row (from 1) and value.
    """

    def __init__(self, isl: ArrayLike, osl: ArrayLike) -> None:
        self.isl, self.osl = _tokens("isl", isl), _tokens("osl", osl)
        if self.isl.size != self.osl.size:
            raise InputError(f"isl, osl: have {self.isl.size} and {self.osl.size} values; pairs need as many of each")

    @classmethod
    def read(cls, path: str | Path) -> Pairs:
        """The columns isl and osl of a CSV or Parquet file. Raises InputError naming file, line, field and value."""
        columns, place = read_columns(Path(path), ("isl", "osl"))
        wrong = [(row, name) for name, column in columns.items() if (row := _first_wrong(column)) is not None]
        if wrong:
            row, name = min(wrong)
            raise InputError(f"{place(row)}: {name} = {columns[name][row]:g}: {WHOLE}")
        return cls(columns["isl"], columns["osl"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pairs):
            return NotImplemented
        return np.array_equal(self.isl, other.isl) and np.array_equal(self.osl, other.osl)

    def __hash__(self) -> int:
        return hash((self.isl.tobytes(), self.osl.tobytes()))

    def __len__(self) -> int:
        return self.isl.size

    def __repr__(self) -> str:
        return f"Pairs of {len(self)}, mean {self.isl.mean():g}/{self.osl.mean():g}"

    @cached_property
    def shortest(self) -> int:
        """The least ISL."""
        return int(self.isl.min())


def _tokens(field: str, values: ArrayLike) -> Floats:
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{field} = {values!r}: give whole numbers of tokens") from None
    if found.ndim != 1 or found.size == 0:
        raise InputError(f"{field}: has shape {found.shape}; give a list of at least one number")
    row = _first_wrong(found)
    if row is not None:
        raise InputError(f"{field}[{row + 1}] = {found[row]:g}: {WHOLE}")
    found.setflags(write=False)
    return found


def _first_wrong(values: Floats) -> int | None:
    """Index of the first value that is no number of tokens."""
    wrong = np.flatnonzero(~np.isfinite(values) | (values < 1.0) | (values != np.rint(values)))
    return int(wrong[0]) if wrong.size else None


def normal_cdf(z: ArrayLike) -> Floats:
    """Standard normal distribution function, elementwise."""
    return np.asarray(_normal_cdf(z), dtype=np.float64)


_normal_cdf = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2.0)), otypes=[np.float64])


def _log_moments(kind: Lognormal) -> tuple[float, float]:
    """mu and sigma of the logarithm."""
    variance = math.log1p(kind.cv**2)
    return math.log(kind.mean) - variance / 2.0, math.sqrt(variance)


def mean(kind: Marginal) -> float:
    """Mean length."""
    return kind.mean if isinstance(kind, Lognormal) else float(kind)


def variation(kind: Marginal) -> float:
    """Coefficient of variation."""
    return kind.cv if isinstance(kind, Lognormal) else 0.0


def mean_excess(kind: Marginal, length: float) -> float:
    """E[max(X - length, 0)] of the continuous distribution; length >= 0."""
    if not isinstance(kind, Lognormal):
        return max(kind - length, 0.0)
    if length <= 0.0:
        return kind.mean - length
    mu, sigma = _log_moments(kind)
    z = (mu - math.log(length)) / sigma
    above, share = normal_cdf([z + sigma, z])
    return max(kind.mean * float(above) - length * float(share), 0.0)


def longer(kind: Marginal, lengths: Floats) -> Floats:
    """P(X > length) of whole numbers of tokens, for each length >= 0. float64[n]."""
    whole = np.floor(lengths)
    if not isinstance(kind, Lognormal):
        return np.asarray(kind > whole, dtype=np.float64)
    mu, sigma = _log_moments(kind)
    tail = normal_cdf((mu - np.log(whole + 0.5)) / sigma)  # drawn lengths are rounded
    return np.where(whole < 1.0, 1.0, tail)


def strata(kind: Marginal, count: int) -> Floats:
    """Mean length in each of `count` equally likely intervals, ascending; their mean is the mean. float64[<= count]."""
    if not isinstance(kind, Lognormal):
        return np.array([float(kind)])
    _, sigma = _log_moments(kind)
    z = np.array([NormalDist().inv_cdf(i / count) for i in range(1, count)])
    below = np.concatenate([[0.0], normal_cdf(z - sigma), [1.0]])
    return kind.mean * count * np.diff(below)


def positions(kind: Marginal, count: int) -> Floats:
    """Mean number of output tokens before a token, plus 1/2, in each of `count` equally likely intervals of tokens.

    A token drawn from all output tokens lies at a position u with density P(O > u)/E[O] (the length-biased residual of
    renewal theory). Ascending; their mean is E[O^2]/(2 E[O]). float64[count].
    """
    quantiles = np.arange(1, count) / count
    if not isinstance(kind, Lognormal):
        return kind * (np.arange(count) + 0.5) / count
    mu, sigma = _log_moments(kind)
    second = kind.mean**2 * (1.0 + kind.cv**2)

    def below(u: Floats) -> Floats:
        """Share of tokens before position u: E[min(O, u)]/E[O]."""
        z = (np.log(u) - mu) / sigma
        return normal_cdf(z - sigma) + u * normal_cdf(-z) / kind.mean

    low = np.full(count - 1, math.log(kind.mean) - 40.0 * sigma - 40.0)
    high = np.full(count - 1, math.log(kind.mean) + 40.0 * sigma * (1.0 + sigma))
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        short = below(np.exp(middle)) < quantiles
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    edges = np.exp(0.5 * (low + high))
    z = (np.log(edges) - mu) / sigma
    moment = 0.5 * (edges**2 * normal_cdf(-z) + second * normal_cdf(z - 2.0 * sigma)) / kind.mean
    return count * np.diff(np.concatenate([[0.0], moment, [0.5 * second / kind.mean]]))


def equal_groups(values: Floats, count: int) -> Floats:
    """Means of `count` groups of equal weight of equally likely values, ascending; a value may be split. float64."""
    ordered = np.sort(values)
    moments = np.concatenate([[0.0], np.cumsum(ordered)]) / ordered.size
    share = np.arange(ordered.size + 1) / ordered.size
    return count * np.diff(np.interp(np.arange(count + 1) / count, share, moments))


def token_groups(isl: Floats, osl: Floats, count: int) -> Floats:
    """Mean context, less 1/2, in `count` groups of equal weight of all decoded tokens, ascending. float64[count].

    A request spreads its OSL tokens evenly over (ISL, ISL + OSL]: their density is a staircase, integrated as such.
    """
    ends = np.concatenate([isl, isl + osl])
    order = np.argsort(ends, kind="stable")
    ends = ends[order]
    height = np.cumsum(np.repeat([1.0, -1.0], isl.size)[order])[:-1]
    width = np.diff(ends)
    share = np.concatenate([[0.0], np.cumsum(height * width)])
    moment = np.concatenate([[0.0], np.cumsum(height * width * 0.5 * (ends[1:] + ends[:-1]))])
    wanted = np.arange(1, count) / count * share[-1]
    step = np.searchsorted(share, wanted, side="left") - 1
    edge = ends[step] + (wanted - share[step]) / height[step]
    inner = moment[step] + height[step] * 0.5 * (edge**2 - ends[step] ** 2)
    edges = np.concatenate([[0.0], inner, [moment[-1]]])
    return np.asarray(np.diff(edges) * (count / share[-1]), dtype=np.float64)
