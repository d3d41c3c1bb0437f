"""What is asked about: a plan's choice, a pass or a load, whose figures follow the numbers of its sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from roofline.grid import axes
    from roofline.insight.parameters import Numbers, Varied


class Subject(Protocol):
    """An answer that is held while numbers change."""

    @property
    def numbers(self) -> Numbers:
        """All numbers behind it."""

    @property
    def about(self) -> Mapping[str, tuple[str, str]]:
        """Figure -> (units, meaning); rankings are by the first that has a value."""

    @property
    def attributes(self) -> dict[str, str]:
        """Provenance, and what it is."""

    @property
    def label(self) -> str:
        """What it is in a few words."""

    def figures(self, varied: Varied) -> Mapping[str, NDArray[np.float64]]:
        """The figures of every variant, float64[n] by name."""


BLOCK, LOADS = 1024, 16
"""Variants that are evaluated together, and of loads, which are slow and one by one: what memory a run takes beside its
results does not grow with their number, and a waiting person hears of each block."""

KINDS = ("plan", "decode", "prefill", "serve")
"""What can be asked about."""


def subject(
    of: str, model: axes.SheetLike, system: axes.SheetLike, recipe: axes.SheetLike | None, options: dict[str, Any]
) -> Subject:
    """The choice of `roofline.plan`, a pass of `roofline.decode` or `roofline.prefill`, or a load of `roofline.serve`.

    options : of that function, one value each.   Raises InputError for bad input and where nothing runs.
    """
    from roofline.insight.cells import given_load, given_pass
    from roofline.insight.holding import held_plan

    if of not in KINDS:
        raise unknown_name("answer", str(of), KINDS)
    if of in ("plan", "serve") and options.get("workload") is None:
        raise InputError(f"workload: {of} is of requests; give their lengths, e.g. workload='1k/1k'")
    if of == "plan":
        return held_plan(model, system, recipe, **options)
    return (given_load if of == "serve" else given_pass)(model, system, recipe, **options)


def blocks(held: Subject, count: int) -> Iterator[tuple[int, int]]:
    """First and one after the last of the variants that are evaluated together, of `count`."""
    size = LOADS if held.attributes["held"] == "serve" else BLOCK
    for start in range(0, count, size):
        yield start, min(start + size, count)


def leading(held: Subject, values: Mapping[str, float]) -> str:
    """The figure that rankings are by: the first with a value as the sheets stand.

    Raises InputError where none has one.
    """
    for name in held.about:
        if np.isfinite(values[name]):
            return name
    raise InputError(f"{held.label}: no figure has a value")
