"""What every command prints: a table for people, JSON for programs, progress for a waiting person."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from roofline.report.tables import Column, Table

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


def print_table(
    rows: Table,
    *,
    title: str,
    footer: str = "",
    headers: Mapping[str, str] | None = None,
    importance: Sequence[str] = (),
) -> None:
    """Print a table for people: units and prefixes beside the values, short headers where given, blanks for `none`.

    A column without a word in any row is left out. importance : names of columns, as in `print_cells`.
    """
    from roofline.report.tables import number

    def said(value: Any, name: str, unit: str) -> str:
        if name in _SHARES and value is not None:
            return f"{value:.1%}"
        return "" if value == "none" else number(value, unit)

    cells = [
        [said(value, column.name, column.unit) for value, column in zip(row.values(), rows.columns, strict=True)]
        for row in islice(rows.rows(), MOST_ROWS)
    ]
    kept = [i for i in range(len(rows.columns)) if any(row[i] for row in cells)]
    short = headers or {}
    print_cells(
        [short.get(rows.names[i], rows.names[i]) for i in kept],
        [[row[i] for i in kept] for row in cells],
        left=[_is_words(rows.columns[i]) for i in kept],
        title=title,
        importance=[short.get(name, name) for name in importance],
        elsewhere="--json, --out x.csv",
    )
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more rows; --out FILE.csv or --json gives all of them")
    if footer:
        print(footer)


def _is_words(column: Column) -> bool:
    kind = column.values.dtype.kind
    return kind in "US" or (kind == "O" and any(isinstance(value, str) for value in column.values))


_SHARES = {"mfu", "mbu"}
_LEAST_PROSE = 12
"""Fewest characters a column of prose is folded to."""


def print_cells(
    headers: Sequence[str],
    cells: Sequence[Sequence[Any]],
    *,
    left: Sequence[bool],
    title: str,
    importance: Sequence[str] = (),
    prose: Container[str] = (),
    elsewhere: str = "--json",
) -> None:
    """Print rows of words under headers. What does not go to a terminal is as wide as it needs to be.

    importance : headers from the first to keep on a narrow terminal; those not named go first, from the right. A value
    is never broken, but for columns named in prose. elsewhere : what prints the columns left out.
    """
    from shutil import get_terminal_size

    words = [[str(value) for value in row] for row in cells]
    needed = [
        min(width, _LEAST_PROSE) if header in prose else width
        for header, width in zip(headers, (max(map(len, c)) for c in zip(headers, *words, strict=True)), strict=True)
    ]
    terminal = sys.stdout.isatty()
    width = get_terminal_size().columns if terminal else None
    kept = list(range(len(headers))) if width is None else _fitting(headers, needed, importance, width)
    drawn = _drawn(
        [headers[i] for i in kept],
        [[row[i] for i in kept] for row in words],
        [left[i] for i in kept],
        prose,
        title,
        width,
    )
    print(drawn)
    dropped = len(headers) - len(kept)
    if dropped:
        print(f"{dropped} column{'s' * (dropped != 1)} more: {elsewhere} or a wider terminal")


_GAP = 3
"""Characters between two columns."""


def _fitting(headers: Sequence[str], needed: Sequence[int], importance: Sequence[str], width: int) -> list[int]:
    """Places of the columns that fit in a width, the most important ones; at least one."""
    ranks = {name: rank for rank, name in enumerate(importance)}
    order = sorted(range(len(headers)), key=lambda i: (ranks.get(headers[i], len(ranks)), i))
    kept = order[:1]
    for count in range(2, len(order) + 1):
        if sum(needed[i] + _GAP for i in order[:count]) - _GAP > width:
            break
        kept = order[:count]
    return sorted(kept)


def _drawn(
    headers: Sequence[str],
    words: Sequence[Sequence[str]],
    left: Sequence[bool],
    prose: Container[str],
    title: str,
    width: int | None,
) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid

    grid = Grid(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        pad_edge=False,
        show_edge=False,
    )
    for header, is_left in zip(headers, left, strict=True):
        whole = width is None or header not in prose
        least = None if whole else _LEAST_PROSE
        grid.add_column(header, justify="left" if is_left else "right", overflow="fold", no_wrap=whole, min_width=least)
    for row in words:
        grid.add_row(*row)
    # A height too: without one rich asks the terminal for both.
    console = Console(width=width or 10_000, height=50, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip()
