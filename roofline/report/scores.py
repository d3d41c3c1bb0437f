"""Scores as tables: a line a group, and a line a measured row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.report.tables import Column, Table
from roofline.validation.score import FIELDS, row_records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from roofline.validation.score import Line, Scores

UNITS = {
    "tpot_s": "s",
    "ttft_s": "s",
    "output_tok_per_s": "s-1",
    "total_tok_per_s": "s-1",
    "joules_per_token": "J",
    "power_w": "W",
    "wall_power_w": "W",
    "wall_joules_per_token": "J",
    "power_given_tpot_w": "W",
}
"""Unit of each number of a row; its name has it too, so that a header needs no brackets."""

COLUMNS = (
    ("quantity", "what was measured"),
    ("by", "what rows are grouped by, empty for all rows"),
    ("group", "which group"),
    ("flagged", "whether these are the rows that the file flags"),
    ("measured", "rows with a measurement"),
    ("rows", "of those, rows with a prediction"),
    ("mdape", "median absolute error over measured"),
    ("mape", "mean absolute error over measured, each row capped at 1"),
    ("p90", "90th percentile of the absolute error over measured"),
    ("bias", "exp of the median log of predicted over measured"),
    ("coverage", "share of rows within their band"),
    ("groups", "groups of (source, model, gpu) among them"),
    ("mdape_of_groups", "mdape with such groups weighted alike"),
    ("mape_of_groups", "mape with such groups weighted alike"),
    ("p90_of_groups", "p90 with such groups weighted alike"),
    ("bias_of_groups", "bias with such groups weighted alike"),
    ("coverage_of_groups", "coverage with such groups weighted alike"),
)
"""Columns of the table of scores with what they mean. Errors are shares: 0.1 is 10 %."""


def provenance(scores: Scores) -> dict[str, str]:
    """What the scores are of: version, command, the table by name and digest."""
    from roofline import __version__
    from roofline.provenance import command

    return {
        "roofline_version": __version__,
        "fidelity": "serving",
        "data": scores.measured.path.name,
        "data_sha256": scores.measured.digest,
        "command": command(),
    }


def _cells(line: Line) -> tuple[Any, ...]:
    rows, groups = line.rows, line.groups
    return (
        *(line.quantity, line.by, line.group, line.flagged, line.measured),
        *(rows.n, rows.mdape, rows.mape, rows.p90, rows.bias, rows.coverage),
        *(groups.n, groups.mdape, groups.mape, groups.p90, groups.bias, groups.coverage),
    )


def score_table(scores: Scores) -> Table:
    """A row a line of scores, columns of `COLUMNS`."""
    cells = list(zip(*(_cells(line) for line in scores.lines), strict=True)) or [()] * len(COLUMNS)
    columns = (
        Column(name, "", meaning, _array(values)) for (name, meaning), values in zip(COLUMNS, cells, strict=True)
    )
    return Table(tuple(columns), provenance(scores))


def stamped(held: Table) -> Table:
    """A table of scores with its table of measurements, the version and the command as columns."""
    named = tuple(
        Column(key, "", "", np.full(len(held), held.attrs[key], dtype=object)) for key in ("data", "data_sha256")
    )
    return Table(held.columns + named, held.attrs).stamped()


def rows_table(scores: Scores) -> Table:
    """A row a measured row, in the order of the file: `row_records` as columns."""
    records = list(row_records(scores))
    columns = (Column(name, "", _meaning(name), _array([record[name] for record in records])) for name in records[0])
    return Table(tuple(columns), provenance(scores))


def _meaning(name: str) -> str:
    which, _, rest = name.partition("_")
    field = next((field for field in FIELDS if rest in (field, f"{field}_low", f"{field}_high")), "")
    return f"{which} [{UNITS[field]}]" if field and which in ("measured", "predicted") else ""


def _array(values: Iterable[Any]) -> Any:
    """An object array, None for not a number: a file shows it as a blank."""
    held = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    return np.array(held, dtype=object)
