"""What a search looks for, as the cost of equation (25), and the watts around accelerators as kernels take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError, unknown_name
from roofline.layout import POWER, PSU_POINTS
from roofline.rack.energy import NAMEPLATE, PowerFacts, check, check_vintage, describe
from roofline.specs.records import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.rack.energy import Basis, Boundary
    from roofline.specs import System

OBJECTIVES = {
    "tokens_per_mwh": "most output tokens per megawatt-hour",
    "joules_per_token": "least energy per output token",
    "tokens_per_s_per_gpu": "most output tokens a second per accelerator",
    "min_gpus": "fewest accelerators for the workload's rate of requests",
}
"""By name, what is best."""

ENERGY = ("tokens_per_mwh", "joules_per_token")
"""Objectives for which watts must be known."""


@dataclass(frozen=True)
class Objective:
    """What is best, and where energy is counted.   Raises InputError as `roofline.rollup` and for unknown names."""

    name: str = "tokens_per_mwh"
    boundary: Boundary = "facility"
    basis: Basis = "metered"
    vintage: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in OBJECTIVES:
            raise unknown_name("objective", str(self.name), OBJECTIVES)
        check(self.boundary, self.basis, 1.0, self.vintage)
        if self.vintage is not None and self.boundary != "facility":
            raise InputError(
                f"vintage {self.vintage!r} is an all-in figure of the facility, not of the {self.boundary}"
            )

    @property
    def by_energy(self) -> bool:
        """Whether watts decide."""
        return self.name in ENERGY

    @property
    def counts_accelerators(self) -> bool:
        """Whether accelerators for a load decide."""
        return self.name == "min_gpus"

    @property
    def where(self) -> str:
        """`facility, metered`."""
        return describe(self.boundary, self.basis, self.vintage)

    def prices(self, systems: Sequence[System]) -> NDArray[np.float64]:
        """alpha [per accelerator-second] and beta [per J] of each system, float64[systems, 2]."""
        return np.tile([0.0, 1.0] if self.by_energy else [1.0, 0.0], (len(systems), 1))

    def price(self, system: System) -> float:
        """alpha of a system; 1 where accelerators cost nothing."""
        return float(self.prices([system])[0, 0]) or 1.0

    def powers(self, systems: Sequence[System]) -> NDArray[np.void]:
        """Records of `layout.POWER`. Raises InputError where a system has no figure of the vintage."""
        known = {_label(system): system.power.provisioned_w_per_accelerator for system in systems}
        check_vintage(self.vintage, known)
        return np.array([self._power(PowerFacts.of(system)) for system in systems], dtype=POWER)

    def _power(self, facts: PowerFacts) -> Any:
        record = np.zeros(1, dtype=POWER)
        points = len(facts.psu_load)
        for name in ("accelerators", "idle_w", "host_w", "psu_rated_w"):
            record[name] = getattr(facts, name)
        record["psu_points"] = points
        for name in ("psu_load", "psu_efficiency"):
            curve = getattr(facts, name)
            record[name][0] = [*curve, *curve[-1:] * (PSU_POINTS - points)]
        record["pue"] = facts.pue - facts.fixed_overhead if self.boundary == "facility" else 1.0
        record["most_w"] = facts.max_w if facts.limited else np.inf
        record["fixed_w"] = facts.fixed_w if self.boundary == "facility" else 0.0
        record["boundary"] = self.boundary != "accelerator"
        record["reserved"] = self.basis == "provisioned"
        if self.basis == "provisioned":
            one = np.ones(1, dtype=np.int64)
            none = np.zeros(1, dtype=np.int64)
            record["reserved_part_w"] = facts.reserved_watts(self.boundary, self.vintage, one, none)
            record["reserved_system_w"] = facts.reserved_watts(self.boundary, self.vintage, none, one)
        return record[0]

    @property
    def attributes(self) -> dict[str, str]:
        """What a result says of it."""
        vintage = (self.vintage or NAMEPLATE) if self.basis == "provisioned" else ""
        return {"objective": self.name, "boundary": self.boundary, "basis": self.basis, "vintage": vintage}


def _label(sheet: Sheet) -> str:
    return sheet.id or sheet.name
