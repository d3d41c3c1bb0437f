"""Coefficients of equation (16) fitted to measured draw: the second, small fit of `roofline calibrate`.

Draw is fitted where a token takes the time that was measured, so that errors of times are not in the coefficients.
One pair for each generation of accelerators that has rows with power; its own two numbers are all that is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from roofline.validation.calibrate import Fitted, Score, constant_of, shape_of
from roofline.validation.conditions import Case, case_of
from roofline.validation.fitting import Data, Prior, fit, values_at, weights
from roofline.validation.measured import read
from roofline.validation.predict import evaluate, prepare
from roofline.validation.run import only
from roofline.validation.score import errors, quantile, usable, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from roofline.validation.fitting import Fit
    from roofline.validation.measured import Measured, Point
    from roofline.validation.predict import Predictions, Prepared

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

COEFFICIENTS = {"draw_a": Prior("draw_a", 4.5, 1.0, 0.1, 50.0), "draw_b": Prior("draw_b", 0.65, 1.0, 0.01, 10.0)}
"""Fields of an accelerator's `power` that are fitted, with priors: the same for all generations, a factor of 2.7 wide.
"""

FEWEST = 10
"""Rows of a generation from which its two coefficients are fitted."""

QUANTITIES = ("power_given_tpot", "joules_per_token")

HOW = ("before", "fitted", "without-model", "constant")
"""before: sheets as they are.   fitted: in sample.   without-model: coefficients fitted without all rows of the row's
model (models of equal shapes count as one).   constant: every row the one share of TDP that is best for all of them."""


@dataclass(frozen=True)
class Group:
    """Rows of one source, model and GPU: median absolute errors of draw at measured times; NaN where none.

    fitted, without_model, constant : as `HOW` says.
    """

    source: str
    model: str
    gpu: str
    rows: int
    fitted: float
    without_model: float
    constant: float


@dataclass(frozen=True)
class PowerFit:
    """Coefficients of one generation.   accelerators : ids of its sheets in the data.   rows : used.

    share : of TDP that all rows draw in the score `constant`.
    """

    generation: str
    accelerators: tuple[str, ...]
    rows: int
    constants: tuple[Fitted, ...]
    scores: tuple[Score, ...]
    groups: tuple[Group, ...]
    share: float

    def score(self, how: str, quantity: str) -> Score:
        """One of the scores. Raises KeyError where there is none."""
        for one in self.scores:
            if (one.how, one.quantity) == (how, quantity):
                return one
        raise KeyError((how, quantity))


def calibrate_power(
    data: str | Path,
    *,
    source: str | Sequence[str] | None = None,
    leave_one_out: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[PowerFit, ...]:
    """Fit the coefficients of a table's rows with power; arguments as `calibrate.calibrate`.

    Nothing is returned where no generation has `FEWEST` of them. Raises InputError where the table cannot be read.
    """
    measured = only(read(data), (source,) if isinstance(source, str) else tuple(source or ()))
    return fit_power(measured, leave_one_out=leave_one_out, progress=progress)


def fit_power(
    measured: Measured, *, leave_one_out: bool = True, progress: Callable[[str], None] = lambda _: None
) -> tuple[PowerFit, ...]:
    """As `calibrate_power`, of a table that is read. The same rows give the same numbers, in whatever order they stand.

    Rows count that have no flags, a power, a time per token or a rate, and a prediction.
    """
    names = [field.name for field in fields(measured.points[0]) if field.name not in ("row_id", "line")]
    held = [(point, case_of(point)) for point in measured.points if not point.flagged and point.power_w]
    rows = [(point, case) for point, case in held if isinstance(case, Case)]
    rows.sort(key=lambda row: ([str(getattr(row[0], name)) for name in names], row[0].row_id))
    found = []
    for generation in sorted({case.generation for _, case in rows}):
        mine = _Rows.of([(point, case) for point, case in rows if case.generation == generation])
        if len(mine.points) >= FEWEST:
            found.append(_fitted(generation, mine, leave_one_out))
            progress(f"power on {generation}: {len(mine.points)} rows")
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of one generation, with what does not depend on the coefficients.

    time_s, power_w, joules : measured, float64[n].
    """

    points: Sequence[Point]
    cases: Sequence[Case]
    prepared: Prepared
    predicted: Predictions
    time_s: Floats
    power_w: Floats
    joules: Floats

    @classmethod
    def of(cls, rows: Sequence[tuple[Point, Case]]) -> _Rows:
        """Those of the rows that are predicted at a measured time."""
        found = cls._of(rows)
        kept = usable(found.power_w, found.predicted.power_at(found.time_s))
        return found if kept.all() else cls._of([row for row, ok in zip(rows, kept, strict=True) if ok])

    @classmethod
    def _of(cls, rows: Sequence[tuple[Point, Case]]) -> _Rows:
        points, cases = [point for point, _ in rows], [case for _, case in rows]
        prepared = prepare(cases)
        predicted = evaluate(prepared)
        tpot_s, rate, power_w, joules = (
            values_of(points, name) for name in ("tpot_s", "output_tok_s", "power_w", "joules_per_token")
        )
        return cls(points, cases, prepared, predicted, predicted.mean_tpot_s(tpot_s, rate), power_w, joules)

    def predict(self, values: Mapping[str, float]) -> Floats:
        """Draw at the measured time [W], and nothing: float64[n, 2], as `fitting.fit` reads it."""
        pair = {f"power_{name[-1]}": np.full(len(self.points), values[name]) for name in COEFFICIENTS}
        watts = replace(self.predicted, **pair).power_at(self.time_s)
        return np.column_stack([watts, np.full(watts.shape, np.nan)])

    def joules_with(self, values: Mapping[str, float]) -> Floats:
        """J per token at predicted times, float64[n]."""
        machines = self.prepared.records.machines.copy()
        machines["power_a"], machines["power_b"] = values["draw_a"], values["draw_b"]
        records = replace(self.prepared.records, machines=machines)
        return evaluate(replace(self.prepared, records=records)).joules_per_token


def _fitted(generation: str, rows: _Rows, leave_one_out: bool) -> PowerFit:
    priors, n = tuple(COEFFICIENTS.values()), len(rows.points)
    centres = np.array([prior.centre() for prior in priors])
    groups = [(p.source, c.model.id, p.gpu) for p, c in zip(rows.points, rows.cases, strict=True)]
    data = Data(np.column_stack([rows.power_w, np.full(n, np.nan)]), weights(groups))
    best = fit(rows, data, priors, centres, np.ones(n, dtype=bool), np.zeros(len(priors)))
    values = values_at(priors, centres, best.x)
    labels = np.array([shape_of(case.model) for case in rows.cases], dtype=object)
    left = sorted(set(labels)) if leave_one_out and len(set(labels)) > 1 else []
    outside, outside_joules = np.full(n, np.nan), np.full(n, np.nan)
    for label in left:
        without = fit(rows, data, priors, centres, labels != label, best.x)
        other = values_at(priors, centres, without.x)
        outside[labels == label] = rows.predict(other)[labels == label, 0]
        outside_joules[labels == label] = rows.joules_with(other)[labels == label]
    inside = rows.predict(values)[:, 0]
    share = best_share(rows.power_w / rows.predicted.tdp_w)
    constant = share * rows.predicted.tdp_w
    watts = {
        "before": (rows.predicted.power_at(rows.time_s), 0),
        "fitted": (inside, 1),
        **({"without-model": (outside, len(left))} if leave_one_out else {}),
        "constant": (constant, 1),
    }
    joules = {
        "before": (rows.predicted.joules_per_token, 0),
        "fitted": (rows.joules_with(values), 1),
        **({"without-model": (outside_joules, len(left))} if leave_one_out else {}),
    }
    scores = [_score(how, "power_given_tpot", rows.power_w, *one) for how, one in watts.items()]
    scores += [_score(how, "joules_per_token", rows.joules, *one) for how, one in joules.items()]
    return PowerFit(
        generation,
        tuple(sorted({case.system.accelerator.id for case in rows.cases})),
        n,
        tuple(_constant(generation, prior, i, best, centres, values) for i, prior in enumerate(priors)),
        tuple(scores),
        _groups(rows, inside, outside, constant),
        share,
    )


def best_share(measured: Floats) -> float:
    """The share of TDP with the smallest median absolute error, to three digits.   measured : shares, float64[n]."""
    shares = np.linspace(0.0, 1.0, 1001)
    medians = np.median(np.abs(shares[:, None] / measured - 1.0), axis=1)
    return float(shares[int(np.argmin(medians))])


def _score(how: str, quantity: str, measured: Floats, predicted: Floats, fits: int) -> Score:
    keep = usable(measured, predicted)
    return Score(how, quantity, fits, errors(measured[keep], predicted[keep], np.ones(int(keep.sum()))))


def _groups(rows: _Rows, *predicted: Floats) -> tuple[Group, ...]:
    names = np.array([f"{p.source}\0{p.model}\0{p.gpu}" for p in rows.points])

    def median(of: Floats, at: Flags) -> float:
        kept = at & np.isfinite(of)
        off = np.abs(of[kept] / rows.power_w[kept] - 1.0)
        return quantile(off, np.ones(off.size), 0.5)

    found = []
    for name in sorted(set(names)):
        at = np.asarray(names == name)
        source, model, gpu = str(name).split("\0")
        found.append(Group(source, model, gpu, int(at.sum()), *(median(of, at) for of in predicted)))
    return tuple(found)


def _constant(generation: str, prior: Prior, i: int, best: Fit, centres: Floats, values: Mapping[str, float]) -> Fitted:
    name = f"{generation}.power.{prior.name}"
    return constant_of(name, "", prior, values[prior.name], float(centres[i]), float(best.sigma[i]))
