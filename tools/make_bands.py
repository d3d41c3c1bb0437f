"""Make the table of bands and the tables of docs/bands.md from measurements.

For developers: `python tools/make_bands.py --data measured.csv [--source NAME,...]` with a table that `roofline
validate` reads. Constants of stacks are fitted to the closed loops of the sources (default: those that the shipped
sheets were fitted to), without each model in turn; every row is predicted by those without its own model. Prints how
much the bands cover; with --dry-run writes nothing. The same table gives the same bands, in a minute or two.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from roofline.serving.bands import COVERAGE, QUANTITIES, TABLE, write
from roofline.serving.bands import table as shipped
from roofline.validation.banding import bands, cells, inside, left_out, share
from roofline.validation.measured import read
from roofline.validation.unseen import residuals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from roofline.serving.bands import Band
    from roofline.validation.banding import Coverage, Residuals

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bands.md"

SOURCE = "aiconfigurator_silicon_sample"
"""Whose closed loops the shipped stacks were fitted to."""

SLACK = 0.05
"""By how much the share of rows within may differ from `COVERAGE`."""

ALIKE = ("row", "group", "model")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """A table of a page.   words : columns at the left that are no numbers."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(header), rule, *rows]) + "\n"


def ends(band: Band) -> str:
    """`0.82 to 1.21`, with a sign where it is an estimate."""
    return f"{band.low:.2f} to {band.high:.2f}" + ("" if band.grade == "measured" else " *")


def band_table(found: Iterable[Band]) -> str:
    """A line a quantity and kind, a column a tier; the same kinds of a quantity in one line."""
    lines: dict[tuple[str, ...], list[str]] = {}
    cell: dict[tuple[str, str], list[Band]] = {}
    for band in found:
        cell.setdefault((band.quantity, band.kind), []).append(band)
    for (quantity, kind), tiers in cell.items():
        lines.setdefault((QUANTITIES[quantity], *map(ends, tiers)), []).append(kind)
    rows = [(name, ", ".join(kinds), *said) for (name, *said), kinds in lines.items()]
    return markdown(["", "kinds", "calibrated", "kernels", "sheet"], rows, 2)


def percent(value: float) -> str:
    """A share in percent, n/a for none."""
    return "n/a" if value != value else f"{100.0 * value:.0f} %"


def of(found: Coverage) -> list[str]:
    """Rows, groups and models alike."""
    return [percent(getattr(found, f"by_{name}")) for name in ALIKE]


class Covered:
    """What the bands of some residuals cover."""

    def __init__(self, rows: Residuals, found: tuple[Band, ...]) -> None:
        self.rows = rows
        self.inside, self.left_out = inside(rows, found), left_out(rows)

    def both(self, some: NDArray[np.bool_]) -> list[str]:
        """Rows, and shares within the bands and within those that other models give."""
        within, nested = share(self.rows, self.inside, some), share(self.rows, self.left_out, some)
        return [str(within.rows), *of(within), *of(nested)]

    def by_quantity(self) -> str:
        """A line a quantity."""
        header = ["", "rows", *(f"within, each {name}" for name in ALIKE), *(f"left out, each {n}" for n in ALIKE)]
        lines = [[QUANTITIES[name], *self.both(self.rows.quantity == name)] for name in QUANTITIES]
        return markdown(header, [line for line in lines if line[1] != "0"], 1)

    def by_cell(self) -> str:
        """A line a quantity, kind and tier."""
        lines = [[QUANTITIES[q], kind, tier, *self.both(some)] for q, kind, tier, some in cells(self.rows)]
        return markdown(["", "kind", "tier", "rows", *ALIKE, *(f"{name}, left out" for name in ALIKE)], lines, 3)

    def misses(self) -> list[str]:
        """Quantities whose bands contain more or fewer of the rows than they are to."""
        found = []
        for name in QUANTITIES:
            value = share(self.rows, self.inside, self.rows.quantity == name).by_row
            if value == value and abs(value - COVERAGE) > SLACK:
                found.append(f"{QUANTITIES[name]}: its bands contain {percent(value)} of the rows")
        return found


def put(text: str, mark: str, table: str) -> str:
    """A page with the table below `<!-- mark -->` replaced: up to the next blank line."""
    sign = f"<!-- {mark} -->\n"
    before, _, after = text.partition(sign)
    if not after:
        raise SystemExit(f"{PAGE.name}: no {sign.strip()}")
    end = after.find("\n\n")
    return before + sign + table + (after[end + 1 :] if end >= 0 else "")


def main() -> None:
    """Print what the bands cover; write them and the tables of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="measured points")
    parser.add_argument("--source", default=SOURCE, help="sources that are fitted to, by commas; empty: all")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    args = parser.parse_args()
    rows = residuals(
        args.data,
        source=[name for name in args.source.split(",") if name],
        progress=lambda message: print_line(message, sys.stderr),
    )
    found = bands(rows)
    covered = Covered(rows, found)
    tables = {"bands": band_table(found), "coverage": covered.by_quantity(), "cells": covered.by_cell()}
    for table in tables.values():
        print_line(table)
    for miss in covered.misses():
        print_line(f"not {percent(COVERAGE)} +- {percent(SLACK)}: {miss}")
    if args.dry_run:
        return
    write(found, TABLE)
    shipped.cache_clear()
    digest = read(args.data).digest[:12]
    text = PAGE.read_text(encoding="utf-8")
    for mark, table in tables.items():
        text = put(text, mark, table)
    said = f"{int(rows.counts.sum()):,} numbers of a table with SHA-256 {digest}"
    text = put(text, "data", f"As made from {said}.\n")
    PAGE.write_text(text, encoding="utf-8")
    print_line(f"written: {TABLE} and {PAGE}")


def print_line(text: str, to: TextIO = sys.stdout) -> None:
    """A line to a stream."""
    to.write(f"{text}\n")
    to.flush()


if __name__ == "__main__":
    main()
