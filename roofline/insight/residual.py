"""What measurements leave beside the numbers of sheets: the band of an answer, where random draws do not fill it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.serving.bands import COVERAGE, factors, tiers_of
from roofline.specs.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.insight.subjects import Subject

    Floats = NDArray[np.float64]

DEVIATE = 1.2815515655446004
"""Standard normal deviate that leaves a tenth above it: a band holds 80 %, a tenth is above and a tenth below."""

OF_FIGURES: Mapping[str, tuple[str, float]] = {
    "tpot": ("tpot", 1.0),
    "tokens_per_s_per_user": ("tpot", -1.0),
    "ttft": ("ttft", 1.0),
    "request_rate": ("throughput", 1.0),
    "output_tokens_per_s": ("throughput", 1.0),
    "tokens_per_s_per_gpu": ("throughput", 1.0),
    "joules_per_token": ("joules_per_token", 1.0),
    "joules_per_token_at_boundary": ("joules_per_token", 1.0),
    "tokens_per_mwh": ("joules_per_token", -1.0),
    "usd_per_mtok": ("throughput", -1.0),
    "power": ("power", 1.0),
    "power_at_boundary": ("power", 1.0),
}
"""Figure -> quantity whose band is its own, and the power in which that enters it."""

KIND_OF_MODE = {"aggregated": "closed", "static": "batch", "disaggregated": "apart"}
"""Kind of run of a plan's choice."""

SCORED: Mapping[str, str] = {
    "tpot": "tpot",
    "ttft": "ttft",
    "throughput": "tokens_per_s_per_gpu",
    "joules_per_token": "joules_per_token",
    "power": "power",
}
"""Quantity -> the figure whose draws its band is held against: what was measured, energy at the accelerators."""


class Sides(NamedTuple):
    """How far a quantity may be below and above a prediction, as standard deviations of its logarithm."""

    below: float
    above: float


def bands(held: Subject) -> dict[str, Sides]:
    """The band of each quantity of a plan's choice or of a load; empty where there is none, as of a pass."""
    said = held.attributes
    kinds = {"plan": KIND_OF_MODE.get(said.get("mode", "")), "serve": "open" if "rate" in said else "closed"}
    kind = kinds.get(said["held"])
    if kind is None:
        return {}
    times, energy = tiers_of([side.system for side in held.numbers.sides], Stack.load(said["stack"]))
    found = {}
    for quantity in SCORED:
        band = factors(quantity, kind, energy if quantity in ("joules_per_token", "power") else times)
        if band is not None:
            found[quantity] = Sides(max(0.0, -np.log(band[0])) / DEVIATE, max(0.0, np.log(band[1])) / DEVIATE)
    return found


def left_over(band: Sides, values: Floats) -> Sides:
    """What a band has beyond the draws of a quantity, by side: sqrt(band^2 - draws^2), 0 where they fill it.

    values : float64[draws], finite.   Equation (4) of docs/sensitivity.md.
    """
    tail = 100.0 * (1.0 - COVERAGE) / 2.0
    low, middle, high = np.log(np.percentile(values, (tail, 50.0, 100.0 - tail)))
    below, above = (middle - low) / DEVIATE, (high - middle) / DEVIATE
    return Sides(float(np.sqrt(max(0.0, band.below**2 - below**2))), float(np.sqrt(max(0.0, band.above**2 - above**2))))


def drawn(sides: Sides, deviates: Floats) -> Floats:
    """Factors of a quantity from standard normal deviates: two half-normals of the logarithm, median 1."""
    return np.exp(np.where(deviates < 0.0, sides.below, sides.above) * deviates)


def residuals(
    held: Subject, figures: Sequence[str], values: Mapping[str, Floats], generator: np.random.Generator
) -> dict[str, Floats]:
    """Factors on the figures that have a band, float64[draws] by name.   values : draws of each figure.

    Figures of one quantity move together; those of two do not, though they would in part: of each figure by itself. The
    latency of a request moves with its first token and with those after it.
    """
    count = len(next(iter(values.values())))
    factor: dict[str, Floats] = {}
    known = bands(held)
    for quantity, scored in SCORED.items():
        deviates = generator.standard_normal(count)
        finite = values[scored][np.isfinite(values[scored])] if scored in values else np.empty(0)
        if quantity in known and finite.size:
            factor[quantity] = drawn(left_over(known[quantity], finite), deviates)
    found = {}
    for figure in figures:
        quantity, power = OF_FIGURES.get(figure, ("", 1.0))
        if quantity in factor:
            found[figure] = factor[quantity] ** power
    if {"ttft", "tpot"} <= factor.keys() and "request_latency" in figures:
        first, whole = values["ttft"], values["request_latency"]
        rest = np.maximum(whole - first, 0.0)  # its tokens after the first
        found["request_latency"] = (first * factor["ttft"] + rest * factor["tpot"]) / (first + rest)
    return found
