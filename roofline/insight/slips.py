"""The usual slips of published figures, and what a claim would be without each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from roofline.insight.claim_units import Kind, TokenBasis


@dataclass(frozen=True)
class Slip:
    """One slip undone.

    factor : what the figure is off by, above 1.   what : the slip in words.   cost : of a token without it.
    verdict : what the claim would then be.   over_best : that cost over the best plan's.
    """

    what: str
    factor: float
    cost: float
    verdict: str
    over_best: float


@dataclass(frozen=True)
class Circumstances:
    """What slips depend on.

    accelerators : of a system.   isl, osl : mean lengths.   tokens : basis that the claim was taken to have.
    overhead : watts at the boundary over those of the accelerators; NaN where undisclosed.
    ratio : whether the claim is a ratio, and then reference_accelerators, and watts of an accelerator at the boundary
    over those of the reference; poor_reference : cost of one sequence at a time there over that of its best plan.
    """

    kind: Kind
    accelerators: int
    isl: float
    osl: float
    tokens: TokenBasis
    overhead: float = np.nan
    ratio: bool = False
    reference_accelerators: int = 1
    power_ratio: float = np.nan
    poor_reference: float = np.nan


def slips(
    cost: float, here: Circumstances, judge: Callable[[float], str], best: float
) -> tuple[tuple[Slip, ...], Slip | None]:
    """All slips undone, and of those that make the claim plausible the one that brings it nearest to the best plan.

    cost : claimed, of an output token.   judge : verdict of a cost.   best : cost of the best plan.
    """
    found = [
        Slip(what, max(factor, 1.0 / factor), cost * factor, judge(cost * factor), cost * factor / best)
        for what, factor in _factors(here)
        if np.isfinite(factor) and abs(factor - 1.0) > 1e-9
    ]
    plausible = [slip for slip in found if slip.verdict == "plausible"]
    nearest = min(plausible, key=lambda slip: abs(np.log(slip.over_best)), default=None)
    return tuple(found), nearest


def _factors(here: Circumstances) -> Iterator[tuple[str, float]]:
    """(in words, factor from the cost as claimed to the cost meant)."""
    if here.ratio:
        yield from _of_ratios(here)
    else:
        yield from _of_units(here)
        yield from _of_tokens(here)
    yield "sparse peak for dense: what runs does half as much", 2.0


def _of_units(here: Circumstances) -> Iterator[tuple[str, float]]:
    n = float(here.accelerators)
    if here.kind == "energy":
        yield "MWh for MW s: a rate, tokens a second per MW, printed as tokens per MWh", 1.0 / 3600.0
        yield "MW s for MWh: tokens per MWh printed as a rate, tokens a second per MW", 3600.0
        yield "a thousand: MWh for kWh, kWh for Wh, MW for kW, J for mJ", 1e-3
        yield "a thousand: kWh for MWh, Wh for kWh, kW for MW, mJ for J", 1e3
        yield f"one accelerator's tokens over the power of all {n:.0f}", 1.0 / n
        yield f"the tokens of all {n:.0f} accelerators over the power of one", n
        yield "watts of the accelerators alone for those at the boundary", here.overhead
    elif here.kind == "rate":
        yield "a second for an hour: tokens an hour printed as tokens a second", 3600.0
        yield "an hour for a second: tokens a second printed as tokens an hour", 1.0 / 3600.0
        yield "a thousand tokens too many", 1e3
        yield "a thousand tokens too few", 1e-3
        yield f"the tokens of all {n:.0f} accelerators for those of one", n
        yield f"one accelerator's tokens over all {n:.0f}", 1.0 / n
    else:
        yield "a million tokens for a thousand", 1e3
        yield "a thousand tokens for a million", 1e-3
        yield "an hour's price for a second's tokens", 1.0 / 3600.0
        yield f"the price of one accelerator for all {n:.0f}", n
        yield f"the price of all {n:.0f} accelerators for one", 1.0 / n


def _of_tokens(here: Circumstances) -> Iterator[tuple[str, float]]:
    if here.tokens != "output":
        return
    yield "input and output tokens counted as output", (here.isl + here.osl) / here.osl
    yield "input tokens counted as output", here.isl / here.osl


def _of_ratios(here: Circumstances) -> Iterator[tuple[str, float]]:
    """The cost of a ratio rises by what the ratio is too large by."""
    n, other = here.accelerators, here.reference_accelerators
    yield f"a whole system of {n} against one of {other}, for equal power, accelerators or dollars", n / other
    if here.kind == "energy":
        yield "a ratio for each accelerator printed as one for each MW", here.power_ratio
    yield "a reference that serves one sequence at a time", here.poor_reference
