"""Drafts of a decode step: how many, how likely each is kept, how many tokens a step yields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from numbers import Real
from operator import mul

from roofline.errors import InputError
from roofline.grid import axes
from roofline.specs.findings import shown

Acceptance = float | Iterable[float]


@dataclass(frozen=True, slots=True)
class Drafts:
    """Drafts of one decode step.

    count : int   draft tokens per sequence and step, from the model's multi-token-prediction layers; 0: none.
    acceptance : (count,) floats in [0, 1]   chance that a draft is kept, given that those before it were.
    """

    count: int = 0
    acceptance: tuple[float, ...] = ()

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens kept of a step, tau = 1 + sum_j prod_{i<=j} a_i (Leviathan et al., arXiv 2211.17192)."""
        return 1.0 + float(sum(accumulate(self.acceptance, mul)))

    @property
    def attributes(self) -> dict[str, str]:
        """What a result says of them."""
        if not self.count:
            return {}
        accepted = ", ".join(f"{a:g}" for a in self.acceptance)
        return {
            "drafts": str(self.count),
            "acceptance": accepted,
            "tokens_per_step": f"{self.tokens_per_step:.6g}",
        }


def drafts_of(count: int, acceptance: Acceptance | None, new_tokens: int = 1) -> Drafts:
    """Checked drafts.

    acceptance : one number for every position, or one for each.
    Raises `InputError` where the count is negative or not whole, an acceptance is missing or outside [0, 1], or
    new_tokens are given too.
    """
    number = axes.count("drafts", count, least=0)
    if number and axes.count("new_tokens", new_tokens) != 1:
        raise InputError("drafts: give either drafts, which sets the tokens of the step, or new_tokens")
    if acceptance is None:
        if number:
            raise InputError(
                "acceptance: give the chance that each draft is kept, e.g. [0.8, 0.6] for two drafts; it differs by "
                "model, text and position, so there is no default"
            )
        return Drafts()
    if not number and not isinstance(acceptance, Iterable):
        raise InputError("acceptance: given without drafts; give the number of drafts too")
    given = [acceptance] * number if isinstance(acceptance, Real) else list(acceptance)  # type: ignore[arg-type]
    for position, value in enumerate(given):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
            raise InputError(f"acceptance[{position}]: {shown(value)} is not a share from 0 to 1")
    if len(given) != number:
        raise InputError(f"acceptance: {len(given)} positions for {number} drafts; give one for each")
    return Drafts(number, tuple(float(value) for value in given))
