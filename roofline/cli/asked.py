"""What a search is asked, from words of the command line: workloads, limits, and names of sheets kept as typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from roofline.cli.numbers import names
from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from roofline.serving import SLO
    from roofline.specs.records import Sheet

DEFAULT_WORKLOAD = "1k/1k"

_SECONDS = re.compile(r"([0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*(ms|s)?", re.IGNORECASE)
_LIMITS = ("ttft", "tpot", "latency")


def seconds(text: str, option: str) -> float:
    """A time such as 2, 0.02, 2s or 20ms [s]. Raises InputError naming the option."""
    match = _SECONDS.fullmatch(text.strip())
    if match is None or float(match[1]) == 0.0:
        raise InputError(f"{option} {text}: {text!r} is no time above 0; write seconds as 2 or 0.02, or 20ms")
    return float(match[1]) * (1e-3 if (match[2] or "").lower() == "ms" else 1.0)


def workloads(listed: Sequence[str] | None, spread: float | None, cached: int | None, duty: float | None) -> list[Any]:
    """Workloads as written, each with the same spread of lengths, cached tokens and duty laid over it."""
    from roofline.serving import Workload

    changes: dict[str, Any] = {} if spread is None else {"isl_cv": spread, "osl_cv": spread}
    changes |= {} if cached is None else {"cached": cached}
    changes |= {} if duty is None else {"load": duty}
    return [Workload.of(one, **changes) for one in listed or (DEFAULT_WORKLOAD,)]


def slos(
    ttft: str | None, tpot: str | None, latency: str | None, percentile: str | None, listed: Sequence[str] | None
) -> list[SLO]:
    """Limits of single options, or those of each `--slo`. Raises InputError where both are given."""
    from roofline.serving import SLO

    single = {"ttft": ttft, "tpot": tpot, "latency": latency}
    given = [f"--{name}" for name, value in {**single, "percentile": percentile}.items() if value is not None]
    if listed and given:
        raise InputError(f"{given[0]} and --slo: give one of them; e.g. --slo {_example(single)}")
    if listed:
        return [_slo(text) for text in listed]
    limits = {f"{name}_s": seconds(text, f"--{name}") for name, text in single.items() if text is not None}
    if percentile is None:
        return [SLO(**limits)]
    if not limits:
        raise InputError(f"--percentile {percentile}: of no limit; give --ttft, --tpot or --latency too")
    return [SLO(**limits, percentile=_percentile(percentile))]


def _example(single: dict[str, str | None]) -> str:
    return ",".join(f"{name}={text}" for name, text in single.items() if text is not None) or "ttft=2,tpot=20ms"


def _percentile(text: str) -> float | dict[str, float]:
    """99, or ttft=99,tpot=90."""
    option = "--percentile"
    if "=" not in text:
        return _number(text, f"{option} {text}")
    pairs = _pairs(text, option, _LIMITS)
    return {name: _number(value, f"{option} {text}") for name, value in pairs.items()}


def _slo(text: str) -> SLO:
    """ttft=2,tpot=20ms,percentile=99; none for no limit."""
    from roofline.serving import SLO

    if text.strip() == "none":
        return SLO()
    pairs = _pairs(text, "--slo", (*_LIMITS, "percentile"))
    limits = {f"{name}_s": seconds(value, f"--slo {text}:") for name, value in pairs.items() if name in _LIMITS}
    if "percentile" in pairs:
        return SLO(**limits, percentile=_number(pairs["percentile"], f"--slo {text}"))
    return SLO(**limits)


def _pairs(text: str, option: str, known: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in text.split(","):
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not equals:
            raise InputError(f"{option} {text}: {piece.strip()!r} is no limit; write it as ttft=2,tpot=20ms")
        if name not in known:
            raise InputError(f"{option} {text}: {unknown_name('limit', name, known)}")
        if name in found:
            raise InputError(f"{option} {text}: {name} is given twice")
        found[name] = value
    return found


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: {text.strip()!r} is not a number; write a percentile as 99") from None


def as_typed(kind: type[Sheet], words: str | None) -> dict[str, str]:
    """Label on an axis -> name or path as typed, so that a command printed for a result finds the sheet again."""
    if words is None:
        return {}
    from roofline.grid.axes import label

    return {label(kind.load(name)): name for name in names(words, "sheet")}
