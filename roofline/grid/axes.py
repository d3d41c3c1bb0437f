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
from roofline.specs import Model, Recipe, System

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SheetLike = Any
"""A sheet, its name, a path or a mapping."""

Counts = int | Iterable[int]
Degrees = tuple[int, int, int, int, int]
MOST = 1 << 40
"""Largest count an axis takes: beyond it products leave the exact range of int64 and float64."""


def counts(name: str, values: Counts) -> NDArray[np.int64]:
    """An axis of positive whole numbers.

    Raises `InputError` for anything else (negative, zero, fraction, NaN, infinite, text), for an empty axis and for a
    value given twice.
    """
    import numpy as np

    items: list[Any] = [values] if isinstance(values, Real | str) or not isinstance(values, Iterable) else list(values)
    if not items:
        raise InputError(f"{name}: no values; give at least one")
    for value in items:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InputError(f"{name}: {value!r} is not a number; expected whole numbers from 1")
        if not math.isfinite(value) or value != math.floor(value) or not 1 <= float(value) <= MOST:
            raise InputError(f"{name}: {value!r} is not a whole number from 1 to {MOST}")
    axis = np.array([int(value) for value in items], dtype=np.int64)
    if len(set(axis.tolist())) < axis.size:
        raise InputError(f"{name}: a value is given twice in {axis.tolist()}")
    return axis


S = TypeVar("S", Model, System, Recipe)


def sheets(name: str, kind: type[S], values: SheetLike | Sequence[SheetLike]) -> list[S]:
    """Sheets of an axis, from names, paths, mappings or sheets.

    Raises `InputError` where one is not found or not valid, where none is given or two have the same label.
    """
    single = isinstance(values, str | PathLike | Mapping | kind)
    items: list[Any] = [values] if single else list(values)
    found: list[S] = [kind.load(value) for value in items]
    if not found:
        raise InputError(f"{name}: none given; give at least one")
    taken: set[str] = set()
    for sheet in found:
        if label(sheet) in taken:
            raise InputError(f"{name}: {label(sheet)!r} is given twice; a changed sheet needs a name of its own")
        taken.add(label(sheet))
    return found


def label(sheet: Model | System | Recipe) -> str:
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
    """`tp8`, `tp4 pp2`, `dp8 ep8`: the degrees above 1; moe_tp only where ep does not imply it."""
    tp, _, dp, ep, moe_tp = row
    parts = [f"{name}{n}" for name, n in zip(("tp", "pp", "dp", "ep"), row, strict=False) if n > 1]
    if ep > 1 and ep * moe_tp == tp * dp and moe_tp > 1:
        parts.append(f"moe_tp{moe_tp}")
    return " ".join(parts) or "tp1"


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
    Raises `InputError` for a degree that is not a positive whole number and for an unknown name in a row.
    """
    if rows is not None:
        return Deployments(tuple(_row(index, row) for index, row in enumerate(rows)))
    axes = [counts(name, value).tolist() for name, value in (("tp", tp), ("pp", pp), ("dp", dp), ("ep", ep or 1))]
    slices: list[int | None] = [None] if moe_tp is None else counts("moe_tp", moe_tp).tolist()
    found = [(t, p, d, e, s if s is not None else max(1, t * d // e)) for t, p, d, e, s in product(*axes, slices)]
    return Deployments(tuple(dict.fromkeys(found)))


def _row(index: int, row: Mapping[str, int]) -> Degrees:
    known = ("tp", "pp", "dp", "ep", "moe_tp")
    unknown = sorted(set(row) - set(known))
    if unknown:
        raise InputError(f"deployments[{index}]: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    tp, pp, dp, ep = (int(counts(f"deployments[{index}].{k}", row.get(k, 1))[0]) for k in known[:4])
    default = max(1, tp * dp // ep)
    return tp, pp, dp, ep, int(counts(f"deployments[{index}].moe_tp", row.get("moe_tp", default))[0])


def default_recipes(models: Sequence[Model]) -> list[Recipe]:
    """The recipes the models ship in, in the order they are first named."""
    names = dict.fromkeys(name for model in models for name in model.recipes)
    return [Recipe.load(name) for name in names]
