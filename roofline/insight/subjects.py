"""What is asked about: a plan's choice, a pass or a load, whose figures follow the numbers of its sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

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


KINDS = ("plan", "decode", "prefill", "serve")
"""What can be asked about."""


def subject(
    of: str, model: axes.SheetLike, system: axes.SheetLike, recipe: axes.SheetLike | None, options: dict[str, Any]
) -> Subject:
    """The choice of `roofline.plan`, a pass of `roofline.decode` or `roofline.prefill`, or a load of `roofline.serve`.

    options : of that function, one value each.   Raises InputError for bad input and where nothing runs.
    """
    from roofline.insight.cells import given_load, given_pass
    from roofline.insight.held import held_plan

    if of not in KINDS:
        raise unknown_name("answer", str(of), KINDS)
    if of == "plan":
        return held_plan(model, system, recipe, **options)
    return (given_load if of == "serve" else given_pass)(model, system, recipe, **options)


def leading(held: Subject, values: Mapping[str, float]) -> str:
    """The figure that rankings are by: the first with a value as the sheets stand.

    Raises InputError where none has one.
    """
    for name in held.about:
        if np.isfinite(values[name]):
            return name
    raise InputError(f"{held.label}: no figure has a value")
