"""A subject whose figures are written down, so that what is computed of them has an answer by hand."""

from __future__ import annotations

import numpy as np

from roofline.insight.parameters import Numbers, Side, Varied
from roofline.specs import Model, Recipe, System

BANDWIDTH, TDP, PUE = "accelerator.memory.bytes_per_s", "accelerator.power.tdp_w", "facility.pue"


class Written:
    """power: bandwidth^2 TDP^-1/2 PUE; edge: the smaller of two that meet as the sheets stand; still: a constant."""

    def __init__(self) -> None:
        side = Side.of(Model.load("llama-3.1-8b"), System.load("dgx-h100"), Recipe.load("fp8"), "kernel")
        self.numbers = Numbers([side], None, "kernel")
        self.base = {path: self.numbers[path].value for path in (BANDWIDTH, TDP, PUE)}
        self.calls: list[int] = []

    about = {"power": ("1", "a power law"), "edge": ("1", "two roofs that meet"), "still": ("1", "moved by nothing")}  # noqa: RUF012
    label = "written down"

    @property
    def attributes(self) -> dict[str, str]:
        return {"held": "decode", "model": "none", "system": "none"}

    def figures(self, varied: Varied) -> dict[str, np.ndarray]:
        self.calls.append(varied.size)
        bandwidth = varied.machines[0]["bytes_per_s"] / self.base[BANDWIDTH]
        tdp, pue = varied.machines[0]["tdp_w"] / self.base[TDP], varied.around[0]["pue"] / self.base[PUE]
        return {
            "power": bandwidth**2 * tdp**-0.5 * pue,
            "edge": np.minimum(bandwidth, tdp),
            "still": np.full(varied.size, 7.0),
        }
