"""What every command prints: a table for people, JSON for programs, progress for a waiting person."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import BaseModel

    from roofline.report.tables import Table

MOST_ROWS = 200


@contextmanager
def waiting(message: str) -> Iterator[Callable[[str], None]]:
    """Show `message` on stderr while the block runs, where stderr is a terminal. Yields what changes it."""
    if not sys.stderr.isatty():
        yield lambda _message: None
        return
    from rich.console import Console

    with Console(stderr=True).status(message) as status:
        yield lambda changed: status.update(changed)


def print_json(document: BaseModel) -> None:
    """Print a document of roofline.cli.documents."""
    print(document.model_dump_json(indent=2))


def print_table(rows: Table, *, title: str, footer: str = "", headers: Mapping[str, str] | None = None) -> None:
    """Print a table for people: units and prefixes beside the values, short headers where given, blanks for `none`."""
    from roofline.report.tables import number

    def said(value: Any, name: str, unit: str) -> str:
        if name in _SHARES and value is not None:
            return f"{value:.1%}"
        return "" if value == "none" else number(value, unit)

    cells = [
        [said(value, column.name, column.unit) for value, column in zip(row.values(), rows.columns, strict=True)]
        for row in islice(rows.rows(), MOST_ROWS)
    ]
    short = headers or {}
    left = [column.values.dtype.kind in "OUS" for column in rows.columns]
    print_cells([short.get(name, name) for name in rows.names], cells, left=left, title=title)
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more rows; --out FILE.csv or --json gives all of them")
    if footer:
        print(footer)


_SHARES = {"mfu", "mbu"}


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
