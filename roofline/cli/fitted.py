"""Fitted constants and their scores as both parts of `roofline calibrate` print them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from roofline.cli.documents import FitScoreDocument
    from roofline.validation.calibrate import Fitted, Score


def known(value: float) -> float | None:
    """A number as documents have it: null for NaN."""
    return None if value != value else value


def row_of(constant: Fitted) -> dict[str, Any]:
    """One row of a document, by the names of `cli.calibrate.COLUMNS`."""
    return {
        "constant": constant.name,
        "unit": constant.unit,
        "value": constant.value,
        "low": constant.low,
        "high": constant.high,
        "factor": constant.value / constant.start,
        "prior": constant.start,
        "prior_low": constant.prior_low,
        "prior_high": constant.prior_high,
        "identified": constant.identified,
        "at_bound": constant.at_bound,
    }


def score_of(score: Score) -> FitScoreDocument:
    """One score of a document."""
    from roofline.cli.documents import FitScoreDocument

    return FitScoreDocument(
        how=score.how,
        quantity=score.quantity,
        fits=score.fits,
        rows=score.errors.n,
        mdape=known(score.errors.mdape),
        mape=known(score.errors.mape),
        bias=known(score.errors.bias),
    )


def print_constants(constants: Iterable[Fitted], title: str) -> None:
    """The table of constants for people."""
    from roofline.cli.output import print_cells
    from roofline.report.tables import number

    def said(value: float, unit: str) -> str:
        return number(value, unit) if unit == "s" else f"{value:.3g}{f' {unit}' if unit else ''}"

    print_cells(
        ["constant", "fitted", "90 % interval", "prior", "90 % of prior", "note"],
        [
            [
                c.name,
                said(c.value, c.unit),
                f"{said(c.low, c.unit)} to {said(c.high, c.unit)}",
                said(c.start, c.unit),
                f"{said(c.prior_low, c.unit)} to {said(c.prior_high, c.unit)}",
                c.said,
            ]
            for c in constants
        ],
        left=[True, False, False, False, False, True],
        title=title,
        importance=["constant", "fitted", "90 % interval", "note", "prior"],
        prose=["note"],
    )


def print_scores(scores: Iterable[Score], called: dict[str, str], quantities: dict[str, str], title: str) -> None:
    """The table of errors for people.   called : name of each `how`.   quantities : name of each, in their order."""
    from roofline.cli.output import print_cells

    found = {(one.how, one.quantity): one.errors for one in scores}
    lines = []
    for how, name in called.items():
        if not any((how, quantity) in found for quantity in quantities):
            continue
        line = [name]
        for quantity in quantities:
            e = found.get((how, quantity))
            if e is None or e.n == 0:
                line += ["0", "-", "-", "-"]
            else:
                line += [str(e.n), f"{e.mdape:.1%}", f"{e.mape:.1%}", f"{e.bias:.2f}"]
        lines.append(line)
    each = [f"{name} {figure}" for name in quantities.values() for figure in ("rows", "MdAPE", "MAPE", "bias")]
    wanted = [f"{name} {figure}" for figure in ("MdAPE", "MAPE", "rows") for name in quantities.values()]
    print_cells(
        ["constants", *each],
        lines,
        left=[True, *[False] * len(each)],
        title=title,
        importance=["constants", *wanted],
    )
