"""Load over a day: 24 shares of what a site can serve, by name, as numbers or from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError, unknown_name
from roofline.serving.service import number
from roofline.serving.tables import SUFFIXES, read_columns
from roofline.serving.workload import HOURS
from roofline.specs import Source

if TYPE_CHECKING:
    Hours = tuple[float, ...]
    DayLike = float | str | PathLike[str] | Sequence[float]

SOURCE = Source(ref="a stated choice of shape, not measured", grade="estimated")
"""Of all `SHAPES`."""


def _wave(lowest: float, peak_hour: float) -> Hours:
    """A cosine over the day from `lowest` to 1, the mean of each hour's ends."""
    middle, swing = (1.0 + lowest) / 2.0, (1.0 - lowest) / 2.0
    turns = [2.0 * math.pi * (hour + 0.5 - peak_hour) / HOURS for hour in range(HOURS)]
    top = max(math.cos(turn) for turn in turns)
    return tuple(round(middle + swing * math.cos(turn) / top, 4) for turn in turns)


SHAPES: Mapping[str, Hours] = {
    "flat": (1.0,) * HOURS,
    "day": _wave(0.3, 15.0),
    "evening": _wave(0.2, 20.0),
    "office": tuple(1.0 if 9 <= hour < 18 else 0.15 for hour in range(HOURS)),
    "night": tuple(1.0 if hour < 7 or hour >= 22 else 0.1 for hour in range(HOURS)),
}
"""Shares by name, hour 0 the first: of one time zone's day, evening and office hours, and of batches by night."""


def hours_of(load: Any) -> Hours:
    """24 shares, one an hour.

    load : a share for all hours, 24 of them, a name of `SHAPES`, or the path of a CSV or Parquet file with a column
        `load` of 24 rows. A share is of the tokens a second that the site serves with every replica at work.
    Raises InputError naming file and line, or hour, and value: for a share outside 0 to 1, another number of them than
    24, all of them 0, or an unknown name.
    """
    if isinstance(load, str) and not load.lower().endswith(SUFFIXES) and "/" not in load:
        if load not in SHAPES:
            raise InputError(f"load: {unknown_name('shape', load, SHAPES)}; or give 24 shares or the path of a CSV")
        return SHAPES[load]
    if isinstance(load, str | PathLike):
        path = Path(load).expanduser()
        columns, place = read_columns(path, ["load"])
        return _checked(columns["load"].tolist(), lambda hour: f"{place(hour)}: load", str(path))
    if isinstance(load, Sequence | np.ndarray):
        return _checked(list(load), lambda hour: f"load[{hour}]", "load")
    return _checked([load] * HOURS, lambda _hour: "load", "load")


def _checked(values: list[Any], where: Any, what: str) -> Hours:
    if len(values) != HOURS:
        raise InputError(f"{what}: has {len(values)} shares; give {HOURS}, one an hour")
    shares = []
    for hour, value in enumerate(values):
        share = number(where(hour), value, least=0.0)
        if share > 1.0:
            raise InputError(f"{where(hour)} = {value!r}: give a share from 0 to 1")
        shares.append(share)
    if not any(shares):
        raise InputError(f"{what}: is 0 in every hour; give one above 0")
    return tuple(shares)
