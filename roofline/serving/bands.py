"""The band of a served figure: between which factors of it a measurement is to be expected, and why.

A band belongs to the nearest validated group: the quantity, the kind of run, and the tier of what the prediction rests
on. `bands.csv` beside this file holds them: `tools/make_bands.py` makes it from a table of measurements, each row
predicted by constants that were fitted without its model; docs/bands.md says how, and what they cover.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.specs.records import WHAT_IF

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from roofline.specs import Accelerator, System
    from roofline.specs.records import Source
    from roofline.specs.stack import Stack

TABLE = Path(__file__).with_name("bands.csv")

COVERAGE = 0.8
"""Share of measurements that a band is to contain."""

TIERS = {
    "calibrated": "kernels measured on that accelerator, a stack fitted on its generation",
    "kernels": "kernels measured on that accelerator, a stack that was not fitted on its generation",
    "sheet": "estimated efficiencies, or a what-if: specifications alone",
}
"""What a prediction rests on, the best first. Power and energy are of `sheet` too where the draw was not measured."""

KINDS = {
    "closed": "a closed loop of clients",
    "open": "a rate of arrivals",
    "apart": "prompts and decoding in pools of their own",
    "batch": "batches that begin together, are refilled, or drain a queue",
}
"""Kinds of runs."""

QUANTITIES = {
    "tpot": "TPOT",
    "ttft": "TTFT",
    "throughput": "tokens/s",
    "joules_per_token": "J/token",
    "power": "W",
}
"""What has a band, with its short name. Energy and power are those of accelerators."""

BEST = "calibrated"

MEASURED_MODES = {"aggregated": "closed", "static": "batch", "disaggregated": "apart"}
"""Modes of a plan -> the kind of run that was measured of them."""

ABOUT = {"tier": "what times and rates rest on", "energy_tier": "what power and energy rest on"}
"""What a result says of its tiers, by the name of the variable."""

OF_DRAW = ("joules_per_token", "power")
"""Quantities that take the accelerator's draw as well."""

GIVEN = (("throughput", "open"),)
"""Quantity and kind where there is nothing to predict: arrivals are served as they come."""

GENERATIONS = {
    "hopper": ("h100", "h200", "default-hopper"),
    "blackwell": ("b200", "b300", "gb200", "gb300", "default-blackwell"),
}
"""Generations that stacks are fitted on -> efficiency sheets of their accelerators; cards sit in hosts of another kind.

The name of a fitted stack's sheet ends with one of them."""

COLUMNS = ("quantity", "kind", "tier", "low", "high", "rows", "groups", "grade")
"""Of the table."""


@dataclass(frozen=True)
class Band:
    """One band: a measurement lies within low to high times its prediction in `COVERAGE` of the cases.

    quantity, kind, tier : of `QUANTITIES`, `KINDS`, `TIERS`.   low <= 1 <= high : factors.
    rows, groups : measured rows, and groups of (source, model, GPU), of this very cell.
    grade : measured where they are enough for it, else estimated from the cells nearest to it.
    """

    quantity: str
    kind: str
    tier: str
    low: float
    high: float
    rows: int
    groups: int
    grade: str


@cache
def table(path: Path = TABLE) -> Mapping[tuple[str, str, str], Band]:
    """All bands by (quantity, kind, tier)."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [
            Band(
                row["quantity"],
                row["kind"],
                row["tier"],
                float(row["low"]),
                float(row["high"]),
                int(row["rows"]),
                int(row["groups"]),
                row["grade"],
            )
            for row in csv.DictReader(handle)
        ]
    return {(row.quantity, row.kind, row.tier): row for row in rows}


def write(bands: Iterable[Band], path: Path) -> None:
    """Write a table that `table` reads."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for band in bands:
            ends = [f"{band.low:g}", f"{band.high:g}"]
            writer.writerow([band.quantity, band.kind, band.tier, *ends, band.rows, band.groups, band.grade])


def factors(quantity: str, kind: str, tier: str) -> tuple[float, float] | None:
    """(low, high) over a prediction; None where no band is claimed."""
    found = table().get((quantity, kind, tier))
    return None if found is None else (found.low, found.high)


def tiers(accelerator: Accelerator, stack: Stack) -> tuple[str, str]:
    """Tiers of a part under a stack: of times and rates, and of power and energy."""
    times = "sheet"
    if not _changed(accelerator) and _kernels_measured(accelerator):
        times = "calibrated" if _fitted(accelerator, stack) else "kernels"
    own_draw = "draw_a" in accelerator.power.model_fields_set  # else a rule fills it in
    return times, times if own_draw else "sheet"


def tiers_of(systems: Iterable[System], stack: Stack) -> tuple[str, str]:
    """The lowest tiers among systems that serve together."""
    found = [tiers(system.accelerator, stack) for system in systems]
    return lowest(times for times, _ in found), lowest(energy for _, energy in found)


def tier_coords(systems: Sequence[System], stack: Stack) -> dict[str, Any]:
    """Coordinates `tier` and `energy_tier` along `system`: what the figures of each rest on."""
    found = [tiers(system.accelerator, stack) for system in systems]
    return {
        name: ("system", np.array([pair[i] for pair in found], dtype=object), {"long_name": text})
        for i, (name, text) in enumerate(ABOUT.items())
    }


def lowest(names: Iterable[str]) -> str:
    """The lowest of some tiers."""
    order = list(TIERS)
    return max(names, key=order.index)


def _changed(accelerator: Accelerator) -> bool:
    """Whether it is a what-if: a measurement of the part says nothing of it."""
    return any(WHAT_IF in sheet.sources.values() for sheet in (accelerator, accelerator.efficiency))


def _kernels_measured(accelerator: Accelerator) -> bool:
    sheet = accelerator.efficiency
    sources = [sheet.source_of(f"operations.gemm.{name}.eta_memory") for name in sheet.operations.gemm]
    return accelerator.id in sheet.accelerators and all(map(_measured, sources))


def _fitted(accelerator: Accelerator, stack: Stack) -> bool:
    generation = stack.id.rpartition("-")[2]
    mine = accelerator.efficiency.id in GENERATIONS.get(generation, ())
    return mine and _measured(stack.source_of("step_s"))


def _measured(source: Source | None) -> bool:
    return source is not None and source.grade == "measured"
