"""A claim as it is written: a figure with a unit, or a ratio to another system."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from roofline.errors import InputError
from roofline.insight.claim_units import FORMS, Kind, TokenBasis, Unit, number, unit

_TIMES = r"\s*(?:x|X|×|times|-?fold)"
_RATIO = re.compile(_TIMES + r"\s+(?P<rest>\S.*)$", re.DOTALL)
_AGAINST = re.compile(
    r"(?:the\s+)?(?P<measure>.+?)\s+(?:of|than|as|over|vs\.?|versus|against|compared\s+(?:to|with))\s+(?P<system>\S.*)$"
)
_MORE = ("more", "higher", "greater", "as many")
_LESS = ("less", "lower", "fewer", "cheaper", "smaller", "reduction in", "reduction of")
_BETTER = ("better", "improvement in", "improvement of")
"""Better is more of what one wants and less of what it costs."""

_ABOUT = re.compile(
    r"^(?:~|≈|[<>]=?|[≤≥]|(?:about|around|roughly|approximately|nearly|almost|over|up to|at (?:least|most)"
    r"|(?:more|less) than)\s)\s*",
    re.IGNORECASE,
)
_DOLLARS = re.compile(r"(?:US)?\$\s*|USD\s+")
_SPOKEN = {
    **dict.fromkeys(("efficient", "energy efficient", "energy-efficient", "energy efficiency"), "tok/J"),
    **dict.fromkeys(("cheaper", "cost", "token cost", "price"), "$/token"),
    **dict.fromkeys(("energy", "token energy"), "J/token"),
}
"""What a ratio may be of in words, and the unit of it."""

_PER = {"cost": "$", "price": "$", "energy": "J"}
"""Words that stand for a unit before `per`."""


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
    plain = _ABOUT.sub("", text.strip().strip("\"'“”").rstrip(".").strip())
    dollars = _DOLLARS.match(plain)
    value, rest = number(plain[dollars.end() :] if dollars else plain)
    ratio = None if dollars else _RATIO.match(rest)
    if ratio is not None:
        return _ratio(text.strip(), value, ratio["rest"])
    _no_other(text, rest)
    if not rest.strip():
        raise InputError(f"claim {text!r}: a number without a unit; {FORMS}")
    if dollars and not re.match(r"\s*/|\s+per\s", rest):
        raise InputError(f"claim {text!r}: dollars for what? {FORMS}")
    found = unit(f"${rest}" if dollars else rest)
    if not 0.0 < found.cost(value) < math.inf:
        raise InputError(f"claim {text!r}: out of range; {FORMS}")
    return Claim(text.strip(), value, found)


def _no_other(text: str, rest: str) -> None:
    """Raise InputError for what stands behind a number where it is more, or less, than one figure."""
    if re.fullmatch(_TIMES, rest.rstrip()):
        raise InputError(f"claim {text!r}: a ratio of what, to what? write 50x tokens per MW of dgx-h200")
    if re.match(r"\s*(?:-|–|to\s)\s*\d", rest):
        raise InputError(f"claim {text!r}: a range; check its ends one at a time")
    if re.match(r"\s*(?:%|percent\b)", rest):
        raise InputError(f"claim {text!r}: a share; write how many times: 90 % fewer J/token is 10x fewer")
    if re.match(r"/\d+(?:(?:st|nd|rd|th)\b|\s+(?:of|the)\b)", rest):
        raise InputError(f"claim {text!r}: a fraction; write how many times: one 35th of the cost is 35x lower cost")


def _ratio(text: str, value: float, rest: str) -> Claim:
    match = _AGAINST.match(rest)
    if match is None:
        raise InputError(f"claim {text!r}: a ratio to what? write 50x tokens per MW of dgx-h200")
    measure, less, improved = match["measure"], match["measure"].lower() == "cheaper", False
    for word in (*_MORE, *_LESS, *_BETTER):
        if measure.lower().startswith(word + " "):
            measure, less, improved = measure[len(word) :].strip(), word in _LESS, word in _BETTER
            break
    if measure.lower() in ("faster", "fast", "slower", "speed", "speedup"):
        raise InputError(
            f"claim {text!r}: speed of one user is no cost of a token; write 30x tok/s/GPU of dgx-h100 for what an "
            "accelerator makes, and see `roofline plan --tpot` for one user"
        )
    measured = unit(_said(measure), timeless=True)
    if measured.per_cost and less:
        raise InputError(f"claim {text!r}: {value:g} times less of {measure}? write a ratio above 0 of what is more")
    # A cost is better where it is lower: `35x lower $/Mtok` is 35 times better, `0.1x J/token` ten times.
    better = value if measured.per_cost or less or improved else 1.0 / value
    return Claim(text, better, measured, match["system"].strip())


def _said(measure: str) -> str:
    """The unit of a measure in words: `cost per token` is `$ per token`; other measures are their own."""
    spoken = _SPOKEN.get(measure.lower())
    return spoken or re.sub(
        r"^(cost|price|energy)(?=\s*/|\s+per\s)", lambda word: _PER[word[1].lower()], measure, flags=re.IGNORECASE
    )
