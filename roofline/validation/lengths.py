"""Requests of a case, counted in steps: what a closed loop or a batch does before steps have times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from roofline.serving.deployed import chunk_contexts, mean_context
from roofline.serving.service import Requests
from roofline.serving.steps import Steps
from roofline.validation.cells import Pass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.validation.conditions import Case

    Floats = NDArray[np.float64]

POINTS = 128
"""Equally likely lengths that stand for a uniform spread."""

STRIDE = 79
"""Order in which output lengths meet prompts, coprime to `POINTS`: as good as independent of them."""


@dataclass(frozen=True, eq=False)
class Lengths:
    """Requests of a case.

    counted : them in steps.   step : the kind of step they are served in.   reserved : tokens a sequence is given room
    for.   isl, osl : means.   chunk : tokens of a chunk, of one prompt.
    """

    requests: Requests
    counted: Steps
    step: Pass
    reserved: int
    isl: float
    osl: float
    chunk: int


def pairs(isl: float, osl: float, spread: float) -> tuple[Floats, Floats]:
    """ISL and OSL of equally likely requests with those means, uniform down to 1 - spread of the longest."""
    if spread == 0.0:
        return np.array([float(max(1, round(isl)))]), np.array([float(max(1, round(osl)))])
    shares = 1.0 - spread + spread * (np.arange(POINTS) + 0.5) / POINTS
    longest = np.array([isl, osl]) / (1.0 - spread / 2.0)
    order = np.arange(POINTS) * STRIDE % POINTS
    return np.maximum(np.rint(longest[0] * shares), 1.0), np.maximum(np.rint(longest[1] * shares[order]), 1.0)


def tokens_per_step(acceptance: tuple[float, ...]) -> float:
    """tau = 1 + sum_j prod_{i<=j} a_i."""
    return 1.0 + float(np.cumprod(acceptance).sum()) if acceptance else 1.0


def of_case(case: Case) -> Lengths:
    """Lengths of a case; a chunk is no longer than the longest prompt."""
    return _of(case.isl, case.osl, case.spread, case.chunk, case.acceptance)


@lru_cache(maxsize=1024)
def _of(isl: float, osl: float, spread: float, chunk: int, acceptance: tuple[float, ...]) -> Lengths:
    ins, outs = pairs(isl, osl, spread)
    requests = Requests(ins, outs)
    size = min(chunk, int(ins.max()))
    counted = Steps(np.sort(ins) / size, np.sort(outs), tokens_per_step(acceptance))
    ahead = tuple(int(end) for end in chunk_contexts(requests, size))
    step = Pass(max(1, round(mean_context(requests))), size, ahead, len(acceptance))
    reserved = round(float(ins.mean() + outs.mean()))
    return Lengths(requests, counted, step, reserved, float(ins.mean()), float(outs.mean()), size)
