"""Bands from residuals: between which factors of its prediction a measurement of an unseen model is to be expected.

A band has two parts, both of logs of measured over predicted:

  ends    weighted quantiles of the rows of the calibrated tier, by quantity and kind of run: groups of
          (source, model, GPU) weigh as the square root of their rows, so that no campaign sets them alone
  extra   in quadrature, the least that covers the rows of a tier where each is held against the ends that other models
          give: an error of its own, which adds its variance. Models weigh alike in the calibrated tier, groups as above
          in the others

A kind with fewer than `ENOUGH` groups takes the ends of all kinds, a tier the extra of all times, rates and energies
together (power a part of it: as its ends are beside those of rates); such a band is graded `estimated`. No tier is
narrower than a better one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.serving.bands import BEST, COVERAGE, GIVEN, KINDS, QUANTITIES, TIERS, Band
from roofline.validation.score import quantile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Texts = NDArray[np.str_]

    Ends = Mapping[tuple[str, str], tuple[float, float]]

ENOUGH = 5
"""Groups that a band of its own takes."""

LEAST = 0.01
"""Log of the narrowest end: two runs of the same configuration differ by about as much."""

DIGITS = 3
"""Decimals of a factor, as the table has it."""


@dataclass(frozen=True, eq=False)
class Residuals:
    """Measured rows beside predictions that have not seen their models.

    quantity, kind, tier : of `roofline.serving.bands`.   group : of (source, model, GPU).   model : shapes alike are
    one.   log : ln(measured / predicted).   counts : whether it is a row, or one predicted a second time as of a lower
    tier, which only widens.   weight : 1 / sqrt(rows of its group within quantity, kind and tier). Arrays [n].
    """

    quantity: Texts
    kind: Texts
    tier: Texts
    group: Texts
    model: Texts
    log: Floats
    counts: Flags
    weight: Floats

    @classmethod
    def of(
        cls, quantity: Texts, kind: Texts, tier: Texts, group: Texts, model: Texts, log: Floats, counts: Flags
    ) -> Residuals:
        """All rows that there are, weighed."""
        return cls(
            quantity, kind, tier, group, model, log, counts, 1.0 / np.sqrt(_members(quantity, kind, tier, group))
        )

    def take(self, rows: Flags) -> Residuals:
        """Some of the rows, all or none of a group: weights stay."""
        return Residuals(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Coverage:
    """How many rows of some lie within bands.   rows : held.   by_row, by_group, by_model : rows, groups or models
    alike; NaN where there is none."""

    rows: int
    by_row: float
    by_group: float
    by_model: float


def bands(residuals: Residuals, coverage: float = COVERAGE) -> tuple[Band, ...]:
    """The bands that these residuals give, in the order of quantities, kinds and tiers; see the module.

    A quantity with fewer than `ENOUGH` calibrated groups in all has none. The same rows give the same bands, in
    whatever order they stand.
    """
    ends, extras = _ends(residuals, coverage), _extras(residuals, coverage)
    found = []
    for quantity in QUANTITIES:
        if not any(name == quantity for name, _ in ends):
            continue
        for kind in KINDS:
            if (quantity, kind) in GIVEN:
                continue
            own = (quantity, kind) in ends
            low, high = ends[quantity, kind if own else ""]
            for tier in TIERS:
                extra, measured = extras[quantity, tier]
                cell = _cell(residuals, quantity, kind, tier)
                found.append(
                    Band(
                        quantity,
                        kind,
                        tier,
                        round(math.exp(-math.hypot(low, extra)), DIGITS),
                        round(math.exp(math.hypot(high, extra)), DIGITS),
                        int(cell.sum()),
                        int(np.unique(residuals.group[cell]).size),
                        "measured" if own and measured and (tier == BEST or cell.any()) else "estimated",
                    )
                )
    return tuple(found)


def inside(residuals: Residuals, known: tuple[Band, ...]) -> Floats:
    """Whether each row lies within its band: 1 or 0, NaN where it has none. float64[n]."""
    ends = {(band.quantity, band.kind, band.tier): (math.log(band.low), math.log(band.high)) for band in known}
    keys = zip(residuals.quantity, residuals.kind, residuals.tier, strict=True)
    limits = np.array([ends.get((str(q), str(k), str(t)), (np.nan, np.nan)) for q, k, t in keys]).reshape(-1, 2)
    held = (limits[:, 0] <= residuals.log) & (residuals.log <= limits[:, 1])
    return np.where(np.isnan(limits[:, 0]), np.nan, held)


def left_out(residuals: Residuals, coverage: float = COVERAGE) -> Floats:
    """`inside`, each row within the bands that the rows of all other models give. float64[n]."""
    found = np.full(residuals.log.shape, np.nan)
    for model in np.unique(residuals.model):
        mine = residuals.model == model
        found[mine] = inside(residuals.take(mine), bands(residuals.take(~mine), coverage))
    return found


def share(residuals: Residuals, held: Floats, rows: Flags | None = None) -> Coverage:
    """Of what `inside` or `left_out` found, how much is within.   rows : of those alone."""
    keep = residuals.counts & ~np.isnan(held)
    keep = keep if rows is None else keep & rows
    some, values = residuals.take(keep), held[keep]
    if values.size == 0:
        return Coverage(0, math.nan, math.nan, math.nan)
    by_group, by_model = (1.0 / _members(some.quantity, names) for names in (some.group, some.model))
    return Coverage(
        int(values.size),
        float(values.mean()),
        float(np.average(values, weights=by_group)),
        float(np.average(values, weights=by_model)),
    )


def _cell(residuals: Residuals, quantity: str, kind: str, tier: str) -> Flags:
    found: Flags = (residuals.quantity == quantity) & (residuals.kind == kind)
    found &= (residuals.tier == tier) & residuals.counts
    return found


def _ends(residuals: Residuals, coverage: float) -> dict[tuple[str, str], tuple[float, float]]:
    """(quantity, kind), and (quantity, "") for all kinds -> (low, high), of logs, above 0; where there are enough."""
    found = {}
    best = residuals.tier == BEST
    for quantity in QUANTITIES:
        of = best & (residuals.quantity == quantity)
        for kind in ("", *KINDS):
            rows = of if not kind else of & (residuals.kind == kind)
            if np.unique(residuals.group[rows]).size < ENOUGH:
                continue
            log, weight = residuals.log[rows], residuals.weight[rows]
            low, high = (quantile(log, weight, 0.5 + sign * coverage / 2.0) for sign in (-1, 1))
            found[quantity, kind] = (max(-low, LEAST), max(high, LEAST))
    return found


def _lacking(residuals: Residuals, coverage: float) -> Floats:
    """What the ends that other models give lack to reach each row, in quadrature; 0 within, NaN without ends."""
    found = np.full(residuals.log.shape, np.nan)
    for model in np.unique(residuals.model):
        mine = np.flatnonzero(residuals.model == model)
        ends = _ends(residuals.take(residuals.model != model), coverage)
        for i in mine:
            quantity, kind = str(residuals.quantity[i]), str(residuals.kind[i])
            held = ends.get((quantity, kind)) or ends.get((quantity, ""))
            if held is not None:
                end = held[1] if residuals.log[i] > 0.0 else held[0]
                found[i] = math.sqrt(max(residuals.log[i] ** 2 - end**2, 0.0))
    return found


def _extras(residuals: Residuals, coverage: float) -> dict[tuple[str, str], tuple[float, bool]]:
    """(quantity, tier) -> what it adds to both ends, in quadrature, and whether enough groups say so."""
    lacking = _lacking(residuals, coverage)
    known = ~np.isnan(lacking)
    alike = 1.0 / _members(residuals.quantity, residuals.tier, residuals.model)
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    order = list(TIERS)
    for tier, quantity in ((tier, quantity) for tier in TIERS for quantity in QUANTITIES):
        of_tier = known & (residuals.tier == tier)
        own = of_tier & (residuals.quantity == quantity)
        enough = np.unique(residuals.group[own]).size >= ENOUGH
        rows = own if enough else of_tier & (residuals.quantity != "power")
        weight = alike if tier == BEST else residuals.weight
        extra = quantile(lacking[rows], weight[rows], coverage) if rows.any() else 0.0
        if quantity == "power" and not enough:
            extra *= _beside_rates(_ends(residuals, coverage))
        above = found[quantity, order[order.index(tier) - 1]][0] if tier != BEST else 0.0
        found[quantity, tier] = (max(extra, above), bool(enough))
    return found


def _beside_rates(ends: Ends) -> float:
    """How wide ends of power are beside those of rates: watts lie between idle and TDP, and move by less."""
    if ("power", "") not in ends or ("throughput", "") not in ends:
        return 1.0
    return min(sum(ends["power", ""]) / sum(ends["throughput", ""]), 1.0)


def _members(*names: Texts) -> Floats:
    """How many rows share all names with each row. float64[n]."""
    place = np.zeros(names[0].shape, dtype=np.int64)
    for column in names:
        _, code = np.unique(column, return_inverse=True)
        _, place = np.unique(place * (code.max(initial=0) + 1) + code, return_inverse=True)
    found: Floats = np.bincount(place)[place].astype(np.float64)
    return found


def cells(residuals: Residuals) -> Iterator[tuple[str, str, str, Flags]]:
    """(quantity, kind, tier, rows) of all that have a row."""
    for quantity in QUANTITIES:
        for kind in KINDS:
            for tier in TIERS:
                rows = _cell(residuals, quantity, kind, tier)
                if rows.any():
                    yield quantity, kind, tier, rows
