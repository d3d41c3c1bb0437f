"""`roofline calibrate`: a few constants fitted to measured points, and sheets that have them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roofline.validation.calibrate import Calibration

COLUMNS = (
    ("constant", "", "what was fitted: GROUP.CLASS.FIELD; all/fp8: of all accelerators, in that format"),
    ("unit", "", "of the numbers beside it: s, steps, or none for a share or a factor on the sheets' numbers"),
    ("value", "", "fitted"),
    ("low", "", "lower end of the 90 % interval"),
    ("high", "", "upper end of the 90 % interval"),
    ("factor", "", "fitted over the centre of the prior"),
    ("prior", "", "centre of the prior: what the sheet says, 1 for a factor"),
    ("prior_low", "", "lower end of the prior's 90 % interval"),
    ("prior_high", "", "upper end of the prior's 90 % interval"),
    ("identified", "", "whether the interval is narrower than the prior's"),
    ("at_bound", "", "whether the fit stopped at the limit of the constant"),
    ("written", "", "whether predictions with the written sheets have it"),
)
"""Columns of the constants: name, unit and meaning."""

HOW = {
    "before": "sheets as they are",
    "fitted": "fitted, in sample",
    "written": "fitted, as sheets hold it",
    "without-model": "without its model",
    "without-gpu": "without its GPU",
    "without-framework": "without its framework",
}
"""What each score is called in the table for people."""


def calibrate(
    data: Annotated[Path, typer.Argument(metavar="DATA.csv", help="Measured points, as `roofline validate` reads.")],
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME[,...]", help="Only rows of these sources; default all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write the fitted sheets into this new folder.")
    ] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option(help="Also fit without each model, GPU and framework in turn, and score what was left out."),
    ] = True,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Fit a few constants of serving stacks and kernels to measured closed loops.

    Rows that the table flags are left out. Priors are centred on the sheets; a constant whose interval is as wide as
    its prior's is said not to be identified. With --specs FOLDER other commands use the sheets that --out writes.
    """
    from roofline.cli.output import print_json
    from roofline.cli.sheets import sheets_of
    from roofline.validation import calibrate as fits
    from roofline.validation import fitted_sheets

    if out is not None:
        fitted_sheets.check_folder(out)
    with sheets_of(specs):
        found = fits.calibrate(
            data,
            source=None if source is None else names(source, "source"),
            leave_one_out=leave_one_out,
            progress=lambda message: print(message, file=sys.stderr, flush=True),
        )
        written = [] if out is None else fitted_sheets.write(found, out)
    if as_json:
        print_json(_document(found, written))
    else:
        _show(found, written)


def _document(found: Calibration, written: Sequence[Path]) -> Any:
    from roofline import __version__
    from roofline.cli.documents import CalibrateDocument, ColumnDocument, FitScoreDocument
    from roofline.provenance import command

    def known(value: float) -> float | None:
        return None if value != value else value

    return CalibrateDocument(
        provenance={
            "roofline_version": __version__,
            "fidelity": "serving",
            "data": found.measured.path.name,
            "data_sha256": found.measured.digest,
            "command": command(),
        },
        columns=[ColumnDocument(name=name, unit=unit, meaning=meaning) for name, unit, meaning in COLUMNS],
        rows=[
            {
                "constant": c.name,
                "unit": c.unit,
                "value": c.value,
                "low": c.low,
                "high": c.high,
                "factor": c.value / c.start,
                "prior": c.start,
                "prior_low": c.prior_low,
                "prior_high": c.prior_high,
                "identified": c.identified,
                "at_bound": c.at_bound,
                "written": c.written,
            }
            for c in found.constants
        ],
        points=len(found.measured.points),
        used=len(found.points),
        scores=[
            FitScoreDocument(
                how=one.how,
                quantity=one.quantity,
                fits=one.fits,
                rows=one.errors.n,
                mdape=known(one.errors.mdape),
                mape=known(one.errors.mape),
                bias=known(one.errors.bias),
            )
            for one in found.scores
        ],
        files=[str(path) for path in written],
    )


def _show(found: Calibration, written: Sequence[Path]) -> None:
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
            for c in found.constants
        ],
        left=[True, False, False, False, False, True],
        title=f"{len(found.constants)} constants, {len(found.points)} of {len(found.measured.points)} rows",
        importance=["constant", "fitted", "90 % interval", "note", "prior"],
        prose=["note"],
    )
    lines: dict[str, list[str]] = {}
    for one in found.scores:
        e, line = one.errors, lines.setdefault(one.how, [HOW[one.how]])
        line += [str(e.n), *((f"{e.mdape:.1%}", f"{e.mape:.1%}", f"{e.bias:.2f}") if e.n else ("-", "-", "-"))]
    print_cells(
        ["constants", *(f"{q} {h}" for q in ("TPOT", "TTFT") for h in ("rows", "MdAPE", "MAPE", "bias"))],
        list(lines.values()),
        left=[True, *[False] * 8],
        title="Errors",
        importance=["constants", "TPOT MdAPE", "TTFT MdAPE", "TPOT MAPE", "TTFT MAPE", "TPOT rows", "TTFT rows"],
    )
    print(f"data {found.measured.path} (sha256 {found.measured.digest[:12]})")
    print("".join(f"written to {path}\n" for path in written), end="")
