"""The axes of a grid: what a caller may write, checked, and what it means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from numbers import Real
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from roofline.errors import InputError
from roofline.specs import Model, Recipe
from roofline.specs.findings import shown
from roofline.specs.records import Sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SheetLike = Any
"""A sheet, its name, a path or a mapping."""

Counts = int | Iterable[int]
Degrees = tuple[int, int, int, int, int]
MOST = 1 << 40
"""Largest count an axis takes: beyond it products leave the exact range of int64 and float64."""


def counts(name: str, values: Counts, least: int = 1) -> NDArray[np.int64]:
    """An axis of whole numbers from `least`.

    Raises `InputError` for anything else (negative, zero, fraction, NaN, infinite, text), for an empty axis and for a
    value given twice.
    """
    import numpy as np

    plain: Any = values.tolist() if isinstance(values, np.ndarray | np.generic) else values
    items: list[Any] = [plain] if isinstance(plain, str | Mapping) or not isinstance(plain, Iterable) else list(plain)
    if not items:
        raise InputError(f"{name}: no values; give at least one")
    axis = np.array([_whole(name, value, least) for value in items], dtype=np.int64)
    if len(set(axis.tolist())) < axis.size:
        raise InputError(f"{name}: a value is given twice in {axis.tolist()}")
    return axis


def count(name: str, value: Any, least: int = 1) -> int:
    """A single whole number from `least`. Raises `InputError` for anything else, a list of several included."""
    values = counts(name, value, least)
    if values.size > 1:
        raise InputError(f"{name}: {values.tolist()} are {values.size} values; give one")
    return int(values[0])


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name}: {shown(value)} is not a number; expected whole numbers from {least}")
    number: Any = value  # typing has no arithmetic of Real
    if not least <= number <= MOST or number != math.floor(number):  # NaN fails the first
        raise InputError(f"{name}: {shown(value)} is not a whole number from {least} to {MOST}")
    return int(number)


S = TypeVar("S", bound=Sheet)


def sheets(name: str, kind: type[S], values: SheetLike | Sequence[SheetLike]) -> list[S]:
    """Sheets of an axis, from names, paths, mappings or sheets.

    Raises `InputError` where one is not found or not valid, where none is given or two have the same label.
    """
    single = isinstance(values, str | PathLike | Mapping | Sheet) or not isinstance(values, Iterable)
    items: list[Any] = [values] if single else list(values)
    found: list[S] = [kind.load(value) for value in items]
    if not found:
        raise InputError(f"{name}: none given; give at least one")
    taken: set[str] = set()
    for sheet in found:
        if label(sheet) in taken:
            raise InputError(
                f"{name}: {label(sheet)!r} is given twice; give a changed sheet a name of its own: .replace(name=...)"
            )
        taken.add(label(sheet))
    return found


def label(sheet: Sheet) -> str:
    """What a sheet is called on an axis: its id, else its name."""
    return sheet.id or sheet.name


@dataclass(frozen=True)
class Deployments:
    """The deployment axis: rows of (tp, pp, dp, ep, moe_tp)."""

    rows: tuple[Degrees, ...]

    @property
    def labels(self) -> list[str]:
        """One name a row, with what differs from 1."""
        return [deployment_label(row) for row in self.rows]

    @property
    def accelerators(self) -> list[int]:
        """Accelerators of one replica, a row each."""
        return [row[0] * row[1] * row[2] for row in self.rows]


def deployment_label(row: Degrees) -> str:
    """`tp8`, `tp4 pp2`, `dp8 ep8`: the degrees above 1.

    moe_tp where the experts of a rank are sliced as well as spread, and where it is not what tp, dp and ep imply:
    different rows have different labels.
    """
    tp, _, dp, ep, moe_tp = row
    parts = [f"{name}{n}" for name, n in zip(("tp", "pp", "dp", "ep"), row, strict=False) if n > 1]
    sliced = ep > 1 and ep * moe_tp == tp * dp and moe_tp > 1
    if sliced or moe_tp != implied_moe_tp(tp, dp, ep):
        parts.append(f"moe_tp{moe_tp}")
    return " ".join(parts) or "tp1"


def implied_moe_tp(tp: int, dp: int, ep: int) -> int:
    """Slices of an expert with which the experts fill the accelerators of a stage; 1 where ep exceeds them."""
    return max(1, tp * dp // ep)


def deployments(
    tp: Counts = 1,
    pp: Counts = 1,
    dp: Counts = 1,
    ep: Counts | None = None,
    moe_tp: Counts | None = None,
    rows: Iterable[Mapping[str, int]] | None = None,
) -> Deployments:
    """The deployment axis: explicit `rows`, or the product of the degrees.

    ep : expert parallelism; default 1.   moe_tp : default tp*dp/ep, so that the experts fill the stage.
    Raises `InputError` for a degree that is not a positive whole number, for an unknown name in a row, for no rows and
    a row given twice.
    """
    if rows is not None:
        return Deployments(_rows(rows))
    given = (("tp", tp), ("pp", pp), ("dp", dp), ("ep", 1 if ep is None else ep))
    axes = [counts(name, value).tolist() for name, value in given]
    slices: list[int | None] = [None] if moe_tp is None else counts("moe_tp", moe_tp).tolist()
    found = [(t, p, d, e, implied_moe_tp(t, d, e) if s is None else s) for t, p, d, e, s in product(*axes, slices)]
    return Deployments(tuple(_countable("deployment", row) for row in found))


def _rows(rows: Iterable[Mapping[str, int]]) -> tuple[Degrees, ...]:
    if isinstance(rows, str | Mapping) or not isinstance(rows, Iterable):
        raise InputError(f"deployments: {shown(rows)} is not a list; give a list of mappings such as {{'tp': 8}}")
    found: dict[Degrees, int] = {}
    for index, row in enumerate(rows):
        degrees = _row(index, row)
        if degrees in found:
            raise InputError(f"deployments[{index}]: the same as deployments[{found[degrees]}]")
        found[degrees] = index
    if not found:
        raise InputError("deployments: none given; give at least one")
    return tuple(found)


def _row(index: int, row: Mapping[str, int]) -> Degrees:
    known = ("tp", "pp", "dp", "ep", "moe_tp")
    if not isinstance(row, Mapping):
        raise InputError(f"deployments[{index}]: {shown(row)} is not a mapping of {', '.join(known)}")
    unknown = sorted(map(str, set(row) - set(known)))
    if unknown:
        raise InputError(f"deployments[{index}]: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    tp, pp, dp, ep = (count(f"deployments[{index}].{k}", row.get(k, 1)) for k in known[:4])
    given = "moe_tp" in row
    moe_tp = count(f"deployments[{index}].moe_tp", row["moe_tp"]) if given else implied_moe_tp(tp, dp, ep)
    return _countable(f"deployments[{index}]", (tp, pp, dp, ep, moe_tp))


def _countable(name: str, row: Degrees) -> Degrees:
    tp, pp, dp, ep, moe_tp = row
    if max(tp * pp * dp, ep * moe_tp) > MOST:  # their products are int64 in the kernels
        raise InputError(f"{name}: tp={tp}, pp={pp}, dp={dp}, ep={ep}, moe_tp={moe_tp}: over {MOST} accelerators")
    return row


def default_recipes(models: Sequence[Model]) -> list[Recipe]:
    """The recipes the models ship in, in the order they are first named."""
    names = dict.fromkeys(name for model in models for name in model.recipes)
    return [Recipe.load(name) for name in names]
