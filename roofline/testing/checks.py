"""What laws are made of: comparisons of arrays of results that name the law, the cell and the numbers they break at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from roofline.testing.records import Array, Setup
from roofline.testing.runs import Run, run_decode, run_prefill

Runner = Callable[[Setup], Run]
"""Which pass a law is checked on, such as `decoding([1, 64], [2048])`."""

SLACK = 1e-12
"""Relative difference that the order of floating-point operations may make."""


def decoding(
    batches: Sequence[int],
    contexts: Sequence[int],
    new_tokens: int = 1,
    drafts: int = 0,
    tokens_per_step: float | None = None,
) -> Runner:
    """Decode at these batches and contexts."""
    return lambda setup: run_decode(
        setup, batches, contexts, new_tokens, drafts=drafts, tokens_per_step=tokens_per_step
    )


def prefilling(batches: Sequence[int], lengths: Sequence[int], cached: int = 0, chunk: int = 1 << 40) -> Runner:
    """Prefill at these batches and prompt lengths."""
    return lambda setup: run_prefill(setup, batches, lengths, cached, chunk)


class LawBroken(AssertionError):
    """A result that no machine can give, or two results that contradict each other."""


def require(law: str, holds: Array, *values: Array) -> None:
    """`holds` in every cell; `values` are shown of the first where it does not."""
    if not holds.all():
        cell = tuple(int(i) for i in np.argwhere(~holds)[0])
        shown = ", ".join(repr(float(v[cell])) for v in values)
        raise LawBroken(f"{law}: broken in {int((~holds).sum())} cells, first {cell}: {shown}")


def at_least(law: str, values: Array, floor: Array, slack: float = SLACK) -> None:
    """Every value is at least its floor; cells that are NaN on either side are left out."""
    require(law, np.isnan(values) | np.isnan(floor) | (values >= floor - slack * np.abs(floor)), values, floor)


def equal(law: str, values: Array, others: Array, slack: float = SLACK) -> None:
    """Values agree to `slack`, and NaN where the others are."""
    near = (values == others) | (np.abs(values - others) <= slack * np.abs(others))
    require(law, near | (np.isnan(values) & np.isnan(others)), values, others)


def never_falls(law: str, values: Array, axis: int = -1) -> None:
    """Values grow or stay along an axis."""
    moved = np.moveaxis(values, axis, -1)
    at_least(law, moved[..., 1:], moved[..., :-1])


def same_bits(law: str, run: Run, other: Run) -> None:
    """Two runs hold the same bits in every variable, NaN included."""
    for name, values in run.values.items():
        if values.tobytes() != other.values[name].tobytes():
            raise LawBroken(f"{law}: variable {name} differs")
    if run.limit.tobytes() != other.limit.tobytes() or run.bound.tobytes() != other.bound.tobytes():
        raise LawBroken(f"{law}: limit or bound differs")
