"""How far predictions are from what was measured: errors of each quantity, over all rows and by group.

A row counts for a quantity where it has both numbers. Rows that their file flags are scored apart and never mixed in.
Rows of one (source, model, gpu) are near repeats of each other, so every figure is there twice: all rows alike, and
all such groups alike however many rows they have.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.validation.names import framework

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.validation.measured import Measured, Point
    from roofline.validation.predict import Predictions

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Bands = Mapping[str, tuple[Floats, Floats]]

QUANTITIES = {
    "tpot": "time per output token",
    "ttft": "time to first token",
    "throughput": "output tokens/s of the deployment; input and output where only their sum was measured",
    "joules_per_token": "energy of the accelerators per output token",
    "power": "mean draw of one accelerator",
    "wall_power": "mean draw of whole systems at the wall: accelerators, hosts, fans and losses of power supplies",
    "wall_joules_per_token": "energy of whole systems at the wall per output token",
    "power_given_tpot": "power where a token takes the time that was measured: the error of power by itself",
}
"""What is scored, with its meaning."""

FIELDS = {
    "tpot_s": ("tpot_s", "tpot_s"),
    "ttft_s": ("ttft_s", "ttft_s"),
    "output_tok_per_s": ("output_tok_s", "output_tok_s"),
    "total_tok_per_s": ("total_tok_s", "total_tok_s"),
    "joules_per_token": ("joules_per_token", "joules_per_token"),
    "power_w": ("power_w", "power_w"),
    "wall_power_w": ("wall_w", "wall_w"),
    "wall_joules_per_token": ("wall_joules_per_token", "wall_joules_per_token"),
    "power_given_tpot_w": ("power_w", ""),
}
"""Numbers of a row by name and unit, with the attributes of `Point` and of `Predictions` that hold them.

The last one is `Predictions.power_at` the measured mean time per output token."""

OF_QUANTITY = {
    "tpot": ("tpot_s",),
    "ttft": ("ttft_s",),
    "throughput": ("output_tok_per_s", "total_tok_per_s"),
    "joules_per_token": ("joules_per_token",),
    "power": ("power_w",),
    "wall_power": ("wall_power_w",),
    "wall_joules_per_token": ("wall_joules_per_token",),
    "power_given_tpot": ("power_given_tpot_w",),
}
"""Which number a quantity is scored on: the first that was measured."""

BY = ("source", "gpu", "model", "framework", "batch")
"""What rows can be grouped by. framework: family of servers; batch: clients or sequences, by powers of two."""

UNKNOWN = "unknown"

CAP = 1.0
"""The most that one row adds to MAPE: a prediction ten times too high says no more than that it is useless."""


@dataclass(frozen=True)
class Errors:
    """Errors of some rows, as shares of what was measured. NaN where there is no row.

    n : rows.   mdape : median absolute error.   mape : mean, each row capped at 1.   p90 : 90th percentile.
    bias : exp of the median log of predicted over measured; above 1 promises more than was measured.
    coverage : share of rows within the band given for them; NaN where none was given.
    """

    n: int
    mdape: float
    mape: float
    p90: float
    bias: float
    coverage: float


@dataclass(frozen=True)
class Line:
    """Errors of one quantity over all rows (by and group empty) or over those of one group.

    flagged : whether these are the rows that their file flags, or all others.   measured : rows with a measurement.
    rows : all rows alike.   groups : all groups of (source, model, gpu) alike; n is their number.
    """

    quantity: str
    by: str
    group: str
    flagged: bool
    measured: int
    rows: Errors
    groups: Errors


@dataclass(frozen=True)
class Unpredicted:
    """Rows without any prediction, for one reason."""

    reason: str
    flagged: bool
    rows: int


@dataclass(frozen=True, eq=False)
class Scores:
    """How far predictions are from a file of measured points.

    lines : errors, all rows first.   unpredicted : the most rows first.   measured_values, predicted_values : by name
    of `FIELDS`, float64[rows], NaN where there is none.   bands : by the same names, low and high.
    """

    measured: Measured
    lines: tuple[Line, ...]
    unpredicted: tuple[Unpredicted, ...]
    measured_values: Mapping[str, Floats]
    predicted_values: Mapping[str, Floats]
    bands: Bands
    reason: NDArray[np.object_]
    kind: tuple[str, ...]
    by: tuple[str, ...]

    @property
    def points(self) -> tuple[Point, ...]:
        """The rows, in the order of the file."""
        return self.measured.points

    def line(self, quantity: str, by: str = "", group: str = "", *, flagged: bool = False) -> Line:
        """One line. Raises KeyError where there is none."""
        for line in self.lines:
            if (line.quantity, line.by, line.group, line.flagged) == (quantity, by, group, flagged):
                return line
        raise KeyError((quantity, by, group, flagged))

    def pairs(self, quantity: str, *, flagged: bool | None = False) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """(measured, predicted, row) of all rows that count for a quantity, SI units.   flagged : None for both."""
        measured, predicted, _, _ = chosen(quantity, self.measured_values, self.predicted_values, self.bands)
        keep = usable(measured, predicted)
        if flagged is not None:
            keep &= np.array([bool(point.flagged) == flagged for point in self.points], dtype=bool)
        at = np.flatnonzero(keep)
        return measured[at], predicted[at], at


def usable(measured: Floats, predicted: Floats) -> Flags:
    """Rows with both numbers, finite and above 0: a ratio needs both."""
    with np.errstate(invalid="ignore"):
        kept: Flags = np.isfinite(measured) & np.isfinite(predicted) & (measured > 0.0) & (predicted > 0.0)
    return kept


def quantile(values: Floats, weights: Floats, share: float) -> float:
    """Quantile of weighted values: straight between the middles of their weights (Hazen's, where all weigh alike).

    NaN where there are no values.
    """
    if values.size == 0:
        return math.nan
    order = np.lexsort((weights, values))  # equal values by weight, so that the order of rows does not count
    mass = weights[order]
    middle = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    return float(np.interp(share, middle, values[order]))


def errors(
    measured: Floats, predicted: Floats, weights: Floats, low: Floats | None = None, high: Floats | None = None
) -> Errors:
    """Errors of rows that all have both numbers, weighted.   low, high : the band of each row, NaN for none."""
    n = int(measured.size)
    if n == 0:
        return Errors(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    ape = np.abs(predicted - measured) / measured
    share = weights / weights.sum()
    coverage = math.nan
    if low is not None and high is not None:
        given = np.isfinite(low) & np.isfinite(high)
        if given.any():
            inside = (low[given] <= measured[given]) & (measured[given] <= high[given])
            coverage = float((share[given] * inside).sum() / share[given].sum())
    return Errors(
        n,
        quantile(ape, weights, 0.5),
        float((share * np.minimum(ape, CAP)).sum()),
        quantile(ape, weights, 0.9),
        math.exp(quantile(np.log(predicted / measured), weights, 0.5)),
        coverage,
    )


def chosen(
    quantity: str, measured: Mapping[str, Floats], predicted: Mapping[str, Floats], bands: Bands
) -> tuple[Floats, Floats, Floats, Floats]:
    """(measured, predicted, low, high) of a quantity for every row, of the first of its numbers that was measured."""
    names = OF_QUANTITY[quantity]
    empty = np.full(measured[names[0]].shape, np.nan)
    found = (empty.copy(), empty.copy(), empty.copy(), empty.copy())
    open_rows = np.ones(empty.shape, dtype=bool)
    for name in names:
        here = open_rows & np.isfinite(measured[name])
        low, high = bands.get(name, (empty, empty))
        for target, values in zip(found, (measured[name], predicted[name], low, high), strict=True):
            target[here] = values[here]
        open_rows &= ~here
    return found


def octave(batch: float | None) -> str:
    """The power of two that a batch lies in, as 64-127."""
    if batch is None or batch < 1.0:
        return UNKNOWN
    low = 1 << (round(batch).bit_length() - 1)
    return f"{low}-{2 * low - 1}" if low > 1 else "1"


def label(point: Point, by: str) -> str:
    """The group of a row. Raises InputError for a grouping that is not known."""
    if by not in BY:
        raise InputError(f"by {by}: rows are grouped by {', '.join(BY)}")
    if by == "batch":
        return octave(point.concurrency_or_batch)
    if by == "framework":
        return framework(point.framework).family if point.framework else UNKNOWN
    return str(getattr(point, by))


def _order(by: str, name: str) -> tuple[float, str]:
    """Batches in their order, what is unknown last, names by the alphabet."""
    if name == UNKNOWN:
        return (math.inf, name)
    return (float(name.split("-")[0]) if by == "batch" else 0.0, name)


def values_of(points: Sequence[Point], attribute: str) -> Floats:
    """A number of each point, NaN where it has none."""
    held = (getattr(point, attribute) for point in points)
    return np.array([math.nan if value is None else value for value in held], dtype=np.float64)


def score(
    measured: Measured,
    predictions: Predictions,
    *,
    by: Iterable[str] = BY,
    bands: Bands | None = None,
    kind: Sequence[str] = (),
) -> Scores:
    """Errors of predictions for all points of a file.

    predictions : one for each point, in the order of the file.   by : groupings, of `BY`.
    bands : name of `FIELDS` -> (low, high) of each row, NaN for none.   kind : of each row's case, for a row-wise file.
    Raises InputError for an unknown grouping, ValueError where there are more or fewer predictions than points.
    """
    points = measured.points
    if len(predictions.reason) != len(points):
        raise ValueError(f"{len(predictions.reason)} predictions for {len(points)} points")
    wanted = tuple(dict.fromkeys(by))
    groupings = {name: np.array([label(point, name) for point in points], dtype=object) for name in wanted}
    _, group = np.unique([f"{p.source}\0{p.model}\0{p.gpu}" for p in points], return_inverse=True)
    flagged = np.array([bool(point.flagged) for point in points], dtype=bool)
    truth = {name: values_of(points, mine) for name, (mine, _) in FIELDS.items()}
    found = {name: np.asarray(getattr(predictions, theirs)) for name, (_, theirs) in FIELDS.items() if theirs}
    mean_s = predictions.mean_tpot_s(truth["tpot_s"], truth["output_tok_per_s"])
    found["power_given_tpot_w"] = predictions.power_at(mean_s)
    truth["power_given_tpot_w"][np.isnan(mean_s)] = np.nan
    reason = predictions.reason
    return Scores(
        measured=measured,
        lines=tuple(_lines(truth, found, bands or {}, groupings, group, flagged)),
        unpredicted=_unpredicted(reason, flagged),
        measured_values=truth,
        predicted_values=found,
        bands=bands or {},
        reason=reason,
        kind=tuple(kind) or ("",) * len(points),
        by=wanted,
    )


def _lines(
    truth: Mapping[str, Floats],
    found: Mapping[str, Floats],
    bands: Bands,
    groupings: Mapping[str, NDArray[np.object_]],
    group: NDArray[np.intp],
    flagged: Flags,
) -> Iterator[Line]:
    for of_flagged in (False, True):
        mine = flagged == of_flagged
        for by, names in (("", np.full(flagged.shape, "", dtype=object)), *groupings.items()):
            groups = sorted(set(names[mine]), key=lambda one, by=by: _order(by, one))  # type: ignore[misc]
            for quantity in QUANTITIES:
                values = chosen(quantity, truth, found, bands)
                for name in groups:
                    line = _line(values, mine & (names == name), group)
                    if line is not None:
                        yield Line(quantity, by, str(name), of_flagged, *line)


def _line(
    values: tuple[Floats, Floats, Floats, Floats], rows: Flags, group: NDArray[np.intp]
) -> tuple[int, Errors, Errors] | None:
    """(rows measured, errors by row, errors by group), or None where nothing was measured."""
    measured, predicted, low, high = values
    had = rows & np.isfinite(measured) & (measured > 0.0)
    if not had.any():
        return None
    keep = had & usable(measured, predicted)
    kept = (measured[keep], predicted[keep])
    alike = np.ones(kept[0].shape)
    members = np.bincount(group[keep], minlength=1)
    by_group = errors(*kept, 1.0 / members[group[keep]], low[keep], high[keep])
    by_group = Errors(int(np.count_nonzero(members)), *_figures(by_group))
    return int(had.sum()), errors(*kept, alike, low[keep], high[keep]), by_group


def _figures(found: Errors) -> tuple[float, float, float, float, float]:
    return (found.mdape, found.mape, found.p90, found.bias, found.coverage)


def _unpredicted(reason: NDArray[np.object_], flagged: Flags) -> tuple[Unpredicted, ...]:
    counted = Counter((str(why), bool(flag)) for why, flag in zip(reason, flagged, strict=True) if why)
    ranked = sorted(counted.items(), key=lambda item: (item[0][1], -item[1], item[0][0]))
    return tuple(Unpredicted(why, flag, rows) for (why, flag), rows in ranked)


def row_records(scores: Scores) -> Iterator[dict[str, Any]]:
    """One record a row of the file: who it is, why it has no prediction, and each number measured and predicted."""
    for i, point in enumerate(scores.points):
        record: dict[str, Any] = {"row_id": point.row_id, "source": point.source, "model": point.model}
        record |= {"gpu": point.gpu, "framework": point.framework, "kind": scores.kind[i], "flags": point.flags}
        record["reason"] = str(scores.reason[i])
        for name in FIELDS:
            record[f"measured_{name}"] = float(scores.measured_values[name][i])
            record[f"predicted_{name}"] = float(scores.predicted_values[name][i])
            if name in scores.bands:
                low, high = scores.bands[name]
                record |= {f"predicted_{name}_low": float(low[i]), f"predicted_{name}_high": float(high[i])}
        yield record
