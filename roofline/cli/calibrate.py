"""`roofline calibrate`: a few constants fitted to measured points, and sheets that have them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import calibrate_power
from roofline.cli import options as opt
from roofline.cli.fitted import print_constants, print_scores, row_of, score_of
from roofline.cli.numbers import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roofline.validation.calibrate import Calibration
    from roofline.validation.power import PowerFit

COLUMNS = (
    ("constant", "", "what was fitted: STACK.stack.FIELD, of a stack's sheet or of all sheets of a family of servers"),
    ("unit", "", "of the numbers beside it: s or steps"),
    ("value", "", "fitted"),
    ("low", "", "lower end of the 90 % interval"),
    ("high", "", "upper end of the 90 % interval"),
    ("factor", "", "fitted over the centre of the prior"),
    ("prior", "", "centre of the prior, where the fit begins"),
    ("prior_low", "", "lower end of the prior's 90 % interval"),
    ("prior_high", "", "upper end of the prior's 90 % interval"),
    ("identified", "", "whether the interval is narrower than the prior's"),
    ("at_bound", "", "whether the fit stopped at the limit of the constant"),
)
"""Columns of the constants: name, unit and meaning."""

HOW = {
    "before": "sheets as they are",
    "fitted": "fitted, in sample",
    "without-model": "without its model",
    "without-gpu": "without its GPU",
    "without-framework": "without its framework",
}
"""What each score is called in the table for people."""

QUANTITIES = {"tpot": "TPOT", "ttft": "TTFT"}


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
    """Fit a few host times of serving stacks to measured closed loops.

    Rows that the table flags are left out. Priors are the same for all servers; a constant whose interval is as wide as
    its prior's is said not to be identified. Where rows have a power, the two coefficients of the draw of a generation
    of accelerators are fitted to them too. With --specs FOLDER other commands use the sheets that --out writes.
    """
    from roofline.cli.output import print_json
    from roofline.cli.sheets import sheets_of
    from roofline.validation import calibrate as fits
    from roofline.validation import fitted_sheets
    from roofline.validation.power import fit_power

    def tell(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    if out is not None:
        fitted_sheets.check_folder(out)
    with sheets_of(specs):
        found = fits.calibrate(
            data,
            source=None if source is None else names(source, "source"),
            leave_one_out=leave_one_out,
            progress=tell,
        )
        power = fit_power(found.measured, leave_one_out=leave_one_out, progress=tell)
        written = [] if out is None else fitted_sheets.write(found, out, power)
    if as_json:
        print_json(_document(found, power, written))
    else:
        _show(found, power, written)


def _document(found: Calibration, power: Sequence[PowerFit], written: Sequence[Path]) -> Any:
    from roofline import __version__
    from roofline.cli.documents import CalibrateDocument, ColumnDocument
    from roofline.provenance import command

    return CalibrateDocument(
        provenance={
            "roofline_version": __version__,
            "fidelity": "serving",
            "data": found.measured.path.name,
            "data_sha256": found.measured.digest,
            "command": command(),
        },
        columns=[ColumnDocument(name=name, unit=unit, meaning=meaning) for name, unit, meaning in COLUMNS],
        rows=[row_of(constant) for constant in found.constants],
        points=len(found.measured.points),
        used=len(found.points),
        scores=[score_of(score) for score in found.scores],
        power=calibrate_power.documents(power),
        files=[str(path) for path in written],
    )


def _show(found: Calibration, power: Sequence[PowerFit], written: Sequence[Path]) -> None:
    title = f"{len(found.constants)} constants, {len(found.points)} of {len(found.measured.points)} rows"
    print_constants(found.constants, title)
    print_scores(found.scores, HOW, QUANTITIES, "Errors")
    calibrate_power.show(power)
    print(f"data {found.measured.path} (sha256 {found.measured.digest[:12]})")
    print("".join(f"written to {path}\n" for path in written), end="")
