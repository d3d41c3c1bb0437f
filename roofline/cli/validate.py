"""`roofline validate`: predictions of measured points, scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roofline.validation.score import Line, Scores

HEADERS = {
    "quantity": "quantity",
    "by": "by",
    "group": "group",
    "rows": "rows",
    "mdape": "MdAPE",
    "mape": "MAPE",
    "p90": "p90",
    "bias": "bias",
    "coverage": "coverage",
    "groups": "groups",
    "mdape_of_groups": "MdAPE, groups",
    "mape_of_groups": "MAPE, groups",
}
"""Columns of the table for people; files and JSON hold all of them."""

IMPORTANCE = (
    "quantity",
    "group",
    "MdAPE",
    "MAPE",
    "rows",
    "bias",
    "coverage",
    "p90",
    "by",
    "MdAPE, groups",
    "MAPE, groups",
    "groups",
)
"""Which columns a narrow terminal keeps, first those before."""

MOST_REASONS = 12
"""Reasons of rows without a prediction that are printed; files and JSON hold all of them."""


def validate(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="CSV",
            help="Measured points; default the table ROOFLINE_DATA names, else the shipped one.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME[,...]", help="Only rows of these sources; default all.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="NAME[,...]", help="Also by source, gpu, model, framework, batch.")
    ] = "source",
    rows: Annotated[
        Path | None,
        typer.Option("--rows", metavar="FILE", help="Write every row, measured and predicted: .csv .parquet."),
    ] = None,
    out: opt.FlatOut = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Predict published measurements and say how far off the predictions are.

    Errors are shares of what was measured; in MAPE a row counts for 100 % at most. Bias is predicted over measured.
    Coverage is the share of rows within the band of their prediction, which is to be 80 %.
    Rows that the table flags as doubtful are scored apart. --out x.png draws parity and residuals.
    """
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import PICTURES, TABLES, check_writable, save_figure, save_table, suffix_of

    for path, known in ((out, TABLES + PICTURES), (rows, TABLES)):
        if path is not None:
            suffix_of(path, known)
            check_writable(path)
    with sheets_of(specs), waiting("predicting (the first run compiles the kernels)"):
        import roofline as rl

        scores = rl.validate(data, source=None if source is None else names(source, "source"), by=names(by, "grouping"))
    from roofline.report.scores import rows_table, score_table, stamped

    if rows is not None:
        save_table(rows_table(scores), rows)
    if out is not None and out.suffix.lower() in TABLES:
        save_table(stamped(score_table(scores)), out)
    elif out is not None:
        from roofline.report.parity import parity_picture

        save_figure(parity_picture(scores), out)
    if as_json:
        print_json(_document(scores, out, rows))
    else:
        _show(scores, [path for path in (out, rows) if path is not None])


def _document(scores: Scores, out: Path | None, rows: Path | None) -> Any:
    from roofline.cli.documents import ColumnDocument, UnpredictedDocument, ValidateDocument
    from roofline.report.scores import score_table

    held = score_table(scores)
    return ValidateDocument(
        provenance=held.attrs,
        columns=[ColumnDocument(name=c.name, unit=c.unit, meaning=c.meaning) for c in held.columns],
        rows=list(held.rows()),
        points=len(scores.points),
        flagged=sum(bool(point.flagged) for point in scores.points),
        unpredicted=[
            UnpredictedDocument(reason=one.reason, flagged=one.flagged, rows=one.rows) for one in scores.unpredicted
        ],
        file=None if out is None else str(out),
        rows_file=None if rows is None else str(rows),
    )


def _show(scores: Scores, written: Sequence[Path]) -> None:
    flagged = sum(bool(point.flagged) for point in scores.points)
    _print([line for line in scores.lines if not line.flagged], f"{len(scores.points) - flagged} rows without flags")
    if flagged:
        _print([line for line in scores.lines if line.flagged], f"{flagged} rows with flags")
    said = [f"{one.rows} not predicted{' (flagged)' * one.flagged}: {one.reason}" for one in scores.unpredicted]
    if len(said) > MOST_REASONS:
        more = sum(one.rows for one in scores.unpredicted[MOST_REASONS:])
        said = [*said[:MOST_REASONS], f"{more} not predicted for other reasons; --json and --rows have them"]
    said += [f"data {scores.measured.path} (sha256 {scores.measured.digest[:12]}); groups: (source, model, gpu) alike"]
    print("\n".join(said + [f"written to {path}" for path in written]))


def _print(lines: Sequence[Line], title: str) -> None:
    from roofline.cli.output import print_cells

    cells = [_cells(line) for line in lines]
    kept = [i for i in range(len(HEADERS)) if any(row[i] not in ("", "-") for row in cells)]
    headers = [*HEADERS.values()]
    print_cells(
        [headers[i] for i in kept],
        [[row[i] for i in kept] for row in cells],
        left=[headers[i] in ("quantity", "by", "group") for i in kept],
        title=title,
        importance=IMPORTANCE,
        elsewhere="--json, --out x.csv",
    )


def _cells(line: Line) -> list[str]:
    """What a line of scores shows, in the order of `HEADERS`."""
    rows, groups = line.rows, line.groups

    def share(value: float) -> str:
        return "-" if value != value else f"{value:.1%}"

    counted = f"{rows.n}" if rows.n == line.measured else f"{rows.n} of {line.measured}"
    bias = "-" if rows.bias != rows.bias else f"{rows.bias:.2f}"
    return [
        *(line.quantity, line.by, line.group, counted, share(rows.mdape), share(rows.mape), share(rows.p90), bias),
        *(share(rows.coverage), str(groups.n), share(groups.mdape), share(groups.mape)),
    ]
