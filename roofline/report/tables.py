"""A Dataset as a table that stands alone: units in the header, what the numbers mean in columns of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.provenance import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import xarray as xr
    from numpy.typing import NDArray

    Values = NDArray[Any]

STAMPS = (
    "model",
    "system",
    "label",
    *KEYS,
    "objective",
    "against",
    "workload",
    "slo",
    "stack",
    "acceptance",
    "vintage",
    "filled_by",
    "hardware_prices",
    "price_vintage",
    "capital",
    "clock",
    "measure",
    "draws",
    "seed",
    "spread",
    "at_reported",
    "usd_per_kwh",
    "gco2e_per_kwh",
    "water_l_per_kwh",
    "wue_l_per_kwh",
    "sold_usd_per_mtok",
    "sold_usd_per_mtok_input",
    "roofline_version",
    "sheets",
    "command",
)
"""Attributes of a result that a table repeats in every row, so that a row copied elsewhere still says what it is."""


FACTS = frozenset(
    {"system_accelerators", "tdp_w", "idle_w", "host_w", "max_w", "psu_rated_w", "network_w", "pue", "fixed_overhead"}
)
"""Coordinates that a roll-up needs and a reader of a table finds in the sheets."""


@dataclass(frozen=True)
class Column:
    """One column: a name, a unit ('' where it has none), what it means, and one value a row."""

    name: str
    unit: str
    meaning: str
    values: Values

    @property
    def header(self) -> str:
        """Name and unit, as a file's header shows them."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """Columns of one length and the attributes of the result that they came from."""

    columns: tuple[Column, ...]
    attrs: dict[str, str]

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def stamped(self) -> Table:
        """This table with the result's fidelity, boundary, bases, version, sheets and command as columns."""
        stamps = tuple(
            Column(key, "", "", np.full(len(self), self.attrs[key], dtype=object))
            for key in STAMPS
            if self.attrs.get(key) and key not in self.names
        )
        return Table(self.columns + stamps, self.attrs)

    def rows(self) -> Iterator[dict[str, str | int | float | bool | None]]:
        """One plain dict a row; not-a-number becomes None, as JSON has no word for it."""
        lists = [plain(column.values) for column in self.columns]
        names = self.names
        for values in zip(*lists, strict=True):
            yield dict(zip(names, values, strict=True))


def plain(values: Values) -> list[Any]:
    """Array to Python objects, NaN and infinities to None."""
    if values.dtype.kind == "f":
        return [v if np.isfinite(v) else None for v in values.tolist()]
    return [None if isinstance(v, float) and not np.isfinite(v) else v for v in values.tolist()]


def meanings(variable: xr.DataArray) -> dict[int, str] | None:
    """Code to words of a flag variable (CF conventions: flag_values, flag_meanings), or None for another one."""
    if "flag_values" not in variable.attrs or "flag_meanings" not in variable.attrs:
        return None
    words = variable.attrs["flag_meanings"]
    listed: Iterable[str] = words.split() if isinstance(words, str) else words
    codes = np.atleast_1d(variable.attrs["flag_values"])
    return {int(code): str(word) for code, word in zip(codes, listed, strict=True)}


def words_of(variable: xr.DataArray) -> Values:
    """Values of a flag variable as words; other variables as they are."""
    known = meanings(variable)
    values: Values = variable.values
    if known is None:
        return values
    words = np.empty(values.shape, dtype=object)
    for code in np.unique(values):
        words[values == code] = known.get(int(code), f"code {int(code)}")
    return words


def table(ds: xr.Dataset, variables: Iterable[str] | None = None, *, runs_only: bool = False) -> Table:
    """Every cell of a Dataset as one row.

    variables : which data variables, default all that share the widest set of dimensions.
    runs_only : leave out cells that have a `limit`.
    """
    names = [str(name) for name in (variables if variables is not None else ds.data_vars)]
    dims = [str(dim) for dim in max((ds[name].dims for name in names), key=len, default=())]
    chosen = [name for name in names if set(ds[name].dims) <= set(dims)]
    shape = tuple(ds.sizes[dim] for dim in dims)

    def flat(variable: xr.DataArray, held: Values) -> Values:
        source = [str(dim) for dim in variable.dims]
        order = [source.index(dim) for dim in dims if dim in source]
        spread = held.transpose(order).reshape([ds.sizes[dim] if dim in source else 1 for dim in dims])
        return np.broadcast_to(spread, shape).reshape(-1)

    def column(name: str) -> Column:
        variable = ds[name]
        unit = str(variable.attrs.get("units", ""))
        unit = "" if unit in {"1", "dimensionless"} else unit
        return Column(name, unit, str(variable.attrs.get("long_name", "")), flat(variable, words_of(variable)))

    columns: list[Column] = []
    for dim in dims:
        labels = [str(name) for name, coord in ds.coords.items() if coord.dims == (dim,) and name != dim]
        columns += [column(label) for label in (dim, *labels) if label not in FACTS]
    wide = (str(name) for name, coord in ds.coords.items() if len(coord.dims) > 1 and set(coord.dims) <= set(dims))
    columns += [column(name) for name in (*wide, *chosen)]
    if runs_only and "limit" in ds:
        keep = flat(ds["limit"], ds["limit"].values) == 0
        columns = [Column(c.name, c.unit, c.meaning, c.values[keep]) for c in columns]
    return Table(tuple(columns), {str(key): str(value) for key, value in ds.attrs.items()})


def number(value: object, unit: str = "") -> str:
    """A value for people: four significant digits, an SI prefix where the unit takes one; a dash for none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, bool | str | np.str_ | np.bool_):
        return str(value)
    if isinstance(value, int | np.integer):
        return f"{int(value)}"
    size = float(value)  # type: ignore[arg-type]
    if unit in {"s", "B", "FLOP", "J", "W"}:
        prefix, scale = prefixed(size)
        return f"{size / scale:.4g} {prefix}{unit}"
    return compact(size)


def prefixed(size: float) -> tuple[str, float]:
    """SI prefix and its factor for a size."""
    for prefix, scale in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(size) >= scale:
            return prefix, scale
    for prefix, scale in (("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9)):
        if abs(size) >= scale:
            return prefix, scale
    return "", 1.0


def compact(size: float, digits: int = 4) -> str:
    """A plain number in few characters: 4.21M, 312, 0.0456."""
    prefix, scale = prefixed(size)
    return f"{size / scale:.{digits}g}{prefix}" if scale > 1.0 else f"{size:.{digits}g}"


def markdown(rows: Table, headers: dict[str, str]) -> str:
    """A Markdown table of the columns named in `headers`, in that order, numbers right-aligned.

    headers : column name -> what stands above it.
    """
    columns = [rows[name] for name in headers]
    words = [column.values.dtype.kind == "O" for column in columns]
    lines = [
        "| " + " | ".join(headers.values()) + " |",
        "|" + "|".join("---" if word else "---:" for word in words) + "|",
    ]
    for row in rows.rows():
        cells = [number(row[column.name], column.unit) for column in columns]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
