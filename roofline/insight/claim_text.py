"""A claim as it is written: a figure with a unit, or a ratio to another system."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from roofline.errors import InputError
from roofline.insight.claim_units import FORMS, Kind, TokenBasis, Unit, number, unit

_RATIO = re.compile(r"\s*(?:x|X|×|times)\s+(?P<rest>\S.*)$", re.DOTALL)
_AGAINST = re.compile(
    r"(?:the\s+)?(?P<measure>.+?)\s+(?:of|than|as|over|vs\.?|versus|against|compared\s+(?:to|with))\s+(?P<system>\S.*)$"
)
_MORE = ("more", "higher", "better", "greater", "as many")
_LESS = ("less", "lower", "fewer", "cheaper", "smaller")


@dataclass(frozen=True)
class Claim:
    """What is claimed.

    value : as written, in `unit`; of a ratio how many times better (more tokens of the same cost).
    reference : the system a ratio is to; '' where it is a figure.
    """

    text: str
    value: float
    unit: Unit
    reference: str = ""

    @property
    def kind(self) -> Kind:
        """What it is about: energy, rate or money."""
        return self.unit.kind

    @property
    def tokens(self) -> TokenBasis | None:
        """Tokens that it names: output, input or total; None where it does not say."""
        return self.unit.tokens

    def cost(self, reference: float = math.nan) -> float:
        """Cost of a token that it amounts to.   reference : that of the system a ratio is to."""
        return reference / self.value if self.reference else self.unit.cost(self.value)

    def in_unit(self, cost: float, reference: float = math.nan) -> float:
        """A cost of a token as the claim would put it: the inverse of `cost`."""
        return reference / cost if self.reference else self.unit.value(cost)


def parse(text: str) -> Claim:
    """A claim such as `500000 tokens/MWh`, `$0.20/Mtok` or `50x tokens per MW of dgx-h200`.

    Raises InputError, with the forms that are understood, for anything else.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"claim {text!r}: nothing is claimed; {FORMS}")
    plain = text.strip().removeprefix("~").strip()
    dollars = plain.startswith("$")
    value, rest = number(plain[1:] if dollars else plain)
    ratio = None if dollars else _RATIO.match(rest)
    if ratio is not None:
        return _ratio(text.strip(), value, ratio["rest"])
    if not rest.strip():
        raise InputError(f"claim {text!r}: a number without a unit; {FORMS}")
    if dollars and not re.match(r"\s*/|\s+per\s", rest):
        raise InputError(f"claim {text!r}: dollars for what? {FORMS}")
    found = unit(f"${rest}" if dollars else rest)
    if not 0.0 < found.cost(value) < math.inf:
        raise InputError(f"claim {text!r}: out of range; {FORMS}")
    return Claim(text.strip(), value, found)


def _ratio(text: str, value: float, rest: str) -> Claim:
    match = _AGAINST.match(rest)
    if match is None:
        raise InputError(f"claim {text!r}: a ratio to what? write 50x tokens per MW of dgx-h200")
    measure, less = match["measure"], False
    for word in (*_MORE, *_LESS):
        if measure.lower().startswith(word + " "):
            measure, less = measure[len(word) :].strip(), word in _LESS
            break
    measured = unit(measure, timeless=True)
    if measured.per_cost and less:
        raise InputError(f"claim {text!r}: {value:g} times less of {measure}? write a ratio above 0 of what is more")
    # A cost is better where it is lower: `35x lower $/Mtok` is 35 times better, `0.1x J/token` ten times.
    better = value if measured.per_cost or less else 1.0 / value
    return Claim(text, better, measured, match["system"].strip())
