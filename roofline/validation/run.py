"""Predictions of every point of a file, scored: what `roofline validate` prints."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from roofline.errors import InputError, unknown_name
from roofline.validation.measured import read
from roofline.validation.score import BY, label, score

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from roofline.validation.measured import Measured
    from roofline.validation.score import Scores

ENVIRONMENT = "ROOFLINE_DATA"
"""Environment variable that names a measured table to use instead of the shipped one."""

SHIPPED = Path(__file__).with_name("points.csv")
"""Published points that ship with the package, each with its source."""


def data_file(data: str | Path | None = None) -> Path:
    """The measured table that is meant: as given, else of `ENVIRONMENT`, else the shipped one."""
    return Path(data or os.environ.get(ENVIRONMENT) or SHIPPED)


def only(measured: Measured, sources: Sequence[str]) -> Measured:
    """The rows of some sources; all, where none is named. Raises InputError for a source without a row."""
    if not sources:
        return measured
    known = {point.source for point in measured.points}
    for name in sources:
        if name not in known:
            raise InputError(f"{measured.path}: {unknown_name('source', name, known)}")
    return replace(measured, points=tuple(point for point in measured.points if point.source in sources))


def validate(
    data: str | Path | None = None, *, source: str | Sequence[str] | None = None, by: str | Iterable[str] = BY
) -> Scores:
    """Predict every measured point of a table and score the predictions.

    data : a CSV file of `roofline.validation.measured`; default the table that the environment variable ROOFLINE_DATA
    names, else the shipped one.   source : only rows of these sources.   by : groupings among source, gpu, model,
    framework and batch.
    Every row is predicted, with its band, or counted with the reason why not. The same table gives the same scores.
    Raises InputError where the table cannot be read, or a source or a grouping is not known.
    """
    from roofline.validation.conditions import case_of
    from roofline.validation.predict import predict
    from roofline.validation.unseen import bands_of

    groupings = (by,) if isinstance(by, str) else tuple(by)
    sources = (source,) if isinstance(source, str) else tuple(source or ())
    measured = only(read(data_file(data)), sources)
    for name in groupings:
        label(measured.points[0], name)  # before time is spent on predictions
    cases = [case_of(point) for point in measured.points]
    kind = ["" if isinstance(case, str) else case.kind for case in cases]
    predictions = predict(cases)
    return score(measured, predictions, by=groupings, bands=bands_of(cases, predictions), kind=kind)
