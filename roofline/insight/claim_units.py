"""What a claim is written in: numbers as people write them, and units of tokens per energy, time or money.

A unit is taken apart into tokens, seconds, joules, accelerators and dollars; a watt is a joule a second. What is left
says what is claimed: tokens per joule however it is spelled (tokens/MWh, tok/s/MW, Wh/token), tokens a second per
accelerator, or tokens per dollar.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from roofline.errors import InputError

Kind = Literal["energy", "rate", "money"]
TokenBasis = Literal["output", "input", "total"]
TOKEN_BASES: tuple[str, ...] = get_args(TokenBasis)

COST_UNITS: dict[Kind, str] = {"energy": "J/token", "rate": "GPU s/token", "money": "$/token"}
"""What a token costs, by kind of claim; less is better."""

FORMS = (
    "write for instance 500000 tokens/MWh, 2.5M tok/s/MW, 0.4 J/token, 0.1 Wh/token, 90 tok/s/GPU, $0.20/Mtok, "
    "or 50x tokens per MW of dgx-h200"
)

_EXPONENTS = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_MULTIPLES = _EXPONENTS | {"bn": 1e9, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_NUMBER = re.compile(
    r"""(?P<digits>[-+]?(?:\d{1,3}(?:[,_' ]\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+)
        (?P<power>[eE][-+]?\d+)?
        (?:\s*(?P<multiple>thousand|million|billion|trillion|bn|[kKMGBT])(?![A-Za-z]))?""",
    re.VERBOSE,
)
_BASIS_WORDS = {"output": "output", "out": "output", "input": "input", "in": "input", "prompt": "input"}
_BASIS_WORDS |= {"total": "total", "in+out": "total", "input+output": "total", "generated": "output"}

Dimensions = dict[str, int]


def _words() -> dict[str, tuple[Dimensions, float]]:
    """Every unit word as it has to be spelled -> (dimensions, factor to tokens, s, J, accelerators and dollars)."""
    found: dict[str, tuple[Dimensions, float]] = {}
    for name in ("tok", "toks", "token", "tokens", "Tok", "Token", "Tokens"):
        for prefix, factor in {"": 1.0, **_EXPONENTS}.items():
            found[prefix + name] = ({"token": 1}, factor)
    prefixes = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    long = {"": 1.0, "kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12}
    for short, words, dimensions, size in (
        ("J", ("joule", "joules"), {"J": 1}, 1.0),
        ("W", ("watt", "watts"), {"J": 1, "s": -1}, 1.0),
        ("Wh", ("watt-hour", "watt-hours", "watthour", "watthours"), {"J": 1}, 3600.0),
    ):
        found |= {prefix + short: (dimensions, factor * size) for prefix, factor in prefixes.items()}
        found |= {prefix + word: (dimensions, factor * size) for prefix, factor in long.items() for word in words}
    found |= {name: ({"J": 1}, 1e-3) for name in ("mJ", "millijoule", "millijoules")}
    found |= {"kwh": ({"J": 1}, 3.6e6), "mwh": ({"J": 1}, 3.6e9), "wh": ({"J": 1}, 3600.0)}
    found |= {"kw": ({"J": 1, "s": -1}, 1e3), "mw": ({"J": 1, "s": -1}, 1e6), "w": ({"J": 1, "s": -1}, 1.0)}
    for names, seconds in (
        (("ms",), 1e-3),
        (("s", "sec", "second", "seconds"), 1.0),
        (("min", "minute", "minutes"), 60.0),
        (("h", "hr", "hour", "hours"), 3600.0),
        (("day", "days"), 86400.0),
    ):
        found |= {name: ({"s": 1}, seconds) for name in names}
        if seconds >= 1.0:
            found |= {f"GPU-{name}": ({"gpu": 1, "s": 1}, seconds) for name in names}
    found |= {name: ({"token": 1, "s": -1}, 1.0) for name in ("TPS", "tps")}
    parts = ("GPU", "GPUs", "gpu", "gpus", "accelerator", "accelerators", "chip", "chips")
    found |= {name: ({"gpu": 1}, 1.0) for name in parts}
    found |= {name: ({"usd": 1}, 1.0) for name in ("$", "USD", "usd", "dollar", "dollars")}
    found |= {name: ({"usd": 1}, 0.01) for name in ("cent", "cents", "¢")}
    return found


WORDS = _words()
_PERFORMANCE = {"perf", "performance", "throughput"}
_REFUSED = {"mWh": "MWh", "mW": "MW", "mtok": "Mtok", "mtoken": "Mtoken", "mtokens": "Mtokens"}
_KINDS: dict[tuple[tuple[str, int], ...], tuple[Kind, bool]] = {
    (("J", -1), ("token", 1)): ("energy", True),
    (("J", 1), ("token", -1)): ("energy", False),
    (("gpu", -1), ("s", -1), ("token", 1)): ("rate", True),
    (("gpu", 1), ("s", 1), ("token", -1)): ("rate", False),
    (("token", 1), ("usd", -1)): ("money", True),
    (("token", -1), ("usd", 1)): ("money", False),
}
_HINTS = {
    (("s", -1), ("token", 1)): "of how many accelerators? write tok/s/GPU",
    (("J", -1), ("s", 1), ("token", 1)): "power is not energy; write tok/s/W or tokens/Wh",
    (("J", -1), ("s", 2), ("token", 1)): "power is not energy; write tok/s/W or tokens/Wh",
    (("gpu", -1), ("token", 1)): "in what time? write tok/s/GPU",
    (("token", 1),): "per what? write tokens per MWh, tok/s per GPU or tokens per $",
}
_GPU_TIME = re.compile(
    r"\b(?:gpu|accelerator|chip)s?[ -](?=(?:h|hr|hours?|s|sec|seconds?|min|minutes?|days?)\b)", re.IGNORECASE
)
"""GPU hours, GPU-hours and accelerator-hours are one unit."""


@dataclass(frozen=True)
class Unit:
    """One unit of a claim.

    kind : what is claimed.   per_cost : whether it is tokens per cost (more is better), else cost per token.
    factor : of the unit to tokens per J, per GPU s or per dollar, or to their inverses.   tokens : basis that it names.
    """

    text: str
    kind: Kind
    per_cost: bool
    factor: float
    tokens: TokenBasis | None = None

    def cost(self, value: float) -> float:
        """Cost of a token [`COST_UNITS`] of a value in this unit."""
        return 1.0 / (value * self.factor) if self.per_cost else value * self.factor

    def value(self, cost: float) -> float:
        """The value in this unit of a cost of a token: the inverse of `cost`."""
        return 1.0 / (cost * self.factor) if self.per_cost else cost / self.factor


def number(text: str) -> tuple[float, str]:
    """The number that a text begins with, above 0, and the rest of the text.

    500000, 500,000, 500 000, 5e5, 500k, 2.5M, 2.5 billion. Raises InputError for anything else.
    """
    match = _NUMBER.match(text.strip())
    if match is None:
        raise InputError(f"claim {text!r}: begins with no number; {FORMS}")
    digits = re.sub(r"[,_' ]", "", match["digits"])
    value = float(digits + (match["power"] or "")) * _MULTIPLES.get(match["multiple"] or "", 1.0)
    rest = text.strip()[match.end() :]
    if re.match(r"[,.]\d", rest):
        raise InputError(f"claim {text!r}: {(match[0] + rest).split()[0]!r} is no number; write 500,000 or 0.4")
    if re.match(r"\s*m\s", rest):
        raise InputError(f"claim {text!r}: m is a thousandth; write {match['digits']}M for millions")
    if not 0.0 < value < math.inf:
        raise InputError(f"claim {text!r}: {match[0]!r} is not a number above 0 that can be held; {FORMS}")
    return value, rest


def unit(text: str, *, timeless: bool = False) -> Unit:
    """A unit such as tokens/MWh, output tok/s per MW, Wh/token, $/Mtok, USD per million tokens.

    timeless : of a ratio, in which time cancels: tokens per MW is then as good as tokens/s per MW.
    Raises InputError naming the word that is not understood, or what the unit lacks.
    """
    dimensions: Counter[str] = Counter()
    factor, tokens = 1.0, None
    parts = re.split(r"\s*/\s*|\s+per\s+", re.sub(r"^\s*per\s+", "/", _GPU_TIME.sub("GPU-", text.strip())))
    for place, part in enumerate(parts):
        sign = 1 if place == 0 else -1
        of, size, basis = _part(part, text)
        for name, exponent in of.items():
            dimensions[name] += sign * exponent
        factor *= size**sign
        tokens = basis or tokens
    if timeless:
        dimensions["s"] = -dimensions["token"] if dimensions["gpu"] else 0
    key = tuple(sorted((name, exponent) for name, exponent in dimensions.items() if exponent))
    if key not in _KINDS:
        raise InputError(f"claim: unit {text.strip()!r}: {_HINTS.get(key, FORMS)}")
    kind, per_cost = _KINDS[key]
    return Unit(" ".join(text.split()), kind, per_cost, factor, tokens)


def _part(part: str, whole: str) -> tuple[Dimensions, float, TokenBasis | None]:
    """Dimensions, factor and token basis of what stands between two strokes: `1M output tokens`."""
    found: tuple[Dimensions, float] | None = None
    factor, tokens = 1.0, None
    words = part.split()
    for word in words:
        if word in _MULTIPLES and len(words) > 1 and found is None:
            factor *= _MULTIPLES[word]
        elif word.lower() in _BASIS_WORDS:
            tokens = _BASIS_WORDS[word.lower()]
        elif _NUMBER.fullmatch(word) and found is None:
            factor *= number(word)[0]
        elif found is None:
            found = _word(word, whole)
        else:
            raise InputError(f"claim: unit {whole.strip()!r}: {word!r} is one word too many; {FORMS}")
    if found is None:
        raise InputError(f"claim: unit {whole.strip()!r}: {part!r} is no unit; {FORMS}")
    return found[0], found[1] * factor, tokens  # type: ignore[return-value]  # one of TokenBasis


def _word(word: str, whole: str) -> tuple[Dimensions, float]:
    if word in _REFUSED:
        raise InputError(f"claim: unit {whole.strip()!r}: {word} is a thousandth; write {_REFUSED[word]}")
    if word.lower() in _PERFORMANCE:
        return {"token": 1, "s": -1}, 1.0
    lower = word.lower()
    if lower == "user":
        raise InputError(f"claim: unit {whole.strip()!r}: speed of one user is no cost of a token; {FORMS}")
    if lower.startswith("gpu-"):
        word = "GPU-" + lower[4:]
    known = WORDS.get(word) or WORDS.get(lower)
    if known is None:
        raise InputError(f"claim: unit {whole.strip()!r}: {word!r} is not understood; {FORMS}")
    return known


def convert(value: float, source: str | Unit, target: str | Unit) -> float:
    """A value in another unit of the same kind: `convert(500_000, "tokens/MWh", "J/token")` is 7,200.

    Raises InputError for units of two kinds or token bases, and for a value that is not above 0.
    """
    first, second = (unit(one) if isinstance(one, str) else one for one in (source, target))
    if first.kind != second.kind or (first.tokens or "output") != (second.tokens or "output"):
        raise InputError(f"cannot turn {first.text} into {second.text}: they are not of the same kind and tokens")
    if not 0.0 < value < math.inf:
        raise InputError(f"{value!r} {first.text}: give a number above 0")
    return second.value(first.cost(value))
