"""What every command prints: a table for people, JSON for programs, progress for a waiting person."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel

    from roofline.report.tables import Table

MOST_ROWS = 200


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """Show `message` on stderr while the block runs, where stderr is a terminal; else show nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield


def print_json(document: BaseModel) -> None:
    """Print a document of roofline.cli.documents."""
    print(document.model_dump_json(indent=2))


def print_table(rows: Table, *, title: str, footer: str = "") -> None:
    """Print a table for people; wide where stdout is no terminal, so that nothing is cut."""
    from roofline.report.tables import number

    headers = [(column.name, column.unit) for column in rows.columns]
    cells = [
        [number(value, unit) for value, (_, unit) in zip(row.values(), headers, strict=True)]
        for row, _ in zip(rows.rows(), range(MOST_ROWS), strict=False)
    ]
    shown = [f"{name}\n[{unit}]" if unit and unit not in _WRITTEN else name for name, unit in headers]
    left = [column.values.dtype.kind in "OUS" for column in rows.columns]
    print_cells(shown, cells, left=left, title=title)
    if len(rows) > MOST_ROWS:
        footer = f"{len(rows) - MOST_ROWS} more rows; --out FILE.csv or --json gives all of them\n{footer}"
    if footer:
        print(footer.rstrip())


_WRITTEN = {"s", "B", "FLOP", "J", "W"}
"""Units that `number` writes beside the value, with a prefix."""


def print_cells(headers: list[str], cells: Iterable[Iterable[Any]], *, left: Iterable[bool], title: str) -> None:
    """Print rows of words under headers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid

    terminal = sys.stdout.isatty()
    grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for header, is_left in zip(headers, left, strict=True):
        grid.add_column(header, justify="left" if is_left else "right", overflow="fold", no_wrap=not terminal)
    for row in cells:
        grid.add_row(*[str(value) for value in row])
    console = Console(width=None if terminal else 500, highlight=False, markup=False)
    if terminal:
        console.print(grid)
        return
    with console.capture() as captured:
        console.print(grid)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip())
