"""A few constants of serving stacks fitted to measured closed loops: what `roofline calibrate` does."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.validation.conditions import Case, case_of
from roofline.validation.fitting import NORMAL_90, Data, Model, Prior, fit, values_at, weights
from roofline.validation.measured import read
from roofline.validation.run import only
from roofline.validation.score import errors, usable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from roofline import specs
    from roofline.validation.fitting import Fit
    from roofline.validation.measured import Measured, Point
    from roofline.validation.score import Errors

    Floats = NDArray[np.float64]

_STEP_S, _SEQUENCE_S, _TTFT_S = (10e-6, 20e-3), (0.1e-6, 1e-3), (0.5e-3, 5.0)

CONSTANTS = (
    *(
        Prior(f"{server}-{generation}.stack.step_s", 1.0e-3, 0.7, *_STEP_S)
        for server in ("trtllm", "sglang", "vllm")
        for generation in ("hopper", "blackwell")
    ),
    Prior("sglang-cdna4.stack.step_s", 1.0e-3, 0.7, *_STEP_S),
    *(Prior(f"{server}.stack.sequence_s", 15e-6, 0.7, *_SEQUENCE_S) for server in ("trtllm", "sglang", "vllm")),
    Prior("sglang.stack.ttft_s", 20e-3, 1.0, *_TTFT_S),
    Prior("vllm-hopper.stack.ttft_s", 20e-3, 1.0, *_TTFT_S),
    Prior("vllm-blackwell.stack.ttft_s", 20e-3, 1.0, *_TTFT_S),
    Prior("sglang-blackwell.stack.wait_steps", 10.0, 0.7, 0.01, 100.0),
)
"""What is fitted. Few, so that what they say of one model holds for another: none is of a model or of an accelerator.

All are of stacks, one for each family of servers and generation of accelerators where the data tell them apart; shares
of peaks and fixed times of kernels stay where kernels were measured. Priors are the same for all servers: host time of
a step within a factor of 2 (one sigma), times around a request within a factor of 2.7. SGLang's runs on Blackwell hand
tokens on every few tens of steps (--stream-interval): that is in the wait for the first. TensorRT-LLM's do so in some
runs and not in others (stream_interval), which no constant describes: its time around a request is its sheet's."""

WIDE = 0.9
"""An interval of at least this share of the prior's says that the data have not told the constant."""

LEFT_OUT = ("model", "gpu", "framework")
"""What whole groups of rows are left out by, each in turn. Models of equal shapes count as one."""

QUANTITIES = ("tpot", "ttft")


@dataclass(frozen=True)
class Fitted:
    """One constant.   value : fitted.   low, high : 90 % interval.   start : centre of its prior.

    prior_low, prior_high : 90 % interval before the data.   unit : "s", "steps", or "" for a factor.
    identified : whether the interval is narrower than the prior's.   at_bound : whether it stopped at its limit.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    start: float
    prior_low: float
    prior_high: float
    identified: bool
    at_bound: bool

    @property
    def said(self) -> str:
        """What is to be known about it besides its numbers."""
        notes = ["" if self.identified else "not identified by these data"]
        notes += ["at its bound" if self.at_bound else ""]
        return "; ".join(note for note in notes if note)


@dataclass(frozen=True)
class Score:
    """Errors of one quantity.   fits : that it took.

    how : before (untuned), fitted, or without-X, where each row is predicted by constants fitted without all rows of
    its X; no rows where there is but one X.
    """

    how: str
    quantity: str
    fits: int
    errors: Errors


@dataclass(frozen=True, eq=False)
class Calibration:
    """Constants fitted to a table.   rows : used, as they were ordered.   cases : of those rows.

    values : fitted constants by name.   predicted : TPOT and TTFT [s] of the rows with them, float64[n, 2].
    outside : (what was left out: of `LEFT_OUT`, its name) -> constants fitted without its rows.
    """

    measured: Measured
    points: tuple[Point, ...]
    cases: tuple[Case, ...]
    constants: tuple[Fitted, ...]
    scores: tuple[Score, ...]
    values: dict[str, float]
    predicted: Floats
    outside: dict[tuple[str, str], dict[str, float]]

    def score(self, how: str, quantity: str) -> Errors:
        """One of the scores. Raises KeyError where there is none."""
        for one in self.scores:
            if (one.how, one.quantity) == (how, quantity):
                return one.errors
        raise KeyError((how, quantity))


def calibrate(
    data: str | Path,
    *,
    source: str | Sequence[str] | None = None,
    priors: Sequence[Prior] = CONSTANTS,
    leave_one_out: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Fit `priors` to the closed loops of a table that are not flagged.

    source : only rows of these sources.   leave_one_out : also fit without each model, GPU and family of servers.
    progress : told of each fit as it ends.
    The same rows give the same constants, in whatever order they stand.
    Raises InputError where the table cannot be read, or has no closed loop that is predicted, or fewer of them than
    there are constants.
    """
    measured = only(read(data), (source,) if isinstance(source, str) else tuple(source or ()))
    points, cases = _usable(measured)
    _enough(measured, len(points), len(priors))
    model = Model(cases, priors)
    truth = np.array([[p.tpot_s or np.nan, p.ttft_s or np.nan] for p in points], dtype=np.float64)
    before = model.predict({})
    runs = np.asarray(usable(truth, before).any(axis=1))
    if not runs.all():
        points = [point for point, ok in zip(points, runs, strict=True) if ok]
        cases = [case for case, ok in zip(cases, runs, strict=True) if ok]
        _enough(measured, len(points), len(priors))
        model, truth, before = Model(cases, priors), truth[runs], before[runs]
    truth[~usable(truth, before)] = np.nan
    found = Data(truth, weights([(p.source, c.model.id, p.gpu) for p, c in zip(points, cases, strict=True)]))
    return _fitted(measured, points, cases, model, found, before, priors, leave_one_out, progress)


def _fitted(
    measured: Measured,
    points: Sequence[Point],
    cases: Sequence[Case],
    model: Model,
    data: Data,
    before: Floats,
    priors: Sequence[Prior],
    leave_one_out: bool,
    progress: Callable[[str], None],
) -> Calibration:
    centres = np.array([prior.centre() for prior in priors])
    every, n = np.ones(len(points), dtype=bool), len(points)
    labels = {by: _labels(by, points, cases) for by in LEFT_OUT} if leave_one_out else {}
    left = [(by, name) for by, held in labels.items() if len(set(held)) > 1 for name in sorted(set(held))]
    fits = 2 + len(left)

    def timed(number: int, what: str, rows: NDArray[np.bool_], x: Floats) -> Fit:
        began = time.perf_counter()
        done = fit(model, data, priors, centres, rows, x)
        took = time.perf_counter() - began
        progress(f"fit {number} of {fits}: {what}, {int(rows.sum())} rows, {took:.1f} s")
        return done

    # How many sequences decode together depends a little on the constants: it is tabled at the sheets', then again.
    first = timed(1, "all rows", every, np.zeros(len(priors)))
    model.table_at(values_at(priors, centres, first.x))
    best = timed(2, "all rows, with batches of the first fit", every, first.x)
    outside = {by: np.full(data.measured.shape, np.nan) for by in labels}
    without: dict[tuple[str, str], dict[str, float]] = {}
    for i, (by, name) in enumerate(left):
        rows = labels[by] != name
        found = timed(3 + i, f"without {by} {name}", rows, best.x)
        without[by, str(name)] = values_at(priors, centres, found.x)
        outside[by][~rows] = model.predict(without[by, str(name)])[~rows]
    values = values_at(priors, centres, best.x)
    model.table_at(values)
    predicted = model.predict(values)
    scores = _scores("before", before, data, 0) + _scores("fitted", predicted, data, 1)
    for by, unseen in outside.items():
        scores += _scores(f"without-{by}", unseen, data, sum(of == by for of, _ in left))
    progress(f"{n} rows of {len(measured.points)} used")
    constants = tuple(_constant(prior, i, best, centres, values) for i, prior in enumerate(priors))
    return Calibration(measured, tuple(points), tuple(cases), constants, tuple(scores), values, predicted, without)


def _usable(measured: Measured) -> tuple[list[Point], list[Case]]:
    """Closed loops without flags, in an order that is not the file's."""
    names = [field.name for field in fields(measured.points[0]) if field.name not in ("row_id", "line")]
    held = [(point, case_of(point)) for point in measured.points if not point.flagged]
    rows = [(point, case) for point, case in held if isinstance(case, Case) and case.kind == "closed"]
    rows = [(point, case) for point, case in rows if point.tpot_s or point.ttft_s]
    # A row without an id has its line for one: what it says comes first.
    rows.sort(key=lambda row: ([str(getattr(row[0], name)) for name in names], row[0].row_id))
    return [point for point, _ in rows], [case for _, case in rows]


def _enough(measured: Measured, rows: int, constants: int) -> None:
    if rows < max(1, constants):
        raise InputError(
            f"{measured.path}: {rows} of its {len(measured.points)} rows can be used and {constants} constants are "
            "fitted; give at least as many rows without flags, of closed loops (metric_kind online_serving), with "
            "ttft_ms or tpot_ms"
        )


def shape_of(model: specs.Model) -> str:
    """What a model costs by, as text: equal for models that differ in weights alone, which are left out together."""
    return model.model_dump_json(
        exclude={"id", "name", "aliases", "notes", "sources", "recipes", "family", "max_context"}
    )


def _labels(by: str, points: Sequence[Point], cases: Sequence[Case]) -> NDArray[np.object_]:
    if by == "gpu":
        return np.array([point.gpu for point in points], dtype=object)
    if by == "framework":
        return np.array([case.framework for case in cases], dtype=object)
    shapes = {name: shape_of(model) for name, model in sorted({case.model.id: case.model for case in cases}.items())}
    first: dict[str, str] = {}
    for name, shape in shapes.items():
        first.setdefault(shape, name)
    return np.array([first[shapes[case.model.id]] for case in cases], dtype=object)


def _scores(how: str, predicted: Floats, data: Data, fits: int) -> list[Score]:
    found = []
    for i, quantity in enumerate(QUANTITIES):
        keep = usable(data.measured[:, i], predicted[:, i])
        truth, value = data.measured[keep, i], predicted[keep, i]
        found.append(Score(how, quantity, fits, errors(truth, value, np.ones(truth.size))))
    return found


def _constant(prior: Prior, i: int, best: Fit, centres: Floats, values: dict[str, float]) -> Fitted:
    parts = prior.parts
    unit = "s" if parts.kind == "stack" else ""
    unit = "steps" if parts.field == "wait_steps" else unit
    return constant_of(prior.name, unit, prior, values[prior.name], float(centres[i]), float(best.sigma[i]))


def constant_of(name: str, unit: str, prior: Prior, value: float, start: float, sigma: float) -> Fitted:
    """A fitted constant with its interval and its prior's.   sigma : standard deviation of its log at the optimum."""
    wide, before = np.exp(NORMAL_90 * sigma), np.exp(NORMAL_90 * prior.sigma)
    return Fitted(
        name=name,
        unit=unit,
        value=value,
        low=max(float(value / wide), prior.lower),
        high=min(float(value * wide), prior.upper),
        start=start,
        prior_low=max(float(start / before), prior.lower),
        prior_high=min(float(start * before), prior.upper),
        identified=bool(sigma < WIDE * prior.sigma),
        at_bound=bool(value <= prior.lower * 1.001 or value >= prior.upper * 0.999),
    )
