"""Measured rows beside predictions by constants that were fitted without their models: what bands are made from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from roofline.serving.bands import BEST, GIVEN, OF_DRAW, QUANTITIES, factors, tiers
from roofline.specs.stack import Stack
from roofline.validation.banding import Residuals
from roofline.validation.calibrate import calibrate, shape_of
from roofline.validation.conditions import Case, case_of
from roofline.validation.measured import read
from roofline.validation.power import fit_power
from roofline.validation.predict import Predictions, evaluate, predict, prepare
from roofline.validation.score import FIELDS, OF_QUANTITY, chosen, usable, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from roofline.validation.measured import Measured, Point
    from roofline.validation.power import PowerFit
    from roofline.validation.predict import Prepared

    Floats = NDArray[np.float64]

KIND_OF = {"closed": "closed", "open": "open", "apart": "apart"}
"""Kind of a case -> kind of a band; all others are batches."""

UNFITTED = "default"
"""The stack that stands where none is fitted: rows are predicted with it a second time, as of the tier below."""


def kind_of(case: Case) -> str:
    """The kind of band of a case, of `roofline.serving.bands.KINDS`."""
    return KIND_OF.get(case.kind, "batch")


def tiers_of(cases: Sequence[Case | str]) -> list[tuple[str, str]]:
    """Tiers of times and of energy of each case, of both of its pools: they are of one accelerator; '' for no case."""
    stacks = {case.stack: Stack.load(case.stack) for case in cases if isinstance(case, Case)}
    known: dict[tuple[str, str], tuple[str, str]] = {}
    found = []
    for case in cases:
        if not isinstance(case, Case):
            found.append(("", ""))
            continue
        accelerator = case.system.accelerator
        key = (accelerator.id, case.stack)
        if key not in known:
            known[key] = tiers(accelerator, stacks[case.stack])
        found.append(known[key])
    return found


def bands_of(cases: Sequence[Case | str], predictions: Predictions) -> dict[str, tuple[Floats, Floats]]:
    """Name of `score.FIELDS` -> (low, high) of each case, NaN where no band is claimed: what `score` takes."""
    found, of = {}, tiers_of(cases)
    for quantity in QUANTITIES:
        ends = np.full((len(cases), 2), np.nan)
        for i, case in enumerate(cases):
            if isinstance(case, Case):
                ends[i] = factors(quantity, kind_of(case), of[i][quantity in OF_DRAW]) or np.nan
        for name in OF_QUANTITY[quantity]:
            predicted = getattr(predictions, FIELDS[name][1])
            found[name] = (ends[:, 0] * predicted, ends[:, 1] * predicted)
    return found


def residuals(
    data: str | Path, *, source: str | Sequence[str] | None = None, progress: Callable[[str], None] = lambda _: None
) -> Residuals:
    """Every row of a table without flags, predicted by constants fitted without all rows of its model.

    source : rows that are fitted to; default all closed loops. A model that none of them is of has the sheets'
    constants. Rows of the calibrated tier come a second time, predicted as if their stack had not been fitted.
    Raises InputError where the table cannot be read or fitted to.
    """
    found = calibrate(data, source=source, progress=progress)
    # As `calibrate` names what it leaves out: the first of the models that are of one shape.
    names = _first_of_each_shape(found.cases)
    left = {shape: found.outside.get(("model", name), {}) for shape, name in names.items()}
    measured = read(data)
    held = [(point, case_of(point)) for point in measured.points if not point.flagged]
    rows = [(point, case) for point, case in held if isinstance(case, Case)]
    points, cases = [point for point, _ in rows], [case for _, case in rows]
    model = _first_of_each_shape(cases)
    about = [(f"{p.source}\0{c.model.id}\0{p.gpu}", model[shape_of(c.model)]) for p, c in rows]
    progress("draw fitted without each model")
    draws = _draws(measured, rows)
    progress(f"{len(rows)} rows, predicted without their models")
    parts = _parts(points, cases, about, _predicted(cases, left, draws))
    progress(f"{len(rows)} rows, predicted with the stack {UNFITTED}")
    unfitted = [replace(case, stack=UNFITTED) for case in cases]
    parts += _parts(points, unfitted, about, predict(unfitted), first=cases)
    quantity, kind, tier, group, label, log, counts = (np.array(column) for column in zip(*parts, strict=True))
    return Residuals.of(quantity, kind, tier, group, label, log, counts)


def _first_of_each_shape(cases: Sequence[Case]) -> dict[str, str]:
    """What models cost by -> the first id of those that are alike."""
    models = {case.model.id: case.model for case in cases}
    found: dict[str, str] = {}
    for name in sorted(models):
        found.setdefault(shape_of(models[name]), name)
    return found


def _draws(measured: Measured, rows: Sequence[tuple[Point, Case]]) -> dict[str, tuple[PowerFit, ...]]:
    """What models cost by -> coefficients of draw fitted without their rows; models without power are left out."""
    shapes = {case.model.id: shape_of(case.model) for _, case in rows}
    powered = [(point, shapes[case.model.id]) for point, case in rows if point.power_w]
    found = {}
    for shape in dict.fromkeys(of for _, of in powered):
        others = tuple(point for point, of in powered if of != shape)
        if others:
            found[shape] = fit_power(replace(measured, points=others), leave_one_out=False)
    return found


def _drawing(prepared: Prepared, draws: Sequence[PowerFit]) -> Prepared:
    """The cases on accelerators that draw by other coefficients; those of the sheets where none is fitted."""
    records = prepared.records
    machines = records.machines.copy()
    for fitted in draws:
        rows = np.isin(records.named.machine_accelerator, fitted.accelerators)
        for name, constant in zip(("power_a", "power_b"), fitted.constants, strict=True):
            machines[name][rows] = constant.value
    return replace(prepared, records=replace(records, machines=machines))


def _predicted(
    cases: Sequence[Case], left: Mapping[str, Mapping[str, float]], draws: Mapping[str, Sequence[PowerFit]]
) -> Predictions:
    """Predictions of each case by the constants that were fitted without its model, else by the sheets."""
    shapes = {case.model.id: shape_of(case.model) for case in cases}
    of = np.array([shapes[case.model.id] for case in cases], dtype=object)
    found: dict[str, NDArray[np.float64]] = {}
    for shape in dict.fromkeys(of):
        rows = np.flatnonzero(of == shape).tolist()
        some = evaluate(_drawing(prepare([cases[i] for i in rows]), draws.get(shape, ())), left.get(shape))
        for name in Predictions.__dataclass_fields__:
            column = getattr(some, name)
            found.setdefault(name, np.empty(len(cases), dtype=column.dtype))[rows] = column
    return Predictions(**found)  # type: ignore[arg-type]  # one of them holds words


def _parts(
    points: Sequence[Point],
    cases: Sequence[Case],
    about: Sequence[tuple[str, str]],
    predictions: Predictions,
    first: Sequence[Case] = (),
) -> list[tuple[str, str, str, str, str, float, bool]]:
    """Fields of `Residuals`, a row each.   first : cases as measured, where these are the same in the tier below."""
    truth = {name: values_of(points, mine) for name, (mine, theirs) in FIELDS.items() if theirs}
    guess = {name: np.asarray(getattr(predictions, theirs)) for name, (_, theirs) in FIELDS.items() if theirs}
    found, of = [], tiers_of(cases)
    before = tiers_of(first)
    for quantity in QUANTITIES:
        measured, predicted, _, _ = chosen(quantity, truth, guess, {})
        for i in np.flatnonzero(usable(measured, predicted)).tolist():
            kind, tier = kind_of(cases[i]), of[i][quantity in OF_DRAW]
            if (quantity, kind) in GIVEN:
                continue
            if first and not (before[i][quantity in OF_DRAW] == BEST and tier != BEST):
                continue
            log = float(np.log(measured[i] / predicted[i]))
            found.append((quantity, kind, tier, *about[i], log, not first))
    return found
