"""Columns of numbers from a CSV or Parquet file; what is wrong is placed by file and line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[np.float64]]
    Place = Callable[[int], str]

SUFFIXES = (".csv", ".parquet")


def read_columns(path: Path, names: Sequence[str]) -> tuple[Columns, Place]:
    """Columns of a table by name, float64[rows] each; others are left unread.

    Beside them a function that says where a row (from 0) stands: file and line (CSV) or row from 1 (Parquet).
    Raises InputError naming file, line, field and value where there is no such file or column, no row, or no number.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: suffix {suffix or '(none)'} is not one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    columns, place = (_read_csv if suffix == ".csv" else _read_parquet)(path, names)
    if not columns[names[0]].size:
        raise InputError(f"{path}: has no rows")
    return columns, place


def _demand(path: str, names: Sequence[str], found: Sequence[str]) -> None:
    lacking = [name for name in names if name not in found]
    if lacking:
        raise InputError(f"{path}: no column {', '.join(lacking)}; found {', '.join(found) or 'none'}")


def _read_csv(path: Path, names: Sequence[str]) -> tuple[Columns, Place]:
    columns: dict[str, list[float]] = {name: [] for name in names}
    lines: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            _demand(f"{path}:1", names, reader.fieldnames)
            for row in reader:
                lines.append(reader.line_num)
                for name, column in columns.items():
                    column.append(_number(row[name], f"{path}:{reader.line_num}: {name}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file that can be read: {error}") from None
    arrays = {name: np.array(column, dtype=np.float64) for name, column in columns.items()}
    return arrays, lambda row: f"{path}:{lines[row]}"


def _number(text: str | None, where: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise InputError(f"{where} = {text!r}: give a number") from None


def _read_parquet(path: Path, names: Sequence[str]) -> tuple[Columns, Place]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow: pip install 'roofline[io]', or give a CSV") from None
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a Parquet file that can be read: {error}") from None
    _demand(str(path), names, table.column_names)
    arrays = {}
    for name in names:
        try:
            arrays[name] = np.asarray(table.column(name).to_numpy(), dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{path}: {name}: is of {table.column(name).type}; give numbers") from None
    return arrays, lambda row: f"{path}: row {row + 1}"
